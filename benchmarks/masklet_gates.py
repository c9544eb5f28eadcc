"""What a masklet network knows without a detector: is its target there, and whose mask is it after a crossing?

    python benchmarks/masklet_gates.py --data DATA/composed

Every target is prompted once, with its loose label, on the first frame that shows it well, and propagated to the end of
the clip; nothing corrects it. The network is measured three times: alone, with windows where the masks were last; with
what the tracker knows of motion, the camera's and the targets' flight; and with windows where the labels are, which
shows what is the network's own fault and what that of windows gone astray. Printed are the share of (target, frame)
pairs in which "visible" or "hidden" is decided as the labels have it, and the share of crossings after which both masks
lie on their own targets. Composed clips have exact labels in `gt/gt.txt`
beside `gt/gt_label.txt`; of others the loose ones serve for both. Clips with cuts are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track as progress

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes, pairwise_iou
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.masklets.memory import POLICIES
from smotracker_ros.masklets.network import MaskletNetwork
from smotracker_ros.masklets.propagator import Guess, Masklet, Propagator
from smotracker_ros.presets import build_network, load_settings
from smotracker_ros.tracking.box_offset import box_margins
from smotracker_ros.tracking.camera_motion import CameraMotion
from smotracker_ros.tracking.occlusion import Occlusions
from smotracker_ros.tracking.population import predict_all
from smotracker_ros.tracking.target import Target, boxes_of
from smotracker_ros.training.clips import Clip, read_clip

# A target of fewer pixels is not prompted
LEAST_SIDE = 4.0
# A crossing is over when the loose boxes have been apart for so many frames; it is judged then
SETTLED_FRAMES = 10
# The clips have 30 frames per second; straight flight is a good guess for so many seconds
SECONDS = 1 / 30
LONGEST_FLIGHT = 0.5


class Windows(StrEnum):
    """Where the network looks."""

    LAST = "alone"
    MOTION = "with the tracker's motion"
    LABELS = "with windows where the labels are"


def _by_id(clip: Clip) -> dict[int, dict[int, FloatArray]]:
    """Boxes by identity and frame."""
    found: dict[int, dict[int, FloatArray]] = {}
    for index, labels in enumerate(clip.labels):
        for identity, box in zip(labels.ids.tolist(), labels.boxes, strict=True):
            found.setdefault(identity, {})[index] = box
    return found


def _propagate(
    network: MaskletNetwork, clip: Clip, truth: dict[int, dict[int, FloatArray]], windows: Windows
) -> dict[int, dict[int, FloatArray | None]]:
    """Tight boxes by identity and frame from the prompt on; None where the network sees nothing."""
    starts: dict[int, int] = {}
    for identity, boxes in truth.items():
        large = [index for index, box in boxes.items() if box_sizes(box)[0].min() >= LEAST_SIDE]
        if large:
            starts[identity] = min(large)
    propagator = Propagator(network, POLICIES["motion_aware"])
    flights = _Flights(propagator)
    result: dict[int, dict[int, FloatArray | None]] = {identity: {} for identity in starts}
    for index, image in clip.images():
        frame = Frame(image, index, index)
        if windows is Windows.MOTION:
            boxes = flights.step(frame, SECONDS)
        else:
            guesses = _labelled(truth, index) if windows is Windows.LABELS else None
            boxes = {identity: masklet.box for identity, masklet in propagator.step(frame, None, guesses).items()}
        for identity, box in boxes.items():
            result[identity][index] = box
        new = {identity: truth[identity][index] for identity, start in starts.items() if start == index}
        if new:
            for identity, masklet in propagator.prompt(frame, new).items():
                result[identity][index] = masklet.box
                flights.start(identity, new[identity], masklet)
    return result


def _labelled(truth: dict[int, dict[int, FloatArray]], index: int) -> dict[int, Guess]:
    """Where the labels of a frame are, by identity."""
    boxes = {identity: known[index] for identity, known in truth.items() if index in known}
    return {key: Guess(box_centers(box)[0], float(box_sizes(box)[0].max())) for key, box in boxes.items()}


class _Flights:
    """What the tracker knows of motion, without its detections."""

    def __init__(self, propagator: Propagator) -> None:
        self._propagator = propagator
        self._camera, self._occlusions = CameraMotion(), Occlusions()
        self._targets: dict[int, Target] = {}

    def start(self, identity: int, prompt: FloatArray, masklet: Masklet) -> None:
        """A target that has been prompted with a box (4,)."""
        target = self._targets[identity] = Target.born(identity, prompt, np.zeros(1, dtype=np.float32))
        target.state = TrackState.CONFIRMED  # its mask is its own, whomever it meets
        if masklet.box is not None:
            target.see(masklet.mask, masklet.box, masklet.predicted_iou, 0.0)
            target.margins = box_margins(prompt, masklet.box)
            target.motion.center, target.size = box_centers(prompt)[0], box_sizes(prompt)[0]

    def step(self, frame: Frame, seconds: float) -> dict[int, FloatArray | None]:
        """Tight boxes of all targets in the next frame."""
        shift = self._camera.update(frame.image, seconds)
        self._occlusions.predict(shift, seconds)
        for target in self._targets.values():
            if target.seconds_unseen > LONGEST_FLIGHT:
                target.motion.velocity[:] = 0
        predict_all(self._targets.values(), shift, seconds)
        masklets = self._propagator.step(
            frame,
            None,
            {key: Guess(target.motion.center, target.longer_side) for key, target in self._targets.items()},
            lambda identity, box: self._targets[identity].agrees(box),
            self._occlusions.unsettled,
        )
        boxes = {identity: masklet.box for identity, masklet in masklets.items() if masklet.box is not None}
        own = {key: box for key, box in boxes.items() if self._targets[key].owns(box, masklets[key].predicted_iou)}
        self._occlusions.compare(self._targets, own, ())
        for identity, box in own.items():
            masklet = masklets[identity]
            self._targets[identity].see(masklet.mask, box, masklet.predicted_iou, seconds)
        self._occlusions.update(self._targets, self._propagator.time, seconds)
        self._camera.exclude(boxes_of(self._targets.values()))
        return {identity: target.mask_box for identity, target in self._targets.items()}


def _doubtful(directory: Path) -> set[tuple[int, int]]:
    """Identities and frames in which too little of a target is visible to be judged: flag 0, visibility above 0."""
    rows = np.loadtxt(directory / "gt" / "gt.txt", delimiter=",", ndmin=2)
    rows = rows[(rows[:, 6] == 0) & (rows[:, 8] > 0)]
    return {(int(identity), int(frame) - 1) for frame, identity in rows[:, :2]}


def _presence(
    found: dict[int, dict[int, FloatArray | None]],
    visible: dict[int, dict[int, FloatArray]],
    doubtful: set[tuple[int, int]],
) -> tuple[list[bool], list[bool]]:
    """Whether each frame was decided right: of visible targets, and of hidden ones."""
    seen, hidden = [], []
    for identity, boxes in found.items():
        for index, box in sorted(boxes.items())[1:]:
            if (identity, index) in doubtful:
                continue
            if index in visible.get(identity, {}):
                seen.append(box is not None)
            else:
                hidden.append(box is None)
    return seen, hidden


def _is_on(box: FloatArray | None, truth: FloatArray) -> bool:
    if box is None:
        return False
    distance = np.linalg.norm(box_centers(box)[0] - box_centers(truth)[0])
    return bool(distance < max(float(box_sizes(truth)[0].max()) / 2, 4.0))


def _crossings(
    found: dict[int, dict[int, FloatArray | None]], truth: dict[int, dict[int, FloatArray]]
) -> list[tuple[bool, bool]]:
    """Of each crossing of two targets that both had their masks before: whether both have them afterwards."""
    judged = []
    ids = sorted(found)
    for position, first in enumerate(ids):
        for second in ids[position + 1 :]:
            common = sorted(set(truth[first]) & set(truth[second]) & set(found[first]) & set(found[second]))
            met: int | None = None
            good_before, apart = False, 0
            for index in common:
                a, b = truth[first][index], truth[second][index]
                own = _is_on(found[first][index], a) and _is_on(found[second][index], b)
                if float(pairwise_iou(as_boxes(a), as_boxes(b))[0, 0]) > 0:
                    met, apart = index, 0
                    continue
                if met is None:
                    good_before = own
                    continue
                apart += 1
                if apart == SETTLED_FRAMES:
                    if good_before:
                        judged.append((_is_on(found[first][index], a), _is_on(found[second][index], b)))
                    met, good_before = None, own
    return judged


def measure(network: MaskletNetwork, directories: Sequence[Path], windows: Windows) -> None:
    """Print the figures of all clips."""
    seen: list[bool] = []
    hidden: list[bool] = []
    crossings: list[tuple[bool, bool]] = []
    for directory in progress(directories, description="clips"):
        composed = (directory / "gt" / "gt_label.txt").exists()
        loose = _by_id(read_clip(directory, "gt_label.txt" if composed else "gt.txt"))
        clip = read_clip(directory)
        if clip.cuts:
            continue
        found = _propagate(network, clip, loose, windows)
        one, other = _presence(found, _by_id(clip), _doubtful(directory))
        seen += one
        hidden += other
        crossings += _crossings(found, loose)
    right = sum(seen) + sum(hidden)
    print(f"presence: right in {right / max(len(seen) + len(hidden), 1):.1%} of {len(seen) + len(hidden)} frames")
    print(f"  visible targets seen: {np.mean(seen or [0]):.1%} of {len(seen)}")
    print(f"  hidden targets not seen: {np.mean(hidden or [0]):.1%} of {len(hidden)}")
    both = [one and other for one, other in crossings]
    single = [value for pair in crossings for value in pair]
    print(f"crossings after which both have their masks: {np.mean(both or [0]):.1%} of {len(both)}")
    print(f"  masks on their own targets: {np.mean(single or [0]):.1%} of {len(single)}")


def main(
    data: Annotated[Path, typer.Option(help="Folder of labelled clips.", exists=True)],
    weights: Annotated[str, typer.Option(help="SAM2 checkpoint; empty: the embedded nano.")] = "",
) -> None:
    """Command line."""
    torch.set_num_threads(1)
    directories = sorted(path.parent for path in data.glob("*/seqinfo.ini"))
    network = build_network(load_settings(overrides={"masklet_weights": weights}))
    for windows in Windows:
        print(windows.value)
        measure(network, directories, windows)


if __name__ == "__main__":
    typer.run(main)
