"""Frames of image folders."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2

from smotracker_ros.frames import AutomaticGain, Frame, FrameError
from smotracker_ros.video.base import DEFAULT_FPS, SourceError
from smotracker_ros.video.encodings import from_opencv

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

_logger = logging.getLogger(__name__)


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in natural order of their names (img2 before img10); hidden files are passed over."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted((p for p in found if p.is_file() and not p.name.startswith(".")), key=_natural_order)


def _natural_order(path: Path) -> list[tuple[int, int | str]]:
    # only decimal digits make numbers: a superscript two is a digit, too
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def frame_places(files: Sequence[Path], length: int | None = None) -> list[int]:
    """Numbers of the frames that images show, so that a missing image leaves its place free.

    The number in a file's name counts where the names differ in nothing else.

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
    numbers = _file_numbers(files)
    if not numbers:
        return list(range(len(files)))
    if length is not None:
        base = min(numbers[0], 1)
        if numbers[-1] - base < length:
            return [number - base for number in numbers]
    steps = [after - before for before, after in pairwise(numbers)]
    if not steps:
        return [0]
    step, count = Counter(steps).most_common(1)[0]
    if 2 * count + (step == 1) <= len(steps) or any(other % step for other in steps):
        return list(range(len(files)))
    return [(number - numbers[0]) // step for number in numbers]


def _file_numbers(files: Sequence[Path]) -> list[int]:
    """The numbers that tell the names of files apart, rising; empty if there is more to them, or no number."""
    names = [re.split(r"(\d+)", path.stem) for path in files]
    texts = {tuple(parts[::2]) for parts in names}
    if len(texts) != 1:
        return []
    columns = list(zip(*(map(int, parts[1::2]) for parts in names), strict=True))
    varying = [column for column in columns if len(set(column)) > 1] or columns[-1:]
    if len(varying) != 1 or any(after <= before for before, after in pairwise(varying[0])):
        return []
    return list(varying[0])


class ImageFolderSource:
    """Images of one folder in natural order of their names; deep ones through one :class:`AutomaticGain`.

    See :class:`~smotracker_ros.video.base.FrameSource`.
    """

    def __init__(self, path: Path, fps: float = DEFAULT_FPS, labelled_length: int | None = None) -> None:
        """List the images.

        Args:
            path: the folder.
            fps: frames per second.
            labelled_length: number of frames that labels count; see :func:`frame_places`.

        Raises:
            SourceError: if there is none, or none can be read.
        """
        self.path, self.fps, self.skipped = path, fps, 0
        self.name = path.name or path.resolve().name
        self.files = image_files(path)
        if not self.files:
            raise SourceError(f"{path} holds neither images ({', '.join(s[1:] for s in IMAGE_SUFFIXES)}) nor a rosbag2")
        self.places = frame_places(self.files, labelled_length)
        self.length: int | None = len(self.files)
        first = next(self._frames(), None)
        if first is None:
            raise SourceError(f"none of the {len(self.files)} images in {path} can be read; are they complete?")
        self.size: tuple[int, int] | None = (first.height, first.width)
        self.skipped = 0

    def __iter__(self) -> Iterator[Frame]:
        missing = self.places[-1] - self.places[0] + 1 - len(self.files)
        if missing:
            _logger.warning(
                "%s: by the numbers in the names of its files %d images are missing; the others keep their frames",
                self.path,
                missing,
            )
        return self._frames()

    def _frames(self) -> Iterator[Frame]:
        self.skipped = 0
        gain = AutomaticGain()
        for place, file in zip(self.places, self.files, strict=True):
            try:
                image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
                if image is None:
                    raise FrameError("it is broken or not an image")
                stamp = round(place / self.fps * 1e9)
                frame = Frame(from_opencv(image, gain, stamp), stamp, place)
            except (FrameError, cv2.error) as error:
                _logger.warning("%s was skipped: %s", file, error)
                self.skipped += 1
                continue
            yield frame
