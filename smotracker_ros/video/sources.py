"""Frame sources: video files, image folders, sequences with a seqinfo.ini, and bags."""

from __future__ import annotations

import configparser
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from smotracker_ros.frames import Frame, FrameError
from smotracker_ros.video.bag_files import is_bag
from smotracker_ros.video.bags import BagSource
from smotracker_ros.video.base import FrameSource, SourceError
from smotracker_ros.video.encodings import from_opencv

__all__ = ["FrameSource", "ImageFolderSource", "SourceError", "VideoSource", "open_source"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
DEFAULT_FPS = 30.0

_logger = logging.getLogger(__name__)


def open_source(path: str | Path, topic: str | None = None, fps: float | None = None) -> FrameSource:
    """Open whatever holds frames.

    Args:
        path: a video file, a folder of images, a sequence folder (`seqinfo.ini` beside a video or an image folder), or
            a rosbag2 (its folder, or one .mcap or .db3 file).
        topic: image topic of a bag; None: the only one there is.
        fps: frames per second of an image folder, and of anything else that does not state its own.

    Raises:
        SourceError: if it does not exist, is none of these, or holds no readable frame; names it and the remedy.
    """
    path = Path(path)
    if fps is not None and not 0 < fps <= 10000:
        raise SourceError(f"the frame rate must lie between 0 and 10000 per second, not {fps}")
    if not path.exists():
        raise SourceError(f"{path} does not exist; give a video file, an image folder, or a rosbag2")
    if is_bag(path):
        return BagSource(path, topic)
    if topic is not None:
        raise SourceError(f"{path} is not a rosbag2, so it has no topic {topic}; leave the topic out")
    if path.is_file():
        return VideoSource(path, fallback_fps=fps or DEFAULT_FPS)
    if (path / "seqinfo.ini").is_file():
        return _open_sequence(path, fps)
    return ImageFolderSource(path, fps=fps or DEFAULT_FPS)


def _open_sequence(path: Path, fps: float | None) -> FrameSource:
    """A folder in the MOTChallenge manner: seqinfo.ini names the video (`video`) or the image folder (`imDir`)."""
    parser = configparser.ConfigParser()
    try:
        parser.read(path / "seqinfo.ini")
        section = parser["Sequence"]
        rate = fps or float(section.get("frameRate", str(DEFAULT_FPS)))
        inner = path / section.get("video", section.get("imDir", "video.mp4"))
        name = section.get("name", path.name)
    except (configparser.Error, KeyError, ValueError, UnicodeDecodeError) as error:
        raise SourceError(f"{path / 'seqinfo.ini'} is not a sequence description ({error}); see [Sequence]") from error
    if not inner.exists():
        raise SourceError(f"{path / 'seqinfo.ini'} names {inner.name}, which is not in {path}; restore it")
    source = VideoSource(inner, rate) if inner.is_file() else ImageFolderSource(inner, rate)
    source.name = name
    return source


class VideoSource:
    """Frames of a video file with the container's timestamps; see :class:`FrameSource`."""

    def __init__(self, path: Path, fallback_fps: float = DEFAULT_FPS) -> None:
        """Open the file and check that its first frame can be decoded.

        Raises:
            SourceError: if the file is empty, no video, or holds no decodable frame.
        """
        self.path = path
        self.name = path.parent.name if path.stem == "video" and path.parent.name else path.stem
        self.skipped = 0
        if path.stat().st_size == 0:
            raise SourceError(f"{path} is empty (0 bytes); copy or record it again")
        with self._open() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            self.fps = float(rate) if rate else fallback_fps
            self.length: int | None = stream.frames or None
            if self.length is None and container.duration:
                self.length = round(container.duration / av.time_base * self.fps)
            first = next(self._decode(container), None)
            if first is None:
                raise SourceError(f"{path} holds no frame that can be decoded; check it with ffprobe")
            self.size: tuple[int, int] | None = (first.height, first.width)
        self.skipped = 0

    def _open(self) -> av.container.InputContainer:
        try:
            container = av.open(str(self.path))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(
                f"{self.path} is not a readable video ({error}); check it with ffprobe, or record it again"
            ) from error
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self.path} holds no video stream; give a file with pictures")
        return container

    def _decode(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        """Decoded frames; packets that are broken are counted and left out."""
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                _logger.warning("%s ends early: %s", self.path, error)
                self.skipped += 1
                return
            try:
                yield from packet.decode()
            except av.error.FFmpegError as error:
                _logger.warning("%s: a broken packet was skipped (%s)", self.path, error)
                self.skipped += 1

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        with self._open() as container:
            previous = -1
            for index, decoded in enumerate(self._decode(container)):
                seconds = decoded.time
                stamp = round(index / self.fps * 1e9) if seconds is None else round(seconds * 1e9)
                # Some containers repeat a time; the tracker needs time to go on.
                stamp = max(stamp, previous + 1)
                previous = stamp
                yield Frame(np.ascontiguousarray(decoded.to_ndarray(format="rgb24")), stamp, index)


def _natural_order(path: Path) -> list[tuple[int, int | str]]:
    """Sort key by which img2 comes before img10."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


class ImageFolderSource:
    """Images of one folder in natural order of their names, 8 or 16 bits; see :class:`FrameSource`."""

    def __init__(self, path: Path, fps: float = DEFAULT_FPS) -> None:
        """List the images.

        Raises:
            SourceError: if there is none, or none can be read.
        """
        self.path, self.fps, self.skipped = path, fps, 0
        self.name = path.name or path.resolve().name
        self.files = sorted((p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=_natural_order)
        if not self.files:
            raise SourceError(f"{path} holds neither images ({', '.join(s[1:] for s in IMAGE_SUFFIXES)}) nor a rosbag2")
        self.length: int | None = len(self.files)
        first = next(iter(self), None)
        if first is None:
            raise SourceError(f"none of the {len(self.files)} images in {path} can be read; are they complete?")
        self.size: tuple[int, int] | None = (first.height, first.width)
        self.skipped = 0

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        index = 0
        for number, file in enumerate(self.files):
            try:
                image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
                if image is None:
                    raise FrameError("it is broken or not an image")
                frame = Frame(from_opencv(image), round(number / self.fps * 1e9), index)
            except (FrameError, cv2.error) as error:
                _logger.warning("%s was skipped: %s", file, error)
                self.skipped += 1
                continue
            yield frame
            index += 1
