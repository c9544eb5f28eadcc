"""What every data set is read into: sequences of frames with ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_sizes
from smotracker_ros.io.sources import FrameSource, open_source

# Truth boxes with a shorter side, in pixels, are ignored: they cannot be told from noise
LEAST_SIDE = 3.0


class DatasetError(ValueError):
    """A data set that cannot be read; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class GroundTruth:
    """Rows of labels, one per box.

    Attributes:
        frames: int64 (K,), 0-based.
        ids: int64 (K,), constant per object within a shot.
        boxes: float32 (K, 4), xyxy pixels, 0-based.
        class_ids: int64 (K,).
        ignored: bool (K,), neither to be found nor wrong to find: flag 0, or a side under 3 pixels.
    """

    frames: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    boxes: FloatArray
    class_ids: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.bool_]

    @staticmethod
    def of(
        frames: npt.ArrayLike,
        ids: npt.ArrayLike,
        boxes: npt.ArrayLike,
        class_ids: npt.ArrayLike | None = None,
        ignored: npt.ArrayLike | None = None,
    ) -> GroundTruth:
        """Rows from plain arrays; boxes under 3 pixels are ignored in any case."""
        array = as_boxes(boxes)
        count = len(array)
        flags = np.zeros(count, np.bool_) if ignored is None else np.asarray(ignored, np.bool_)
        tiny = box_sizes(array).min(axis=1) < LEAST_SIDE if count else flags
        return GroundTruth(
            np.asarray(frames, dtype=np.int64).reshape(count),
            np.asarray(ids, dtype=np.int64).reshape(count),
            array,
            np.ones(count, np.int64) if class_ids is None else np.asarray(class_ids, dtype=np.int64).reshape(count),
            flags | tiny,
        )


@dataclass(frozen=True)
class EvaluationSequence:
    """One sequence.

    Attributes:
        name: unique in its data set.
        directory: its folder.
        video: video file or image folder.
        size: (height, width) in pixels; (0, 0) where the data set does not say.
        fps: frames per second.
        length: number of frames.
        cuts: 0-based first frames of new shots; ids restart there, and shots are scored as sequences of their own.
        truth: the labels.
    """

    name: str
    directory: Path
    video: Path
    size: tuple[int, int]
    fps: float
    length: int
    cuts: tuple[int, ...]
    truth: GroundTruth

    def open(self) -> FrameSource:
        """The source of its frames, which may be more than `length`.

        Raises:
            SourceError: if the video cannot be opened.
        """
        return open_source(self.video, fps=self.fps, labelled_length=self.length)

    def frames(self) -> Iterator[Frame]:
        """Frames in order, uint8 RGB, stamped with index / fps; what is missing or broken leaves its index free.

        Raises:
            SourceError: if the video cannot be opened.
        """
        for frame in self.open():
            if frame.index >= self.length:
                return
            yield Frame(frame.image, round(frame.index / self.fps * 1e9), frame.index)

    def shot_of(self, frames: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Numbers of the shots that 0-based frames lie in."""
        return np.searchsorted(np.asarray(self.cuts), np.asarray(frames), side="right").astype(np.int64)
