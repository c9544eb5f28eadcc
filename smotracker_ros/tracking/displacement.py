"""How far a target has moved against the background, in standard deviations of what may only seem so.

Clutter - antennas, lamps, cloud edges - looks like a target but stands still for ever, which few flying targets do.
What is burnt into the picture stands still in the image instead, and seems to move whenever the camera does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.tracking.camera_motion import CameraShift

# Positions are averaged over about so many seconds, since those of single masks jitter
_SMOOTHING_SECONDS = 0.07
# Seconds over which a target shows whether it still moves
_RECENT_SECONDS = 0.8
# Standard deviation of a mask's centre: pixels, and shares of the target's size
_JITTER_PIXELS, _JITTER_SIZES = 0.5, 0.05
# A place is remembered with so many pixels round the target; it is unchanged if it is found again this alike
# (correlation) and this near (pixels, camera motion taken away)
_RIM = 3
_LEAST_TEMPLATE = 5
_LIKENESS = 0.6
_LARGEST_SHIFT = 1.5
# Standard deviations of the camera's motion that the place may be off by
_SIGMAS = 3.0
# A zoom by less does not change a picture
_LEAST_ZOOM = 0.03


@dataclass
class Displacement:
    """A target's way against the background since it was first seen, and in the image.

    Attributes:
        farthest: largest distance from its first place in the background, pixels of the current frame.
        camera_path: way of the background under it, pixels.
        image_reach: largest distance from its first place in the image, pixels.
    """

    farthest: float = 0.0
    camera_path: float = 0.0
    image_reach: float = 0.0
    _variance: float = 0.0
    _start: FloatArray | None = None
    _image_start: FloatArray | None = None
    _place: FloatArray | None = None
    _since_measured: float = 0.0
    # rows of age in seconds, place (x, y) in the current frame, variance of the camera's motion since then; the oldest
    # first
    _recent: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))

    @property
    def drift(self) -> float:
        """How much of the distance may come of small errors of the camera's motion, in pixels."""
        return _SIGMAS * float(np.sqrt(self._variance))

    def deviations(self, size: float) -> float:
        """The largest distance in standard deviations of the camera's motion and of masks of a size in pixels."""
        return self.farthest / _sigma(self._variance, size)

    def deviations_lately(self, size: float) -> float | None:
        """The distance of the last 0.8 s in standard deviations; None while it is seen for a shorter time."""
        if self._place is None or not self._is_known_lately:
            return None
        return float(np.linalg.norm(self._place - self._before)) / _sigma(float(self._recent[0, 3]), size)

    @property
    def lately(self) -> float:
        """The distance of the last 0.8 s in pixels; infinite while it is seen for a shorter time."""
        if self._place is None or not self._is_known_lately:
            return float("inf")
        return float(np.linalg.norm(self._place - self._before))

    @property
    def _is_known_lately(self) -> bool:
        return len(self._recent) > 0 and bool(self._recent[0, 0] >= _RECENT_SECONDS)

    @property
    def _before(self) -> FloatArray:
        """Where it was at the beginning of the last 0.8 s, in the current frame, float32 (2,)."""
        return self._recent[0, 1:3].astype(np.float32)

    def predict(self, shift: CameraShift, seconds: float) -> None:
        """Move on by one frame, with the background."""
        Displacement.predict_all([self], shift, seconds)

    @staticmethod
    def predict_all(ways: Sequence[Displacement], shift: CameraShift, seconds: float) -> None:
        """Move several on by one frame, all at once."""
        zoom = shift.zoom
        for way in ways:
            way._variance = way._variance * zoom**2 + shift.error**2
            way._since_measured += seconds
            way.farthest *= zoom
        known = [(way, way._start, way._place) for way in ways if way._start is not None and way._place is not None]
        if not known:
            return
        before = np.array([place for _, _, place in known])
        starts, places = shift.move([start for _, start, _ in known]), shift.move(before)
        lengths = np.linalg.norm(places - before, axis=1).tolist()
        recent = np.concatenate([way._recent for way, _, _ in known])
        recent[:, 0] += seconds
        recent[:, 1:3] = shift.move(recent[:, 1:3])
        recent[:, 3] = recent[:, 3] * zoom**2 + shift.error**2
        old = recent[:, 0] >= _RECENT_SECONDS
        row = 0
        for (way, _, _), start, place, length in zip(known, starts, places, lengths, strict=True):
            way._start, way._place = start, place
            way.camera_path += length
            end = row + len(way._recent)
            # of those that are old enough, the youngest is kept
            way._recent = recent[row + max(int(np.count_nonzero(old[row:end])) - 1, 0) : end]
            row = end

    def measure(self, center: FloatArray) -> None:
        """Take the centre of this frame's mask, (x, y) pixels."""
        center = np.asarray(center, dtype=np.float32)
        if self._place is None or self._start is None or self._image_start is None:
            self._start = self._image_start = self._place = center
        gain = np.float32(1 - np.exp(-self._since_measured / _SMOOTHING_SECONDS))
        self._place = self._place + gain * (center - self._place)
        self._since_measured = 0.0
        self.farthest = max(self.farthest, float(np.linalg.norm(self._place - self._start)))
        self.image_reach = max(self.image_reach, float(np.linalg.norm(center - self._image_start)))
        self._recent = np.concatenate([self._recent, [[0.0, *self._place, 0.0]]])


def _sigma(variance: float, size: float) -> float:
    return float(np.sqrt(variance + (_JITTER_PIXELS + _JITTER_SIZES * size) ** 2))


@dataclass
class BackgroundTemplate:
    """What was seen at a target's first place, to tell whether it is still there when the target claims to have moved.

    Masks of clutter change their shape and so seem to move; the picture of clutter does not.

    Attributes:
        patch: uint8 grey picture of the place.
        center: middle of the patch in pixels of the current frame, moved with the background, float32 (2,).
        zoom: scale from the frame of the patch to the current one.
    """

    patch: npt.NDArray[np.uint8]
    center: FloatArray
    zoom: float = 1.0

    @staticmethod
    def take(image: UInt8Image, box: FloatArray) -> BackgroundTemplate | None:
        """Remember the surroundings of a tight box, float32 (4,), as far as the image has them; None: too few."""
        x1, y1 = np.maximum(np.floor(box[:2]).astype(int) - _RIM, 0)
        x2, y2 = np.minimum(np.ceil(box[2:]).astype(int) + _RIM, image.shape[1::-1])
        if min(x2 - x1, y2 - y1) < _LEAST_TEMPLATE:
            return None
        patch = np.asarray(cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        return BackgroundTemplate(patch, np.array([(x1 + x2) / 2, (y1 + y2) / 2], dtype=np.float32))

    def predict(self, shift: CameraShift) -> None:
        """Move on by one frame, with the background."""
        self.center = shift.move(self.center)[0]
        self.zoom *= shift.zoom

    def is_unchanged(self, image: UInt8Image, drift: float = 0.0) -> bool | None:
        """Whether the place still looks as it did, without having moved against the background.

        Args:
            image: uint8 RGB (height, width, 3), the current frame.
            drift: pixels by which the camera's motion may be off.

        Returns:
            None where too little of the place is in view to tell.
        """
        patch = self._zoomed()
        left, top = (round(float(c) - side / 2) for c, side in zip(self.center, patch.shape[::-1], strict=True))
        # of a place at the border the part in view is compared: elsewhere it would be found beside where it is
        x1, y1 = max(-left, 0), max(-top, 0)
        patch = patch[y1 : max(image.shape[0] - top, 0), x1 : max(image.shape[1] - left, 0)]
        height, width = patch.shape
        if min(height, width) < _LEAST_TEMPLATE:
            return None
        left, top = left + x1, top + y1
        reach = max(4, max(height, width) // 2)
        x1, y1 = max(left - reach, 0), max(top - reach, 0)
        area = image[y1 : top + height + reach, x1 : left + width + reach]
        grey = np.asarray(cv2.cvtColor(area, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        likeness = cv2.matchTemplate(grey, np.ascontiguousarray(patch), cv2.TM_CCOEFF_NORMED)
        _, best, _, place = cv2.minMaxLoc(likeness)
        moved = float(np.hypot(x1 + place[0] - left, y1 + place[1] - top))
        return best > _LIKENESS and moved <= _LARGEST_SHIFT + drift

    def _zoomed(self) -> npt.NDArray[np.uint8]:
        """The patch as large as the place is now."""
        if abs(self.zoom - 1) < _LEAST_ZOOM:
            return self.patch
        height, width = (max(round(side * self.zoom), 1) for side in self.patch.shape)
        kind = cv2.INTER_AREA if self.zoom < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self.patch, (width, height), interpolation=kind), dtype=np.uint8)
