"""Regions of interest: a detector looks at the surroundings of some targets, at a fraction of a whole frame's cost.

A region is seen at the scale at which the whole frame would be, so that confidences mean the same.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes
from smotracker_ros.detection.detections import Detections, Detector

# Sides of regions in pixels of the network: the least is the side of the embedded detector's training crops, the
# others follow in steps, because exported networks prepare for each new size
_LEAST_SIDE, _SIDE_STEP = 192, 64
# What lies so many pixels of the network from a region's edge, or nearer, is seen without its surroundings
_RIM = 24
# Beyond this share of the frame regions save too little to be worth their edges
_LARGEST_SHARE = 0.5
# Two views of one target overlap with at least this IoU
_SAME_IOU = 0.4


@dataclass(frozen=True)
class Regions:
    """Parts of a frame.

    Attributes:
        boxes: int64 (N, 4), xyxy pixels of the frame; the whole frame is one of them.
        width: of the frame, pixels.
        height: of the frame, pixels.
        rim: pixels of the frame from a region's inner edges within which nothing is taken as seen.
    """

    boxes: npt.NDArray[np.int64]
    width: int
    height: int
    rim: float = 0.0

    @staticmethod
    def whole(width: int, height: int) -> Regions:
        """All of a frame."""
        return Regions(np.array([[0, 0, width, height]]), width, height)

    @staticmethod
    def around(places: FloatArray, width: int, height: int, scale: float) -> Regions:
        """Regions round some places; all of the frame where they would cover most of it.

        Args:
            places: boxes to look at, float32 (N, 4), xyxy pixels of the frame.
            width: of the frame, pixels.
            height: of the frame, pixels.
            scale: pixels of the network per pixel of the frame.
        """
        regions: list[npt.NDArray[np.int64]] = []
        for place in as_boxes(places):
            size = np.maximum(2 * box_sizes(place)[0] * scale + 2 * _RIM, _LEAST_SIDE)
            region = _laid(box_centers(place)[0], size, (width, height), scale)
            # joined where that costs no more than both
            for other in list(regions):
                corners = np.concatenate([np.minimum(region, other)[:2], np.maximum(region, other)[2:]])
                middle, size = (corners[:2] + corners[2:]) / 2, (corners[2:] - corners[:2]) * scale
                joined = _laid(middle, size, (width, height), scale)
                if _area(joined) <= _area(region) + _area(other):
                    regions = [kept for kept in regions if kept is not other]
                    region = joined
            regions.append(region)
        found = Regions(np.array(regions, dtype=np.int64).reshape(-1, 4), width, height, _RIM / scale)
        return found if found.share <= _LARGEST_SHARE else Regions.whole(width, height)

    @property
    def is_whole(self) -> bool:
        """Whether they are the whole frame."""
        return self.share >= 1

    @property
    def share(self) -> float:
        """Share of the frame's area that is looked at; what two regions show counts twice."""
        return float(sum(_area(box) for box in self.boxes)) / (self.width * self.height)

    def show(self, boxes: FloatArray) -> npt.NDArray[np.bool_]:
        """Which boxes, float32 (M, 4), have their centres well inside a region, bool (M,)."""
        if self.is_whole:
            return np.ones(len(boxes), dtype=np.bool_)
        # at the frame's own edges there is nothing more to see
        inner = np.not_equal(self.boxes, [0, 0, self.width, self.height])
        limits = self.boxes + inner * np.array([self.rim, self.rim, -self.rim, -self.rim])
        limits = np.where(inner, limits, np.array([-np.inf, -np.inf, np.inf, np.inf]))
        centers = box_centers(boxes)[:, None]
        inside = np.all((centers >= limits[:, :2]) & (centers <= limits[:, 2:]), axis=2)
        return np.asarray(np.any(inside, axis=1))


@runtime_checkable
class RegionDetector(Protocol):
    """A detector that sees parts of a frame as well as the whole."""

    def scale(self, width: int, height: int, image_size: int = 0) -> float:
        """Pixels of the network per pixel of a frame of that size, or 0 if it must see whole frames.

        Args:
            width: of the frame, pixels.
            height: of the frame, pixels.
            image_size: as for :meth:`Detector.detect`.
        """

    def detect_in(
        self, frame: Frame, regions: Regions, least_confidence: float = 0.0, image_size: int = 0
    ) -> Detections:
        """Detections that the regions show, by falling confidence; see :meth:`Detector.detect`."""


def detect_part(
    detector: Detector, frame: Frame, part: tuple[int, int, int, int], least_confidence: float, image_size: int
) -> Detections:
    """Detections of a part of a frame, xyxy pixels, that the detector sees as a frame; their boxes are the frame's."""
    x1, y1, x2, y2 = part
    seen = dataclasses.replace(frame, image=np.ascontiguousarray(frame.image[y1:y2, x1:x2]))
    found = detector.detect(seen, least_confidence, image_size)
    return Detections(found.boxes + np.array([x1, y1, x1, y1], dtype=np.float32), found.scores, found.class_ids)


def look_into(
    detector: Detector, frame: Frame, regions: Regions, scale: float, least_confidence: float = 0.0
) -> Detections:
    """Let a detector look at each region.

    Args:
        detector: sees each as a small frame.
        frame: the frame.
        regions: of that frame.
        scale: pixels of the network per pixel of the frame.
        least_confidence: detections below are left out.
    """
    parts = []
    for x1, y1, x2, y2 in regions.boxes.tolist():
        image_size = round(max(x2 - x1, y2 - y1) * scale)
        parts.append(detect_part(detector, frame, (x1, y1, x2, y2), least_confidence, image_size))
    found = Detections.joined(parts)
    return found.select(regions.show(found.boxes)).without_duplicates(_SAME_IOU)


def _laid(center: FloatArray, size: FloatArray, limits: tuple[int, int], scale: float) -> npt.NDArray[np.int64]:
    """A region of at least that size in pixels of the network, moved into the frame; xyxy pixels of the frame."""
    stepped = np.ceil(np.asarray(size) / _SIDE_STEP - 1e-6) * _SIDE_STEP
    sides = np.minimum(np.round(stepped / scale), limits).astype(np.int64)
    start = np.clip(np.round(center - sides / 2), 0, np.array(limits) - sides).astype(np.int64)
    return np.concatenate([start, start + sides])


def _area(box: npt.NDArray[np.int64]) -> int:
    return int((box[2] - box[0]) * (box[3] - box[1]))
