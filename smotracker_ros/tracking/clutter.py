"""Places of stationary clutter: antennas, lamps, hot edges of clouds and roofs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes, pairwise_iou
from smotracker_ros.tracking.camera_motion import CameraShift

# A detection belongs to a place if it overlaps it so much, and its centre is no farther off than so many pixels or
# sizes
_LEAST_IOU = 0.3
_JITTER_PIXELS = 2.5
_JITTER_SIZES = 0.2
# Places follow their detections slowly, which makes up for small errors of the camera's motion
_GAIN = 0.1
# Detector passes in a row without a detection after which a place is forgotten
_LONGEST_ABSENCE = 15


@dataclass
class ClutterMap:
    """Remembers stationary clutter, so that it costs neither masklets nor false tracks.

    Attributes:
        boxes: float32 (N, 4), xyxy pixels of the current frame.
        absences: int64 (N,), detector passes in a row without a detection there.
    """

    boxes: FloatArray = field(default_factory=lambda: as_boxes([]))
    absences: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def predict(self, shift: CameraShift) -> None:
        """Move on by one frame, with the background."""
        if len(self.boxes):
            corners = shift.move(self.boxes.reshape(-1, 2))
            self.boxes = corners.reshape(-1, 4)

    def add(self, box: FloatArray) -> None:
        """Remember a place, float32 (4,), xyxy pixels in the detector's convention."""
        self.boxes = np.concatenate([self.boxes, as_boxes(box)])
        self.absences = np.append(self.absences, 0)

    def claim(self, detections: FloatArray, seen: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], FloatArray]:
        """Say which detections of a detector pass lie still at a known place. Call it once per pass.

        A detection beside a place's centre is something that has begun to move: the place is given up.

        Args:
            detections: float32 (M, 4), xyxy pixels.
            seen: bool (N,), which of :attr:`boxes` the detector has looked at.

        Returns:
            bool (M,): which lie still at a place; float32 (M,): how far the others have left one, in pixels, or 0.
        """
        claimed = np.zeros(len(detections), dtype=np.bool_)
        travelled = np.zeros(len(detections), dtype=np.float32)
        if not len(self.boxes):
            return claimed, travelled
        self.absences += seen
        if len(detections):
            overlap = pairwise_iou(self.boxes, detections)
            distance = np.linalg.norm(box_centers(self.boxes)[:, None] - box_centers(detections)[None], axis=2)
            limit = np.maximum(_JITTER_PIXELS, _JITTER_SIZES * box_sizes(self.boxes).max(axis=1))
            still = (overlap >= _LEAST_IOU) & (distance <= limit[:, None])
            claimed = still.any(axis=0)
            left = (overlap >= _LEAST_IOU).any(axis=1) & ~still.any(axis=1)
            best = np.where(still, overlap, -1).argmax(axis=1)
            for place in np.flatnonzero(still.any(axis=1)):
                self.boxes[place] += _GAIN * (detections[best[place]] - self.boxes[place])
                self.absences[place] = 0
            travelled = np.where((overlap >= _LEAST_IOU) & left[:, None], distance, 0).max(axis=0).astype(np.float32)
            self.absences[left] = _LONGEST_ABSENCE
        kept = self.absences < _LONGEST_ABSENCE
        self.boxes, self.absences = self.boxes[kept], self.absences[kept]
        return claimed, travelled
