"""Labelled real clips: one folder per sequence with `video.mp4`, `seqinfo.ini` and `gt/gt.txt`.

Labels are MOTChallenge rows `frame,id,x,y,w,h,flag,class,visibility`, frame 1-based, x and y as `coordBase` in
`seqinfo.ini` says (0 for our own data). Its `modality` says which camera it was: `infrared` or `visible`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes
from smotracker_ros.io.mot_text import MotTextError, read_rows, read_seqinfo
from smotracker_ros.io.sources import SourceError, open_source

# A box lies on the label whose centre is nearer than so many of its longer sides
_ON_LABEL = 0.5
_THERMAL_HEIGHT = 300
CLASS_NAMES = {1: "drone", 2: "bird", 3: "airplane", 4: "helicopter"}


class ClipError(ValueError):
    """A sequence folder that cannot be read; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Labels:
    """Labels of one frame.

    Attributes:
        ids: int64 (N,), constant per object within a shot.
        boxes: float32 (N, 4), xyxy pixels, 0-based.
        class_ids: int64 (N,), 1 drone, 2 bird, 3 airplane, 4 helicopter.
    """

    ids: np.ndarray
    boxes: FloatArray
    class_ids: np.ndarray


@dataclass(frozen=True)
class Clip:
    """One labelled sequence.

    Attributes:
        name: name of its folder.
        video: path of the video file.
        size: (height, width) in pixels.
        fps: frames per second.
        length: number of frames.
        cuts: 0-based indices of the first frames of new shots, where ids restart.
        labels: one entry per frame, ignored boxes left out.
        is_infrared: whether a thermal camera saw it: `modality` in `seqinfo.ini`, infrared or visible. Where it is not
            stated, frames of up to 300 rows are taken for a thermal camera's.
    """

    name: str
    video: Path
    size: tuple[int, int]
    fps: float
    length: int
    cuts: tuple[int, ...]
    labels: tuple[Labels, ...]
    is_infrared: bool

    def images(self, step: int = 1, start: int = 0) -> Iterator[tuple[int, UInt8Image]]:
        """Decode the video: (0-based index, uint8 RGB (height, width, 3)) of every `step`-th frame from `start` on.

        Raises:
            ClipError: if the video cannot be opened.
        """
        try:
            source = open_source(self.video, labelled_length=self.length)
        except SourceError as error:
            raise ClipError(str(error)) from error
        for frame in source:
            if frame.index >= self.length:
                return
            if frame.index >= start and (frame.index - start) % step == 0:
                yield frame.index, frame.image

    def shot_of(self, frame: int) -> int:
        """Number of the shot that the 0-based frame lies in."""
        return int(np.searchsorted(np.asarray(self.cuts), frame, side="right"))


def read_clip(directory: Path, labels_name: str = "gt.txt") -> Clip:
    """Read the description and labels of one sequence folder; the video is opened only by :meth:`Clip.images`.

    Args:
        directory: the sequence's folder.
        labels_name: file in `gt/`, e.g. "gt_label.txt" for the loose convention of composed clips.

    Raises:
        ClipError: if a file is missing or broken.
    """
    path = directory / "gt" / labels_name
    try:
        info = read_seqinfo(directory / "seqinfo.ini")
        rows = read_rows(path, 8)
        length, base = int(info["seqLength"]), float(info.get("coordBase", "1"))
        size = (int(info["imHeight"]), int(info["imWidth"]))
        modality = info.get("modality", "infrared" if size[0] <= _THERMAL_HEIGHT else "visible")
        if modality not in ("infrared", "visible"):
            raise ValueError(f"modality is {modality!r}; write infrared or visible, or leave it out")
    except MotTextError as error:
        raise ClipError(str(error)) from error
    except (ValueError, KeyError) as error:
        raise ClipError(f"{directory / 'seqinfo.ini'}: {error}") from error
    labels = []
    for frame in range(1, length + 1):
        found = rows[(rows[:, 0] == frame) & (rows[:, 6] != 0)]
        boxes = np.column_stack([found[:, 2:4], found[:, 2:4] + found[:, 4:6]]) - base
        labels.append(Labels(found[:, 1].astype(np.int64), as_boxes(boxes), found[:, 7].astype(np.int64)))
    cuts = tuple(int(cut) - 1 for cut in info.get("cuts", "").replace(",", " ").split())
    return Clip(
        name=directory.name,
        video=directory / info.get("video", "video.mp4"),
        size=size,
        fps=float(info.get("frameRate", "30")),
        length=length,
        cuts=cuts,
        labels=tuple(labels),
        is_infrared=modality == "infrared",
    )


def read_clips(root: Path, pattern: str = "*", labels_name: str = "gt.txt") -> list[Clip]:
    """Read all sequence folders below `root` whose names match the pattern, sorted by name.

    Raises:
        ClipError: if there is none, or one is broken.
    """
    clips = [read_clip(info.parent, labels_name) for info in sorted(root.glob(f"{pattern}/seqinfo.ini"))]
    if not clips:
        raise ClipError(f"{root}: no sequence folder (with seqinfo.ini) matches {pattern!r}")
    return clips


def owners(boxes: FloatArray, labels: FloatArray) -> npt.NDArray[np.int64]:
    """Which label each box lies on, int64 (N,); -1 for none.

    Args:
        boxes: float32 (N, 4), xyxy pixels.
        labels: float32 (M, 4), xyxy pixels.
    """
    if not len(labels):
        return np.full(len(boxes), -1, dtype=np.int64)
    distance = np.linalg.norm(box_centers(boxes)[:, None] - box_centers(labels)[None], axis=2)
    distance = distance / np.maximum(box_sizes(labels).max(axis=1), 4.0)
    return np.where(distance.min(axis=1) < _ON_LABEL, distance.argmin(axis=1), -1)
