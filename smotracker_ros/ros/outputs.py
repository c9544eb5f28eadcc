"""What the node publishes for every image, and once for those who want to know the classes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo, VisionClass, VisionInfo
from visualization_msgs.msg import MarkerArray

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.notices import Notices
from smotracker_ros.core.tracks import Tracks, label_image
from smotracker_ros.io.calibration import Calibration, CalibrationError, track_bearings
from smotracker_ros.io.overlay import Trails, draw_overlay
from smotracker_ros.msg import TrackArray
from smotracker_ros.ros.conversions import to_detections, to_label_message, to_track_array
from smotracker_ros.ros.images import to_image
from smotracker_ros.ros.markers import to_markers
from smotracker_ros.ros.qos import latched_profile, result_profile
from smotracker_ros.tracking.tracker import SmoTracker

TOPICS = {
    "tracks": Detection2DArray,
    "masks": Image,
    "masks/compressed": CompressedImage,
    "track_states": TrackArray,
    "overlay": Image,
    "markers": MarkerArray,
}
"""What is published for every image."""

_LATCHED_TOPICS = {"label_info": LabelInfo, "vision_info": VisionInfo}


class Outputs:
    """The publishers of a tracker node; they are silent while the node is not active.

    Args:
        node: that publishes.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._publishers: dict[str, Any] = {
            topic: node.create_lifecycle_publisher(kind, topic, result_profile()) for topic, kind in TOPICS.items()
        }
        for topic, kind in _LATCHED_TOPICS.items():
            self._publishers[topic] = node.create_lifecycle_publisher(kind, topic, latched_profile())
        self._trails = Trails()
        self._notices = Notices(node.get_logger().warning)

    def close(self) -> None:
        """Withdraw the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def announce(self, tracker: SmoTracker, threshold: float) -> None:
        """Say what the classes are called, from which confidence on they are detected, and by which models."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        names = sorted(tracker.class_names.items())
        classes = [VisionClass(class_id=number, class_name=name) for number, name in names if 0 <= number < 2**16]
        self._publishers["label_info"].publish(LabelInfo(header=header, class_map=classes, threshold=threshold))
        info = VisionInfo(header=header, method=" and ".join(tracker.models.values()))
        info.database_location = self._publishers["label_info"].topic_name
        self._publishers["vision_info"].publish(info)

    def publish(
        self, header: Header, frame: Frame, tracks: Tracks, calibration: Calibration | None, masks: bool, class_id: str
    ) -> None:
        """Publish the results of one image, each with its header.

        Args:
            header: of the source image.
            frame: the image.
            tracks: the tracker's answer.
            calibration: the camera's, if it is known.
            masks: whether masks are wanted at all; even then, only while somebody subscribes.
            class_id: "name" or "number" (:func:`to_detections`).
        """
        try:
            bearings = track_bearings(tracks, calibration)
        except CalibrationError as error:
            self._notices.warn(str(error))
            calibration, bearings = None, track_bearings(tracks, None)
        if masks and self._wanted("masks"):
            self._publishers["masks"].publish(to_label_message(tracks, header))
        if masks and self._wanted("masks/compressed"):
            self._publishers["masks/compressed"].publish(_compressed(label_image(tracks), header))
        self._trails.update(tracks)
        if self._wanted("overlay"):
            image = draw_overlay(frame, tracks, self._trails)
            self._publishers["overlay"].publish(to_image(image, header, "rgb8"))
        if calibration is not None and self._wanted("markers"):
            trails = {track.id: calibration.bearings(self._trails.points(track.id)) for track in tracks.reported}
            self._publishers["markers"].publish(to_markers(tracks, bearings, trails, header))
        self._publishers["track_states"].publish(to_track_array(tracks, header, bearings))
        # Last, so that whoever waits for `tracks` knows that everything of this image has been sent.
        self._publishers["tracks"].publish(to_detections(tracks, header, class_id))

    def _wanted(self, topic: str) -> bool:
        return bool(self._publishers[topic].get_subscription_count())


def _compressed(labels: npt.NDArray[np.uint16], header: Header) -> CompressedImage:
    """A label image as PNG, as image_transport's subscribers understand it."""
    # level 1: label images are almost empty, and more effort makes them hardly smaller
    data = cv2.imencode(".png", labels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    message = CompressedImage(header=header, format="mono16; png compressed ")
    message.data.frombytes(data.tobytes())
    return message
