"""The fusion as a real process: places out of two cameras' tracks; silence, jumps, bad messages, restarts, load."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.srv import GetState
from rclpy.qos import DurabilityPolicy, QoSProfile
from smotracker_ros.msg import Track, TrackArray
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from smotracker_ros.ros.images import to_nanoseconds, to_stamp
from smotracker_ros.space.extrinsics import Extrinsics, write_extrinsics
from smotracker_ros.space.poses import Pose
from smotracker_ros.training.space_rig import look_at

PLACES = {"left": (-20.0, 0.0, 3.0), "right": (20.0, 0.0, 3.0)}
POSES = {name: Pose(look_at((-place[0] / 8, 150.0, 30.0)), np.array(place)) for name, place in PLACES.items()}
# Stamps run many times faster than time here, and so does what the executor does to the order of messages
HOLD = ("hold_seconds:=1.0",)
START = 1_000
"""Seconds at which stamps begin."""


def place(seconds: float) -> np.ndarray:
    """Where the target is."""
    return np.array([-20 + 10 * (seconds - START), 150.0, 40.0])


class Cameras:
    """Publishes what trackers of two cameras would."""

    def __init__(self, client: Any, namespace: str) -> None:
        self.client = client
        self.publishers = {
            name: client.node.create_publisher(TrackArray, f"{namespace}/{name}/track_states", 100) for name in POSES
        }

    def message(self, camera: str, seconds: float, bearing: bool = True) -> TrackArray:
        message = TrackArray()
        message.header.stamp = to_stamp(round(seconds * 1e9))
        message.header.frame_id = f"{camera}_optical"
        direction = POSES[camera].points_from_world(place(seconds))[0]
        x, y, z = direction / np.linalg.norm(direction) * bearing
        track = Track(id=1, state=Track.CONFIRMED, probability=0.9, class_name="drone", friendly="ours")
        track.bearing_x, track.bearing_y, track.bearing_z = float(x), float(y), float(z)
        track.box.size_x = track.box.size_y = 6.0
        message.tracks.append(track)
        return message

    def send(self, begin: float, end: float, cameras: tuple[str, ...] = tuple(POSES), pause: float = 0.005) -> None:
        """Tracks of so many seconds, ten images per second and camera, as fast as may be."""
        for step in range(round((end - begin) * 10)):
            for number, camera in enumerate(cameras):
                self.publishers[camera].publish(self.message(camera, begin + step / 10 + number / 30))
            self.client.spin_until(lambda: False, pause)


@pytest.fixture(scope="module")
def extrinsics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("extrinsics") / "rig.yaml"
    write_extrinsics(file, Extrinsics(POSES, "site"))
    return file


@pytest.fixture
def node(
    client: Any,
    start: Callable[..., Any],
    extrinsics: Path,
    request: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Any:
    """A fusion node in a namespace of its own, and what it publishes."""

    class Node:
        def __init__(self) -> None:
            self.namespace = f"/{re.sub('[^a-z_0-9]', '_', request.node.name).strip('_')}"
            monkeypatch.setenv("ROS_HOME", str(tmp_path))
            self.targets = client.listen(Detection3DArray, f"{self.namespace}/targets")
            self.diagnostics = client.listen(DiagnosticArray, "/diagnostics")
            self.cameras = Cameras(client, self.namespace)
            self.begin()

        def begin(self, *more: str) -> None:
            options = ("cameras:=left,right", f"extrinsics:={extrinsics}", "silence_seconds:=1.0", *HOLD, *more)
            given = (item for option in options for item in ("-p", option))
            self.process = start("fusion", "-r", f"__ns:={self.namespace}", *given)
            publishers = self.cameras.publishers.values()
            ready = client.spin_until(lambda: all(p.get_subscription_count() for p in publishers), 60)
            assert ready, self.process.output
            client.spin_until(lambda: client.node.count_publishers(f"{self.namespace}/targets") > 0, 20)
            # a node that was killed is remembered for a while: its subscriptions are not this one's
            assert client.spin_until(lambda: "configured for" in self.process.output, 30), self.process.output
            client.spin_until(lambda: False, 1.5)

        def status(self, part: str, text: str) -> Any:
            """The status of that part once its message has that text."""
            found: list[Any] = []

            def look() -> bool:
                name = f"{self.namespace}/fusion: {part}"
                statuses = [status for message in self.diagnostics for status in message.status if status.name == name]
                found[:] = [status for status in statuses if text in status.message]
                return bool(found)

            self.diagnostics.clear()
            assert client.spin_until(look, 20), self.process.output
            return found[-1]

    instance = Node()
    yield instance
    instance.process.interrupt()
    assert instance.process.wait() == 0, instance.process.output


def placed(messages: list[Any]) -> list[tuple[float, Any]]:
    """Detections whose place is known to a few metres, with their times."""
    return [
        (to_nanoseconds(message.header.stamp) / 1e9, detection)
        for message in messages
        for detection in message.detections
        if max(detection.results[0].pose.covariance[:15:7]) < 25.0
    ]


def test_two_cameras_make_a_target_in_the_world(node: Any, client: Any) -> None:
    markers = client.listen(MarkerArray, f"{node.namespace}/markers")
    client.spin_until(lambda: False, 0.5)
    node.cameras.send(START, START + 4)
    assert client.spin_until(lambda: len(node.targets) >= 78, 30), node.process.output
    found = placed(node.targets)
    assert len(found) > 40 and {detection.id for _, detection in found} == {"1"}
    seconds, detection = found[-1]
    pose = detection.results[0].pose.pose.position
    assert np.linalg.norm(np.array([pose.x, pose.y, pose.z]) - place(seconds)) < 1.5
    assert [result.hypothesis.class_id for result in detection.results] == ["drone", "friendly:ours"]
    assert node.targets[-1].header.frame_id == "site"
    # it flies along x
    assert abs(detection.results[0].pose.pose.orientation.z) < 0.2
    assert client.spin_until(lambda: len(markers) > 10, 10)
    assert {marker.ns for marker in markers[-1].markers} == {"places", "flights", "captions"}
    values = {value.key: value.value for value in node.status("fusion", "").values}
    assert values["targets placed"] == "1" and values["next id"] == "2"


def test_a_camera_that_falls_silent_is_told_and_the_other_goes_on(node: Any, client: Any) -> None:
    node.cameras.send(START, START + 2)
    node.targets.clear()
    node.cameras.send(START + 2, START + 5, ("left",), pause=0.08)
    status = node.status("right", "no tracks for")
    assert status.level == status.WARN
    assert "no tracks arrive from right" in node.process.output
    assert any(message.detections for message in node.targets), "the other camera is fused without it"
    node.cameras.send(START + 5, START + 8, pause=0.08)
    assert client.spin_until(lambda: "tracks of right arrive again" in node.process.output, 10)
    assert {detection.id for message in node.targets for detection in message.detections} == {"1"}


def test_stamps_that_jump_back_begin_anew_with_a_word(node: Any, client: Any) -> None:
    node.cameras.send(START + 100, START + 102)
    assert client.spin_until(lambda: len(node.targets) >= 36, 20)
    node.targets.clear()
    node.cameras.send(START, START + 3)
    assert client.spin_until(lambda: len(node.targets) >= 58, 20), node.process.output
    assert "time jumped back" in node.process.output
    assert {detection.id for _, detection in placed(node.targets)} == {"2"}


def test_messages_that_cannot_be_used_are_told_and_harm_nothing(node: Any, client: Any) -> None:
    node.cameras.send(START, START + 2)
    blind = node.cameras.message("left", START + 2.05, bearing=False)
    timeless = TrackArray(tracks=blind.tracks)
    broken = node.cameras.message("left", START + 2.06)
    broken.tracks[0].bearing_x = float("nan")
    for message in (blind, timeless, broken):
        node.cameras.publishers["left"].publish(message)
    node.targets.clear()
    node.cameras.send(START + 2.1, START + 4)
    assert client.spin_until(lambda: len(node.targets) >= 36, 20), node.process.output
    assert "have no bearings" in node.process.output and "no time stamp" in node.process.output
    assert {detection.id for _, detection in placed(node.targets)} == {"1"}


@pytest.mark.parametrize("run_id", ["night", ""])
def test_it_may_be_killed_and_started_again(node: Any, client: Any, run_id: str) -> None:
    run = (f"run_id:={run_id}",) if run_id else ()
    node.process.interrupt()
    assert node.process.wait() == 0, node.process.output
    node.begin(*run)
    node.cameras.send(START, START + 2)
    assert client.spin_until(lambda: len(placed(node.targets)) > 10, 20), node.process.output
    before = {int(detection.id) for message in node.targets for detection in message.detections}
    node.process.kill()
    node.begin(*run)
    node.targets.clear()
    node.cameras.send(START + 10, START + 12)
    assert client.spin_until(lambda: len(placed(node.targets)) > 10, 20), node.process.output
    after = {int(detection.id) for message in node.targets for detection in message.detections}
    assert bool(before & after) != bool(run_id), "ids of a run are not used twice; without one they begin at 1"
    assert not run_id or min(after) > max(before)
    assert client.call(Trigger, f"{node.namespace}/fusion/reset").success
    assert client.call(GetState, f"{node.namespace}/fusion/get_state").current_state.label == "active"
    node.process.interrupt(signal.SIGTERM)
    assert node.process.wait() == 0


def test_more_than_it_can_fuse_leaves_it_alive_and_current(node: Any, client: Any) -> None:
    """Thousands of tracks that are nothing, as fast as they can be sent."""
    rng = np.random.default_rng(0)
    began = time.monotonic()
    for step in range(40):
        for camera in POSES:
            message = node.cameras.message(camera, START + step / 10)
            for identity in range(2, 150):
                x, y, z = rng.normal(size=3)
                norm = float(np.sqrt(x * x + y * y + z * z))
                track = Track(id=1000 * step + identity, state=Track.CONFIRMED, probability=0.9)
                track.bearing_x, track.bearing_y, track.bearing_z = x / norm, y / norm, abs(z) / norm
                message.tracks.append(track)
            node.cameras.publishers[camera].publish(message)
    assert client.spin_until(lambda: any("max_targets" in line for line in node.process.lines), 60)
    assert client.call(GetState, f"{node.namespace}/fusion/get_state", patience=60).current_state.label == "active"
    assert node.process.running and time.monotonic() - began < 90


def test_without_cameras_or_poses_it_says_what_is_missing(start: Callable[..., Any], tmp_path: Path) -> None:
    nameless = start("fusion", "-r", "__ns:=/nameless")
    assert nameless.wait() == 1 and "cameras:=NAME" in nameless.output
    missing = start("fusion", "-p", "cameras:=a,b", "-p", f"extrinsics:={tmp_path}/none.yaml", "-r", "__ns:=/missing")
    assert missing.wait() == 1 and "none.yaml" in missing.output


def test_poses_come_from_tf_and_their_lack_is_told(client: Any, start: Callable[..., Any]) -> None:
    targets = client.listen(Detection3DArray, "/by_tf/targets")
    cameras = Cameras(client, "/by_tf")
    options = ("cameras:=left,right", "world_frame:=site", *HOLD)
    process = start("fusion", "-r", "__ns:=/by_tf", *(item for option in options for item in ("-p", option)))
    assert client.spin_until(lambda: all(p.get_subscription_count() for p in cameras.publishers.values()), 60)
    client.spin_until(lambda: client.node.count_publishers("/by_tf/targets") > 0, 20)
    cameras.send(START, START + 0.5)
    assert client.spin_until(lambda: "/tf" in process.output, 20), process.output
    assert not any(message.detections for message in targets)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = client.node.create_publisher(TFMessage, "/tf_static", latched)
    message = TFMessage()
    for name, pose in POSES.items():
        transform = TransformStamped(child_frame_id=f"{name}_optical")
        transform.header.frame_id = "site"
        place_of, turn = transform.transform.translation, transform.transform.rotation
        place_of.x, place_of.y, place_of.z = pose.position.tolist()
        turn.x, turn.y, turn.z, turn.w = pose.rotation.as_quat().tolist()
        message.transforms.append(transform)
    publisher.publish(message)
    client.spin_until(lambda: False, 1.0)
    cameras.send(START + 1, START + 4)
    assert client.spin_until(lambda: len(placed(targets)) > 20, 20), process.output
    seconds, detection = placed(targets)[-1]
    position = detection.results[0].pose.pose.position
    assert np.linalg.norm(np.array([position.x, position.y, position.z]) - place(seconds)) < 1.5
