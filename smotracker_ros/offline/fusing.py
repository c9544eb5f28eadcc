"""Recorded tracks of several cameras through the fusion, without ROS: the answers that the node would have given."""

from __future__ import annotations

import heapq
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Writer

from smotracker_ros.core.notices import Notices
from smotracker_ros.io.bag_copy import new_bag
from smotracker_ros.io.bag_reader import BagReader, bag_messages, open_bag
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.calibration import Calibration, read_camera_info
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.pending import pending_path
from smotracker_ros.io.raw_topics import CDR
from smotracker_ros.space.extrinsics import DEFAULT_WORLD, Extrinsics
from smotracker_ros.space.frame_poses import put_transforms, stamp_of
from smotracker_ros.space.fusion.fusion import Fusion
from smotracker_ros.space.fusion.messages import NoBearingsError, detection_array, pixel_angle, read_view, to_record
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.fusion.sightings import FusedTargets
from smotracker_ros.space.poses import PoseError, PoseSource
from smotracker_ros.space.transforms import TransformTree

STATES, INFO, TARGETS, TRANSFORMS = (
    "smotracker_ros/msg/TrackArray",
    "sensor_msgs/msg/CameraInfo",
    "vision_msgs/msg/Detection3DArray",
    "tf2_msgs/msg/TFMessage",
)
RECORDS, BAG = "targets.jsonl", "bag"
"""What is written into the output folder."""

_logger = logging.getLogger(__name__)


@dataclass
class FusionSummary:
    """What was done: images, those of each camera that could not be used, results, and ids."""

    images: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    results: int = 0
    ids: set[int] = field(default_factory=set)
    placed: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Camera:
    """A camera's topic in a bag."""

    name: str
    frame_id: str
    calibration: Calibration | None


def fuse_bags(
    bags: Sequence[Path],
    extrinsics: Extrinsics | None,
    output: Path,
    settings: FusionSettings,
    world: str = DEFAULT_WORLD,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> FusionSummary:
    """Fuse the `track_states` topics of bags into `targets.jsonl` and a bag with the topic `/targets`.

    Args:
        bags: one or several; `smotracker bag` makes those with `track_states` in them.
        extrinsics: where the cameras stand: by the namespaces of the topics, or else by the images' frame_id. None: the
            bags' `/tf` and `/tf_static` say it, by the frame_id.
        output: folder that appears when all is written.
        settings: of the fusion.
        world: frame of the places where transforms are used; extrinsics name their own.
        on_image: gets the number of images done and of all.

    Raises:
        SourceError: if a bag cannot be read, or there are no tracks in them.
        SinkError: if the output cannot be written.
        PoseError: if a camera's place is not known.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(open_bag(bag)) for bag in bags]
        cameras = _find_cameras(readers, extrinsics)
        total = sum(connection.msgcount for reader in readers for connection in _of(reader, STATES))
        summary, notices = FusionSummary(), Notices(_logger.warning)
        fusion = Fusion(sorted({camera.name for camera in cameras.values()}), settings, notices.warn)
        tree = TransformTree()
        sources: dict[str, PoseSource] = {
            camera.name: extrinsics.source(camera.name) if extrinsics else tree.source(world, camera.frame_id)
            for camera in cameras.values()
        }
        temporary = stack.enter_context(pending_path(output))
        temporary.mkdir()
        records = stack.enter_context((temporary / RECORDS).open("w", encoding="utf-8", newline="\n"))
        writer = stack.enter_context(new_bag(temporary / BAG, "mcap"))
        sink = _Sink(records, writer, extrinsics.world if extrinsics else world, summary)
        for number, connection, received, raw in _merged(readers, (STATES,) if extrinsics else (STATES, TRANSFORMS)):
            if connection.msgtype == TRANSFORMS:
                _take_transforms(tree, raw, connection.topic == "/tf_static", notices)
                continue
            summary.images += 1
            camera = cameras[number, connection.topic]
            try:
                message: Any = typestore().deserialize_cdr(raw, STATES)
                pose = sources[camera.name].at(stamp_of(message.header))
                view = read_view(message, camera.name, pose, settings, pixel_angle(camera.calibration, settings))
                sink.write(fusion.add(view), received)
            except (NoBearingsError, PoseError) as error:
                summary.unusable[camera.name] += 1
                notices.warn(str(error))
            except Exception as error:  # a damaged message can fail anywhere
                summary.unusable[camera.name] += 1
                notices.warn(f"a message on {connection.topic} cannot be used: {type(error).__name__}: {error}")
            on_image(summary.images, total)
        sink.write(fusion.flush(), max(reader.end_time for reader in readers))
        summary.late = fusion.order.late
    return summary


class _Sink:
    """Writes results as lines and as messages."""

    def __init__(self, records: Any, writer: Writer, world: str, summary: FusionSummary) -> None:
        self._records, self._writer, self._world, self._summary = records, writer, world, summary
        self._types = {name.rpartition("/")[2]: kind for name, kind in typestore().types.items()}
        self._topic = writer.add_connection("/targets", TARGETS, typestore=typestore())

    def write(self, results: list[FusedTargets], received_ns: int) -> None:
        """Write results that came about when a message was recorded."""
        for targets in results:
            self._records.write(json.dumps(to_record(targets)) + "\n")
            message = detection_array(targets, self._world, self._types)
            self._writer.write(self._topic, received_ns, bytes(typestore().serialize_cdr(message, TARGETS)))
            self._summary.results += 1
            self._summary.ids |= {target.id for target in targets.targets}
            self._summary.placed |= {target.id for target in targets.targets if target.range_known}


def _of(reader: BagReader, kind: str) -> list[Connection]:
    """A bag's topics of a type, as ROS 2 writes them."""
    return [item for item in reader.connections if (item.msgtype, item.ext.serialization_format) == (kind, CDR)]


def _merged(readers: Sequence[BagReader], kinds: Sequence[str]) -> Iterator[tuple[int, Connection, int, bytes]]:
    """Messages of some types of all bags by their time of recording, each with the number of its bag."""

    def numbered(number: int, reader: BagReader) -> Iterator[tuple[int, Connection, int, bytes]]:
        wanted = [connection for kind in kinds for connection in _of(reader, kind)]
        for connection, received, raw in bag_messages(reader, wanted):
            yield number, connection, received, bytes(raw)

    return heapq.merge(*(numbered(*item) for item in enumerate(readers)), key=itemgetter(2))


def _take_transforms(tree: TransformTree, raw: bytes, is_static: bool, notices: Notices) -> None:
    """Put a message of `/tf` or `/tf_static` into the tree."""
    try:
        put_transforms(tree, typestore().deserialize_cdr(raw, TRANSFORMS), is_static, notices.warn)
    except Exception as error:  # a damaged message can fail anywhere
        notices.warn(f"transforms cannot be used: {error}")


def _find_cameras(readers: Sequence[BagReader], extrinsics: Extrinsics | None) -> dict[tuple[int, str], _Camera]:
    """Each topic's camera, by number of the bag and topic."""
    found: dict[tuple[int, str], _Camera] = {}
    for number, reader in enumerate(readers):
        for topic in sorted({connection.topic for connection in _of(reader, STATES) if connection.msgcount}):
            message = _first(reader, STATES, topic)
            namespace = topic.rpartition("/")[0].strip("/")
            frame = "" if message is None else message.header.frame_id
            if extrinsics is None:
                name = namespace or frame
            else:
                name = _known_name(namespace, frame, extrinsics, topic, reader.path)
            if not name or (extrinsics is None and not frame):
                raise SourceError(
                    f"{topic} of {reader.path} has no frame_id, by which /tf could say where its camera is"
                )
            if name in {camera.name for camera in found.values()}:
                raise SourceError(f"there are two topics of tracks of the camera {name}, one of them {topic}; give one")
            found[number, topic] = _Camera(name, frame, _calibration(reader, topic, frame))
    if not found:
        paths = ", ".join(str(reader.path) for reader in readers)
        raise SourceError(f"{paths}: no tracks ({STATES}) in there; `smotracker bag` adds them to a bag with images")
    return found


def _known_name(namespace: str, frame: str, extrinsics: Extrinsics, topic: str, bag: Path) -> str:
    """The name by which the extrinsics know a camera."""
    for name in (namespace, frame):
        if name in extrinsics.cameras:
            return name
        for camera, frame_id in extrinsics.frame_ids.items():
            if name and name == frame_id:
                return camera
    raise SourceError(
        f"{topic} of {bag}: the extrinsics know neither {namespace or 'its namespace'} nor its frame_id "
        f"{frame or '(empty)'}; they have {', '.join(extrinsics.cameras)}"
    )


def _calibration(reader: BagReader, topic: str, frame: str) -> Calibration | None:
    """The calibration beside a camera's tracks, or the one of its frame_id."""
    beside = topic.rpartition("/")[0] + "/camera_info"
    topics = sorted({connection.topic for connection in _of(reader, INFO)}, key=lambda name: (name != beside, name))
    for name in topics:
        message = _first(reader, INFO, name)
        if message is not None and (name == beside or message.header.frame_id == frame):
            try:
                return read_camera_info(message)
            except ValueError as error:
                _logger.warning("%s of %s cannot be used: %s", name, reader.path, error)
    return None


def _first(reader: BagReader, kind: str, topic: str) -> Any:
    """The first readable message of a topic; None if there is none."""
    for _, _, raw in bag_messages(reader, [item for item in _of(reader, kind) if item.topic == topic]):
        try:
            return typestore().deserialize_cdr(raw, kind)
        except Exception:  # a damaged message can fail anywhere
            continue
    return None
