"""What a bag's camera_info says of the camera, at each time of the recording."""

from __future__ import annotations

import logging
from collections.abc import Generator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.notices import Notices
from smotracker_ros.core.topics import camera_info_topic
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.io.bag_reader import bag_messages, open_bag
from smotracker_ros.io.calibration import (
    Calibration,
    CalibrationError,
    read_camera_info,
    rectification_doubt,
    track_bearings,
)
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.raw_topics import CDR

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
# Bytes of a CDR message of this type: encapsulation, then the stamp, by which alone most messages differ
_BEFORE_STAMP, _BEHIND_STAMP = 4, 12

_logger = logging.getLogger(__name__)


def camera_infos(path: Path, image_topic: str) -> Generator[tuple[int, bytes], None, None]:
    """Times of recording in nanoseconds and CDR bytes of the CameraInfo messages beside an image topic of a bag.

    Raises:
        SourceError: if the bag cannot be read.
    """
    topic = camera_info_topic(image_topic)
    with open_bag(path) as reader:
        wanted = [
            item
            for item in reader.connections
            if (item.topic, item.msgtype, item.ext.serialization_format) == (topic, CAMERA_INFO, CDR)
        ]
        for _, received, raw in bag_messages(reader, wanted):
            yield received, bytes(raw)


class BagCalibration:
    """The calibration of one camera in a bag, as the node would have known it.

    It reads along with the images and holds two calibrations at most: cameras repeat theirs with every image.

    Args:
        path: the bag.
        image_topic: the camera's images; its calibration is on the topic `camera_info` beside them, if there is one.
        rectified: the images have been rectified.

    Raises:
        SourceError: if the bag cannot be read.
    """

    def __init__(self, path: Path, image_topic: str, rectified: bool = False) -> None:
        self.topic = camera_info_topic(image_topic)
        self._path, self._image_topic, self._rectified = path, image_topic, rectified
        self._notices = Notices(_logger.warning)
        self._messages = camera_infos(path, image_topic)
        self._seen: tuple[bytes, Calibration | None] = b"", None
        self._current: Calibration | None = None
        self._next = self._read()
        if self._next is not None:
            self._current = self._next[1]

    def _read(self) -> tuple[int, Calibration] | None:
        """The next calibration that can be used and is not the one before, with its time; None at the end."""
        for received, raw in self._messages:
            content = raw[:_BEFORE_STAMP] + raw[_BEHIND_STAMP:]
            if content != self._seen[0]:
                self._seen = content, self._understood(raw, received)
                if self._seen[1] is not None:
                    return received, self._seen[1]
        return None

    def _understood(self, raw: bytes, received_ns: int) -> Calibration | None:
        try:
            message = typestore().deserialize_cdr(raw, CAMERA_INFO)
            calibration = read_camera_info(message, self._rectified)
        except Exception as error:  # a damaged message can fail anywhere in its deserialisation
            place = f"{self._path}: {self.topic}, recorded at {received_ns} ns: "
            self._notices.warn(f"it cannot be used, and there are no bearings without another: {error}", place)
            return None
        if (doubt := rectification_doubt(message, self._image_topic, self._rectified)) is not None:
            self._notices.warn(doubt)
        return calibration

    def at(self, received_ns: int) -> Calibration | None:
        """The last calibration that was recorded by then, or else the first one; None without any.

        A camera may send its calibration only once, and a recorder may get it behind the first images.

        Args:
            received_ns: time of recording in nanoseconds, not earlier than in the call before.
        """
        while self._next is not None and self._next[0] <= received_ns:
            self._current = self._next[1]
            self._next = self._read()
        return self._current

    def bearings(self, tracks: Tracks, received_ns: int) -> npt.NDArray[np.float64]:
        """Directions of the tracks of an image that was recorded then, (N, 3); zero where they are not known."""
        try:
            return track_bearings(tracks, self.at(received_ns))
        except CalibrationError as error:
            self._notices.warn(str(error))
            return track_bearings(tracks, None)

    def close(self) -> None:
        """Close the bag."""
        self._messages.close()
