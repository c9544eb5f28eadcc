"""Images out of rosbag2 recordings, without a ROS installation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from smotracker_ros.frames import AutomaticGain, Frame, FrameError
from smotracker_ros.video.base import SourceError
from smotracker_ros.video.encodings import decode_compressed_image, decode_image

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
BAG_SUFFIXES = (".mcap", ".db3")

_logger = logging.getLogger(__name__)


def is_bag(path: Path) -> bool:
    """Whether a path looks like a rosbag2: a folder with metadata.yaml, or an .mcap or .db3 file."""
    return (path / "metadata.yaml").is_file() if path.is_dir() else path.suffix in BAG_SUFFIXES


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
        with self._open() as reader:
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
        with self._open() as reader:
            seconds = (reader.end_time - reader.start_time) / 1e9
            span = (self.length or 1) - 1
        if second is not None and second.timestamp_ns > first.timestamp_ns:
            by_stamps = 1e9 / (second.timestamp_ns - first.timestamp_ns)
            # Another topic may have run longer than the camera: then the stamps tell.
            return span / seconds if seconds > 0 and 0.5 < span / seconds / by_stamps < 2 else by_stamps
        return span / seconds if span > 0 and seconds > 0 else 30.0

    @contextmanager
    def _open(self) -> Iterator[AnyReader]:
        try:
            reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except Exception as error:  # a broken bag surfaces as any of sqlite3's, yaml's, struct's or rosbags' errors
            raise SourceError(
                f"{self.path} is not a readable rosbag2 ({error}); check it with `ros2 bag info`"
            ) from error
        try:
            yield reader
        finally:
            reader.close()

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
        self.skipped = 0
        index = 0
        gain = AutomaticGain()
        with self._open() as reader:
            connections = [c for c in reader.connections if c.topic == self.topic and c.msgtype in IMAGE_TYPES]
            messages = reader.messages(connections)
            while True:
                try:
                    connection, received, raw = next(messages)
                except StopIteration:
                    return
                except Exception as error:  # a truncated file: what came before it is good
                    _logger.warning("%s ends early: %s", self.path, error)
                    self.skipped += 1
                    return
                try:
                    frame = _to_frame(reader.deserialize(raw, connection.msgtype), received, index, gain)
                except Exception as error:  # a damaged message can fail anywhere in its deserialisation
                    _logger.warning("%s: message at %d ns was skipped: %s", self.path, received, error)
                    self.skipped += 1
                    continue
                yield frame
                index += 1


def _to_frame(message: Any, received: int, index: int, gain: AutomaticGain) -> Frame:
    """A frame out of a deserialised Image or CompressedImage."""
    stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
    data = np.asarray(message.data, dtype=np.uint8)
    if message.__msgtype__ == "sensor_msgs/msg/CompressedImage":
        image = decode_compressed_image(data, gain, stamp or received)
    else:
        image = decode_image(
            message.height,
            message.width,
            message.encoding,
            message.is_bigendian,
            message.step,
            data,
            gain,
            stamp or received,
        )
    if image.size == 0:
        raise FrameError("the image is empty")
    return Frame(image, stamp or received, index, message.header.frame_id)
