"""Poses of frames in the world for a node: out of a file of extrinsics, or from TF."""

from __future__ import annotations

from typing import Any, Protocol

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from smotracker_ros.core.notices import Notices
from smotracker_ros.ros.images import to_nanoseconds
from smotracker_ros.space.extrinsics import Extrinsics
from smotracker_ros.space.poses import FixedPose, Pose, PoseError, PoseSource
from smotracker_ros.space.transforms import TransformTree

try:
    import tf2_ros
except ImportError:  # no registry has it; the messages alone will do
    tf2_ros = None

HOLD_SECONDS = 0.1
"""For how long the newest transform holds: images are faster than transforms."""


def to_pose(position: Any, orientation: Any) -> Pose:
    """A pose out of a point or vector and a quaternion.

    Raises:
        PoseError: if they are none.
    """
    quaternion = orientation.x, orientation.y, orientation.z, orientation.w
    return Pose.from_quaternion((position.x, position.y, position.z), quaternion)


class Poses(Protocol):
    """Where frames are in the world."""

    def source(self, frame_id: str) -> PoseSource:
        """Where a frame is at which time.

        Raises:
            PoseError: if it is known already that this will never be known.
        """

    def close(self) -> None:
        """Unsubscribe; may be called twice."""


class FilePoses:
    """Cameras that stand still.

    Args:
        extrinsics: where they stand.
    """

    def __init__(self, extrinsics: Extrinsics) -> None:
        self._extrinsics = extrinsics

    def source(self, frame_id: str) -> PoseSource:
        """See :class:`Poses`; without a name, the world's own frame."""
        if frame_id.strip("/") in ("", self._extrinsics.world):
            return FixedPose()
        return self._extrinsics.source(frame_id.strip("/"))

    def close(self) -> None:
        """See :class:`Poses`."""


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
        """See :class:`Poses`; without a name, the world's own frame."""
        if frame_id.strip("/") in ("", self._world.strip("/")):
            return FixedPose()
        if self._listener is not None:
            return _Tf2Source(self._buffer, self._world, frame_id, self._hold)
        return self._tree.source(self._world, frame_id)

    def close(self) -> None:
        """See :class:`Poses`."""
        if self._listener is not None:
            self._listener.unregister()
        self._listener = None
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _take(self, message: TFMessage, is_static: bool) -> None:
        for item in message.transforms:
            try:
                pose = to_pose(item.transform.translation, item.transform.rotation)
                stamp = to_nanoseconds(item.header.stamp)
                self._tree.put(item.header.frame_id, item.child_frame_id, stamp, pose, is_static)
            except PoseError as error:
                self._notices.warn(f"a transform is not taken: {error}", f"{item.child_frame_id}: ")


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
