"""Where a camera stands and how it is turned, at the time of an image.

Frames follow REP 103 and REP 105: the world is right-handed with z up, such as `map` or an ENU frame, in metres. A
camera's frame is its optical frame: x to the right of the image, y down, z forward.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Float64Array = npt.NDArray[np.float64]

OPTICAL_IN_BODY = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""A camera's optical frame in the frame of its housing (x forward, y left, z up), which REP 103 calls a body's."""

_NANOSECONDS = 1_000_000_000
# A quaternion that is off unit length by more was never one
_LEAST_NORM, _LARGEST_NORM = 0.9, 1.1


class PoseError(ValueError):
    """A pose that is not known, or that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Pose:
    """A frame in another one: a camera's optical frame in the world, if nothing else is said.

    Attributes:
        rotation: turns directions of the camera's frame into directions of the world.
        position: float64 (3,), the camera in the world, metres.

    Raises:
        PoseError: if the position is not three finite numbers.
    """

    rotation: Rotation = field(default_factory=Rotation.identity)
    position: Float64Array = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        position = np.asarray(self.position, dtype=np.float64)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise PoseError(f"a position is three finite numbers in metres, not {self.position!r}")
        object.__setattr__(self, "position", position)

    @staticmethod
    def from_quaternion(position: npt.ArrayLike, quaternion: npt.ArrayLike) -> Pose:
        """A pose as ROS messages state it.

        Args:
            position: (3,), metres.
            quaternion: (4,), x y z w.

        Raises:
            PoseError: if numbers are not finite, or the quaternion is not of unit length.
        """
        numbers = np.asarray(quaternion, dtype=np.float64)
        norm = float(np.linalg.norm(numbers)) if numbers.shape == (4,) else math.nan
        if not _LEAST_NORM <= norm <= _LARGEST_NORM:
            raise PoseError(
                f"a rotation is a unit quaternion x y z w, not {numbers.tolist()} (no rotation at all is 0 0 0 1)"
            )
        return Pose(Rotation.from_quat(numbers), np.asarray(position, dtype=np.float64))

    def directions_to_world(self, directions: npt.ArrayLike) -> Float64Array:
        """Directions of the camera's frame, (N, 3), as directions of the world, float64 (N, 3); lengths are kept."""
        return np.asarray(self.rotation.apply(_rows(directions)), dtype=np.float64).reshape(-1, 3)

    def directions_from_world(self, directions: npt.ArrayLike) -> Float64Array:
        """Directions of the world, (N, 3), as directions of the camera's frame, float64 (N, 3); lengths are kept."""
        return np.asarray(self.rotation.apply(_rows(directions), inverse=True), dtype=np.float64).reshape(-1, 3)

    def points_to_world(self, points: npt.ArrayLike) -> Float64Array:
        """Points of the camera's frame, (N, 3) metres, as points of the world, float64 (N, 3)."""
        return self.directions_to_world(points) + self.position

    def points_from_world(self, points: npt.ArrayLike) -> Float64Array:
        """Points of the world, (N, 3) metres, as points of the camera's frame, float64 (N, 3)."""
        return self.directions_from_world(_rows(points) - self.position)

    def compose(self, inner: Pose) -> Pose:
        """The pose in this pose's outer frame of what has the pose `inner` in this pose's own frame.

        A camera on a mast: `mast_in_world.compose(camera_in_mast)` is the camera in the world.
        """
        return Pose(self.rotation * inner.rotation, self.points_to_world(inner.position)[0])

    def inverse(self) -> Pose:
        """The outer frame in the inner one: the world as the camera sees it."""
        rotation = self.rotation.inv()
        return Pose(rotation, -rotation.apply(self.position))

    def interpolate(self, other: Pose, share: float) -> Pose:
        """The pose between this one (share 0) and another (share 1): straight, turning about one axis evenly."""
        turn = (self.rotation.inv() * other.rotation).as_rotvec()
        position = self.position + share * (other.position - self.position)
        return Pose(self.rotation * Rotation.from_rotvec(share * turn), position)


@runtime_checkable
class PoseSource(Protocol):
    """Knows where a camera was at the time of an image."""

    def at(self, timestamp_ns: int) -> Pose:
        """The camera's pose in the world at a time.

        Args:
            timestamp_ns: the image's time stamp, nanoseconds.

        Raises:
            PoseError: if it is not known; the message says why.
        """


@dataclass(frozen=True, eq=False)
class FixedPose:
    """A camera that does not move.

    Attributes:
        pose: in the world, at any time.
    """

    pose: Pose = field(default_factory=Pose)

    def at(self, timestamp_ns: int) -> Pose:
        """See :meth:`PoseSource.at`; never fails."""
        return self.pose


class PoseBuffer:
    """The recent poses of something that moves; between two of them it is taken to move evenly.

    A stamp that lies further back than the buffer reaches is a clock that was set back, such as that of a bag which is
    played again: what was known before is forgotten.

    Args:
        name: what moves, for messages: "the transform mast -> camera".
        span_seconds: how far back poses are kept.
        longest_gap_seconds: between two poses further apart nothing is known.
        hold_seconds: for how long the newest pose holds, and the oldest one before its time. 0: an image must lie
            between two poses.
        most: poses kept at most.
    """

    def __init__(
        self,
        name: str = "the pose",
        span_seconds: float = 10.0,
        longest_gap_seconds: float = 1.0,
        hold_seconds: float = 0.1,
        most: int = 20_000,
    ) -> None:
        self._name = name
        self._span, self._gap, self._hold = (
            int(seconds * _NANOSECONDS) for seconds in (span_seconds, longest_gap_seconds, hold_seconds)
        )
        self._most = most
        self._times: list[int] = []
        self._poses: list[Pose] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest pose, None before there is one."""
        return self._times[-1] if self._times else None

    def add(self, timestamp_ns: int, pose: Pose) -> None:
        """Take a pose; poses may come in any order, and one of the same time replaces the one before."""
        if self._times and timestamp_ns < self._times[-1] - self._span:
            self.clear()
        index = bisect_left(self._times, timestamp_ns)
        if index < len(self._times) and self._times[index] == timestamp_ns:
            self._poses[index] = pose
            return
        self._times.insert(index, timestamp_ns)
        self._poses.insert(index, pose)
        old = bisect_left(self._times, self._times[-1] - self._span)
        old = max(old, len(self._times) - self._most)
        del self._times[:old], self._poses[:old]

    def clear(self) -> None:
        """Forget all poses."""
        self._times.clear()
        self._poses.clear()

    def at(self, timestamp_ns: int) -> Pose:
        """See :meth:`PoseSource.at`."""
        times = self._times
        if not times:
            raise PoseError(f"{self._name} is not known: nothing has come yet")
        after = bisect_right(times, timestamp_ns)
        if after and times[after - 1] == timestamp_ns:
            return self._poses[after - 1]
        if after == len(times):
            return self._held(-1, timestamp_ns - times[-1], "old: its newest is of {} before the image")
        if after == 0:
            return self._held(0, times[0] - timestamp_ns, "too new: its oldest is of {} after the image")
        gap = times[after] - times[after - 1]
        if gap > self._gap:
            raise PoseError(
                f"{self._name} has a gap of {_spoken(gap)} at the image's time, more than the {_spoken(self._gap)} "
                "that are bridged; send it more often"
            )
        return self._poses[after - 1].interpolate(self._poses[after], (timestamp_ns - times[after - 1]) / gap)

    def _held(self, index: int, missing_ns: int, text: str) -> Pose:
        """The first or last pose, if it still holds so long outside its time."""
        if missing_ns > self._hold:
            raise PoseError(
                f"{self._name} is {text.format(_spoken(missing_ns))}, more than the {_spoken(self._hold)} that "
                "it holds; compare the clocks of its sender and of the camera"
            )
        return self._poses[index]


def _rows(array: npt.ArrayLike) -> Float64Array:
    return np.asarray(array, dtype=np.float64).reshape(-1, 3)


def _spoken(nanoseconds: int) -> str:
    """A span of time in words: "40 ms", "2.5 s"."""
    seconds = nanoseconds / _NANOSECONDS
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
