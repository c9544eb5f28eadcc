"""Pixels of ROS images: from the bytes of a message to an RGB array, without ROS.

The encodings are those of `sensor_msgs/image_encodings.hpp`.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from smotracker_ros.core.frames import AutomaticGain, FrameError, UInt8Image, to_rgb8

Array = npt.NDArray[np.generic]

LARGEST_IMAGE = 64_000_000
"""Pixels of the largest image that is decoded: a few kilobytes of PNG can claim gigabytes of pixels."""

LARGEST_FILE = 256 * 2**20
"""Bytes of the largest compressed image that is decoded."""

_FILE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "PPM")
# Markers of a JPEG that are followed by a segment, or end it; within compressed data, 00 and restarts follow an FF
_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_JPEG_START, _JPEG_END = b"\xd8", b"\xd9"


class UnknownEncodingError(FrameError):
    """An encoding that this module does not know; another converter may."""


@dataclass(frozen=True)
class _Encoding:
    """How one encoding lies in memory.

    Attributes:
        dtype: of a value.
        channels: values per pixel.
        convert: the way to RGB.
        color_plane: half as many rows with the colours of 2x2 pixels each follow the grey image (4:2:0).
    """

    dtype: str
    channels: int
    convert: Callable[[Array], Array]
    color_plane: bool = False


def _color(code: int) -> Callable[[Array], Array]:
    return lambda image: cv2.cvtColor(image, code)


def _same(image: Array) -> Array:
    return image


def _every_other(image: Array, code: int) -> Array:
    if image.shape[1] % 2:
        raise FrameError(f"4:2:2 images need an even width, got {image.shape[1]}")
    return cv2.cvtColor(image, code)


# OpenCV names a Bayer pattern by its second row, second and third column; ROS by its upper left corner.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_ENCODINGS = {
    "mono8": _Encoding("u1", 1, _same),
    "8UC1": _Encoding("u1", 1, _same),
    "mono16": _Encoding("u2", 1, _same),
    "16UC1": _Encoding("u2", 1, _same),
    "32FC1": _Encoding("f4", 1, _same),
    "rgb8": _Encoding("u1", 3, _same),
    "rgba8": _Encoding("u1", 4, _same),
    "bgr8": _Encoding("u1", 3, _color(cv2.COLOR_BGR2RGB)),
    "8UC3": _Encoding("u1", 3, _color(cv2.COLOR_BGR2RGB)),
    "bgra8": _Encoding("u1", 4, _color(cv2.COLOR_BGRA2RGB)),
    "yuv422": _Encoding("u1", 2, lambda image: _every_other(image, cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": _Encoding("u1", 2, lambda image: _every_other(image, cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": _Encoding("u1", 2, lambda image: _every_other(image, cv2.COLOR_YUV2RGB_YUYV)),
    "yuyv": _Encoding("u1", 2, lambda image: _every_other(image, cv2.COLOR_YUV2RGB_YUYV)),
    "nv12": _Encoding("u1", 1, _color(cv2.COLOR_YUV2RGB_NV12), color_plane=True),
    "nv21": _Encoding("u1", 1, _color(cv2.COLOR_YUV2RGB_NV21), color_plane=True),
    "8UC4": _Encoding("u1", 4, _color(cv2.COLOR_BGRA2RGB)),
    "16SC1": _Encoding("i2", 1, _same),
    "64FC1": _Encoding("f8", 1, _same),
    "rgb16": _Encoding("u2", 3, _same),
    "rgba16": _Encoding("u2", 4, _same),
    "bgr16": _Encoding("u2", 3, _color(cv2.COLOR_BGR2RGB)),
    "16UC3": _Encoding("u2", 3, _color(cv2.COLOR_BGR2RGB)),
    "bgra16": _Encoding("u2", 4, _color(cv2.COLOR_BGRA2RGB)),
    "16UC4": _Encoding("u2", 4, _color(cv2.COLOR_BGRA2RGB)),
    **{f"bayer_{pattern}8": _Encoding("u1", 1, _color(code)) for pattern, code in _BAYER.items()},
    **{f"bayer_{pattern}16": _Encoding("u2", 1, _color(code)) for pattern, code in _BAYER.items()},
}

SUPPORTED_ENCODINGS = tuple(sorted(_ENCODINGS))
"""Names that :func:`decode_image` accepts."""


def decode_image(
    height: int,
    width: int,
    encoding: str,
    is_bigendian: bool | int,
    step: int,
    data: bytes | bytearray | memoryview | npt.NDArray[np.uint8],
    gain: AutomaticGain | None = None,
    timestamp_ns: int = 0,
) -> UInt8Image:
    """Turn the fields of a `sensor_msgs/Image` into an RGB image.

    8-bit images keep their values; 16-bit and floating-point images are stretched (see `frames.to_rgb8`). `8UC3` and
    its like are taken as BGR, as cv_bridge writes them.

    Args:
        height: rows.
        width: columns.
        encoding: one of :data:`SUPPORTED_ENCODINGS`.
        is_bigendian: whether values of more than one byte have their high byte first.
        step: bytes per row, padding included.
        data: the pixels, row by row, exactly `height * step` bytes; half as many more for nv12 and nv21.
        gain: range of the stream's images so far; None: each image is stretched for itself.
        timestamp_ns: time of the image, for `gain`.

    Returns:
        uint8 array (height, width, 3), RGB, C-contiguous, independent of `data`.

    Raises:
        UnknownEncodingError: if the encoding is not supported.
        FrameError: if sizes do not fit together.
    """
    layout = _ENCODINGS.get(encoding)
    if layout is None:
        supported = ", ".join(SUPPORTED_ENCODINGS)
        raise UnknownEncodingError(f"unknown image encoding {encoding!r}; supported are {supported}")
    if height <= 0 or width <= 0:
        raise FrameError(f"the image message says {width}x{height} pixels; both must be positive")
    _check_size(width, height)
    dtype = np.dtype(layout.dtype).newbyteorder(">" if is_bigendian else "<")
    row_bytes = width * layout.channels * dtype.itemsize
    if step < row_bytes:
        raise FrameError(f"step is {step} bytes, but a row of {width} {encoding} pixels needs at least {row_bytes}")
    values = np.frombuffer(data, dtype=np.uint8)
    lines = height
    if layout.color_plane:
        if height % 2 or width % 2:
            raise FrameError(f"{encoding} images need an even width and height, got {width}x{height}")
        lines += height // 2
    if values.size != lines * step:
        in_words = f"height {height}" if lines == height else f"{lines} rows"
        raise FrameError(
            f"the image message holds {values.size} bytes, but {in_words} x step {step} makes {lines * step}"
        )
    rows = np.ascontiguousarray(values.reshape(lines, step)[:, :row_bytes])
    image = rows.view(dtype).astype(dtype.newbyteorder("="), copy=False)
    if layout.channels > 1:
        image = image.reshape(height, width, layout.channels)
    try:
        rgb = stretch(layout.convert(image), gain, timestamp_ns)
    except cv2.error as error:
        raise FrameError(f"a {width}x{height} image cannot be decoded as {encoding}: {error.err}") from error
    return rgb.copy() if np.shares_memory(rgb, values) else rgb


def decode_compressed_image(
    data: bytes | bytearray | memoryview | npt.NDArray[np.uint8],
    gain: AutomaticGain | None = None,
    timestamp_ns: int = 0,
    stated: str = "",
) -> UInt8Image:
    """Turn the data of a `sensor_msgs/CompressedImage` (JPEG, PNG, ...) into an RGB image.

    Args:
        data: the encoded file; its own signature tells the format. Bytes behind its end, which some cameras add to fill
            their buffers, are passed over.
        gain: range of the stream's 16-bit images so far; None: each image is stretched for itself.
        timestamp_ns: time of the image, for `gain`.
        stated: what the message calls the format.

    Returns:
        uint8 array (height, width, 3), RGB.

    Raises:
        FrameError: if the data is empty, cut off, too large, or cannot be decoded.
    """
    values = np.frombuffer(data, dtype=np.uint8)
    if values.size > LARGEST_FILE:
        raise FrameError(f"a compressed image of {values.size} bytes is refused; up to {LARGEST_FILE} are decoded")
    if "compressedDepth" in stated:
        raise FrameError("compressedDepth images hold distances, not a picture; use the camera's image topic")
    says = f"; the message calls it {stated[:60]!r}" if stated else ""
    broken = f"the compressed image ({values.size} bytes) is broken or of an unknown format{says}"
    try:
        file = values.tobytes()
        with open_with_pillow(io.BytesIO(file), _FILE_FORMATS) as header:
            (width, height), name = header.size, header.format or ""
    except PIL.Image.DecompressionBombError as error:
        raise FrameError(f"the compressed image claims to be too large: {error}") from error
    except Exception as error:  # a damaged header surfaces as any of struct's, zlib's or Pillow's errors
        raise FrameError(broken) from error
    _check_size(width, height)
    # some versions of OpenCV fill up what is missing of a cut-off file with grey, without a word
    if not _has_end(file, name):
        raise FrameError(f"{broken}: its end is missing")
    try:
        image = cv2.imdecode(values, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise FrameError(broken)
    return from_opencv(image, gain, timestamp_ns)


def open_with_pillow(file: Path | BinaryIO, formats: tuple[str, ...] | None = None) -> PIL.Image.Image:
    """Pillow's own `open`: ultralytics puts one in its place that tries to install a package for what is no image."""
    patches = sys.modules.get("ultralytics.utils.patches")
    image: PIL.Image.Image = getattr(patches, "_image_open", PIL.Image.open)(file, formats=formats)
    return image


def _has_end(file: bytes, name: str) -> bool:
    """Whether an image file has its own end, whatever follows; True for formats that OpenCV refuses if they are cut."""
    if name in ("JPEG", "MPO"):
        return _jpeg_has_end(file)
    if name == "PNG":
        return _png_has_end(file)
    if name == "WEBP":
        return len(file) >= 8 + int.from_bytes(file[4:8], "little")
    return True


def _jpeg_has_end(file: bytes) -> bool:
    """Follows the segments, so that the end of a thumbnail in one of them is not taken for the image's."""
    position = 0
    while (marker := _JPEG_MARKER.search(file, position)) is not None:
        position = marker.end()
        if marker[1] == _JPEG_END:
            return True
        if marker[1] != _JPEG_START:
            position += int.from_bytes(file[position : position + 2], "big")
    return False


def _png_has_end(file: bytes) -> bool:
    """Follows the chunks: length, name, content, checksum."""
    position = 8
    while position + 12 <= len(file):
        if file[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int.from_bytes(file[position : position + 4], "big")
    return False


def from_opencv(image: Array, gain: AutomaticGain | None = None, timestamp_ns: int = 0) -> UInt8Image:
    """Turn an image in OpenCV's channel order (grey, BGR, BGRA; any depth) into uint8 RGB.

    Raises:
        FrameError: if it is none of these.
    """
    if image.ndim == 3 and image.shape[2] in (3, 4):
        image = np.ascontiguousarray(image[:, :, 2::-1])
    return stretch(image, gain, timestamp_ns)


def stretch(image: Array, gain: AutomaticGain | None, timestamp_ns: int) -> UInt8Image:
    """The image as uint8 RGB, with the stream's range if it is deeper than 8 bits; opacity is no part of that range.

    Args:
        image: grey or RGB(A), any depth.
        gain: range of the stream's images so far; None: the image is stretched for itself.
        timestamp_ns: time of the image, for `gain`.

    Raises:
        FrameError: if it is none of these, or no value is finite.
    """
    if image.ndim == 3 and image.shape[2] == 4:
        image = image[:, :, :3]
    if gain is None or image.dtype == np.uint8 or image.dtype.kind not in "uif":
        return to_rgb8(image)
    return to_rgb8(image, limits=gain.limits(image, timestamp_ns))


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST_IMAGE:
        raise FrameError(
            f"an image of {width}x{height} pixels is refused; up to {LARGEST_IMAGE // 1_000_000} megapixels are decoded"
        )
