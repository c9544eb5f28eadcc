"""SAMURAI's choice of masks: the one that fits both the network's opinion and a Kalman filter's expectation.

After Yang et al. 2024 ("SAMURAI: Adapting Segment Anything Model for Zero-Shot Visual Tracking with Motion-Aware
Memory"), with the weights of its public code. Two things differ: an object that is not visible does not correct its
filter, and every object of a stream has a filter of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import FloatArray, pairwise_iou

# Weight of the filter's opinion against the network's
_MOTION_WEIGHT = 0.15
# The filter has a say after so many good frames in a row; a good frame has at least this predicted IoU
_STABLE_FRAMES = 15
_STABLE_IOU = 0.3
# Standard deviations as shares of the box's height: position and velocity
_POSITION, _VELOCITY = 1 / 20, 1 / 160
# Standard deviations of the aspect ratio: of its prediction, its velocity and its measurement
_ASPECT, _ASPECT_VELOCITY, _ASPECT_MEASURED = 1e-2, 1e-5, 1e-1

Vector = npt.NDArray[np.float64]


class BoxFilter:
    """Constant-velocity Kalman filter of a box: centre x, y, aspect ratio, height, and their change per frame.

    Args:
        box: first measurement, float32 (4,), xyxy pixels.
    """

    def __init__(self, box: FloatArray) -> None:
        measured = _to_xyah(box)
        self._mean = np.concatenate([measured, np.zeros(4)])
        self._covariance = np.diag(self._deviations(2, 10) ** 2)

    @property
    def box(self) -> FloatArray:
        """Expected box, float32 (4,), xyxy pixels."""
        x, y, aspect, height = self._mean[:4]
        half = np.array([max(aspect, 0.0) * max(height, 0.0), max(height, 0.0)]) / 2
        return np.array([x - half[0], y - half[1], x + half[0], y + half[1]]).astype(np.float32)

    def predict(self) -> None:
        """Move on by one frame."""
        transition = np.eye(8)
        transition[:4, 4:] = np.eye(4)
        noise = np.diag(self._deviations(1, 1) ** 2)
        self._mean = transition @ self._mean
        self._covariance = transition @ self._covariance @ transition.T + noise

    def correct(self, box: FloatArray) -> None:
        """Take a measured box, float32 (4,), xyxy pixels."""
        height = self._mean[3]
        noise = np.array([_POSITION * height, _POSITION * height, _ASPECT_MEASURED, _POSITION * height])
        gain = self._covariance[:, :4] @ np.linalg.inv(self._covariance[:4, :4] + np.diag(noise**2))
        self._mean = self._mean + gain @ (_to_xyah(box) - self._mean[:4])
        self._covariance = self._covariance - gain @ self._covariance[:4]

    def _deviations(self, position: float, velocity: float) -> Vector:
        side = max(float(self._mean[3]), 1.0)
        place, speed = position * _POSITION * side, velocity * _VELOCITY * side
        return np.array([place, place, _ASPECT, place, speed, speed, _ASPECT_VELOCITY, speed])


def _to_xyah(box: FloatArray) -> Vector:
    x1, y1, x2, y2 = np.asarray(box, dtype=np.float64)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / max(y2 - y1, 1e-6), y2 - y1])


@dataclass
class _Motion:
    filter: BoxFilter
    good_frames: int = 1


class MotionAwareChoice:
    """Chooses a mask for each object on each frame; ask once for each object and frame."""

    def __init__(self) -> None:
        self._motions: dict[int, _Motion] = {}
        self._expected: dict[int, FloatArray] = {}

    def reset(self) -> None:
        """Forget all objects."""
        self._motions.clear()
        self._expected.clear()

    def keep(self, ids: Collection[int]) -> None:
        """Forget all objects but these."""
        for identity in [key for key in self._motions if key not in ids]:
            del self._motions[identity]
            self._expected.pop(identity, None)

    def choose(self, identity: int, boxes: Sequence[FloatArray | None], predicted_iou: FloatArray) -> int:
        """Number of the mask to take on this frame.

        Args:
            identity: of the object.
            boxes: tight box of each mask, float32 (4,), xyxy image pixels; None where the mask is empty.
            predicted_iou: the network's estimate for each mask, float32 (M,).
        """
        best = int(np.argmax(predicted_iou))
        self._expected.pop(identity, None)
        motion = self._motions.get(identity)
        if motion is None:
            if (first := boxes[best]) is not None:
                self._motions[identity] = _Motion(BoxFilter(first))
            return best
        motion.filter.predict()
        if motion.good_frames >= _STABLE_FRAMES:
            expected = self._expected[identity] = motion.filter.box
            overlap = [0.0 if box is None else float(pairwise_iou(expected, box)[0, 0]) for box in boxes]
            best = int(np.argmax(_MOTION_WEIGHT * np.array(overlap) + (1 - _MOTION_WEIGHT) * predicted_iou))
        chosen = boxes[best]
        if chosen is None or predicted_iou[best] < _STABLE_IOU:
            motion.good_frames = 0
        else:
            motion.filter.correct(chosen)
            motion.good_frames += 1
        return best

    def agreement(self, identity: int, box: FloatArray) -> float:
        """IoU of this frame's mask, by its tight box, with what was expected; 1 while nothing firm is expected."""
        expected = self._expected.get(identity)
        return 1.0 if expected is None else float(pairwise_iou(expected, box)[0, 0])
