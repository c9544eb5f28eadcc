"""The node's results as serialised messages, without ROS: for bags that are written offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.core.tracks import Tracks, label_image
from smotracker_ros.io.message_fields import track_fields
from smotracker_ros.io.message_types import typestore

RESULT_TYPES: Mapping[str, str] = {
    "tracks": "vision_msgs/msg/Detection2DArray",
    "masks": "sensor_msgs/msg/Image",
    "track_states": "smotracker_ros/msg/TrackArray",
}
"""Message types by topic, in the order in which the results of an image are written."""


class ResultMessages:
    """Turns tracks into the messages of :data:`RESULT_TYPES`."""

    def __init__(self) -> None:
        self._store = typestore()

    def encode(
        self,
        tracks: Tracks,
        stamp_ns: int,
        frame_id: str,
        topics: tuple[str, ...] = tuple(RESULT_TYPES),
        bearings: npt.NDArray[np.float64] | None = None,
    ) -> dict[str, bytes]:
        """The messages of one frame.

        Args:
            tracks: the tracker's answer.
            stamp_ns: time stamp in the source image's header, in nanoseconds.
            frame_id: name of the camera's frame in that header.
            topics: which of :data:`RESULT_TYPES` are wanted.
            bearings: (N, 3), unit vectors in the camera's optical frame by track; zero or None: not known.

        Returns:
            CDR bytes by topic, in the order of `topics`.
        """
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._type("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)
        header = self._type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)
        known = np.zeros((len(tracks), 3)) if bearings is None else bearings
        build: dict[str, Callable[[Any, Tracks], Any]] = {
            "tracks": self._detections,
            "masks": self._masks,
            "track_states": lambda header, tracks: self._states(header, tracks, known),
        }
        return {
            topic: bytes(self._store.serialize_cdr(build[topic](header, tracks), RESULT_TYPES[topic]))
            for topic in topics
        }

    def _type(self, name: str) -> Any:
        return self._store.types[name]

    def _box(self, box: FloatArray) -> Any:
        x1, y1, x2, y2 = (float(value) for value in box)
        point = self._type("vision_msgs/msg/Point2D")(x=(x1 + x2) / 2, y=(y1 + y2) / 2)
        pose = self._type("vision_msgs/msg/Pose2D")(position=point, theta=0.0)
        return self._type("vision_msgs/msg/BoundingBox2D")(center=pose, size_x=x2 - x1, size_y=y2 - y1)

    def _detections(self, header: Any, tracks: Tracks) -> Any:
        nowhere = self._type("geometry_msgs/msg/PoseWithCovariance")(
            pose=self._type("geometry_msgs/msg/Pose")(
                position=self._type("geometry_msgs/msg/Point")(x=0.0, y=0.0, z=0.0),
                orientation=self._type("geometry_msgs/msg/Quaternion")(x=0.0, y=0.0, z=0.0, w=1.0),
            ),
            covariance=np.zeros(36),
        )
        detections = []
        for track in tracks.reported:
            hypothesis = self._type("vision_msgs/msg/ObjectHypothesis")(
                class_id=track.class_name or str(track.class_id), score=float(track.score)
            )
            result = self._type("vision_msgs/msg/ObjectHypothesisWithPose")(hypothesis=hypothesis, pose=nowhere)
            detections.append(
                self._type("vision_msgs/msg/Detection2D")(
                    header=header, results=[result], bbox=self._box(track.box), id=str(track.id)
                )
            )
        return self._type("vision_msgs/msg/Detection2DArray")(header=header, detections=detections)

    def _masks(self, header: Any, tracks: Tracks) -> Any:
        labels: npt.NDArray[np.uint16] = label_image(tracks)
        height, width = labels.shape
        data = np.frombuffer(labels.astype("<u2").tobytes(), dtype=np.uint8)
        return self._type("sensor_msgs/msg/Image")(
            header=header, height=height, width=width, encoding="mono16", is_bigendian=0, step=2 * width, data=data
        )

    def _states(self, header: Any, tracks: Tracks, bearings: npt.NDArray[np.float64]) -> Any:
        height, width = tracks.image_size
        items = [
            self._type("smotracker_ros/msg/Track")(
                box=self._box(track.box), **track_fields(track, height, width, tuple(bearing))
            )
            for track, bearing in zip(tracks, bearings.tolist(), strict=True)
        ]
        return self._type("smotracker_ros/msg/TrackArray")(
            header=header, frame_index=tracks.frame_index, detector_ran=tracks.detector_ran, tracks=items
        )
