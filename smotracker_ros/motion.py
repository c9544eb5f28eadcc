"""Motion of the camera and of targets."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.frames import UInt8Image
from smotracker_ros.geometry import FloatArray, as_boxes

# Corners are searched in an image of about this width: enough for a tenth of a pixel, and cheap
_WORKING_WIDTH = 320
_LEAST_INLIERS = 12
# A point far from the middle errs by so much more than the mean of the corners: rotation and zoom have errors, too
_LEVERAGE = 2.0
# Time in seconds within which a velocity follows: a gain of a quarter per frame at 30 frames per second
_VELOCITY_SECONDS = 0.115
# The first positions are believed faster; within less time, in seconds, their noise would pass for speed
_SHORTEST_STEP = 1 / 60


@dataclass(frozen=True)
class CameraShift:
    """Motion of the background from the previous frame to this one.

    Attributes:
        matrix: float64 (2, 3), similarity that takes pixels of the previous frame to pixels of this one.
        measured: False where the picture gave no hold (a plain sky) and the camera is taken to stand still.
        error: standard deviation of where it takes a point, in pixels; 0 where it is not measured.
    """

    matrix: npt.NDArray[np.float64]
    measured: bool
    error: float = 0.0

    def move(self, points: npt.ArrayLike) -> FloatArray:
        """Points (N, 2) of the previous frame to where the background under them is now, float32 (N, 2)."""
        array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return np.asarray(array @ self.matrix[:, :2].T + self.matrix[:, 2], dtype=np.float32)

    @property
    def zoom(self) -> float:
        """Scale from the previous frame to this one."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))


STILL = CameraShift(np.array([[1.0, 0, 0], [0, 1.0, 0]]), False)


class CameraMotion:
    """Sparse optical flow on background corners, with a robust similarity fitted to it."""

    def __init__(self) -> None:
        self._previous: UInt8Image | None = None
        self._boxes: FloatArray = as_boxes([])

    def reset(self) -> None:
        """Forget the previous frame."""
        self._previous = None
        self._boxes = as_boxes([])

    def update(self, image: UInt8Image) -> CameraShift:
        """Motion since the previous call.

        Args:
            image: uint8 RGB (height, width, 3).
        """
        scale = min(1.0, _WORKING_WIDTH / image.shape[1])
        if scale * min(image.shape[:2]) < 1:  # a strip that nothing would be left of
            self._previous = None
            return STILL
        grey = shrink(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8), scale)
        previous, self._previous = self._previous, grey
        if previous is None or previous.shape != grey.shape:
            return STILL
        free = np.full(previous.shape, 255, dtype=np.uint8)
        for x1, y1, x2, y2 in np.round(self._boxes * scale).astype(int):
            free[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = 0
        corners = cv2.goodFeaturesToTrack(previous, 120, 0.02, 7, mask=free)
        if corners is None or len(corners) < _LEAST_INLIERS:
            return STILL
        moved, found, _ = cv2.calcOpticalFlowPyrLK(previous, grey, corners, None, winSize=(15, 15), maxLevel=3)
        good = found.ravel() == 1
        if good.sum() < _LEAST_INLIERS:
            return STILL
        matrix, inliers = cv2.estimateAffinePartial2D(
            corners[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=1.0
        )
        if matrix is None or inliers is None or inliers.sum() < max(_LEAST_INLIERS, 0.4 * good.sum()):
            return STILL
        if not 0.8 < np.hypot(matrix[0, 0], matrix[1, 0]) < 1.25:
            return STILL
        matrix = np.asarray(matrix, dtype=np.float64)
        held = inliers.ravel() == 1
        left_over = moved[good][held, 0] - corners[good][held, 0] @ matrix[:, :2].T - matrix[:, 2]
        error = _LEVERAGE * float(np.sqrt(np.mean(left_over**2) / held.sum())) / scale
        matrix[:, 2] /= scale
        return CameraShift(matrix, True, error)

    def exclude(self, boxes: npt.ArrayLike) -> None:
        """Tell where targets are in the frame just given, xyxy pixels (N, 4): their corners are not background."""
        self._boxes = as_boxes(boxes)


def shrink(grey: UInt8Image, scale: float) -> UInt8Image:
    """A smaller picture, uint8, each of whose pixels is the mean of those that it covers.

    Args:
        grey: uint8 (height, width).
        scale: at most 1; sides are rounded, to one pixel at least.
    """
    height, width = (max(1, round(scale * side)) for side in grey.shape)
    # OpenCV halves many times faster than it divides by four
    while grey.shape[0] % (2 * height) == grey.shape[1] % (2 * width) == 0:
        grey = np.asarray(cv2.resize(grey, (grey.shape[1] // 2, grey.shape[0] // 2), interpolation=cv2.INTER_AREA))
    if grey.shape != (height, width):
        grey = np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA))
    return grey


@dataclass
class TargetMotion:
    """Constant-velocity filter of one target's centre, relative to the background.

    An alpha-beta filter (a Kalman filter in its steady state): position follows measurements at once, because masks are
    precise, velocity follows slowly.

    Attributes:
        center: (x, y) in pixels of the current frame, float32 (2,).
        velocity: pixels per second relative to the background, float32 (2,).
        measurements: positions measured so far.
    """

    center: FloatArray
    velocity: FloatArray
    measurements: int = 1

    def predict(self, shift: CameraShift, seconds: float) -> None:
        """Move on by one frame."""
        linear = shift.matrix[:, :2].astype(np.float32)
        self.velocity = linear @ self.velocity
        self.center = shift.move(self.center)[0] + self.velocity * np.float32(seconds)

    def measure(self, center: FloatArray, seconds: float, largest_error: float = float("inf")) -> None:
        """Correct the prediction of this frame with a measured centre.

        The gain follows the time, so that frames stamped in bursts, or late, do not make speed of a position's noise.

        Args:
            center: (x, y) in pixels, float32 (2,).
            seconds: time since the last measurement; 0: the velocity stays.
            largest_error: pixels by which a prediction may be wrong; what is beyond is a jump of the mask, not speed.
        """
        error = center - self.center
        error = error * np.float32(min(1.0, largest_error / max(float(np.linalg.norm(error)), 1e-6)))
        if seconds > 0:
            steady = (1.0 - np.exp(-seconds / _VELOCITY_SECONDS)) / seconds
            rate = max(steady, 1.0 / (self.measurements + 1) / max(seconds, _SHORTEST_STEP))
            self.velocity = (self.velocity + np.float32(rate) * error).astype(np.float32)
        self.center = np.asarray(center, dtype=np.float32)
        self.measurements += 1
