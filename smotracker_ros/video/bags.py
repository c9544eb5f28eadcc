"""Images out of rosbag2 recordings, without a ROS installation."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from smotracker_ros.frames import AutomaticGain, Frame, FrameError
from smotracker_ros.video.base import SourceError
from smotracker_ros.video.cut_bags import CutMcapReader, is_cut_mcap, settle_database
from smotracker_ros.video.encodings import decode_compressed_image, decode_image
from smotracker_ros.video.message_types import typestore

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
BAG_SUFFIXES = (".mcap", ".db3")

_logger = logging.getLogger(__name__)


def is_bag(path: Path) -> bool:
    """Whether a path looks like a rosbag2: a folder with metadata.yaml or storage files, or an .mcap or .db3 file."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(storage_files(path))
    return path.suffix in BAG_SUFFIXES


def storage_files(path: Path) -> list[Path]:
    """The .mcap and .db3 files of a bag, in order of their names; also of one that lacks its metadata.yaml."""
    files = path.iterdir() if path.is_dir() else [path]
    return sorted(file for file in files if file.suffix in BAG_SUFFIXES and file.is_file())


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """Open a rosbag2 for reading; one that was cut off is read up to where it was written completely.

    Raises:
        SourceError: if it cannot be read.
    """
    try:
        files = storage_files(path)
        for file in files:
            if file.suffix == ".db3":
                settle_database(file)
        cut = [file.suffix == ".mcap" and is_cut_mcap(file) for file in files]
        complete = not path.is_dir() or (path / "metadata.yaml").is_file()
        reader = AnyReader([path] if complete and not any(cut) else files, default_typestore=typestore())
        if any(cut) or not complete:
            _logger.warning("%s was cut off while it was recorded; what is complete of it is read", path)
            for part, file, is_cut in zip(reader.readers, files, cut, strict=True):
                if is_cut:
                    part.storage = CutMcapReader(file)
        reader.open()
    except Exception as error:  # a broken bag surfaces as any of sqlite3's, yaml's, struct's or rosbags' errors
        raise SourceError(f"{path} is not a readable rosbag2 ({error}); check it with `ros2 bag info`") from error
    try:
        yield reader
    finally:
        reader.close()


def bag_messages(
    reader: AnyReader, connections: Collection[Connection] = ()
) -> Iterator[tuple[Connection, int, bytes]]:
    """Messages of an open bag, of all or of some connections: connection, time of recording in nanoseconds, CDR bytes.

    Where the files are damaged the messages end, with a warning: what came before is good.
    """
    messages = reader.messages(connections)
    while True:
        try:
            yield next(messages)
        except StopIteration:
            return
        except Exception as error:
            _logger.warning("%s ends early: %s", reader.paths[0], error)
            return


@dataclass(frozen=True)
class BagImage:
    """One image message of a bag.

    Attributes:
        number: 0-based number among the topic's messages, broken ones included.
        received_ns: time of recording in nanoseconds.
        stamp_ns: time stamp in its header; 0: it has none.
        frame: the decoded image; None if it is broken.
    """

    number: int
    received_ns: int
    stamp_ns: int
    frame: Frame | None


class BagSource:
    """Frames of one image topic of a rosbag2 (sqlite3 or mcap); see `base.FrameSource`.

    Timestamps come from the messages' headers; a message without a stamp gets the time of its recording.
    """

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Open the bag, choose the topic, and read its first image.

        Args:
            path: folder of the bag, or one of its files.
            topic: name of an image topic; None: the only one there is.

        Raises:
            SourceError: if the bag cannot be read, has no such topic, or no readable image on it.
        """
        self.path = path
        self.name = path.stem
        self.skipped = 0
        with open_bag(self.path) as reader:
            connections = self._choose(reader, topic)
            self.topic = connections[0].topic
            count = sum(connection.msgcount for connection in connections)
            if count == 0:
                raise SourceError(f"topic {self.topic} of {path} holds no messages; record it again or choose another")
        self.length: int | None = count
        frames = iter(self)
        first, second = next(frames, None), next(frames, None)
        if first is None:
            raise SourceError(f"none of the {count} images on topic {self.topic} of {path} can be decoded")
        self.size: tuple[int, int] | None = (first.height, first.width)
        self.fps = self._rate(first, second)
        self.skipped = 0

    def _rate(self, first: Frame, second: Frame | None) -> float:
        """Frames per second: by the recording's length, else by the first two stamps, else 30."""
        with open_bag(self.path) as reader:
            seconds = (reader.end_time - reader.start_time) / 1e9
            span = (self.length or 1) - 1
        if second is not None and second.timestamp_ns > first.timestamp_ns:
            by_stamps = 1e9 / (second.timestamp_ns - first.timestamp_ns)
            # Another topic may have run longer than the camera: then the stamps tell.
            return span / seconds if seconds > 0 and 0.5 < span / seconds / by_stamps < 2 else by_stamps
        return span / seconds if span > 0 and seconds > 0 else 30.0

    def _choose(self, reader: AnyReader, topic: str | None) -> list[Connection]:
        images: dict[str, list[Connection]] = {}
        for connection in reader.connections:
            if connection.msgtype in IMAGE_TYPES:
                images.setdefault(connection.topic, []).append(connection)
        listed = ", ".join(sorted(images))
        if not images:
            others = ", ".join(sorted(reader.topics)) or "none at all"
            raise SourceError(f"{self.path} has no topic of type {' or '.join(IMAGE_TYPES)}; its topics: {others}")
        if topic is None:
            if len(images) > 1:
                raise SourceError(f"{self.path} has several image topics; choose one with --topic: {listed}")
            return next(iter(images.values()))
        found = images.get(topic) or images.get("/" + topic.lstrip("/"))
        if not found:
            raise SourceError(f"{self.path} has no image topic {topic}; there are: {listed}")
        return found

    def __iter__(self) -> Iterator[Frame]:
        return (image.frame for image in self.images() if image.frame is not None)

    def images(self, start: int = 0, gain: AutomaticGain | None = None) -> Iterator[BagImage]:
        """The topic's messages in the order of the bag, also those whose image is broken.

        Args:
            start: number of the first message wanted; those before it are not decoded.
            gain: range of 16-bit images so far, of a reading that is taken up again.
        """
        self.skipped = 0
        gain = gain or AutomaticGain()
        with open_bag(self.path) as reader:
            connections = [item for item in reader.connections if self.carries_image(item)]
            for number, (connection, received, raw) in enumerate(bag_messages(reader, connections)):
                if number < start:
                    continue
                stamp, frame = 0, None
                try:
                    message: Any = reader.deserialize(raw, connection.msgtype)
                    stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
                    frame = _to_frame(message, stamp or received, number, gain)
                except Exception as error:  # a damaged message can fail anywhere in its deserialisation
                    _logger.warning("%s: message at %d ns was skipped: %s", self.path, received, error)
                    self.skipped += 1
                yield BagImage(number, received, stamp, frame)

    def carries_image(self, connection: Connection) -> bool:
        """Whether a connection's messages are the frames of this source."""
        return connection.topic == self.topic and connection.msgtype in IMAGE_TYPES


def _to_frame(message: Any, timestamp_ns: int, index: int, gain: AutomaticGain) -> Frame:
    """A frame out of a deserialised Image or CompressedImage."""
    data = np.asarray(message.data, dtype=np.uint8)
    if message.__msgtype__ == "sensor_msgs/msg/CompressedImage":
        image = decode_compressed_image(data, gain, timestamp_ns)
    else:
        image = decode_image(
            message.height,
            message.width,
            message.encoding,
            message.is_bigendian,
            message.step,
            data,
            gain,
            timestamp_ns,
        )
    if image.size == 0:
        raise FrameError("the image is empty")
    return Frame(image, timestamp_ns, index, message.header.frame_id)
