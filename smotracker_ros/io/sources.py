"""Frame sources: video files, image folders, sequences with a seqinfo.ini, bags, cameras and network streams."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from smotracker_ros.io.addresses import is_address, is_camera, shown
from smotracker_ros.io.bag_files import is_bag
from smotracker_ros.io.bags import BagSource
from smotracker_ros.io.base import DEFAULT_FPS, FrameSource, SourceError
from smotracker_ros.io.image_files import IMAGE_SUFFIXES
from smotracker_ros.io.image_folders import ImageFolderSource
from smotracker_ros.io.live import LiveSource
from smotracker_ros.io.mot_text import MotTextError, read_seqinfo
from smotracker_ros.io.videos import VideoSource

__all__ = ["FrameSource", "ImageFolderSource", "LiveSource", "SourceError", "VideoSource", "open_source"]


def open_source(
    path: str | Path,
    topic: str | None = None,
    fps: float | None = None,
    labelled_length: int | None = None,
    options: Mapping[str, str] | None = None,
    patience: float = math.inf,
) -> FrameSource:
    """Open whatever holds frames.

    Args:
        path: a video or image file, a folder of images, a sequence folder (`seqinfo.ini` beside a video or an image
            folder), a rosbag2 (its folder, or one .mcap or .db3 file), a stream (rtsp://, http://, https://, udp://),
            or a camera (/dev/video0). The last two are live: see :class:`~smotracker_ros.io.live.LiveSource`.
        topic: image topic of a bag; None: the only one there is.
        fps: frames per second of an image folder, and of anything else that does not state its own.
        labelled_length: number of frames that labels of an image folder count: the numbers in the names of its files
            are then those of the frames.
        options: of FFmpeg, for a stream or a camera: {"video_size": "1280x720"}.
        patience: a stream or a camera ends when nothing has come for so many seconds.

    Raises:
        SourceError: if it does not exist, is none of these, or holds no readable frame; names it and the remedy.
    """
    if fps is not None and not 0 < fps <= 10000:
        raise SourceError(f"the frame rate must lie between 0 and 10000 per second, not {fps}")
    if is_address(path) or is_camera(path):
        if topic is not None:
            raise SourceError(f"{shown(str(path))} is no rosbag2, so it has no topic {topic}; leave the topic out")
        return _open_live(str(path), fps or DEFAULT_FPS, options, patience)
    path = Path(path)
    if not path.exists():
        raise SourceError(f"{path} does not exist; give a video file, an image folder, a rosbag2, a stream or a camera")
    if options:
        raise SourceError(f"{path} is no stream and no camera, so it takes no options; leave {', '.join(options)} out")
    if is_bag(path):
        return BagSource(path, topic)
    if topic is not None:
        raise SourceError(f"{path} is not a rosbag2, so it has no topic {topic}; leave the topic out")
    if (path / "seqinfo.ini").is_file():
        return _open_sequence(path, fps)
    return _open_pictures(path, fps or DEFAULT_FPS, labelled_length)


def _open_live(
    address: str, fps: float, options: Mapping[str, str] | None, patience: float
) -> LiveSource | VideoSource:
    """A stream or a camera. A file that a web server has is read like one that is here: no frame of it is dropped."""
    live = LiveSource(address, fps, options, patience)
    if not live.is_recording:
        return live
    live.close()
    return VideoSource(Path(PurePosixPath(shown(address).partition("://")[2])), fps, address)


def _open_pictures(path: Path, fps: float, labelled_length: int | None) -> FrameSource:
    """A video, an image, or a folder of images."""
    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        return VideoSource(path, fps)
    return ImageFolderSource(path, fps, labelled_length)


def _open_sequence(path: Path, fps: float | None) -> FrameSource:
    """A folder in the MOTChallenge manner: seqinfo.ini names the video (`video`) or the image folder (`imDir`)."""
    info = path / "seqinfo.ini"
    try:
        section = read_seqinfo(info)
        rate = fps or float(section.get("frameRate", str(DEFAULT_FPS)))
        length = int(section["seqLength"]) if "seqLength" in section else None
    except MotTextError as error:
        raise SourceError(str(error)) from error
    except ValueError as error:
        raise SourceError(f"{info} is not a sequence description ({error})") from error
    inner = path / section.get("video", section.get("imDir", "video.mp4"))
    name = section.get("name", path.name)
    if not inner.exists():
        raise SourceError(f"{info} names {inner.name}, which is not in {path}; restore it")
    source = _open_pictures(inner, rate, length)
    source.name = name
    return source
