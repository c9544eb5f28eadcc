"""Motion of the camera."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image, as_grey
from smotracker_ros.core.geometry import BoolArray, FloatArray, as_boxes

# Corners are searched in an image of about this width: enough for a tenth of a pixel, and cheap
_WORKING_WIDTH = 320
_LEAST_INLIERS = 12
_LEAST_AGREEING = 0.4
# Corners are taken from each cell of so many columns and rows: text burnt in has the strongest of all in one place
_CELLS = (6, 4)
_CORNERS_PER_CELL = 8
# Side in pixels of the blocks that vote on which of two motions is the camera's, and the mean grey levels by which one
# must explain a block better to have its vote
_BLOCK, _VOTE = 16, 0.7
# Side in pixels of the surroundings that structures are compared with; what is coarser is shading
_FINE = 9
# Blocks for the moving part of the picture, for each block that stands: overlays may have more structure than the sky
# and ground behind them, but what flies or drives through a picture that stands covers far less of it
_LEAST_VOTES = 0.5
# Seconds for which a corner that was burnt in is none of the scene's
_BURNT_SECONDS = 10.0
# Shares of the picture's width per second: what moves more slowly behind things that stand is clouds, not a pan
_SLOWEST_PAN = 0.05
# Smaller eigenvalue of a corner's gradients, as OpenCV scales it: video noise in a plain sky has a sixth of it, the
# faintest clouds that hold have five times as much
_LEAST_CORNER = 1e-4
# The corners of a key frame serve so many frames, while most of them are found and the zoom is not larger
_KEY_FRAMES = 20
_LEAST_KEPT = 0.7
_LARGEST_KEY_ZOOM = 0.1
# A camera that was seen to move may go on by itself for about so many seconds where the picture gives no hold
_MOVING_SECONDS = 2.0
# Pixels in which a corner is found again
_FLOW_WINDOW = (11, 11)
# A point far from the middle errs by so much more than the mean of the corners: rotation and zoom have errors, too
_LEVERAGE = 2.0


@dataclass(frozen=True)
class CameraShift:
    """Motion of the background from the previous frame to this one.

    Attributes:
        matrix: float64 (2, 3), similarity that takes pixels of the previous frame to pixels of this one.
        measured: False where the picture gave no hold (a plain sky): the camera turns as its poses say, or is taken to
            stand still if there are none.
        error: standard deviation in pixels that it adds to where the motions of all frames together take a point;
            where it is neither measured nor known from poses, what the camera would have moved as before.
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
        seconds: its age.
        frames: in which its corners have been found.
        first: corners that were found in the first of them.
        burnt: corners that the latest frame has shown to be burnt into the picture, float32 (N, 2), pixels.
    """

    picture: UInt8Image
    corners: FloatArray
    pose: _Pose = _Pose(np.eye(3), 0.0, 0)
    seconds: float = 0.0
    frames: int = 0
    first: int = 0
    burnt: FloatArray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.float32))

    def follow(self, picture: UInt8Image, seconds: float, guess: npt.NDArray[np.float64]) -> bool:
        """Take the pose of the next frame, so many seconds later; False if another key frame is needed.

        Args:
            picture: uint8 grey.
            seconds: since the frame before.
            guess: float64 (3, 3), motion since the frame before from which the search starts.
        """
        self.seconds += seconds
        if self.frames >= _KEY_FRAMES:
            return False
        pose = self._find(picture, guess @ self.pose.matrix)
        if pose is None:
            return False
        if self.frames == 0:
            self.first = pose.corners
        elif pose.corners < _LEAST_KEPT * self.first or abs(_scale(pose.matrix) - 1) > _LARGEST_KEY_ZOOM:
            return False
        self.pose = pose
        self.frames += 1
        return True

    def _find(self, picture: UInt8Image, guess: npt.NDArray[np.float64]) -> _Pose | None:
        expected = np.asarray(self.corners @ guess[:2, :2].T + guess[:2, 2], dtype=np.float32)
        moved, lost = _follow(self.picture, picture, self.corners, expected)
        good = np.flatnonzero(~lost)
        start, end = self.corners[good, 0], moved[good]
        fit = _fit(start, end)
        if fit is not None and _stands(fit.matrix, start):
            rest = ~fit.held
            other = _fit(start[rest], end[rest])
            if (
                other is not None
                and self._pans(other, start[rest])
                and self._is_cameras(other.matrix, fit.matrix, picture)
            ):
                # the picture moves, and what stands is burnt into it: it tells nothing of the camera from now on
                self.burnt = start[~rest]
                self.corners = self.corners[np.setdiff1d(np.arange(len(self.corners)), good[~rest])]
                self.first = int(other.held.sum())
                fit, start, end = other, start[rest], end[rest]
        if fit is None:
            return None
        held = int(fit.held.sum())
        left_over = end[fit.held] - start[fit.held] @ fit.matrix[:, :2].T - fit.matrix[:, 2]
        error = _LEVERAGE * float(np.sqrt(np.mean(left_over**2) / held))
        return _Pose(np.vstack([fit.matrix, [0, 0, 1]]), error, held)

    def _pans(self, fit: _Fit, start: FloatArray) -> bool:
        """Whether a motion since the key frame is fast enough for a camera's."""
        moved = start @ fit.matrix[:, :2].T + fit.matrix[:, 2] - start
        distance = float(np.median(np.linalg.norm(moved, axis=1)))
        return distance >= _SLOWEST_PAN * self.picture.shape[1] * self.seconds

    def _is_cameras(self, matrix: npt.NDArray[np.float64], other: npt.NDArray[np.float64], picture: UInt8Image) -> bool:
        """Whether the first motion is the camera's, although another part of the picture has moved by the second.

        Corners do not tell: text has more of them than a wood. So the blocks of the picture vote, each for the motion
        by which the key frame resembles it better, brightness apart: the lens's shading stands as text does.
        """
        size = picture.shape[1], picture.shape[0]
        before, now = _structure(self.picture), _structure(picture)
        seen = np.ones(picture.shape, dtype=np.float32)
        wrong = np.zeros(picture.shape, dtype=np.float32)
        for motion, sign in ((matrix, -1), (other, 1)):
            wrong += sign * np.abs(cv2.warpAffine(before, motion, size) - now)
            seen = np.minimum(seen, cv2.warpAffine(np.ones_like(seen), motion, size))
        blocks = max(size[0] // _BLOCK, 1), max(size[1] // _BLOCK, 1)
        votes = cv2.resize(wrong * (seen == 1), blocks, interpolation=cv2.INTER_AREA)
        return int(np.count_nonzero(votes > _VOTE)) > _LEAST_VOTES * int(np.count_nonzero(votes < -_VOTE))


def _follow(
    before: UInt8Image, now: UInt8Image, corners: FloatArray, expected: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Where corners (N, 1, 2) of a picture are in the next, float32 (N, 2), and which were lost, bool (N,)."""
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before,
        now,
        corners,
        np.ascontiguousarray(expected, dtype=np.float32),
        winSize=_FLOW_WINDOW,
        maxLevel=3,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(moved[:, 0], dtype=np.float32), np.asarray(found.ravel() != 1)


@dataclass(frozen=True)
class _Fit:
    """A similarity that many points agree on.

    Attributes:
        matrix: float64 (2, 3).
        held: bool, which of the points agree.
    """

    matrix: npt.NDArray[np.float64]
    held: npt.NDArray[np.bool_]


def _fit(start: FloatArray, end: FloatArray) -> _Fit | None:
    """Robust similarity between points (N, 2); None if too few agree."""
    if len(start) < _LEAST_INLIERS:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=1.0)
    if matrix is None or inliers is None or inliers.sum() < max(_LEAST_INLIERS, _LEAST_AGREEING * len(start)):
        return None
    return _Fit(matrix, inliers.ravel() == 1)


def _stands(matrix: npt.NDArray[np.float64], points: FloatArray) -> bool:
    """Whether a motion leaves all points within a pixel of where they are."""
    return bool(np.abs(points @ matrix[:, :2].T + matrix[:, 2] - points).max() < 1.0)


class CameraMotion:
    """Sparse optical flow on background corners, with a robust similarity fitted to it.

    Each frame is compared with a key frame, not with the frame before it: so errors do not add up from frame to frame,
    which would make lamps fly. The key frame changes when it is old or too little of it is left.
    """

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._previous: UInt8Image | None = None
        self._boxes: FloatArray = as_boxes([])
        self._fixed: BoolArray | None = None
        self._seconds = 0.0
        self._burnt_until: FloatArray | None = None
        self._speed = 0.0

    def reset(self) -> None:
        """Forget the previous frames."""
        self._key, self._previous = None, None
        self._boxes, self._fixed = as_boxes([]), None
        self._burnt_until = None
        self._speed = 0.0

    def update(self, image: UInt8Image, seconds: float, known: CameraShift | None = None) -> CameraShift:
        """Motion since the previous call that did not fail.

        Args:
            image: uint8 RGB (height, width, 3), or grey (height, width).
            seconds: time since the previous image.
            known: the motion that the camera's poses state. The search starts there, and where the picture gives no
                hold it is taken; None: they state nothing.
        """
        scale = min(1.0, _WORKING_WIDTH / image.shape[1])
        if scale * min(image.shape[:2]) < 1:  # a strip that nothing would be left of
            self.reset()
            return STILL
        grey = shrink(as_grey(image), scale)
        self._seconds += seconds
        previous, shift = self._previous, None
        if previous is not None and previous.shape == grey.shape:
            guess = np.vstack([(known or STILL).matrix, [0, 0, 1]])
            guess[:2, 2] *= scale
            shift = self._compare(grey, scale, seconds, guess)
            if shift is None:
                self._key = self._new_key(previous, scale)
                shift = self._compare(grey, scale, seconds, guess)
            if shift is None and known is not None:
                # poses may be wrong: what the picture shows without their help counts for more
                self._key = self._new_key(previous, scale)
                shift = self._compare(grey, scale, seconds, np.eye(3))
        if shift is None:
            self._key, shift = None, known
        if shift is None:
            self._speed *= float(np.exp(-seconds / _MOVING_SECONDS))
            shift = CameraShift(STILL.matrix, False, self._speed * seconds)
        elif seconds > 0:
            middle = np.array([[image.shape[1] / 2, image.shape[0] / 2]], dtype=np.float32)
            speed = float(np.linalg.norm(shift.move(middle) - middle)) / seconds
            self._speed += (1 - float(np.exp(-seconds / _MOVING_SECONDS))) * (speed - self._speed)
        self._previous = grey
        return shift

    def exclude(self, boxes: npt.ArrayLike, fixed: BoolArray | None = None) -> None:
        """Tell what is not background in the frame just given.

        Args:
            boxes: where targets are, xyxy pixels (N, 4).
            fixed: what is burnt into the image, bool (h, w) at any size that covers the frame; None: nothing is known.
        """
        self._boxes, self._fixed = as_boxes(boxes), fixed

    def _compare(
        self, picture: UInt8Image, scale: float, seconds: float, guess: npt.NDArray[np.float64]
    ) -> CameraShift | None:
        """Motion since the previous frame, by the key frame; None if that does not tell."""
        if self._key is None:
            return None
        last = self._key.pose
        followed = self._key.follow(picture, seconds, guess)
        self._note_burnt(self._key.burnt, picture.shape)
        if not followed:
            return None
        pose = self._key.pose
        matrix = pose.matrix @ np.linalg.inv(last.matrix)
        if not 0.8 < _scale(matrix) < 1.25:
            return None
        # of the error of the frame before, which was compared with the same key frame, nothing remains
        error = float(np.sqrt(max(pose.error**2 - last.error**2, 0.0))) / scale
        matrix[:2, 2] /= scale
        return CameraShift(matrix[:2], True, error)

    def _note_burnt(self, corners: FloatArray, shape: tuple[int, ...]) -> None:
        """Remember where corners were burnt in, for the key frames to come."""
        if not len(corners):
            return
        if self._burnt_until is None or self._burnt_until.shape != shape:
            self._burnt_until = np.zeros(shape, dtype=np.float32)
        for x, y in np.rint(corners).astype(int).tolist():
            place = (slice(max(y - 4, 0), y + 5), slice(max(x - 4, 0), x + 5))
            self._burnt_until[place] = self._seconds + _BURNT_SECONDS

    def _new_key(self, picture: UInt8Image, scale: float) -> _Key | None:
        free = np.full(picture.shape, 255, dtype=np.uint8)
        for x1, y1, x2, y2 in np.round(self._boxes * scale).astype(int):
            free[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = 0
        if self._burnt_until is not None and self._burnt_until.shape == picture.shape:
            free[self._burnt_until > self._seconds] = 0
        if self._fixed is not None:
            fixed = cv2.resize(self._fixed.astype(np.uint8), picture.shape[::-1], interpolation=cv2.INTER_AREA)
            free[cv2.dilate(fixed, np.ones((3, 3), dtype=np.uint8)) > 0] = 0
        corners = _spread_corners(picture, free)
        if not len(corners):
            return None
        columns, rows = corners[:, 0].astype(int).T
        corners = corners[cv2.cornerMinEigenVal(picture, 3)[rows, columns] >= _LEAST_CORNER]
        return _Key(picture, corners) if len(corners) >= _LEAST_INLIERS else None


def _structure(picture: UInt8Image) -> FloatArray:
    """A grey picture less its surroundings' brightness, float32."""
    values = picture.astype(np.float32)
    return values - cv2.blur(values, (_FINE, _FINE))


def _spread_corners(picture: UInt8Image, free: UInt8Image) -> FloatArray:
    """Corners of all cells of a grey picture where `free` is set, float32 (N, 1, 2), pixels."""
    parts = []
    height, width = picture.shape
    columns = np.linspace(0, width, _CELLS[0] + 1).astype(int)
    rows = np.linspace(0, height, _CELLS[1] + 1).astype(int)
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            mask = np.zeros_like(free)
            mask[top:bottom, left:right] = free[top:bottom, left:right]
            cell = (slice(max(top - 4, 0), bottom + 4), slice(max(left - 4, 0), right + 4))
            part = np.ascontiguousarray(picture[cell]), np.ascontiguousarray(mask[cell])
            if min(part[0].shape) < 8:
                continue
            found = cv2.goodFeaturesToTrack(part[0], _CORNERS_PER_CELL, 0.003, 7, mask=part[1])
            if found is not None:
                parts.append(found + np.array([max(left - 4, 0), max(top - 4, 0)], dtype=np.float32))
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros((0, 1, 2), dtype=np.float32)


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
