"""Frames of image folders."""

from __future__ import annotations

import logging
import mimetypes
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from smotracker_ros.core.frames import AutomaticGain, Frame, FrameError
from smotracker_ros.io.base import DEFAULT_FPS, SourceError
from smotracker_ros.io.image_files import IMAGE_SUFFIXES, page_count, read_pages

# Pictures that Python's table of file types may not know
_UNREAD_SUFFIXES = (".avif", ".dng", ".exr", ".fff", ".heic", ".heif", ".jp2", ".jxl", ".npy", ".raw", ".seq")
# Broken files of a source that are named one by one
_NAMED = 3

_logger = logging.getLogger(__name__)


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order of their names (img2 before img10).

    Hidden files are passed over, and so is what has an image's name and is no file; links that lead nowhere are not.
    """
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != ".")
    return sorted((path for path in found if path.is_file() or _is_dangling(path)), key=_natural_order)


def _is_dangling(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _natural_order(path: Path) -> list[tuple[int, int | str]]:
    # only decimal digits make numbers: a superscript two is a digit, too
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def frame_places(files: Sequence[Path], length: int | None = None) -> list[int]:
    """Numbers of the frames that images show, so that a missing image leaves its place free.

    A number in the files' names counts where the names differ in numbers alone, and it rises from file to file.

    - Of a labelled sequence, the number is the frame's: 1 is the first frame, or 0 if there is an image of that number.
      If such numbers go beyond the sequence, the rule below holds.
    - Else the first image is the first frame, and numbers rise by the step that is most common. Where no more than half
      of them do (half for a step of 1), or they are no multiples of it, they do not count frames (they may be times).

    Args:
        files: in natural order of their names.
        length: number of frames of the sequence that the labels are for; None: there are no labels.

    Returns:
        0-based, rising; the positions in `files` if names tell nothing.
    """
    counts = file_numbers(files)
    if length is not None:
        for numbers in counts:
            base = min(numbers[0], 1)
            if numbers[-1] - base < length:
                return [number - base for number in numbers]
    for numbers in counts:
        steps = [after - before for before, after in pairwise(numbers)]
        if not steps:
            return [0]
        step, count = Counter(steps).most_common(1)[0]
        if 2 * count + (step == 1) > len(steps) and not any(other % step for other in steps):
            return [(number - numbers[0]) // step for number in numbers]
    return list(range(len(files)))


def file_numbers(files: Sequence[Path]) -> list[list[int]]:
    """The rising numbers in the names of files that differ in numbers only; of each place in the name where one is."""
    names = [re.split(r"(\d+)", path.stem) for path in files]
    if len({tuple(parts[::2]) for parts in names}) != 1:
        return []
    columns = [list(map(int, column)) for column in zip(*(parts[1::2] for parts in names), strict=True)]
    return [column for column in columns if all(before < after for before, after in pairwise(column))]


class ImageFolderSource:
    """Images of one folder in natural order of their names, or of one file; each page of a file is a frame.

    See :class:`~smotracker_ros.io.base.FrameSource`.
    """

    def __init__(self, path: Path, fps: float = DEFAULT_FPS, labelled_length: int | None = None) -> None:
        """List the images.

        Args:
            path: the folder, or a file.
            fps: frames per second.
            labelled_length: number of frames that labels count; see :func:`frame_places`.

        Raises:
            SourceError: if there is none, or none can be read.
        """
        self.path, self.fps, self.skipped = path, fps, 0
        alone = path.is_file()
        self.name = path.stem if alone else path.name or path.resolve().name
        self.files = [path] if alone else image_files(path)
        if not self.files:
            raise SourceError(_why_empty(path))
        self.places = [0] if alone else frame_places(self.files, labelled_length)
        several = page_count(self.files[0]) > 1
        self.length: int | None = sum(map(page_count, self.files)) if several else len(self.files)
        self._reason = ""
        first = next(self._frames(quiet=True), None)
        if first is None:
            what = f"{path} cannot" if alone else f"none of the {len(self.files)} images in {path} can"
            raise SourceError(f"{what} be used: {self._reason}")
        self.size: tuple[int, int] | None = (first.height, first.width)
        self.skipped = 0

    def __iter__(self) -> Iterator[Frame]:
        missing = self.places[-1] + 1 - len(self.files)
        if missing:
            _logger.warning(
                "%s: by the numbers in the names of its files %d images are missing; the others keep their frames",
                self.path,
                missing,
            )
        if self.path.is_dir():
            for text in _oddities(self.path, self.files):
                _logger.warning("%s: %s", self.path, text)
        return self._frames()

    def _frames(self, quiet: bool = False) -> Iterator[Frame]:
        self.skipped = others = further = 0
        gain = AutomaticGain()
        for place, file in zip(self.places, self.files, strict=True):
            pages, size = 0, None
            for page in read_pages(file):
                index = place + further + pages
                stamp = round(index / self.fps * 1e9)
                try:
                    frame = Frame(page.decode(gain, stamp), stamp, index)
                except FrameError as error:
                    pages += 1
                    self.skipped += 1
                    self._reason = self._reason or str(error)
                    if self.skipped <= _NAMED and not quiet:
                        _logger.warning("%s was skipped: %s", file, error)
                    continue
                if size not in (None, frame.image.shape):
                    others += 1
                    continue
                pages, size = pages + 1, frame.image.shape
                yield frame
            further += pages - 1
        if self.skipped > _NAMED and not quiet:
            _logger.warning("%s: %d images were skipped in all", self.path, self.skipped)
        if others and not quiet:
            _logger.warning("%s: %d pages are not read: they differ in size from their file's first", self.path, others)


def _why_empty(folder: Path) -> str:
    """What is in a folder that holds no image."""
    known = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
    unread = " ".join(f"Not read: {text}." for text in _unread(folder))
    return f"{folder} holds neither images ({known}) nor a rosbag2; give a folder that does. {unread}".rstrip()


def _oddities(folder: Path, files: Sequence[Path]) -> Iterator[str]:
    """What a user may not expect of a folder."""
    for text in _unread(folder):
        yield f"not read: {text}"
    twice = [stem for stem, count in Counter(file.stem for file in files).items() if count > 1]
    if twice:
        yield (
            f"{len(twice)} images are there in several formats ({_some(twice)}), and each is a frame; "
            "keep one format in the folder"
        )


def _unread(folder: Path) -> Iterator[str]:
    """Pictures below a folder that its source does not read."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path.name for path in visible if path.is_dir() and image_files(path)]
    if folders:
        yield f"images in sub-folders ({_some(folders)})"
    kinds = Counter(path.suffix.lower() for path in visible if path.is_file() and _is_unknown_picture(path))
    if kinds:
        yield ", ".join(f"{count} files *{suffix}" for suffix, count in sorted(kinds.items()))


def _is_unknown_picture(path: Path) -> bool:
    suffix = path.suffix.lower()
    kind = mimetypes.guess_type(path.name.lower())[0] or ""
    return suffix not in IMAGE_SUFFIXES and (kind.startswith(("image/", "video/")) or suffix in _UNREAD_SUFFIXES)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
