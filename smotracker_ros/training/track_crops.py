"""Crops that follow one object each, with its mask: the raw material of the masklet training.

Decoding and masking whole clips again for every sample would cost more than the network; so each object's
surroundings are cut out once and stored as memory-mapped arrays, from which workers draw windows at random.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from rich.progress import track as progress

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.training.clips import Clip, read_clips
from smotracker_ros.training.detector_crops import collect_cut_outs
from smotracker_ros.training.flights import fly
from smotracker_ros.training.scenes import SceneSettings, render_scene
from smotracker_ros.training.tight_labels import tighten

ABSENT, TRUSTED, DOUBTFUL = 0, 1, 2
# Every n-th clip lends its targets to rendered flights
_SPRITE_STEP = 3
# Sides of crops in sizes of the target
_ROOM = 7.0


@dataclass(frozen=True)
class TrackCrops:
    """One object through time.

    Attributes:
        images: uint8 grey (frames, side, side), each centred on the object.
        masks: uint8 (frames, side, side), 1 on the object.
        boxes: float32 (frames, 4), box of the visible extent in the crop, NaN where absent.
        states: uint8 (frames,): ABSENT, TRUSTED mask or DOUBTFUL mask.
        size: the object's median longer side in pixels.
        rendered: whether it comes from a rendered scene.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    boxes: FloatArray
    states: npt.NDArray[np.uint8]
    size: float
    rendered: bool


def crop_side(size: float) -> int:
    """Side in pixels of the crops of an object whose longer side is `size` pixels: room for windows and for misses."""
    return int(np.clip(2 * round(_ROOM * size / 2), 64, 320))


def _centered(image: npt.NDArray[np.uint8], center: tuple[int, int], side: int) -> npt.NDArray[np.uint8]:
    """Square cut-out round an integer centre (x, y); beyond the border the edge pixels are repeated."""
    height, width = image.shape
    columns = np.clip(np.arange(side) + center[0] - side // 2, 0, width - 1)
    rows = np.clip(np.arange(side) + center[1] - side // 2, 0, height - 1)
    return image[np.ix_(rows, columns)]


class _Writer:
    """Collects the crops of one object and writes them as .npy files."""

    def __init__(self, name: str, size: float, rendered: bool) -> None:
        self.name, self.size, self.rendered = name, size, rendered
        self.side = crop_side(size)
        self.images: list[npt.NDArray[np.uint8]] = []
        self.masks: list[npt.NDArray[np.uint8]] = []
        self.boxes: list[FloatArray] = []
        self.states: list[int] = []
        self._center: tuple[int, int] | None = None

    def add(
        self, grey: npt.NDArray[np.uint8], box: FloatArray | None, mask: npt.NDArray[np.bool_] | None, state: int
    ) -> None:
        """Add a frame; `box` and `mask` are None where the object is absent."""
        if box is not None:
            self._center = (round(float(box[0] + box[2]) / 2), round(float(box[1] + box[3]) / 2))
        if self._center is None:
            return
        x, y = self._center
        self.images.append(_centered(grey, self._center, self.side))
        if box is None or mask is None:
            self.masks.append(np.zeros((self.side, self.side), dtype=np.uint8))
            self.boxes.append(np.full(4, np.nan, dtype=np.float32))
        else:
            padded = np.zeros((self.side, self.side), dtype=np.uint8)
            left, top = x - self.side // 2, y - self.side // 2
            part = mask[max(top, 0) : top + self.side, max(left, 0) : left + self.side]
            padded[max(-top, 0) : max(-top, 0) + part.shape[0], max(-left, 0) : max(-left, 0) + part.shape[1]] = part
            self.masks.append(padded)
            self.boxes.append((box - np.array([left, top, left, top])).astype(np.float32))
        self.states.append(state)

    def write(self, directory: Path, least: int = 8) -> bool:
        """Write the object if it was seen in at least `least` frames."""
        if sum(state != ABSENT for state in self.states) < least:
            return False
        np.save(directory / f"{self.name}_images.npy", np.stack(self.images))
        np.save(directory / f"{self.name}_masks.npy", np.stack(self.masks))
        facts = {"size": self.size, "rendered": self.rendered, "states": self.states}
        np.save(directory / f"{self.name}_boxes.npy", np.stack(self.boxes))
        (directory / f"{self.name}.json").write_text(json.dumps(facts))
        return True


def write_real_tracks(clips: Iterable[Clip], directory: Path, frame_step: int = 2) -> None:
    """Cut out every labelled object of real clips, with the mask of its visible extent.

    Args:
        clips: labelled clips.
        directory: where the arrays go.
        frame_step: every n-th frame is stored.
    """
    for clip in progress(list(clips), description="real tracks"):
        pictures = {
            index: np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
            for index, image in clip.images(frame_step)
        }
        tight = tighten(clip, pictures)
        sizes: dict[int, list[float]] = {}
        for labels in tight.values():
            for identity, box in zip(labels.ids.tolist(), labels.boxes, strict=True):
                sizes.setdefault(identity, []).append(float(max(box[2] - box[0], box[3] - box[1])))
        writers = {key: _Writer(f"{clip.name}_{key}", float(np.median(value)), False) for key, value in sizes.items()}
        for index, labels in tight.items():
            for identity, box, outline in zip(labels.ids.tolist(), labels.boxes, labels.masks, strict=True):
                mask = outline if outline is not None else _filled(box, pictures[index].shape)
                writers[identity].add(pictures[index], box, mask, DOUBTFUL if outline is None else TRUSTED)
        for writer in writers.values():
            writer.write(directory)


def _filled(box: FloatArray, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """An ellipse in a box, bool of a shape, where nothing better is known."""
    mask = np.zeros(shape, dtype=np.uint8)
    x, y = (round(float(value)) for value in (box[:2] + box[2:]) / 2)
    a, b = (max(round(float(value)), 1) for value in (box[2:] - box[:2]) / 2)
    cv2.ellipse(mask, (x, y), (a, b), 0, 0, 360, 1, -1)
    return mask > 0


def write_rendered_tracks(scenes: int, directory: Path, seed: int, frames: int = 48) -> None:
    """Render scenes and cut out every target, its absences included.

    Args:
        scenes: number of scenes, half of them infrared-sized.
        directory: where the arrays go.
        seed: seed of the first scene.
        frames: frames per scene.
    """
    generator = np.random.default_rng(seed)
    for number in progress(range(scenes), description="rendered tracks"):
        infrared = number % 2 == 0
        settings = SceneSettings(
            width=320 if infrared else 640,
            height=256 if infrared else 512,
            frames=frames,
            targets=int(generator.integers(3, 8)),
            camera="random",
            modality="infrared" if infrared else "visible",
        )
        rendered = list(render_scene(settings, seed + number))
        identities = sorted({int(identity) for frame in rendered for identity in frame.ids})
        for identity in identities:
            spans = [f.boxes[list(f.ids).index(identity)] for f in rendered if identity in f.ids]
            longest = [float(max(b[2] - b[0], b[3] - b[1])) for b in spans]
            writer = _Writer(f"scene{seed + number}_{identity}", float(np.median(longest)) + 2, True)
            for frame in rendered:
                grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
                mask = frame.label_image == identity
                if identity in frame.ids and np.count_nonzero(mask) >= 4:
                    # a pixel of halo, as in the masks of real targets
                    mask = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
                    box = frame.boxes[list(frame.ids).index(identity)] + np.array([-1, -1, 1, 1], dtype=np.float32)
                    writer.add(grey, box, mask, TRUSTED)
                else:
                    writer.add(grey, None, None, ABSENT)
            writer.write(directory)


def write_flight_tracks(clips: Sequence[Clip], scenes: int, directory: Path, seed: int, frames: int = 48) -> None:
    """Render flights in front of anything (:mod:`smotracker_ros.training.flights`) and cut out every target.

    Args:
        clips: real targets are lifted from them.
        scenes: number of scenes.
        directory: where the arrays go.
        seed: of the first scene.
        frames: per scene.
    """
    book = collect_cut_outs(list(clips), seed)
    sprites = [*book[True], *book[False]]
    for number in progress(range(scenes), description="flights"):
        generator = np.random.default_rng(seed + number)
        rendered = list(fly(480, 384, frames, sprites, generator))
        for target in sorted({key for frame in rendered for key in frame.masks}):
            sizes = [float(max(f.boxes[target][2:] - f.boxes[target][:2])) for f in rendered if target in f.boxes]
            writer = _Writer(f"flight{seed + number}_{target}", float(np.median(sizes)), True)
            for frame in rendered:
                if target in frame.masks:
                    mask = cv2.dilate(frame.masks[target].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
                    writer.add(frame.grey, frame.boxes[target], mask, TRUSTED)
                else:
                    writer.add(frame.grey, None, None, ABSENT)
            writer.write(directory)


def write_track_crops(data: Path, directory: Path, scenes: int, seed: int = 1000) -> None:
    """Prepare all material below `directory`; nothing is done twice.

    Args:
        data: folder of labelled clips.
        directory: output folder.
        scenes: number of rendered flights; half as many whole scenes are rendered beside them.
        seed: seed of the first scene.
    """
    for name in ("real", "rendered"):
        (directory / name).mkdir(parents=True, exist_ok=True)
        done = directory / f"{name}.done"
        if done.exists():
            continue
        if name == "real":
            write_real_tracks(read_clips(data), directory / name)
        else:
            write_rendered_tracks(scenes // 2, directory / name, seed)
            write_flight_tracks(read_clips(data)[::_SPRITE_STEP], scenes, directory / name, seed + 100000)
        done.write_text(json.dumps({"data": str(data.name), "scenes": scenes, "seed": seed}))


def read_track_crops(directory: Path) -> list[TrackCrops]:
    """Open prepared material; images and masks stay on disk until they are used.

    Raises:
        FileNotFoundError: if the folder holds none.
    """
    tracks = []
    for path in sorted(directory.glob("*.json")):
        facts = json.loads(path.read_text())
        stem = path.with_suffix("")
        tracks.append(
            TrackCrops(
                images=np.load(f"{stem}_images.npy", mmap_mode="r"),
                masks=np.load(f"{stem}_masks.npy", mmap_mode="r"),
                boxes=np.load(f"{stem}_boxes.npy"),
                states=np.asarray(facts["states"], dtype=np.uint8),
                size=float(facts["size"]),
                rendered=bool(facts["rendered"]),
            )
        )
    if not tracks:
        raise FileNotFoundError(f"{directory} holds no prepared tracks; run `smotracker train masklets` with --data")
    return tracks
