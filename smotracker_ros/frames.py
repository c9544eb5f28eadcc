"""Frames: what every source delivers and every stage consumes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

UInt8Image = npt.NDArray[np.uint8]


LONGEST_FRAME_ID = 255
"""Characters of the longest name of a coordinate frame."""


class FrameError(ValueError):
    """An image that cannot be used as a frame; the message says why and what to do."""


@dataclass(frozen=True)
class Frame:
    """One image of a stream.

    Attributes:
        image: uint8, shape (height, width, 3), RGB.
        timestamp_ns: capture time in nanoseconds; the only clock that the tracker knows.
        index: 0-based place of the frame in its source; frames that are missing or broken leave their places free.
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
        # every detection repeats it: a long one would multiply
        if len(self.frame_id) > LONGEST_FRAME_ID:
            raise FrameError(f"the frame id has {len(self.frame_id)} characters; up to {LONGEST_FRAME_ID} are taken")

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])


Limits = tuple[float, float]
"""Lowest and highest value of an image's useful range: shown as 0 and 255."""

# So many values, evenly spread, tell the percentiles of an image well enough
_SAMPLES = 20_000


class AutomaticGain:
    """Useful range of the images of one 16-bit or floating-point stream (thermal cameras), smooth in time.

    Each image's percentiles taken alone would make the picture flicker when something hot enters or leaves. The range
    follows them with a time constant instead, and jumps only where an image lies outside it altogether, as after a
    thermal camera's shutter has closed. 8-bit images have no need of it.

    Args:
        percentiles: lower and upper percentile of the finite values, in percent.
        seconds: time constant; 0: each image for itself.
    """

    def __init__(self, percentiles: tuple[float, float] = (0.5, 99.5), seconds: float = 1.0) -> None:
        self.percentiles = percentiles
        self.seconds = seconds
        self._limits: Limits | None = None
        self._timestamp_ns = 0

    def reset(self) -> None:
        """Forget the range: the next image sets it."""
        self._limits = None

    def limits(self, values: npt.NDArray[np.generic], timestamp_ns: int) -> Limits:
        """The range for the next image of the stream.

        Args:
            values: the image, any shape, integers or floats; not finite ones are passed over.
            timestamp_ns: its time; an earlier one than before starts anew.

        Raises:
            FrameError: if no value is finite.
        """
        low, high = value_limits(values, self.percentiles)
        passed = (timestamp_ns - self._timestamp_ns) / 1e9
        if self._limits is not None and passed >= 0 and self.seconds > 0:
            before = self._limits
            if low <= before[1] and high >= before[0]:
                gain = 1.0 - float(np.exp(-passed / self.seconds))
                low, high = before[0] + gain * (low - before[0]), before[1] + gain * (high - before[1])
        self._limits, self._timestamp_ns = (low, high), timestamp_ns
        return low, high


def value_limits(values: npt.NDArray[np.generic], percentiles: tuple[float, float] = (0.5, 99.5)) -> Limits:
    """Percentiles of an array's finite values, from an even sample of large arrays.

    Raises:
        FrameError: if no value is finite.
    """
    sample = values.ravel()[:: max(values.size // _SAMPLES, 1)].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        sample = values[np.isfinite(values)].astype(np.float64)
    if not sample.size:
        raise FrameError("the image holds no finite value")
    low, high = np.percentile(sample, percentiles)
    return float(low), float(high)


def to_rgb8(
    image: npt.NDArray[np.generic], percentiles: tuple[float, float] = (0.5, 99.5), limits: Limits | None = None
) -> UInt8Image:
    """Turn a grey, thermal or colour (RGB order) array into a uint8 RGB image.

    8-bit images keep their values. 16-bit and floating-point images (thermal cameras) are stretched linearly, because
    their useful range is a small part of the type's.

    Args:
        image: shape (height, width), (height, width, 1), (height, width, 3) or (height, width, 4), any real dtype.
        percentiles: lower and upper percentile, in percent, mapped to 0 and 255 for images that are not 8-bit.
        limits: values mapped to 0 and 255 in place of the percentiles; see :class:`AutomaticGain`.

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
        low, high = limits or value_limits(array, percentiles)
        # limited before the arithmetic, so that huge values cannot overflow; NaN becomes black
        values = np.nan_to_num(np.clip(array, low, high).astype(np.float64) - low, nan=0.0)
        array = np.clip(np.rint(values * (255.0 / max(high - low, 1e-6))), 0, 255).astype(np.uint8)
    if array.ndim == 2:
        return np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return np.ascontiguousarray(array, dtype=np.uint8)
