"""What keeps its place in the image while the camera moves: burnt-in text, reticles, dead pixels, dirt on the lens.

The scene slides through the image when the camera pans, zooms or shakes; what is burnt in does not. So a place belongs
to an overlay if its edges stay the same, to the pixel, while the scene behind it has moved on. A target that a pan
keeps in the middle of the image wobbles by a pixel or two and turns, and its edges do not stay the same.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image, as_grey
from smotracker_ros.core.geometry import FloatArray, as_boxes

# Width in pixels at which pictures are compared, larger ones are reduced: strokes of text are still seen
_WORKING_WIDTH = 640
# Pixels that the scene must have moved since the last comparison; less, and its own edges seem to stay
_LEAST_STEP = 3.0
# Seconds between comparisons: more of them tell nothing new, however fast the camera
_LEAST_INTERVAL = 0.1
# Comparisons, and seconds between the first and the last of them, after which a place can be judged
_LEAST_COUNT, _LEAST_SECONDS = 5, 0.6
# Seconds after which a comparison weighs little: an overlay that has gone is forgotten
_MEMORY_SECONDS = 4.0
# Share of the gradient's mean square that its squared mean must have: 1 for edges that never change
_LEAST_SAMENESS = 0.9
# Grey levels per pixel: weaker edges are noise, or come and go with compression
_LEAST_EDGE = 8.0
# Where edges change, those are taken that have this share of the fixed ones' strength, so many times five pixels from
# a fixed place
_LEAST_BUSY, _DIGITS = 0.4, 8
# Pixels by which letters are joined, so that a digit that changes belongs to the text round it
_JOIN = 7
# Share of the edges in a box that must be fixed, and how much stronger than round the box the others may be
_LEAST_SHARE, _OWN_EDGES = 0.5, 1.6


class ImageFixed:
    """Learns from a stream which places of the image are fixed, and tells which boxes lie on them."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the stream."""
        self._moved = np.eye(3)
        self._sum: npt.NDArray[np.float32] | None = None
        self._square = self._weight = self._count = self._since = np.zeros((0, 0), dtype=np.float32)
        self._seconds = 0.0
        self._last = 0.0
        self._mask: npt.NDArray[np.uint8] | None = None
        self._image: UInt8Image | None = None
        self._scale = 1.0

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Fixed places, bool (height, width) at the working size; None while nothing is known."""
        return None if self._mask is None else self._mask > 0

    def update(self, image: UInt8Image, shift: npt.NDArray[np.float64], seconds: float) -> None:
        """Look at the next frame.

        Args:
            image: uint8 RGB (height, width, 3), or grey (height, width).
            shift: the camera's motion, (2, 3): maps pixels of the previous frame to those of this one.
            seconds: time since the previous frame.
        """
        self._seconds += seconds
        self._image = image
        scale = min(1.0, _WORKING_WIDTH / image.shape[1])
        size = (max(round(scale * image.shape[1]), 1), max(round(scale * image.shape[0]), 1))
        if self._sum is None or self._sum.shape[1:] != size[::-1]:
            self.reset()
            self._image = image
            self._sum = np.zeros((4, size[1], size[0]), dtype=np.float32)
            self._square, self._weight, self._count, self._since = (
                np.zeros(size[::-1], dtype=np.float32) for _ in range(4)
            )
            self._scale = scale
        step = np.vstack([shift, [0, 0, 1]])
        step[:2, 2] *= scale
        self._moved = step @ self._moved
        if self._seconds - self._last + seconds / 2 < _LEAST_INTERVAL:
            return
        far = self._distances(size) >= _LEAST_STEP
        if not far.any():
            return
        self._moved = np.eye(3)
        self._compare(image, size, far)
        self._judge()

    def covers(self, boxes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which boxes show what is fixed and little else, bool (N,): most edges in them are, in the latest frame.

        Args:
            boxes: (N, 4), xyxy pixels of the frames.
        """
        boxes = as_boxes(boxes)
        if self._mask is None or self._image is None or not len(boxes):
            return np.zeros(len(boxes), dtype=np.bool_)
        return np.array([self._is_fixed(box) for box in boxes], dtype=np.bool_)

    def _is_fixed(self, box: FloatArray) -> bool:
        """Whether a box, (4,) pixels of the frames, shows fixed edges, and besides them what is round it, too.

        A target behind a reticle has edges of its own.
        """
        assert self._mask is not None and self._image is not None
        height, width = self._mask.shape
        scaled = box * np.float32(self._scale)
        reach = max(4.0, 0.5 * float(max(scaled[2] - scaled[0], scaled[3] - scaled[1])))
        left, top = max(int(scaled[0] - reach), 0), max(int(scaled[1] - reach), 0)
        right, bottom = min(int(scaled[2] + reach) + 1, width), min(int(scaled[3] + reach) + 1, height)
        if right - left < 3 or bottom - top < 3:
            return False
        fixed = self._mask[top:bottom, left:right] > 0
        inside = np.zeros(fixed.shape, dtype=np.bool_)
        x1, y1, x2, y2 = (round(float(value)) for value in scaled)
        inside[max(y1 - top, 0) : max(y2 - top, 1), max(x1 - left, 0) : max(x2 - left, 1)] = True
        if not (fixed & inside).any():
            return False
        first, last = np.array([[left, top], [right, bottom]]) / self._scale
        part = self._image[int(first[1]) : int(np.ceil(last[1])), int(first[0]) : int(np.ceil(last[0]))]
        grey = cv2.resize(as_grey(part), fixed.shape[::-1], interpolation=cv2.INTER_AREA)
        edges = np.hypot(*_gradient(grey))
        if edges[fixed & inside].sum() < _LEAST_SHARE * edges[inside].sum():
            return False
        own, around = edges[inside & ~fixed], edges[~inside & ~fixed]
        usual = float(np.percentile(around, 90)) if around.size else 0.0
        return own.size < 3 or float(np.percentile(own, 90)) < max(_OWN_EDGES * usual, usual + _LEAST_EDGE)

    def _distances(self, size: tuple[int, int]) -> FloatArray:
        """Pixels by which the scene has moved since the last comparison, float32 (height, width)."""
        columns, rows = np.meshgrid(np.linspace(0, size[0] - 1, 9), np.linspace(0, size[1] - 1, 9))
        places = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
        moved = places @ self._moved[:2].T - places[..., :2]
        return np.asarray(cv2.resize(np.linalg.norm(moved, axis=-1).astype(np.float32), size))

    def _compare(self, image: UInt8Image, size: tuple[int, int], far: npt.NDArray[np.bool_]) -> None:
        """Add a frame's edges where the scene has moved on."""
        assert self._sum is not None
        grey = as_grey(image)
        if grey.shape != size[::-1]:
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        gradient = _gradient(grey)
        # with doubled angles, too: text may turn from white to black, and dots do not stay the same that way
        edges = np.concatenate([gradient, _doubled(gradient)])
        kept = np.float32(np.exp(-(self._seconds - self._last) / _MEMORY_SECONDS))
        self._last = self._seconds
        new, everywhere = far.astype(np.float32), bool(far.all())
        self._since = np.where(far & (self._count == 0), np.float32(self._seconds), self._since)
        for total, value in ((self._square, (gradient**2).sum(axis=0)), (self._weight, 1.0), (self._sum, edges)):
            total *= kept
            total += value if everywhere else new * value
        self._count += new

    def _judge(self) -> None:
        assert self._sum is not None
        weight = np.maximum(self._weight, 1e-3)
        mean = np.maximum(np.hypot(*self._sum[:2]), np.hypot(*self._sum[2:])) / weight
        sameness = mean**2 / np.maximum(self._square / weight, 1e-3)
        known = (self._count >= _LEAST_COUNT) & (self._seconds - self._since >= _LEAST_SECONDS)
        fixed = (known & (mean >= _LEAST_EDGE) & (sameness >= _LEAST_SAMENESS)).astype(np.uint8)
        if not fixed.any():
            self._mask = None
            return
        # digits change, but there is always something drawn at their place, beside what stays
        least = max(_LEAST_EDGE, _LEAST_BUSY * float(np.median(mean[fixed > 0])))
        busy = (known & (self._square >= least**2 * weight)).astype(np.uint8)
        for _ in range(_DIGITS):
            fixed |= cv2.dilate(fixed, np.ones((3, 11), dtype=np.uint8)) & busy
        joined = cv2.morphologyEx(fixed, cv2.MORPH_CLOSE, np.ones((_JOIN, _JOIN), dtype=np.uint8))
        self._mask = np.asarray(cv2.dilate(joined, np.ones((3, 3), dtype=np.uint8)))


def _doubled(gradient: FloatArray) -> FloatArray:
    """Gradients with their angles doubled, in which an edge equals its negative, float32 (2, height, width)."""
    x, y = gradient
    strength = np.maximum(np.hypot(x, y), np.float32(1e-6))
    return np.stack([(x * x - y * y) / strength, 2 * x * y / strength])


def _gradient(grey: UInt8Image) -> FloatArray:
    """Grey levels per pixel along x and y, float32 (2, height, width)."""
    axes = ((1, 0), (0, 1))
    return np.stack([np.asarray(cv2.Sobel(grey, cv2.CV_32F, *axis, scale=0.25)) for axis in axes])
