"""Image files: their pages, right side up."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from smotracker_ros.frames import AutomaticGain, FrameError, UInt8Image
from smotracker_ros.video.encodings import decode_compressed_image, from_opencv
from smotracker_ros.video.orientation import UPRIGHT, Orientation, exif_orientation

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".pgm", ".ppm", ".pnm")

_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Files that hold one picture after the other; the further pictures of a JPEG are previews and depth
_ANIMATED = ("PNG", "WEBP")
_ORIENTATION_TAG = 0x0112
# Pages of a TIFF are read so many bytes at a time: each time it is searched from its beginning
_CHUNK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class _Header:
    """What Pillow says of a file; it does not know all that OpenCV can read."""

    form: str = ""
    pages: int = 1
    orientation: Orientation = UPRIGHT


class Page:
    """One picture of a file, not yet stretched to 8 bits.

    Args:
        image: pixels in OpenCV's order; None: they are still in `data`, or broken.
        data: an encoded file of one picture; empty: there is none.
        orientation: how the picture in `data` is to be turned.
        reason: why there is neither.
    """

    def __init__(
        self,
        image: npt.NDArray[np.generic] | None,
        data: bytes = b"",
        orientation: Orientation = UPRIGHT,
        reason: str = "it is broken or not an image",
    ) -> None:
        self._image, self._data, self._orientation, self._reason = image, data, orientation, reason

    def decode(self, gain: AutomaticGain, timestamp_ns: int) -> UInt8Image:
        """The picture as uint8 RGB, right side up.

        Args:
            gain: range of the source's deep images.
            timestamp_ns: time of the picture.

        Raises:
            FrameError: if it is broken.
        """
        if self._image is not None:
            return from_opencv(self._image, gain, timestamp_ns)
        if not self._data:
            raise FrameError(self._reason)
        return self._orientation.apply(decode_compressed_image(self._data, gain, timestamp_ns))


def page_count(path: Path) -> int:
    """Number of pictures in a file, as far as its header tells; at least 1."""
    try:
        with path.open("rb") as file:
            mark = file.read(4)
        return max(cv2.imcount(str(path)), 1) if mark in _TIFF_MARKS else _header(path.read_bytes()).pages
    except (OSError, cv2.error):
        return 1


def read_pages(path: Path) -> Iterator[Page]:
    """The pictures of a file in order, at least one; a page that is broken says so when it is decoded."""
    try:
        data = path.read_bytes()
    except OSError as error:
        yield Page(None, reason=f"it cannot be read ({error.strerror or error})")
        return
    if data[:4] in _TIFF_MARKS:
        yield from _tiff_pages(path, data)
        return
    header = _header(data)
    if header.form in _ANIMATED and header.pages > 1:
        yield from _animation(data)
        return
    yield Page(None, data, header.orientation)


def _header(data: bytes) -> _Header:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(data)) as image:
                orientation = exif_orientation(image.getexif().get(_ORIENTATION_TAG))
                return _Header(image.format or "", getattr(image, "n_frames", 1), orientation)
    except Exception:  # a damaged header surfaces as any of struct's, zlib's or Pillow's errors; decoding tells why
        return _Header()


def _tiff_pages(path: Path, data: bytes) -> Iterator[Page]:
    """Pages of a TIFF of any depth; OpenCV turns them itself."""
    try:
        count = cv2.imcount(str(path))
        first = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        count, first = 0, None
    yield Page(first)
    if first is None or count <= 1:
        return
    chunk = max(_CHUNK_BYTES // first.nbytes, 1)
    for start in range(1, count, chunk):
        wanted = min(chunk, count - start)
        pages = _read(path, start, wanted)
        if len(pages) < wanted:
            pages = [page for number in range(start, start + wanted) for page in _read(path, number, 1) or [None]]
        yield from map(Page, pages)


def _read(path: Path, start: int, count: int) -> list[npt.NDArray[np.generic] | None]:
    """Pages of a TIFF in OpenCV's order, up to the first that is broken."""
    try:
        return list(cv2.imreadmulti(str(path), start, count, flags=cv2.IMREAD_UNCHANGED)[1])
    except cv2.error:
        return []


def _animation(data: bytes) -> Iterator[Page]:
    """Pictures of an animated PNG or WebP."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        for number in range(getattr(image, "n_frames", 1)):
            try:
                image.seek(number)
                yield Page(np.asarray(image.convert("RGB"))[:, :, ::-1])
            except (OSError, EOFError, ValueError, SyntaxError):
                yield Page(None)
