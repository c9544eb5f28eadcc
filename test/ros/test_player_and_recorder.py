"""Player, tracker and recorder together, as the demo runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CameraInfo, Image

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.sources import open_source
from smotracker_ros.ros.demo import render_scene
from smotracker_ros.ros.images import frame_to_image, to_frame, to_nanoseconds

FRAMES = 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_scene(tmp_path_factory.mktemp("rendered") / "scene", FRAMES)


def test_player_publishes_all_frames_in_time(client: Any, start: Callable[..., Any], video: Path) -> None:
    images = client.listen(Image, "/played/image")
    player = start("player", "-r", "__ns:=/played", "-p", f"source:={video}", "-p", "frame_id:=gimbal")
    assert client.spin_until(lambda: not player.running, 60), player.output
    client.spin_until(lambda: len(images) == FRAMES, 5)
    assert player.wait() == 0, player.output
    assert len(images) == FRAMES
    stamps = np.array([to_nanoseconds(message.header.stamp) for message in images])
    source = open_source(video)
    assert (np.abs(np.diff(stamps) - 1e9 / source.fps) < 2e6).all()
    assert {message.header.frame_id for message in images} == {"gimbal"}
    for message, frame in zip(images, source, strict=True):
        assert (to_frame(message, 0).image == frame.image).all()


def test_player_plays_the_calibration_of_a_bag(
    client: Any, start: Callable[..., Any], video: Path, tmp_path: Path
) -> None:
    store = typestore()
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        names = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo")
        topics = ("/mast/image_raw", "/mast/camera_info")
        image, info = (writer.add_connection(*item, typestore=store) for item in zip(topics, names, strict=True))
        for frame in list(open_source(video))[:4]:
            stamp = 1_700_000_000_000_000_000 + frame.timestamp_ns
            calibration = CameraInfo(height=frame.height, width=frame.width, k=[100.0 + frame.index, *[0.0] * 8])
            message = frame_to_image(Frame(frame.image, stamp, frame.index, "mast"))
            writer.write(image, stamp, bytes(serialize_message(message)))
            if frame.index in (1, 3):
                writer.write(info, stamp, bytes(serialize_message(calibration)))
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    found: list[CameraInfo] = []
    client.node.create_subscription(CameraInfo, "/mast/camera_info", found.append, latched)
    images = client.listen(Image, "/mast/image")
    player = start("player", "-r", "__ns:=/mast", "-p", f"source:={tmp_path / 'bag'}", "-p", "rate:=0.1")
    assert client.spin_until(lambda: len(images) == 4 and not player.running, 60), player.output
    assert [message.k[0] for message in found] == [101, 103]


def test_player_begins_later_and_goes_round(client: Any, start: Callable[..., Any], video: Path) -> None:
    images = client.listen(Image, "/later/image")
    options = (f"source:={video}", "start_offset:=0.8", "loop:=true", "frames:=14", "rate:=0.0")
    player = start("player", "-r", "__ns:=/later", *(item for option in options for item in ("-p", option)))
    assert client.spin_until(lambda: len(images) == 14 and not player.running, 60), player.output
    frames = list(open_source(video))[24:]
    stamps = np.array([to_nanoseconds(message.header.stamp) for message in images])
    assert (np.diff(stamps) > 0).all(), "time goes on at the beginning of a round"
    for message, frame in zip(images, (frames * 3)[:14], strict=True):
        assert (to_frame(message, 0).image == frame.image).all()


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ([], "nothing to play"),
        (["-p", "source:=/nowhere/clip.mp4"], "/nowhere/clip.mp4 does not exist"),
    ],
)
def test_player_says_what_is_wrong(start: Callable[..., Any], parameters: list[str], text: str) -> None:
    player = start("player", *parameters)
    assert player.wait() == 1
    assert text in player.output and "Traceback" not in player.output


def test_player_gives_up_without_subscribers(start: Callable[..., Any], video: Path) -> None:
    player = start("player", "-r", "__ns:=/lonely", "-p", f"source:={video}", "-p", "patience:=1.0")
    assert player.wait() == 1
    assert "gave up waiting for 1 subscriber(s) of /lonely/image" in player.output


def test_recorder_without_images_leaves_nothing_behind(start: Callable[..., Any], client: Any, tmp_path: Path) -> None:
    recorder = start("recorder", "-r", "__ns:=/silent", "-p", f"output:={tmp_path / 'out'}")
    assert client.spin_until(lambda: client.node.count_subscribers("/silent/tracks") == 1, 30)
    recorder.interrupt()
    assert recorder.wait() == 1
    assert "nothing is written" in recorder.output and "Traceback" not in recorder.output
    assert list((tmp_path / "out").iterdir()) == []


def test_demo_leaves_video_text_and_bag(video: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    command = [sys.executable, "-m", "smotracker_ros.ros.demo", "--video", str(video), "--output", str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Look at:" in result.stdout
    assert sum(1 for _ in open_source(tmp_path / "overlay.mp4")) == FRAMES
    expected = []
    with AnyReader([tmp_path / "bag"], default_typestore=typestore()) as reader:
        counts = {connection.topic: connection.msgcount for connection in reader.connections}
        assert counts == {"/tracks": FRAMES, "/masks": FRAMES, "/track_states": FRAMES}
        for connection, _, raw in reader.messages():
            if connection.topic == "/tracks":
                message: Any = reader.deserialize(raw, connection.msgtype)
                expected += [int(detection.id) for detection in message.detections]
    rows = (tmp_path / "tracks.txt").read_text().splitlines()
    assert [int(row.split(",")[1]) for row in rows] == expected, "text and bag tell the same"
    assert {path.name for path in tmp_path.iterdir()} == {"bag", "tracks.txt", "overlay.mp4"}


def test_demo_fails_clearly(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    environment = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    command = [sys.executable, "-m", "smotracker_ros.ros.demo", "--video", str(tmp_path / "empty.mp4")]
    command += ["--output", str(tmp_path / "out")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and "empty.mp4 is empty" in result.stderr
