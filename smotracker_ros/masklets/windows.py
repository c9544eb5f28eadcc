"""Windows ("foveation"): the part of a frame that SAM2 sees, and the way there and back.

A 10-pixel drone in a 1280x720 frame is 2 pixels wide once the frame is squeezed to SAM2's input. A window of a few
target sizes keeps it large, at a fraction of the cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, MaskPatch

WINDOW_FACTOR = 4.0
"""Side of a window as a multiple of the target's longer side."""
MODES = ("auto", "windows", "whole_frame")

# A target of this many input pixels is resolved well enough
_ENOUGH_PIXELS = 20.0
# No window is smaller: below, there is nothing but interpolation
_LEAST_SIDE = 20.0


@dataclass(frozen=True)
class Window:
    """A rectangle of the image, in pixels; it may reach over the border.

    Attributes:
        x: left edge.
        y: top edge.
        width: width, > 0.
        height: height, > 0.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> FloatArray:
        """Centre (x, y), float32 (2,)."""
        return np.array([self.x + self.width / 2, self.y + self.height / 2], dtype=np.float32)

    def contains(self, point: npt.NDArray[np.floating], margin: float = 0.0) -> bool:
        """Whether a point (x, y) lies inside, at least `margin` times the size away from the border."""
        mx, my = margin * self.width, margin * self.height
        return bool(
            self.x + mx <= point[0] <= self.x + self.width - mx and self.y + my <= point[1] <= self.y + self.height - my
        )

    def to_input(self, boxes: FloatArray, size: int) -> FloatArray:
        """Boxes (N, 4) from image pixels to pixels of the network's input of side `size`."""
        scale = np.array([size / self.width, size / self.height] * 2, dtype=np.float32)
        return (boxes - np.array([self.x, self.y] * 2, dtype=np.float32)) * scale

    def to_image(self, boxes: FloatArray, size: int) -> FloatArray:
        """Inverse of :meth:`to_input`."""
        scale = np.array([self.width / size, self.height / size] * 2, dtype=np.float32)
        return boxes * scale + np.array([self.x, self.y] * 2, dtype=np.float32)


def whole_frame(image: UInt8Image) -> Window:
    """The window that is the whole image, squeezed to a square as the stock predictor does."""
    return Window(0.0, 0.0, float(image.shape[1]), float(image.shape[0]))


def window_around(center: npt.ArrayLike, side: float) -> Window:
    """Square window of the given side round a point (x, y)."""
    x, y = np.asarray(center, dtype=np.float64)
    side = max(float(side), _LEAST_SIDE)
    return Window(float(x) - side / 2, float(y) - side / 2, side, side)


def cut(image: UInt8Image, window: Window, size: int) -> UInt8Image:
    """The window's pixels, uint8 (size, size, 3); beyond the border the edge pixels are repeated."""
    height, width = image.shape[:2]
    if (window.x, window.y, window.width, window.height) == (0.0, 0.0, float(width), float(height)):
        shrinks = width > size or height > size
        return np.asarray(
            cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
            dtype=np.uint8,
        )
    zoom_x, zoom_y = size / window.width, size / window.height
    # warpAffine samples at pixel centres: the half-pixel terms keep window edges on image edges
    matrix = np.array(
        [[zoom_x, 0, zoom_x * (0.5 - window.x) - 0.5], [0, zoom_y, zoom_y * (0.5 - window.y) - 0.5]], dtype=np.float64
    )
    flags = cv2.INTER_LINEAR
    if zoom_x < 0.75:  # averaging is needed to shrink, and resize is the one that averages
        x1, y1 = max(int(window.x), 0), max(int(window.y), 0)
        x2, y2 = min(int(window.x + window.width) + 1, width), min(int(window.y + window.height) + 1, height)
        if x2 - x1 > 1 and y2 - y1 > 1:
            part = image[y1:y2, x1:x2]
            target = (max(round((x2 - x1) * zoom_x), 1), max(round((y2 - y1) * zoom_y), 1))
            image = np.asarray(cv2.resize(part, target, interpolation=cv2.INTER_AREA), dtype=np.uint8)
            matrix = np.array([[1, 0, (x1 - window.x) * zoom_x], [0, 1, (y1 - window.y) * zoom_y]], dtype=np.float64)
    result = cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(result, dtype=np.uint8)


def paste(logits: FloatArray, window: Window, box: FloatArray, height: int, width: int) -> MaskPatch:
    """Bring mask logits of a window back to image pixels.

    Args:
        logits: float32 (S, S); above 0 is the object.
        window: where they belong.
        box: tight box of the object in the image, float32 (4,), xyxy pixels.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        The mask; at least one pixel if its place lies inside the image.
    """
    size = logits.shape[0]
    x1, y1 = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
    x2, y2 = min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)
    if x2 <= x1 or y2 <= y1:
        return MaskPatch(0, 0, np.zeros((0, 0), dtype=np.bool_))
    zoom_x, zoom_y = size / window.width, size / window.height
    inverse = np.array(
        [[zoom_x, 0, zoom_x * (x1 + 0.5 - window.x) - 0.5], [0, zoom_y, zoom_y * (y1 + 0.5 - window.y) - 0.5]]
    )
    pixels = (
        cv2.warpAffine(
            logits,
            inverse,
            (x2 - x1, y2 - y1),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=-1.0,
        )
        > 0
    )
    if not pixels.any():
        pixels[(y2 - y1) // 2, (x2 - x1) // 2] = True
    return MaskPatch(x1, y1, pixels)


def prefers_whole_frame(box: FloatArray, image: UInt8Image, size: int, factor: float, mode: str) -> bool:
    """Whether an object is followed in the whole frame rather than in a window of its own.

    In mode "auto" this is so when its window would be nearly the frame, or when the squeezed frame still shows it
    large enough and nothing is gained by a closer look.

    Args:
        box: float32 (4,), xyxy pixels.
        image: the frame.
        size: side of the network's input in pixels.
        factor: window side as a multiple of the target's longer side.
        mode: one of `MODES`.
    """
    if mode != "auto":
        return mode == "whole_frame"
    height, width = image.shape[:2]
    longer = float(max(box[2] - box[0], box[3] - box[1]))
    window = max(factor * longer, _LEAST_SIDE)
    resolved = longer * size / max(height, width) >= _ENOUGH_PIXELS and window >= 0.5 * max(height, width)
    return resolved or window >= 0.9 * min(height, width)


def share_windows(windows: list[Window]) -> tuple[list[Window], list[int]]:
    """Let windows that show nearly the same share one, because encoding dominates the cost.

    Args:
        windows: one per object.

    Returns:
        The distinct windows and, per object, the index of its window.
    """
    places = np.array([[window.x, window.y, window.width, window.height] for window in windows])
    size = places[:, 2:]
    center = (places[:, :2] + size / 2).astype(np.float32)
    # whose window, by row, may stand for whose, by column
    near = np.abs(center[:, None] - center[None]).max(axis=2) <= (0.06 * size[:, :1]).astype(np.float32)
    ratio = size[None] / size[:, None]
    fits = near & ((ratio >= 0.87) & (ratio <= 1.15)).all(axis=2)
    distinct: list[int] = []
    indices: list[int] = []
    for column in range(len(windows)):
        standing = np.flatnonzero(fits[distinct, column])
        if standing.size == 0:
            distinct.append(column)
        indices.append(int(standing[0]) if standing.size else len(distinct) - 1)
    return [windows[index] for index in distinct], indices
