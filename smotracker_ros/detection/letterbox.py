"""Pictures as YOLO networks take them: resized with their aspect ratio, and padded to the sides that the network needs.

The rules are those of ultralytics' predictor, on which its networks are trained, to the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray

_PADDING = 114


@dataclass(frozen=True)
class Letterbox:
    """How a picture lies in the network's input; all in pixels.

    Attributes:
        width: of the picture.
        height: of the picture.
        seen_width: of the resized picture.
        seen_height: of the resized picture.
        left: columns of padding before it.
        top: rows of padding before it.
        full_width: of the input.
        full_height: of the input.
    """

    width: int
    height: int
    seen_width: int
    seen_height: int
    left: int
    top: int
    full_width: int
    full_height: int

    @staticmethod
    def into(width: int, height: int, target: tuple[int, int], stride: int = 0) -> Letterbox:
        """The largest place in an input.

        Args:
            width: of the picture.
            height: of the picture.
            target: largest width and height of the input, multiples of the stride.
            stride: the input is no larger than the next multiples of it demand; 0: it is the target.
        """
        ratio = min(target[0] / width, target[1] / height)
        seen = max(round(width * ratio), 1), max(round(height * ratio), 1)
        padding = [whole - part for whole, part in zip(target, seen, strict=True)]
        if stride:
            padding = [length % stride for length in padding]
        # half of it before the picture, the odd pixel after it
        left, top = (round(length / 2 - 0.1) for length in padding)
        return Letterbox(width, height, *seen, left, top, seen[0] + padding[0], seen[1] + padding[1])

    def tensor(self, image: UInt8Image) -> npt.NDArray[np.float32]:
        """The network's input, float32 (1, 3, full_height, full_width) in [0, 1], of uint8 RGB (height, width, 3)."""
        seen = image
        if (self.seen_width, self.seen_height) != (self.width, self.height):
            seen = np.asarray(cv2.resize(image, (self.seen_width, self.seen_height), interpolation=cv2.INTER_LINEAR))
        result = np.full((1, 3, self.full_height, self.full_width), _PADDING / 255, dtype=np.float32)
        place = result[0, :, self.top : self.top + self.seen_height, self.left : self.left + self.seen_width]
        np.divide(seen.transpose(2, 0, 1), np.float32(255), out=place, dtype=np.float32)
        return result

    def to_picture(self, boxes: FloatArray) -> FloatArray:
        """Boxes xyxy (N, 4) of the input as boxes of the picture, cut off at its edges."""
        offsets = np.array([self.left, self.top] * 2, dtype=np.float32)
        gains = np.array([self.seen_width / self.width, self.seen_height / self.height] * 2, dtype=np.float32)
        limits = np.array([self.width, self.height] * 2, dtype=np.float32)
        return np.asarray(np.clip((boxes - offsets) / gains, 0, limits), dtype=np.float32)
