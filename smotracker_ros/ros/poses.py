"""Poses of frames in the world for a node, from TF."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from smotracker_ros.core.notices import Notices
from smotracker_ros.ros.images import to_nanoseconds
from smotracker_ros.space.frame_poses import TreePoses, put_transforms, to_pose
from smotracker_ros.space.poses import FixedPose, Pose, PoseError, PoseSource
from smotracker_ros.space.transforms import TransformTree

try:
    import tf2_ros
except ImportError:  # no registry has it; the messages alone will do
    tf2_ros = None

HOLD_SECONDS = 0.1
"""For how long the newest transform holds: images are faster than transforms."""


class TfPoses:
    """What comes on /tf and /tf_static: by tf2_ros where it is installed, by the package's own tree elsewhere.

    Args:
        node: that subscribes.
        world: frame in which poses are wanted.
        hold_seconds: for how long the newest transform holds.
    """

    def __init__(self, node: Node, world: str, hold_seconds: float = HOLD_SECONDS) -> None:
        self._node, self._world, self._hold = node, world, hold_seconds
        self._subscriptions: list[Any] = []
        self._listener: Any = None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer(node=node)
            self._listener = tf2_ros.TransformListener(self._buffer, node)
            return
        self._tree = TransformTree(hold_seconds)
        self._notices = Notices(node.get_logger().warning)
        latched = QoSProfile(
            depth=100,
            history=HistoryPolicy.KEEP_LAST,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", lambda message: self._take(message, False), 100),
            node.create_subscription(TFMessage, "/tf_static", lambda message: self._take(message, True), latched),
        ]

    def source(self, frame_id: str) -> PoseSource:
        """See :class:`smotracker_ros.space.frame_poses.Poses`."""
        if self._listener is None:
            return TreePoses(self._tree, self._world).source(frame_id)
        if frame_id.strip("/") in ("", self._world.strip("/")):
            return FixedPose()
        return _Tf2Source(self._buffer, self._world, frame_id, self._hold)

    def close(self) -> None:
        """See :class:`smotracker_ros.space.frame_poses.Poses`."""
        if self._listener is not None:
            self._listener.unregister()
        self._listener = None
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _take(self, message: TFMessage, is_static: bool) -> None:
        put_transforms(self._tree, message, is_static, self._notices.warn)


class _Tf2Source:
    """Poses from tf2_ros, of which the newest holds for a while, as those of the package's own tree."""

    def __init__(self, buffer: Any, world: str, frame_id: str, hold_seconds: float) -> None:
        self._buffer, self._world, self._frame_id, self._hold = buffer, world, frame_id, hold_seconds

    def at(self, timestamp_ns: int) -> Pose:
        """See :class:`smotracker_ros.space.poses.PoseSource`."""
        try:
            found = self._lookup(Time(nanoseconds=timestamp_ns))
        except tf2_ros.ExtrapolationException as error:
            found = self._newest(error)
            late = (timestamp_ns - to_nanoseconds(found.header.stamp)) / 1e9
            if not 0 <= late <= self._hold:
                raise PoseError(
                    f"the transform {self._world} -> {self._frame_id} is missing or old: {error}"
                ) from error
        except tf2_ros.TransformException as error:
            raise PoseError(f"there is no transform from {self._frame_id} to {self._world}: {error}") from error
        return to_pose(found.transform.translation, found.transform.rotation)

    def _newest(self, reason: Exception) -> Any:
        try:
            return self._lookup(Time())
        except tf2_ros.TransformException as error:
            raise PoseError(f"there is no transform from {self._frame_id} to {self._world}: {error}") from reason

    def _lookup(self, time: Time) -> Any:
        return self._buffer.lookup_transform(self._world, self._frame_id, time)
