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
# Smaller eigenvalue of a corner's gradients, as OpenCV scales it: video noise in a plain sky has a sixth of it, the
# faintest clouds that hold have five times as much
_LEAST_CORNER = 1e-4
# The corners of a key frame serve so many frames, while most of them are found and the zoom is not larger
_KEY_FRAMES = 20
_LEAST_KEPT = 0.7
_LARGEST_KEY_ZOOM = 0.1
# Pixels in which a corner is found again
_FLOW_WINDOW = (11, 11)
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
        error: standard deviation in pixels that it adds to where the motions of all frames together take a point;
            0 where it is not measured.
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
        return _scale(self.matrix)


STILL = CameraShift(np.array([[1.0, 0, 0], [0, 1.0, 0]]), False)


@dataclass(frozen=True)
class _Pose:
    """How a frame lies to its key frame, in pixels of the working size.

    Attributes:
        matrix: float64 (3, 3), similarity that takes the key frame's pixels to the frame's.
        error: standard deviation of where it takes a point.
        corners: number of those that agree on it.
    """

    matrix: npt.NDArray[np.float64]
    error: float
    corners: int


@dataclass
class _Key:
    """A frame whose corners are found again in those that follow.

    Attributes:
        picture: uint8 grey.
        corners: float32 (N, 1, 2), pixels.
        pose: of the latest frame.
        frames: in which its corners have been found.
        first: corners that were found in the first of them.
    """

    picture: UInt8Image
    corners: FloatArray
    pose: _Pose = _Pose(np.eye(3), 0.0, 0)
    frames: int = 0
    first: int = 0

    def follow(self, picture: UInt8Image) -> bool:
        """Take the pose of the next frame; False if another key frame is needed."""
        if self.frames >= _KEY_FRAMES:
            return False
        pose = self._find(picture)
        if pose is None:
            return False
        if self.frames == 0:
            self.first = pose.corners
        elif pose.corners < _LEAST_KEPT * self.first or abs(_scale(pose.matrix) - 1) > _LARGEST_KEY_ZOOM:
            return False
        self.pose = pose
        self.frames += 1
        return True

    def _find(self, picture: UInt8Image) -> _Pose | None:
        linear, step = self.pose.matrix[:2, :2], self.pose.matrix[:2, 2]
        expected = np.asarray(self.corners @ linear.T + step, dtype=np.float32)
        moved, found, _ = cv2.calcOpticalFlowPyrLK(
            self.picture,
            picture,
            self.corners,
            expected,
            winSize=_FLOW_WINDOW,
            maxLevel=3,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        good = found.ravel() == 1
        if good.sum() < _LEAST_INLIERS:
            return None
        matrix, inliers = cv2.estimateAffinePartial2D(
            self.corners[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=1.0
        )
        if matrix is None or inliers is None or inliers.sum() < max(_LEAST_INLIERS, 0.4 * good.sum()):
            return None
        held = inliers.ravel() == 1
        left_over = moved[good][held, 0] - self.corners[good][held, 0] @ matrix[:, :2].T - matrix[:, 2]
        error = _LEVERAGE * float(np.sqrt(np.mean(left_over**2) / held.sum()))
        return _Pose(np.vstack([matrix, [0, 0, 1]]), error, int(held.sum()))


class CameraMotion:
    """Sparse optical flow on background corners, with a robust similarity fitted to it.

    Each frame is compared with a key frame, not with the frame before it: so errors do not add up from frame to frame,
    which would make lamps fly. The key frame changes when it is old or too little of it is left.
    """

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._previous: UInt8Image | None = None
        self._boxes: FloatArray = as_boxes([])

    def reset(self) -> None:
        """Forget the previous frames."""
        self._key, self._previous = None, None
        self._boxes = as_boxes([])

    def update(self, image: UInt8Image) -> CameraShift:
        """Motion since the previous call that did not fail.

        Args:
            image: uint8 RGB (height, width, 3).
        """
        scale = min(1.0, _WORKING_WIDTH / image.shape[1])
        if scale * min(image.shape[:2]) < 1:  # a strip that nothing would be left of
            self.reset()
            return STILL
        grey = shrink(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8), scale)
        previous, shift = self._previous, None
        if previous is not None and previous.shape == grey.shape:
            shift = self._compare(grey, scale)
            if shift is None:
                self._key = self._new_key(previous, scale)
                shift = self._compare(grey, scale)
        if shift is None:
            self._key, shift = None, STILL
        self._previous = grey
        return shift

    def exclude(self, boxes: npt.ArrayLike) -> None:
        """Tell where targets are in the frame just given, xyxy pixels (N, 4): their corners are not background."""
        self._boxes = as_boxes(boxes)

    def _compare(self, picture: UInt8Image, scale: float) -> CameraShift | None:
        """Motion since the previous frame, by the key frame; None if that does not tell."""
        if self._key is None:
            return None
        last = self._key.pose
        if not self._key.follow(picture):
            return None
        pose = self._key.pose
        matrix = pose.matrix @ np.linalg.inv(last.matrix)
        if not 0.8 < _scale(matrix) < 1.25:
            return None
        # of the error of the frame before, which was compared with the same key frame, nothing remains
        error = float(np.sqrt(max(pose.error**2 - last.error**2, 0.0))) / scale
        matrix[:2, 2] /= scale
        return CameraShift(matrix[:2], True, error)

    def _new_key(self, picture: UInt8Image, scale: float) -> _Key | None:
        free = np.full(picture.shape, 255, dtype=np.uint8)
        for x1, y1, x2, y2 in np.round(self._boxes * scale).astype(int):
            free[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = 0
        found = cv2.goodFeaturesToTrack(picture, 120, 0.02, 7, mask=free)
        if found is None:
            return None
        corners = np.asarray(found, dtype=np.float32)
        columns, rows = corners[:, 0].astype(int).T
        corners = corners[cv2.cornerMinEigenVal(picture, 3)[rows, columns] >= _LEAST_CORNER]
        return _Key(picture, corners) if len(corners) >= _LEAST_INLIERS else None


def _scale(matrix: npt.NDArray[np.float64]) -> float:
    """Scale of a similarity."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


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
