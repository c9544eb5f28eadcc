"""Where frames are in the world, for nodes and bags: out of a file of extrinsics, or out of messages of TF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from smotracker_ros.space.extrinsics import Extrinsics
from smotracker_ros.space.poses import FixedPose, Pose, PoseError, PoseSource
from smotracker_ros.space.transforms import TransformTree

_NANOSECONDS = 1_000_000_000


class Poses(Protocol):
    """Where frames are in the world."""

    def source(self, frame_id: str) -> PoseSource:
        """Where a frame is at which time; without a name, the world's own frame.

        Raises:
            PoseError: if it is known already that this will never be known.
        """

    def close(self) -> None:
        """Listen no more; may be called twice."""


class FilePoses:
    """Cameras that stand still.

    Args:
        extrinsics: where they stand.
    """

    def __init__(self, extrinsics: Extrinsics) -> None:
        self._extrinsics = extrinsics

    def source(self, frame_id: str) -> PoseSource:
        """See :class:`Poses`."""
        if frame_id.strip("/") in ("", self._extrinsics.world):
            return FixedPose()
        return self._extrinsics.source(frame_id.strip("/"))

    def close(self) -> None:
        """See :class:`Poses`."""


class TreePoses:
    """What messages of TF have put into a tree.

    Args:
        tree: of the transforms.
        world: frame in which poses are wanted.
    """

    def __init__(self, tree: TransformTree, world: str) -> None:
        self._tree, self._world = tree, world

    def source(self, frame_id: str) -> PoseSource:
        """See :class:`Poses`."""
        if frame_id.strip("/") in ("", self._world.strip("/")):
            return FixedPose()
        return self._tree.source(self._world, frame_id)

    def close(self) -> None:
        """See :class:`Poses`."""


@dataclass(frozen=True, eq=False)
class _NamedSource:
    poses: NamedPoses
    frame_id: str

    def at(self, timestamp_ns: int) -> Pose:
        return self.poses.now(self.frame_id).at(timestamp_ns)


class NamedPoses:
    """Others' poses; its sources hold nothing but their frames' names, so that a snapshot need not hold transforms.

    Args:
        inner: knows where frames are.
    """

    def __init__(self, inner: Poses) -> None:
        self._inner = inner

    def source(self, frame_id: str) -> PoseSource:
        """See :class:`Poses`."""
        self._inner.source(frame_id)
        return _NamedSource(self, frame_id)

    def now(self, frame_id: str) -> PoseSource:
        """What the others know at present of a frame.

        Raises:
            PoseError: as :meth:`source`.
        """
        return self._inner.source(frame_id)

    def close(self) -> None:
        """See :class:`Poses`."""
        self._inner.close()


def stamp_of(header: Any) -> int:
    """The time stamp of a message's header, nanoseconds."""
    return int(header.stamp.sec) * _NANOSECONDS + int(header.stamp.nanosec)


def to_pose(position: Any, orientation: Any) -> Pose:
    """A pose out of a point or vector and a quaternion of a message.

    Raises:
        PoseError: if they are none.
    """
    quaternion = orientation.x, orientation.y, orientation.z, orientation.w
    return Pose.from_quaternion((position.x, position.y, position.z), quaternion)


def put_transforms(tree: TransformTree, message: Any, is_static: bool, warn: Callable[[str, str], None]) -> None:
    """Put a `tf2_msgs/TFMessage` into a tree.

    Args:
        tree: gets the transforms.
        message: of `/tf` or `/tf_static`.
        is_static: whether it is of `/tf_static`.
        warn: gets why a transform is not taken, and which.
    """
    for item in message.transforms:
        try:
            pose = to_pose(item.transform.translation, item.transform.rotation)
            tree.put(item.header.frame_id, item.child_frame_id, stamp_of(item.header), pose, is_static)
        except PoseError as error:
            warn(f"a transform is not taken: {error}", f"{item.child_frame_id}: ")
