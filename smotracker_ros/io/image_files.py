"""Image files: their pages, right side up."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

from smotracker_ros.core.frames import AutomaticGain, FrameError, UInt8Image
from smotracker_ros.io.encodings import (
    LARGEST_FILE,
    LARGEST_IMAGE,
    decode_compressed_image,
    from_opencv,
    open_with_pillow,
)
from smotracker_ros.io.orientation import UPRIGHT, Orientation, exif_orientation

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
    pixels: int = 0
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
        with _quiet():
            return self._orientation.apply(decode_compressed_image(self._data, gain, timestamp_ns))


def page_count(path: Path) -> int:
    """Number of pictures in a file, as far as its header tells; at least 1."""
    try:
        if _is_tiff(path):
            with _quiet(), _named(path) as name:
                return max(cv2.imcount(name), 1)
        return _header(path).pages
    except (OSError, cv2.error):
        return 1


def read_pages(path: Path) -> Iterator[Page]:
    """The pictures of a file in order, at least one; a page that is broken says so when it is decoded."""
    try:
        header = _header(path)
        size = path.stat().st_size
        if header.pixels > LARGEST_IMAGE or (size > LARGEST_FILE and not _is_tiff(path)):
            megapixels = header.pixels // 1_000_000
            yield Page(None, reason=f"it is too large ({megapixels} megapixels, {size // 2**20} MiB)")
        elif _is_tiff(path):
            yield from _tiff_pages(path)
        elif header.form in _ANIMATED and header.pages > 1:
            yield from _animation(path)
        else:
            yield Page(None, path.read_bytes(), header.orientation)
    except OSError as error:
        yield Page(None, reason=f"it cannot be read ({error.strerror or error})")


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in _TIFF_MARKS


def _header(path: Path) -> _Header:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_with_pillow(path) as image:
                form = image.format or ""
                pages = getattr(image, "n_frames", 1) if form in _ANIMATED else 1
                return _Header(form, pages, image.width * image.height, _orientation(image))
    except PIL.Image.DecompressionBombError:
        return _Header(pixels=LARGEST_IMAGE + 1)
    except Exception:  # a damaged header surfaces as any of struct's, zlib's or Pillow's errors; decoding tells why
        return _Header()


def _orientation(image: PIL.Image.Image) -> Orientation:
    """What EXIF says; of TIFFs nothing, because OpenCV turns them itself."""
    # in search of what may stand behind a PNG's pixels Pillow would decode them all
    ahead = image.format != "PNG" or not {"exif", "Raw profile type exif"}.isdisjoint(image.info)
    return exif_orientation(image.getexif().get(_ORIENTATION_TAG)) if ahead and image.format != "TIFF" else UPRIGHT


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV's own lines about broken files on stderr are left out: what is broken is said once."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[str]:
    """A file's name for OpenCV, which crashes on one that is no UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        yield str(path)


def _tiff_pages(path: Path) -> Iterator[Page]:
    """Pages of a TIFF of any depth, right side up."""
    count = page_count(path)
    first = next(iter(_read(path, 0, 1)), None)
    if first is None:
        yield Page(None)
        return
    last: npt.NDArray[np.generic] | None = first
    chunk = max(_CHUNK_BYTES // first.nbytes, 1)
    with contextlib.closing(_PillowCheck(path)) as check:
        yield Page(None if check.is_damaged(0) else first)
        for start in range(1, count, chunk):
            wanted = min(chunk, count - start)
            pages = _read(path, start, wanted)
            if len(pages) < wanted:
                pages = [page for number in range(start, start + wanted) for page in _read(path, number, 1) or [None]]
            last = pages[-1]
            for number, page in enumerate(pages, start=start):
                yield Page(None if check.is_damaged(number) else page)
        if last is not None and check.breaks_off:
            yield Page(None, reason=f"it breaks off after page {count}")


class _PillowCheck:
    """What Pillow says of the pages of a TIFF, if it knows their kind.

    OpenCV fills up compressed pixels that are damaged, and does not see that a further page is missing.

    Attributes:
        breaks_off: the file names a further page that is not there.
    """

    def __init__(self, path: Path) -> None:
        self.breaks_off = False
        self._image: PIL.Image.Image | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(Exception):  # of a kind that Pillow does not know
                self._image = open_with_pillow(path)
            try:
                self.breaks_off = getattr(self._image, "n_frames", 1) < 1
            except Exception:  # what lies behind the end is read as anything
                self.breaks_off = True

    def is_damaged(self, number: int) -> bool:
        """Whether the compressed pixels of a page are damaged; ask for one page after the other."""
        # where a page is missing libtiff writes a line to stderr for each of the others
        if self._image is None or self.breaks_off or self._image.info.get("compression", "raw") == "raw":
            return False
        try:
            self._image.seek(number)
            self._image.load()
        except OSError:
            return True
        except Exception:  # of a kind that Pillow does not know
            self.close()
        return False

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._image is not None:
            self._image.close()
            self._image = None


def _read(path: Path, start: int, count: int) -> list[npt.NDArray[np.generic] | None]:
    """Pages of a TIFF in OpenCV's order, up to the first that is broken."""
    try:
        with _quiet(), _named(path) as name:
            return list(cv2.imreadmulti(name, start, count, flags=cv2.IMREAD_UNCHANGED)[1])
    except (cv2.error, OSError):
        return []


def _animation(path: Path) -> Iterator[Page]:
    """Pictures of an animated PNG or WebP."""
    with open_with_pillow(path) as image:
        for number in range(getattr(image, "n_frames", 1)):
            try:
                image.seek(number)
                yield Page(np.asarray(image.convert("RGB"))[:, :, ::-1])
            except (OSError, EOFError, ValueError, SyntaxError):
                yield Page(None)
