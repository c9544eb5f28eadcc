"""Frames: what every source delivers and every stage consumes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

UInt8Image = npt.NDArray[np.uint8]


class FrameError(ValueError):
    """An image that cannot be used as a frame; the message says why and what to do."""


@dataclass(frozen=True)
class Frame:
    """One image of a stream.

    Attributes:
        image: uint8, shape (height, width, 3), RGB.
        timestamp_ns: capture time in nanoseconds; the only clock that the tracker knows.
        index: 0-based number of the frame in its stream.
        frame_id: name of the camera's coordinate frame (ROS `header.frame_id`), may be empty.
    """

    image: UInt8Image
    timestamp_ns: int
    index: int = 0
    frame_id: str = ""

    def __post_init__(self) -> None:
        image = self.image
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise FrameError(
                f"a frame needs a uint8 image of shape (height, width, 3), got {image.dtype} {image.shape}; "
                "convert it with smotracker_ros.frames.to_rgb8"
            )
        if image.shape[0] < 8 or image.shape[1] < 8:
            raise FrameError(f"the image is only {image.shape[1]}x{image.shape[0]} pixels; at least 8x8 are needed")

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])


def to_rgb8(image: npt.NDArray[np.generic], percentiles: tuple[float, float] = (0.5, 99.5)) -> UInt8Image:
    """Turn a grey, thermal or colour (RGB order) array into a uint8 RGB image.

    8-bit images keep their values. 16-bit and floating-point images (thermal cameras) are stretched linearly between
    two percentiles of their finite values, because their useful range is a small part of the type's.

    Args:
        image: shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4), any real dtype.
        percentiles: lower and upper percentile, in percent, mapped to 0 and 255 for images that are not 8-bit.

    Returns:
        uint8 array, shape (height, width, 3), C-contiguous.

    Raises:
        FrameError: if the shape or dtype is none of the above, or no value is finite.
    """
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or array.size == 0:
        raise FrameError(f"an image of shape {array.shape} is neither grey nor RGB(A)")
    if array.dtype.kind not in "uif":
        raise FrameError(f"an image of dtype {array.dtype} cannot be shown; integer or float pixels are needed")
    if array.ndim == 3 and array.shape[2] == 4:
        array = array[:, :, :3]
    if array.dtype != np.uint8:
        values = array.astype(np.float32)
        finite = np.isfinite(values)
        if not finite.any():
            raise FrameError("the image holds no finite value")
        low, high = np.percentile(values[finite], percentiles)
        values = np.nan_to_num(values, nan=float(low), posinf=float(high), neginf=float(low))
        array = np.clip((values - low) * (255.0 / max(float(high - low), 1e-6)), 0, 255).astype(np.uint8)
    if array.ndim == 2:
        return np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return np.ascontiguousarray(array, dtype=np.uint8)
