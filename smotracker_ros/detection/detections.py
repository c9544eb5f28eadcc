"""What every detector delivers, and the protocol that it follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes


class DetectorError(RuntimeError):
    """Detector weights that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Detections:
    """Detections of one frame.

    Attributes:
        boxes: float32 (N, 4), xyxy pixels of the frame.
        scores: float32 (N,), confidence in [0, 1].
        class_ids: int64 (N,), numbers of `Detector.class_names`.
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, indices: npt.NDArray[np.generic]) -> Detections:
        """The detections at the given indices, or where a boolean mask is True."""
        return Detections(self.boxes[indices], self.scores[indices], self.class_ids[indices])

    @staticmethod
    def empty() -> Detections:
        """No detection."""
        return Detections(as_boxes([]), np.zeros(0, np.float32), np.zeros(0, np.int64))

    @staticmethod
    def joined(parts: Sequence[Detections]) -> Detections:
        """All of one or more, one after the other."""
        return Detections(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.class_ids for part in parts]),
        )

    def without_duplicates(self, iou: float) -> Detections:
        """By falling confidence, and of detections that overlap with more than `iou` the most confident only."""
        if len(self) == 0:
            return self
        rectangles = np.column_stack([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]])
        kept = np.asarray(cv2.dnn.NMSBoxes(rectangles.tolist(), self.scores.tolist(), 0.0, iou), dtype=np.int64).ravel()
        return self.select(kept[np.argsort(-self.scores[kept], kind="stable")])


class Detector(Protocol):
    """Anything that finds objects in a frame."""

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of the classes by number."""

    @property
    def name(self) -> str:
        """Name of the model and checksum of its weights."""

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        """Detections of one frame, by falling confidence.

        Args:
            frame: the frame.
            least_confidence: detections below are left out.
            image_size: longer side in pixels at which the network sees the frame; 0: the detector's choice.
        """


@runtime_checkable
class PromptedDetector(Protocol):
    """A detector that finds what a text names."""

    def set_prompt(self, prompt: str) -> None:
        """Look for something else from the next frame on.

        Args:
            prompt: phrases, each ended by a full stop.
        """


@runtime_checkable
class MotionDetector(Protocol):
    """A detector that looks at a motion stack (:mod:`smotracker_ros.detection.motion_stack`) in place of a frame."""

    @property
    def motion_seconds(self) -> tuple[float, ...]:
        """Ages in seconds of the two older pictures of the stack, the younger first; empty: it takes colour frames."""
