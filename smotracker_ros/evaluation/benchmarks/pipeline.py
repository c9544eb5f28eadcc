"""The whole tracker against the usual set-up: YOLOv10n at 640 pixels on every frame, and ByteTrack.

Both use the embedded detector weights, and get the same rendered frames in blocks of one clip (one regular detector
pass of ours), in turn. Ours is told where the targets of the first frame are, so that it carries them all, whatever its
detector finds; what it takes for targets besides costs it extra, as in real use. How many masklets it had is reported,
and from the blocks of all scenes a straight line is fitted: cost of a frame and of each masklet in it.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.detection.yolo_loading import load_yolo
from smotracker_ros.evaluation.benchmarks.clips import SceneClip, scene_clip
from smotracker_ros.evaluation.benchmarks.measuring import (
    Ledger,
    PartUnavailableError,
    Result,
    Say,
    alternate,
    count_live,
    paired_ratio,
    significant,
)
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.tracker import SmoTracker


@dataclass(frozen=True)
class PipelineSettings:
    """What is measured.

    Attributes:
        targets: numbers of targets in the scenes.
        width: of the frames, pixels.
        height: of the frames, pixels.
        scenes: scenes per number of targets.
        blocks: timed blocks per scene, after one in which targets are found and which is not timed.
        block_frames: frames per block.
        detector_image_size: of the usual set-up; longer side in pixels.
        preset: of the tracker.
    """

    targets: tuple[int, ...] = (1, 3, 8, 16, 40)
    width: int = 1280
    height: int = 720
    scenes: int = 4
    blocks: int = 4
    block_frames: int = 12
    detector_image_size: int = 640
    preset: str = "y-smotracker"


class OurPipeline:
    """The tracker, and what it had to carry."""

    def __init__(self, tracker: SmoTracker) -> None:
        self._tracker = tracker
        self.live: list[int] = []
        self.detector_frames: list[float] = []

    def begin(self, clip: SceneClip, frames: int) -> None:
        """Begin a new scene and track its first frames."""
        self._tracker.reset()
        self._tracker.update(clip.frames[0], clip.first_cues())
        self.run(clip.frames[1:frames])
        self.live, self.detector_frames = [], []

    def run(self, frames: Sequence[Frame]) -> None:
        """Track a block."""
        for frame in frames:
            before = self._tracker.detector_frames
            tracks = self._tracker.update(frame)
            self.live.append(count_live(tracks))
            self.detector_frames.append(self._tracker.detector_frames - before)


class UsualPipeline:
    """A detector on every frame, and ByteTrack of boxmot with its default settings.

    Raises:
        PartUnavailableError: if boxmot is not installed.
    """

    def __init__(self, image_size: int) -> None:
        try:
            from boxmot import ByteTrack
        except ImportError as error:
            raise PartUnavailableError(
                f"ByteTrack comes from boxmot, which cannot be imported ({error}); "
                "pip install 'smotracker_ros[evaluation]'"
            ) from error
        logging.getLogger("boxmot").setLevel(logging.WARNING)  # it tells its settings whenever a scene begins
        self._make_tracker = ByteTrack
        self._detector = load_yolo()
        self._image_size = image_size
        self._tracker = ByteTrack()
        self.tracked: list[int] = []

    def begin(self, clip: SceneClip, frames: int) -> None:
        """Begin a new scene and track its first frames."""
        self._tracker = self._make_tracker()
        self.run(clip.frames[:frames])
        self.tracked = []

    def run(self, frames: Sequence[Frame]) -> None:
        """Track a block."""
        for frame in frames:
            found = self._detector.detect(frame, 0.1, self._image_size)
            rows = np.column_stack([found.boxes, found.scores, found.class_ids]).astype(np.float32).reshape(-1, 6)
            self.tracked.append(len(self._tracker.update(rows, frame.image)))


def run(settings: PipelineSettings, say: Say) -> Result:
    """Measure; see the module.

    Raises:
        PartUnavailableError: if boxmot is not installed.
    """
    usual = UsualPipeline(settings.detector_image_size)
    ours = OurPipeline(build_tracker(load_settings(settings.preset)))
    medians: dict[str, float] = {}
    details: dict[str, Any] = {}
    loads: list[float] = []
    costs: list[float] = []
    for number in settings.targets:
        details[str(number)], block_loads, block_costs = _compare(settings, number, ours, usual, say)
        medians[str(number)] = details[str(number)]["ratio"]["median"]
        loads += block_loads
        costs += block_costs
    line = fit_line(loads, costs)
    for name, entry in details.items():
        theirs = entry["yolo_bytetrack"]["cpu_ms"]["median"]
        exact = (line["frame_ms"] + int(name) * line["masklet_ms"]) / theirs if line else None
        entry["ratio_with_as_many_masklets"] = None if exact is None else significant(exact)
    return Result({"pipeline_vs_yolo_bytetrack": medians}, {"targets": details, "cost_of_ours": line})


def _compare(
    settings: PipelineSettings, number: int, ours: OurPipeline, usual: UsualPipeline, say: Say
) -> tuple[dict[str, Any], list[float], list[float]]:
    """Details, and per block of ours the mean number of live masklets and the CPU milliseconds per frame."""
    size = settings.block_frames
    sides: dict[str, OurPipeline | UsualPipeline] = {"ours": ours, "yolo_bytetrack": usual}
    ledgers = {name: Ledger() for name in sides}
    counts: dict[str, list[float]] = {"visible": [], "live": [], "seen": [], "tracked": []}
    for seed in range(settings.scenes):
        say(f"{number} target(s): scene {seed + 1} of {settings.scenes}")
        clip = scene_clip(number, settings.width, settings.height, size * (settings.blocks + 1), seed)
        blocks = [clip.frames[start : start + size] for start in range(0, len(clip.frames), size)]
        ours.begin(clip, size)
        usual.begin(clip, size)
        measured = alternate({name: partial(_run_block, side, blocks) for name, side in sides.items()}, settings.blocks)
        for name, ledger in measured.items():
            ledgers[name].costs += ledger.costs
        counts["visible"] += [len(boxes) for boxes in clip.boxes[size:]]
        counts["live"] += ours.live
        counts["seen"] += ours.detector_frames
        counts["tracked"] += usual.tracked
    entry: dict[str, Any] = {name: ledger.summary(size) for name, ledger in ledgers.items()}
    entry["ratio"] = paired_ratio(ledgers["ours"].cpu(), ledgers["yolo_bytetrack"].cpu())
    entry["frames"] = {"ours": len(counts["live"]), "yolo_bytetrack": len(counts["tracked"])}
    entry["mean_visible_targets"] = significant(statistics.fmean(counts["visible"]))
    entry["mean_live_masklets"] = significant(statistics.fmean(counts["live"]))
    entry["mean_bytetrack_tracks"] = significant(statistics.fmean(counts["tracked"]))
    entry["detector_frames_per_frame"] = significant(statistics.fmean(counts["seen"]))
    loads = np.asarray(counts["live"], dtype=np.float64).reshape(-1, size).mean(axis=1).tolist()
    return entry, loads, ledgers["ours"].cpu(size)


def fit_line(loads: Sequence[float], costs: Sequence[float]) -> dict[str, float]:
    """Least-squares line through costs of blocks.

    Args:
        loads: mean number of live masklets in each block.
        costs: CPU milliseconds per frame of each block.

    Returns:
        `frame_ms`, the cost of a frame without masklets, and `masklet_ms`, of each masklet; empty if all
        loads are equal.
    """
    if np.ptp(loads) == 0:
        return {}
    slope, start = np.polyfit(loads, costs, 1)
    return {"frame_ms": significant(start), "masklet_ms": significant(slope)}


def _run_block(side: OurPipeline | UsualPipeline, blocks: Sequence[Sequence[Frame]], repetition: int) -> None:
    side.run(blocks[repetition + 1])
