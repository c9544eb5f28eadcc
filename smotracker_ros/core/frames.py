"""Frames: what every source delivers and every stage consumes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
                "convert it with smotracker_ros.core.frames.to_rgb8"
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

    @cached_property
    def grey(self) -> UInt8Image:
        """The image in grey levels, uint8 (height, width); made once, as several stages want it."""
        return as_grey(self.image)


def as_grey(image: UInt8Image) -> UInt8Image:
    """Grey levels, uint8 (height, width), of uint8 RGB (height, width, 3); what is grey already stays."""
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


Limits = tuple[float, float]
"""Lowest and highest value of an image's useful range: shown as 0 and 255."""

# So many values, evenly spread, tell the percentiles of an image well enough
_SAMPLES = 20_000
# Of an image's values, the share that its scene consists of at least. The rest may be something hot, of any heat
_SCENE_SHARE = 0.95
# Values further from the scene than this share of its width are no part of it
_SCENE_MARGIN = 0.5
# Largest ratio of two ranges that are taken one into the other: the narrower of them may be a single value
_LARGEST_RATIO = 1000.0
_LARGEST_STEP_BACK = 1.0


class AutomaticGain:
    """Useful range of the images of one 16-bit or floating-point stream (thermal cameras), smooth in time.

    Every source of deep images has one: videos, folders, bags and topics look the same. The range of one image is that
    of its scene (:func:`value_limits`). Taken alone it would make the picture flicker, so the stream's range follows
    it with a time constant: the width in equal ratios, so that something hot that fills more of the picture than a
    spot does dims it no faster than something cold. The range jumps only where less than a quarter of an image lies in
    it, as after a thermal camera's shutter has closed.

    Args:
        percentiles: lower and upper percentile of the scene's values, in percent.
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
            timestamp_ns: its time. An image that is up to a second older than the one before was overtaken: it is
                shown in the present range, and leaves no trace. An older one starts anew.

        Raises:
            FrameError: if no value is finite.
        """
        sample = _sorted_sample(values)
        before, passed = self._limits, (timestamp_ns - self._timestamp_ns) / 1e9
        if before is not None and -_LARGEST_STEP_BACK <= passed <= 0 and self.seconds > 0:
            return before
        limits = _scene_limits(sample, self.percentiles)
        if before is not None and passed > 0 and self.seconds > 0:
            inside = np.searchsorted(sample, before[1], "right") - np.searchsorted(sample, before[0], "left")
            if 4 * inside >= len(sample):
                limits = _approach(before, limits, 1.0 - float(np.exp(-passed / self.seconds)))
        self._limits, self._timestamp_ns = limits, timestamp_ns
        return limits


def value_limits(values: npt.NDArray[np.generic], percentiles: tuple[float, float] = (0.5, 99.5)) -> Limits:
    """Useful range of one image: percentiles of its scene's values, from an even sample of large arrays.

    The scene is the narrowest range that holds 95 % of the finite values, and what lies within half its width of that.
    Anything beyond - the sun, a flare, an engine, dead pixels - is shown as black or white, whatever its value is, and
    does not dim the rest.

    Raises:
        FrameError: if no value is finite.
    """
    return _scene_limits(_sorted_sample(values), percentiles)


def _sorted_sample(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Finite values of an array, rising; of a large one a part, evenly spread."""
    step = max(values.size // _SAMPLES, 1) | 1
    step += 2 * (step % 3 == 0)  # neither even nor a multiple of three: it meets all columns and all colours
    sample = values.ravel()[:: step if values.size > _SAMPLES else 1].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        sample = values[np.isfinite(values)].astype(np.float64)
    if not sample.size:
        raise FrameError("the image holds no finite value")
    return np.sort(sample)


def _scene_limits(sample: npt.NDArray[np.float64], percentiles: tuple[float, float]) -> Limits:
    """See :func:`value_limits`; the sample rises."""
    count = int(np.ceil(_SCENE_SHARE * len(sample)))
    widths = sample[count - 1 :] - sample[: len(sample) - count + 1]
    start = int(widths.argmin())
    margin = _SCENE_MARGIN * float(widths[start])
    first = np.searchsorted(sample, sample[start] - margin, "left")
    last = np.searchsorted(sample, sample[start + count - 1] + margin, "right")
    low, high = np.percentile(sample[first:last], percentiles)
    return float(low), float(high)


def _approach(before: Limits, target: Limits, gain: float) -> Limits:
    """A range on its way to another one, whose width changes by equal ratios in equal times."""
    width, aim = before[1] - before[0], target[1] - target[0]
    share = gain
    if width != aim:
        smallest = max(width, aim) / _LARGEST_RATIO
        width, aim = max(width, smallest), max(aim, smallest)
        share = (width * (aim / width) ** gain - width) / (aim - width)
    return before[0] + share * (target[0] - before[0]), before[1] + share * (target[1] - before[1])


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
        limits = limits or value_limits(array, percentiles)
        if array.dtype == np.uint16 and array.size > 2**16:
            array = _stretched(np.arange(2**16, dtype=np.uint16), limits)[array]
        else:
            array = _stretched(array, limits)
    if array.ndim == 2:
        return np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return np.ascontiguousarray(array, dtype=np.uint8)


def _stretched(array: npt.NDArray[np.generic], limits: Limits) -> UInt8Image:
    """Values with the lowest and highest of a range as 0 and 255."""
    low, high = limits
    # limited before the arithmetic, so that huge values cannot overflow; NaN becomes black
    values = np.nan_to_num(np.clip(array, low, high).astype(np.float64) - low, nan=0.0)
    return np.clip(np.rint(values * (255.0 / max(high - low, 1e-6))), 0, 255).astype(np.uint8)
