"""3D cues of a bag beside its images, as the node would have got them: by the same code, and the same each time."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.notices import Notices, Trouble
from smotracker_ros.io.bag_reader import BagReader, bag_messages, open_bag
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.raw_topics import CDR
from smotracker_ros.offline.snapshot import Run
from smotracker_ros.space.extrinsics import DEFAULT_WORLD, Extrinsics
from smotracker_ros.space.frame_poses import FilePoses, NamedPoses, TreePoses, put_transforms
from smotracker_ros.space.hint_messages import HintInbox, HintOptions
from smotracker_ros.space.hints import SpaceHint
from smotracker_ros.space.transforms import TransformTree

DETECTIONS, POSE, TRANSFORMS = (
    "vision_msgs/msg/Detection3DArray",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "tf2_msgs/msg/TFMessage",
)
_MOVING, _STATIC = "/tf", "/tf_static"
# Transforms that were recorded so long after an image still say where its camera was
_AHEAD_NS = 1_000_000_000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CueSettings:
    """Where a bag's 3D cues are, and what they do not say.

    Attributes:
        cues_3d: topic of `vision_msgs/Detection3DArray`; empty: `cues_3d` in the namespace of the results, if there is
            one.
        cue_pose: topic of `geometry_msgs/PoseWithCovarianceStamped`; empty: `cue_pose` there.
        extrinsics: where the camera stands; None: `/tf` and `/tf_static` say it, by the images' frame_id.
        world: frame in which cameras and cues meet, where transforms are used.
        options: what cues do not say.
    """

    cues_3d: str = ""
    cue_pose: str = ""
    extrinsics: Extrinsics | None = None
    world: str = DEFAULT_WORLD
    options: HintOptions = field(default_factory=HintOptions)

    def topics(self, bag: Path, namespace: str) -> dict[str, str]:
        """Topics of the bag that have 3D cues, with their types.

        Args:
            bag: that is read.
            namespace: of the results.

        Raises:
            SourceError: if a topic that is named is not there, or the bag cannot be read.
        """
        prefix, found = "/" + namespace.strip("/"), {}
        with open_bag(bag) as reader:
            for named, short, kind in ((self.cues_3d, "cues_3d", DETECTIONS), (self.cue_pose, "cue_pose", POSE)):
                topic = "/" + named.strip("/") if named else f"{prefix.rstrip('/')}/{short}"
                fitting = {connection.topic for connection in _of(reader, kind)}
                if topic in fitting:
                    found[topic] = kind
                elif named:
                    there = ", ".join(sorted(fitting)) or "none"
                    raise SourceError(f"{bag} has no topic {topic} of {kind}; topics of this type: {there}")
        return found

    def described(self) -> dict[str, Any]:
        """Everything that the results depend on, as JSON can hold it."""
        poses = self.extrinsics.cameras.items() if self.extrinsics else ()
        return {
            "options": dataclasses.asdict(self.options),
            "world": self.extrinsics.world if self.extrinsics else self.world,
            "extrinsics": {name: [*pose.position.tolist(), *pose.rotation.as_quat().tolist()] for name, pose in poses},
            "frame_ids": dict(self.extrinsics.frame_ids) if self.extrinsics else {},
        }


class BagHints:
    """Reads 3D cues and transforms along with a bag's images.

    A cue comes with the first image that was recorded after it, as in the node; which image it means is said by its
    stamp. Poses are those at the stamps of images and cues, whenever they were recorded within a second; what
    `/tf_static` says first holds from the beginning.

    Args:
        path: the bag.
        topics: of :meth:`CueSettings.topics`; without any, nothing is read.
        settings: see :class:`CueSettings`.

    Attributes:
        poses: where frames are; None: there are no cues that ask for it.

    Raises:
        SourceError: if the bag cannot be read.
    """

    def __init__(self, path: Path, topics: dict[str, str], settings: CueSettings) -> None:
        self._settings = settings
        self._inbox, self._notices = HintInbox(), Notices(_logger.warning)
        self._trouble = Trouble(_logger.warning, _logger.info, "3D cues can be used again")
        self._tree = TransformTree()
        self._waiting: deque[tuple[Connection, int, bytes]] = deque()
        self._messages = _messages(path, topics, bool(topics) and settings.extrinsics is None)
        self._next = next(self._messages, None)
        self.poses: NamedPoses | None = None
        if topics and settings.extrinsics is not None:
            self.poses = NamedPoses(FilePoses(settings.extrinsics))
        elif topics:
            self.poses = NamedPoses(TreePoses(self._tree, settings.world))
            with closing(_messages(path, {}, True, (_STATIC,))) as statics:
                for connection, _, raw in reversed(list(statics)):
                    self._take_transforms(connection, raw)

    def take(self, run: Run, frame: Frame, received_ns: int, calibration: Calibration | None) -> list[SpaceHint]:
        """The hints for the next frame.

        Args:
            run: that tracks; it keeps which cues it has taken.
            frame: that is tracked next.
            received_ns: when its image was recorded, not earlier than in the call before.
            calibration: of its camera, if it is known.
        """
        if self.poses is None:
            return []
        while self._next is not None and self._next[1] <= received_ns + _AHEAD_NS:
            connection, recorded_ns, raw = self._next
            if connection.msgtype == TRANSFORMS:
                self._take_transforms(connection, raw)
            elif recorded_ns > run.cues_until_ns:
                self._waiting.append(self._next)
            self._next = next(self._messages, None)
        self._inbox.counts = run.cue_counts
        while self._waiting and self._waiting[0][1] <= received_ns:
            connection, _, raw = self._waiting.popleft()
            self._take_cues(connection, raw)
        hints = self._inbox.take_all(frame, calibration, self.poses, self._settings.options)
        run.cues_until_ns = received_ns
        # of the hints of this frame the book will say on the next one whether it knew where the camera was
        trouble = self._inbox.trouble or run.tracker.gates.trouble
        self._trouble.tell(f"3D cues are not used: {trouble}" if trouble else None)
        return hints

    def outcome(self, run: Run) -> tuple[int, dict[str, int]]:
        """How many hints of a run were used, and how many refused, by the reason."""
        self._inbox.counts = run.cue_counts
        return self._inbox.outcome(run.tracker.gates)

    def close(self) -> None:
        """Close the bag."""
        self._messages.close()

    def _take_cues(self, connection: Connection, raw: bytes) -> None:
        try:
            message: Any = typestore().deserialize_cdr(raw, connection.msgtype)
            if connection.msgtype == DETECTIONS:
                self._inbox.put(message)
            else:
                self._inbox.put_pose(message, self._settings.options.pose_friendly)
        except Exception as error:  # a damaged message can fail anywhere
            self._inbox.counts["invalid"] += 1
            self._notices.warn(f"a message on {connection.topic} cannot be used: {type(error).__name__}: {error}")

    def _take_transforms(self, connection: Connection, raw: bytes) -> None:
        try:
            message = typestore().deserialize_cdr(raw, TRANSFORMS)
            put_transforms(self._tree, message, connection.topic == _STATIC, self._notices.warn)
        except Exception as error:  # a damaged message can fail anywhere
            self._notices.warn(f"a message on {connection.topic} cannot be used: {type(error).__name__}: {error}")


def _of(reader: BagReader, kind: str) -> list[Connection]:
    """A bag's topics of a type, as ROS 2 writes them."""
    return [item for item in reader.connections if (item.msgtype, item.ext.serialization_format) == (kind, CDR)]


def _messages(
    path: Path, topics: dict[str, str], with_transforms: bool, transforms: tuple[str, ...] = (_MOVING, _STATIC)
) -> Generator[tuple[Connection, int, bytes], None, None]:
    """Cues and transforms of a bag, in the order of their recording."""
    with open_bag(path) as reader:
        wanted = [item for kind in sorted(set(topics.values())) for item in _of(reader, kind) if item.topic in topics]
        if with_transforms:
            wanted += [item for item in _of(reader, TRANSFORMS) if item.topic in transforms]
        for connection, received, raw in bag_messages(reader, wanted):
            yield connection, received, bytes(raw)
