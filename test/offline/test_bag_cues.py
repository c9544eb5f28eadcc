"""3D cues of bags, tracked without ROS: poses and cues count by their stamps, whenever they were recorded."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smotracker_ros.io.bag_copy import new_bag
from smotracker_ros.io.bag_reader import bag_messages, open_bag
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.message_types import typestore
from smotracker_ros.offline import processing
from smotracker_ros.offline.bag_hints import DETECTIONS, POSE, TRANSFORMS, CueSettings
from smotracker_ros.offline.processing import Job, Summary, process_bag
from smotracker_ros.presets import load_settings
from smotracker_ros.space.extrinsics import read_extrinsics
from smotracker_ros.space.poses import Pose
from smotracker_ros.training.space_files import EXTRINSICS, START_NS, write_space_scene
from smotracker_ros.training.space_rig import Rig, SpaceSettings, make_rig

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = SpaceSettings(
    cameras=1, distance=60.0, targets=1, birds=0.0, seconds=4.0, fps=10.0, width=640, height=400, field_of_view=40.0
)
SEED = 3
LATE = 1.2
Message = tuple[float, str, str, Any]
"""Seconds of the recording, topic, type, message."""


@pytest.fixture(scope="module")
def rig() -> Rig:
    return make_rig(SETTINGS, SEED)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene"
    write_space_scene(path, SETTINGS, SEED)
    return path


def header(seconds: float, frame_id: str) -> Any:
    types, stamp = typestore().types, START_NS + round(seconds * 1e9)
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def pose_message(place: np.ndarray) -> Any:
    """A place known to a metre."""
    types = typestore().types
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](*place.tolist()), types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    )
    return types["geometry_msgs/msg/PoseWithCovariance"](pose, np.diag([1.0] * 6).ravel())


def detections(seconds: float, place: np.ndarray, frame_id: str, name: str = "friendly:ALPHA") -> Any:
    types = typestore().types
    pose = pose_message(place)
    hypothesis = types["vision_msgs/msg/ObjectHypothesis"]("", 1.0)
    result = types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis, pose)
    box = types["vision_msgs/msg/BoundingBox3D"](pose.pose, types["geometry_msgs/msg/Vector3"](1.0, 1.0, 1.0))
    stated = header(seconds, frame_id)
    found = types["vision_msgs/msg/Detection3D"](stated, [result], box, name)
    return types[DETECTIONS](stated, [found])


def transform(seconds: float, child: str, pose: Pose) -> Any:
    types = typestore().types
    return types[TRANSFORMS](
        [
            types["geometry_msgs/msg/TransformStamped"](
                header(seconds, "map"),
                child,
                types["geometry_msgs/msg/Transform"](
                    types["geometry_msgs/msg/Vector3"](*pose.position.tolist()),
                    types["geometry_msgs/msg/Quaternion"](*pose.rotation.as_quat().tolist()),
                ),
            )
        ]
    )


def radar(seconds: float) -> Pose:
    """A radar on a vehicle at 15 m/s."""
    return Pose(position=np.array([20.0 - 15.0 * seconds, -10.0, 2.0]))


def transforms(rig: Rig) -> Iterator[Message]:
    """The camera stands; its transform was recorded behind the first images. The radar drives."""
    yield 0.5, "/tf_static", TRANSFORMS, transform(0.0, "camera_1_optical", rig.cameras[0].pose)
    for seconds in np.arange(-0.1, SETTINGS.seconds + 0.1, 0.1).tolist():
        yield seconds + 0.03, "/tf", TRANSFORMS, transform(seconds, "radar", radar(seconds))


def cues(rig: Rig, late: float = 0.0, stamped_late: float = 0.0) -> Iterator[Message]:
    """Five times a second what the radar sees, recorded late, with right stamps or wrong ones."""
    for seconds in np.arange(0.0, SETTINGS.seconds - late, 0.2).tolist():
        place = radar(seconds).points_from_world(rig.flights[0].places([seconds]))[0]
        yield seconds + late, "/cues_3d", DETECTIONS, detections(seconds + stamped_late, place, "radar")


def bag_with(source: Path, output: Path, *messages: Message, storage: str = "mcap") -> Path:
    """A copy of a bag with more in it, in the order of the recording; a message that is bytes stands as it is."""
    with open_bag(source) as reader, new_bag(output, storage) as writer:
        rows = [(time, item.topic, item.msgtype, bytes(raw)) for item, time, raw in bag_messages(reader)]
        for seconds, topic, kind, message in messages:
            raw = message if isinstance(message, bytes) else bytes(typestore().serialize_cdr(message, kind))
            rows.append((START_NS + round(seconds * 1e9), topic, kind, raw))
        topics: dict[str, Any] = {}
        for time, topic, kind, raw in sorted(rows, key=lambda row: row[0]):
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, kind, typestore=typestore())
            writer.write(topics[topic], time, raw)
    return output


def track(bag: Path, output: Path, cues: CueSettings | None = None, **options: Any) -> Summary:
    return process_bag(Job(bag, output, load_settings(), masks=False, cues=cues or CueSettings(), **options))


def names(bag: Path) -> list[str]:
    """Names of the CONFIRMED tracks on the last image."""
    with open_bag(bag) as reader:
        topics = [item for item in reader.connections if item.topic == "/track_states"]
        *_, (connection, _, raw) = bag_messages(reader, topics)
    message: Any = typestore().deserialize_cdr(raw, connection.msgtype)
    return [item.friendly for item in message.tracks if item.state == item.CONFIRMED]


def content(bag: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(bag.iterdir())}


@pytest.fixture(scope="module")
def late_bag(rig: Rig, scene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bag_with(
        scene / "camera_1" / "bag", tmp_path_factory.mktemp("late") / "late", *transforms(rig), *cues(rig, LATE)
    )


@pytest.mark.parametrize(("late", "storage"), [(0.0, "mcap"), (LATE, "sqlite3")])
def test_a_cue_meets_the_image_of_its_time(rig: Rig, scene: Path, tmp_path: Path, late: float, storage: str) -> None:
    source = scene / "camera_1" / "bag"
    bag = bag_with(source, tmp_path / "bag", *transforms(rig), *cues(rig, late), storage=storage)
    summary = track(bag, tmp_path / "tracked")
    assert names(tmp_path / "tracked") == ["ALPHA"]
    assert summary.cues_used > 10
    # after a second nobody knows where in the present image the target may be
    assert set(summary.cues_refused) <= ({"too wide"} if late else set())


def test_a_wrong_stamp_is_a_wrong_place(rig: Rig, scene: Path, tmp_path: Path) -> None:
    flown = np.linalg.norm(np.diff(rig.flights[0].places([2.0, 2.0 + LATE]), axis=0))
    assert flown > 6, "else this test shows nothing"
    bag = bag_with(scene / "camera_1" / "bag", tmp_path / "bag", *transforms(rig), *cues(rig, LATE, LATE))
    track(bag, tmp_path / "tracked")
    assert names(tmp_path / "tracked") == [""]


def test_the_same_bytes_each_time_and_after_an_interruption(
    late_bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track(late_bag, tmp_path / "a" / "tracked")
    monkeypatch.setattr(processing, "COMMIT_SECONDS", 0.0)

    def stop(done: int, total: int | None) -> None:
        if done == 25:
            raise KeyboardInterrupt

    job = Job(late_bag, tmp_path / "b" / "tracked", load_settings(), masks=False)
    with pytest.raises(KeyboardInterrupt):
        process_bag(job, stop)
    summary = process_bag(job)
    assert summary.resumed_at == 24 and summary.cues_used > 10
    assert content(tmp_path / "a" / "tracked") == content(tmp_path / "b" / "tracked")


def test_what_cannot_be_used_is_counted_and_said(
    rig: Rig, scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = scene / "camera_1" / "bag"
    bag = bag_with(source, tmp_path / "bag", *cues(rig), (1.01, "/cues_3d", DETECTIONS, b"\0\1\0\0broken"))
    summary = track(bag, tmp_path / "tracked")
    assert summary.cues_used == 0
    assert summary.cues_refused["invalid"] == 1 and summary.cues_refused["no pose"] > 10
    assert caplog.text.count("3D cues are not used: there is no transform from radar to map") == 1
    assert names(tmp_path / "tracked") == [""]
    for settings in (CueSettings(cues_3d="/radar/cues"), CueSettings(cue_pose="/cues_3d")):
        with pytest.raises(SourceError, match=r"has no topic .*; topics of this type: (/cues_3d|none)"):
            track(bag, tmp_path / "again", settings)
    # in another namespace they are another camera's
    assert track(bag, tmp_path / "other", namespace="/rear").cues_refused == {}


def test_a_friend_by_its_own_place_and_the_camera_by_a_file(
    rig: Rig, scene: Path, tmp_path: Path, run_command: Callable[..., str]
) -> None:
    assert read_extrinsics(scene / EXTRINSICS).frame_ids == {"camera_1": "camera_1_optical"}
    kind = typestore().types[POSE]
    messages = [
        (seconds + 0.1, "/rtk", POSE, kind(header(seconds, ""), pose_message(rig.flights[0].places([seconds])[0])))
        for seconds in np.arange(0.0, SETTINGS.seconds - 0.1, 0.2).tolist()
    ]
    bag = bag_with(scene / "camera_1" / "bag", tmp_path / "bag", *messages)
    output = run_command(
        "bag", bag, "--output", tmp_path / "tracked", "--cue-pose", "rtk", "--cue-friendly", "BRAVO",
        "--extrinsics", scene / EXTRINSICS, "--pose-degrees", "0.1",
    )  # fmt: skip
    assert f"{len(messages)} 3D cues used; " in output, output
    assert names(tmp_path / "tracked") == ["BRAVO"]


@pytest.fixture
def run_command() -> Callable[..., str]:
    def run(*arguments: object) -> str:
        search_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-c", "from smotracker_ros.cli import main; main()", *map(str, arguments)]
        environment = dict(os.environ, PYTHONPATH=search_path, COLUMNS="200")
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
