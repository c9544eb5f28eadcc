"""A tree of moving frames, as TF sends it on `/tf` and `/tf_static`: for machines without tf2_ros, and for bags."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from smotracker_ros.core.names import did_you_mean
from smotracker_ros.space.poses import FixedPose, Pose, PoseBuffer, PoseError, PoseSource

# Frames and steps beyond which a sender is broken
_MOST_FRAMES, _DEEPEST = 2000, 100


class TransformTree:
    """Frames by their parents; safe to use from several threads.

    Args:
        hold_seconds: for how long the newest transform of a moving frame holds.
        span_seconds: how far back transforms are kept.
    """

    def __init__(self, hold_seconds: float = 0.1, span_seconds: float = 10.0) -> None:
        self._hold, self._span = hold_seconds, span_seconds
        self._parents: dict[str, tuple[str, FixedPose | PoseBuffer]] = {}
        self._lock = threading.Lock()

    def put(self, parent: str, child: str, timestamp_ns: int, pose: Pose, is_static: bool = False) -> None:
        """Take a transform; a child that changes its parent begins anew.

        Args:
            parent: name of the outer frame.
            child: name of the inner frame.
            timestamp_ns: when it holds; of no meaning if it is static.
            pose: of the inner frame in the outer one.
            is_static: it holds at any time.

        Raises:
            PoseError: if the names make no sense, or there are too many.
        """
        parent, child = parent.strip("/"), child.strip("/")
        if not parent or not child or parent == child:
            raise PoseError(f"a transform from {child!r} to {parent!r} makes no sense")
        with self._lock:
            if child not in self._parents and len(self._parents) >= _MOST_FRAMES:
                raise PoseError(f"there are more than {_MOST_FRAMES} frames; the transform of {child} is not taken")
            if is_static:
                self._parents[child] = parent, FixedPose(pose)
                return
            known = self._parents.get(child)
            if known is None or known[0] != parent or not isinstance(known[1], PoseBuffer):
                name = f"the transform {parent} -> {child}"
                buffer = PoseBuffer(name, self._span, hold_seconds=self._hold)
                self._parents[child] = known = parent, buffer
            assert isinstance(known[1], PoseBuffer)
            known[1].add(timestamp_ns, pose)

    def lookup(self, world: str, frame: str, timestamp_ns: int) -> Pose:
        """The pose of one frame in another at a time.

        Raises:
            PoseError: if it is not known; the message says what is missing.
        """
        world, frame = world.strip("/"), frame.strip("/")
        with self._lock:
            above_world, above_frame = self._chain(world), self._chain(frame)
            common = next((name for name in above_frame if name in above_world), None)
            if common is None:
                raise PoseError(self._missing(world, frame))
            inner = self._pose(above_frame[: above_frame.index(common)], timestamp_ns)
            outer = self._pose(above_world[: above_world.index(common)], timestamp_ns)
        return outer.inverse().compose(inner)

    def source(self, world: str, frame: str) -> PoseSource:
        """The same as a source of poses."""
        return _Source(self, world, frame)

    def _chain(self, frame: str) -> list[str]:
        """A frame, its parent, and so on."""
        chain = [frame]
        while chain[-1] in self._parents and len(chain) < _DEEPEST:
            chain.append(self._parents[chain[-1]][0])
        if len(chain) == _DEEPEST:
            raise PoseError(f"the transforms above {frame} go in a circle; two senders disagree on who is whose parent")
        return chain

    def _pose(self, chain: list[str], timestamp_ns: int) -> Pose:
        """The pose of the first frame of a chain in the parent of the last one."""
        pose = Pose()
        for name in chain:
            pose = self._parents[name][1].at(timestamp_ns).compose(pose)
        return pose

    def _missing(self, world: str, frame: str) -> str:
        known = {*self._parents, *(parent for parent, _ in self._parents.values())}
        if not known:
            return f"there is no transform from {frame} to {world}: nothing has come on /tf and /tf_static"
        for name in (frame, world):
            if name not in known:
                hint = did_you_mean(name, known) or f"; there are {', '.join(sorted(known)[:8])}"
                return f"there is no transform from {frame} to {world}: nobody sends {name!r}{hint}"
        return (
            f"there is no transform from {frame} to {world}: they are in two trees, and a transform between is missing"
        )


@dataclass(frozen=True, eq=False)
class _Source:
    tree: TransformTree
    world: str
    frame: str

    def at(self, timestamp_ns: int) -> Pose:
        return self.tree.lookup(self.world, self.frame, timestamp_ns)
