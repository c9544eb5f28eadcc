"""Images out of rosbag2 recordings, without a ROS installation."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection

from smotracker_ros.core.frames import AutomaticGain, Frame, FrameError
from smotracker_ros.core.notices import Notices
from smotracker_ros.io.bag_files import warn_once
from smotracker_ros.io.bag_reader import BagReader, bag_messages, open_bag
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.image_messages import read_stamp, to_frame
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.rates import RATE_FRAMES, frame_rate
from smotracker_ros.io.raw_topics import CDR
from smotracker_ros.io.stream import FrameOrder

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_DEPTH = "/compressedDepth"
_CLOCK_JUMP = 1_000_000_000
"""Nanoseconds by which time stamps may run ahead of the recording."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BagImage:
    """One image message of a bag, not yet decoded.

    Attributes:
        number: 0-based number among the topic's messages, broken ones included.
        received_ns: time of recording in nanoseconds.
        stamp_ns: time stamp in its header; 0: it has none.
        message: as rosbags has read it; None if it is broken.
        error: why it is broken.
    """

    number: int
    received_ns: int
    stamp_ns: int
    message: Any
    error: str = ""

    @property
    def timestamp_ns(self) -> int:
        """Its time: the stamp, or else the time of its recording.

        Raises:
            FrameError: if it is broken.
        """
        if self.message is None:
            raise FrameError(self.error)
        return self.stamp_ns or self.received_ns

    def frame(self, index: int, gain: AutomaticGain) -> Frame:
        """The decoded image.

        Args:
            index: its number in the stream.
            gain: range of the stream's 16-bit images so far.

        Raises:
            FrameError: if it is broken.
        """
        return to_frame(self.message, index, gain, self.timestamp_ns)


class BagSource:
    """Frames of one image topic of a rosbag2 (sqlite3 or mcap); see `base.FrameSource`.

    Timestamps come from the messages' headers; a message without a stamp gets the time of its recording. A frame's
    index is its message's number on the topic. An image that is not later than the one before by its stamp is left out,
    as the node leaves it out; it is not even decoded.
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
        first = next(self._frames(Notices(lambda text: None)), None)
        if first is None:
            reason = next(self._reasons(), "the files are damaged")
            raise SourceError(f"none of the {count} images on topic {self.topic} of {path} can be decoded: {reason}")
        self.size: tuple[int, int] | None = (first.height, first.width)
        readable = (image for image in self.images() if image.message is not None)
        times = [(image.timestamp_ns, image.received_ns) for image in itertools.islice(readable, RATE_FRAMES)]
        stamps, received = zip(*times, strict=True)
        self.fps = frame_rate(stamps) or frame_rate(received) or 30.0
        self.skipped = 0

    def _choose(self, reader: BagReader, topic: str | None) -> list[Connection]:
        images: dict[str, list[Connection]] = {}
        for connection in reader.connections:
            if _is_image(connection):
                images.setdefault(connection.topic, []).append(connection)
        listed = ", ".join(sorted(images))
        if not images:
            others = ", ".join(sorted({_described(item) for item in reader.connections})) or "none at all"
            raise SourceError(f"{self.path} has no topic of type {' or '.join(IMAGE_TYPES)}; its topics: {others}")
        if topic is None:
            pictures = {name: found for name, found in images.items() if not name.endswith(_DEPTH)} or images
            if len(pictures) > 1:
                raise SourceError(f"{self.path} has several image topics; choose one with --topic: {listed}")
            return next(iter(pictures.values()))
        found = images.get(topic) or images.get("/" + topic.lstrip("/"))
        if not found:
            raise SourceError(f"{self.path} has no image topic {topic}; there are: {listed}")
        return found

    def __iter__(self) -> Iterator[Frame]:
        notices = Notices(_logger.warning)
        yield from self._frames(notices)
        if notices.silent:
            _logger.warning("%s: %d more images were skipped for such reasons", self.path, notices.silent)

    def _frames(self, notices: Notices) -> Iterator[Frame]:
        self.skipped = 0
        gain, order = AutomaticGain(), FrameOrder()
        for image in self.images():
            try:
                order.check(image.timestamp_ns)
                frame = image.frame(image.number, gain)
                order.place(frame.timestamp_ns, (frame.height, frame.width))
            except FrameError as error:
                notices.warn(f"was skipped: {error}", f"{self.path}: the image recorded at {image.received_ns} ns ")
                self.skipped += 1
                continue
            yield frame

    def _reasons(self) -> Iterator[str]:
        """Why images cannot be decoded."""
        gain = AutomaticGain()
        for image in self.images():
            try:
                image.frame(image.number, gain)
            except FrameError as error:
                yield str(error)

    def images(self, start: int = 0) -> Iterator[BagImage]:
        """The topic's messages in the order of the bag, also those whose image is broken.

        Args:
            start: number of the first message wanted; those before it are not interpreted.
        """
        with open_bag(self.path) as reader:
            connections = [item for item in reader.connections if self.carries_image(item)]
            before: BagImage | None = None
            for number, (connection, received, raw) in enumerate(bag_messages(reader, connections)):
                if number < start:
                    continue
                image = _read(number, received, raw, connection.msgtype)
                if before is not None and image.message is not None:
                    self._tell_of_jump(before, image)
                before = image if image.message is not None else before
                yield image

    def _tell_of_jump(self, before: BagImage, image: BagImage) -> None:
        """Say that a clock was set forward between two images, which the tracker has to take for a gap."""
        by_stamps, by_recording = image.timestamp_ns - before.timestamp_ns, image.received_ns - before.received_ns
        if by_stamps - by_recording > _CLOCK_JUMP:
            warn_once(
                f"{self.path}: the image recorded at {image.received_ns} ns is {by_stamps / 1e9:.3f} s later than the "
                f"one before by its stamp, but {by_recording / 1e9:.3f} s by its recording: the camera's clock was "
                "set; it is a gap to the tracker"
            )

    def carries_image(self, connection: Connection) -> bool:
        """Whether a connection's messages are the frames of this source."""
        return connection.topic == self.topic and _is_image(connection)


def _is_image(connection: Connection) -> bool:
    return connection.msgtype in IMAGE_TYPES and connection.ext.serialization_format == CDR


def _described(connection: Connection) -> str:
    """A topic with its type, and how it is written if that is not ROS 2's way."""
    form = connection.ext.serialization_format
    kind = ", ".join(filter(None, (connection.msgtype, form if form != CDR else "")))
    return f"{connection.topic} ({kind})" if kind else str(connection.topic)


def _read(number: int, received_ns: int, raw: bytes, kind: str) -> BagImage:
    """An image message out of its bytes."""
    try:
        message: Any = typestore().deserialize_cdr(raw, kind)
        return BagImage(number, received_ns, read_stamp(message), message)
    except Exception as error:  # a damaged message can fail anywhere in its deserialisation
        return BagImage(number, received_ns, 0, None, str(error) or type(error).__name__)
