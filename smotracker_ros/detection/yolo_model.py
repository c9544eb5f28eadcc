"""What all YOLO detectors have in common, whatever runtime computes them: sizes, regions, grey pictures, duplicates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.detection.detections import Detections
from smotracker_ros.detection.regions import Regions, look_into

DUPLICATE_IOU = 0.4
"""Two classes on one target are one target; end-to-end heads such as YOLOv10's leave such pairs in."""
MOST_DETECTIONS = 300
"""Most detections of one picture."""
STRIDE = 32
"""Sides of what the network sees are multiples of it."""

# Detections below are no detections
_LEAST_CONFIDENCE = 0.001
# Longer side in pixels at which this project's own detectors see a frame: small ones are enlarged
_LEAST_SIDE, _MOST_SIDE = 640, 1280


@dataclass(frozen=True)
class YoloFacts:
    """What is known of a model besides its network.

    Attributes:
        class_names: by class number; numbers start at 1, 0 is nothing.
        stem: of the checkpoint's file name.
        checksum: first 16 digits of the checkpoint's SHA-256.
        is_own: whether this project's trainer made it.
        is_grey: whether it was trained on grey pictures.
        motion_seconds: see :class:`smotracker_ros.detection.MotionDetector`.
        sees_one_size: it must see whole frames: it takes inputs of one size only, or may do so.
    """

    class_names: Mapping[int, str]
    stem: str
    checksum: str
    is_own: bool = False
    is_grey: bool = False
    motion_seconds: tuple[float, ...] = ()
    sees_one_size: bool = False


class YoloModel(ABC):
    """A YOLO detector; subclasses let a runtime compute the network.

    Args:
        facts: what is known of the model.
        runtime: that computes it.
    """

    def __init__(self, facts: YoloFacts, runtime: str) -> None:
        self._facts = facts
        self._runtime = runtime

    @abstractmethod
    def _look(self, image: UInt8Image, side: int, least_confidence: float) -> Detections:
        """All that the network finds above a confidence, duplicates too.

        Args:
            image: uint8 RGB (height, width, 3).
            side: longer side in pixels at which the network sees it, a multiple of :data:`STRIDE`.
            least_confidence: what is not above it is left out.
        """

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names by class number; numbers start at 1, 0 is nothing."""
        return self._facts.class_names

    @property
    def name(self) -> str:
        """File stem, checksum, and the runtime if it is not torch."""
        runtime = "" if self._runtime == "torch" else f" {self._runtime}"
        return f"{self._facts.stem} sha256:{self._facts.checksum}{runtime}"

    @property
    def motion_seconds(self) -> tuple[float, ...]:
        """What the model's metadata says; see :class:`smotracker_ros.detection.MotionDetector`."""
        return self._facts.motion_seconds

    def _natural_size(self, longer: int) -> int:
        """Longer side at which a frame is seen by default: its own within limits, as small targets need their pixels.

        Models that others trained see what their trainers mostly take, up to 640 pixels.
        """
        if not self._facts.is_own:
            return min(longer, 640)
        return int(np.clip(longer, _LEAST_SIDE, _MOST_SIDE))

    def scale(self, width: int, height: int, image_size: int = 0) -> float:
        """Pixels of the network per pixel of a frame of that size; 0 for files that somebody exported, and for RT-DETR.

        Those may take inputs of one size only, and transformers know positions of the size that they were trained at.
        """
        if self._facts.sees_one_size:
            return 0.0
        longer = max(width, height)
        return (image_size or self._natural_size(longer)) / longer

    def detect_in(
        self, frame: Frame, regions: Regions, least_confidence: float = 0.0, image_size: int = 0
    ) -> Detections:
        """Detections that the regions show; see :class:`smotracker_ros.detection.regions.RegionDetector`."""
        return look_into(self, frame, regions, self.scale(frame.width, frame.height, image_size), least_confidence)

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        """Detections by falling confidence; see :class:`smotracker_ros.detection.Detector`."""
        image = frame.image
        if self._facts.is_grey:
            image = np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
        size = image_size or self._natural_size(max(frame.height, frame.width))
        side = int(np.ceil(size / STRIDE) * STRIDE)
        return self._look(image, side, max(least_confidence, _LEAST_CONFIDENCE)).without_duplicates(DUPLICATE_IOU)
