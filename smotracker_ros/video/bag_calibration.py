"""What a bag's camera_info says of the camera, at each time of the recording."""

from __future__ import annotations

import bisect
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smotracker_ros.calibration import (
    Calibration,
    CalibrationError,
    read_camera_info,
    track_bearings,
)
from smotracker_ros.topics import camera_info_topic
from smotracker_ros.tracks import Tracks
from smotracker_ros.video.bags import bag_messages, open_bag
from smotracker_ros.video.message_types import typestore

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_logger = logging.getLogger(__name__)


def camera_infos(path: Path, image_topic: str) -> list[tuple[int, bytes]]:
    """Times of recording in nanoseconds and CDR bytes of the CameraInfo messages beside an image topic of a bag.

    Raises:
        SourceError: if the bag cannot be read.
    """
    topic = camera_info_topic(image_topic)
    with open_bag(path) as reader:
        wanted = [item for item in reader.connections if (item.topic, item.msgtype) == (topic, CAMERA_INFO)]
        return [(received, bytes(raw)) for _, received, raw in bag_messages(reader, wanted)] if wanted else []


class BagCalibration:
    """The calibration of one camera in a bag, as the node would have known it.

    Args:
        path: the bag.
        image_topic: the camera's images; its calibration is on the topic `camera_info` beside them, if there is one.
        rectified: the images have been rectified.

    Raises:
        SourceError: if the bag cannot be read.
    """

    def __init__(self, path: Path, image_topic: str, rectified: bool = False) -> None:
        self.topic = camera_info_topic(image_topic)
        self._times: list[int] = []
        self._calibrations: list[Calibration] = []
        self._told: set[str] = set()
        for received, raw in camera_infos(path, image_topic):
            try:
                calibration = read_camera_info(typestore().deserialize_cdr(raw, CAMERA_INFO), rectified)
            except Exception as error:  # a damaged message can fail anywhere in its deserialisation
                _logger.warning("%s: %s at %d ns cannot be used: %s", path, self.topic, received, error)
                continue
            self._times.append(received)
            self._calibrations.append(calibration)

    def at(self, received_ns: int) -> Calibration | None:
        """The last calibration that was recorded by then, or else the first one; None without any.

        A camera may send its calibration only once, and a recorder may get it behind the first images.

        Args:
            received_ns: time of recording in nanoseconds.
        """
        if not self._times:
            return None
        return self._calibrations[max(bisect.bisect_right(self._times, received_ns) - 1, 0)]

    def bearings(self, tracks: Tracks, received_ns: int) -> npt.NDArray[np.float64]:
        """Directions of the tracks of an image that was recorded then, (N, 3); zero where they are not known."""
        try:
            return track_bearings(tracks, self.at(received_ns))
        except CalibrationError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                _logger.warning("%s", error)
            return track_bearings(tracks, None)
