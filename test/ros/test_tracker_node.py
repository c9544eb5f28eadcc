"""The tracker node as a real process that is fed with real messages."""

from __future__ import annotations

import array
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from lifecycle_msgs.msg import State, Transition
from rcl_interfaces.msg import ParameterType
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from smotracker_ros.msg import Track
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.sources import open_source
from smotracker_ros.ros.conversions import decode_mask
from smotracker_ros.ros.demo import render_scene
from smotracker_ros.ros.images import frame_to_image

FRAMES = 40
START = 1_700_000_000_000_000_123
DATA = Path(os.environ.get("SMOTRACKER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """A real clip with two drones if the data are there, otherwise a rendered one."""
    video = DATA / "val" / "IR_DRONE_143" / "video.mp4"
    if not video.exists():
        video = render_scene(tmp_path_factory.mktemp("rendered") / "scene", FRAMES)
    frames = []
    for index, frame in zip(range(FRAMES), open_source(video), strict=False):
        frames.append(Frame(frame.image, START + index * 33_333_333, index, f"gimbal_{index % 3}"))
    return frames


@pytest.fixture(scope="module")
def tracker(client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any]) -> Iterator[Any]:
    """A node that started itself, in a namespace."""
    process = start("tracker", "-r", "__ns:=/front", "-p", "on_overload:=every_frame", "-p", "reliability:=reliable")
    instance = tracker_of(client, process, "/front/smotracker")
    instance.wait_until_active()
    yield instance
    process.interrupt()
    process.interrupt()  # as `ros2 launch` does
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


def test_every_image_is_answered_under_its_own_header(tracker: Any, clip: list[Frame]) -> None:
    sent = [frame_to_image(frame) for frame in clip]
    for message in sent:
        tracker.publisher.publish(message)
        tracker.client.spin_until(lambda: False, 0.01)
    complete = [tracker.detections, tracker.masks, tracker.states]
    assert tracker.client.spin_until(lambda: min(map(len, complete)) == FRAMES, 120), tracker.process.output
    headers = [message.header for message in sent]
    for messages in complete:
        assert [message.header for message in messages] == headers
    for detections, mask, states in zip(*complete, strict=True):
        ids = {int(detection.id) for detection in detections.detections}
        labels = np.frombuffer(mask.data, np.uint16).reshape(mask.height, mask.width)
        assert set(np.unique(labels)) - {0} == ids
        assert all(detection.header == detections.header for detection in detections.detections)
        confirmed = [t for t in states.tracks if t.state == Track.CONFIRMED and t.mask_counts]
        assert {track.id for track in confirmed} == ids
        for track in confirmed:
            pixels = decode_mask(track.mask_counts, track.mask_height, track.mask_width).full(*labels.shape)
            assert (pixels[labels == track.id]).all()
    assert [message.frame_index for message in tracker.states] == list(range(FRAMES))
    found = [len(message.detections) for message in tracker.detections]
    assert sum(found) >= FRAMES / 2, f"hardly anything was tracked: {found}"


def test_bad_images_are_dropped_and_the_node_goes_on(tracker: Any, clip: list[Frame]) -> None:
    tracker.forget()
    first = tracker.send(clip[0])
    for change in ({"step": 5}, {"encoding": "yuv999"}, {"data": array.array("B", [0])}, {"height": 0}):
        bad = frame_to_image(clip[1])
        for name, value in change.items():
            setattr(bad, name, value)
        tracker.publisher.publish(bad)
    last = tracker.send(clip[1])
    assert tracker.client.spin_until(lambda: len(tracker.detections) == 2, 30), tracker.process.output
    assert [message.header for message in tracker.detections] == [first.header, last.header]
    tracker.diagnostics.clear()
    assert tracker.client.spin_until(lambda: bool(tracker.diagnostics), 10)
    values = {value.key: value.value for value in tracker.diagnostics[-1].status[0].values}
    assert values["dropped, bad image"] == "4"
    assert "an image is dropped: step is 5 bytes" in tracker.process.output


def test_repeated_images_are_dropped(tracker: Any, clip: list[Frame]) -> None:
    tracker.forget()
    again = tracker.send(clip[0])
    tracker.publisher.publish(again)
    tracker.send(clip[1])
    assert tracker.client.spin_until(lambda: len(tracker.detections) == 2, 30)
    tracker.client.spin_until(lambda: False, 0.3)
    assert len(tracker.detections) == 2


def test_reset_forgets_all_tracks(tracker: Any, clip: list[Frame]) -> None:
    tracker.forget()
    answer = tracker.client.call(Trigger, "/front/smotracker/reset")
    assert answer.success, answer.message
    tracker.send(clip[0])
    assert tracker.client.spin_until(lambda: len(tracker.states) == 1, 30)
    assert tracker.states[0].frame_index == 0
    assert all(track.age == 0 for track in tracker.states[0].tracks)


def test_parameters_say_what_they_are(tracker: Any) -> None:
    most, policy, weights = tracker.describe("max_live_tracks", "memory_policy", "detector_weights")
    assert (most.integer_range[0].from_value, most.integer_range[0].to_value) == (1, 1024)
    assert "Masklets" in most.description and not most.read_only
    assert "fifo" in policy.additional_constraints
    assert "unconfigured" in weights.additional_constraints


def test_bad_parameter_values_are_refused(tracker: Any) -> None:
    assert tracker.set("max_live_tracks", ParameterType.PARAMETER_INTEGER, integer_value=6).successful
    assert tracker.set("publish_masks", ParameterType.PARAMETER_BOOL, bool_value=True).successful
    refused = [
        tracker.set("max_live_tracks", ParameterType.PARAMETER_INTEGER, integer_value=0),
        tracker.set("max_live_tracks", ParameterType.PARAMETER_STRING, string_value="six"),
        tracker.set("memory_policy", ParameterType.PARAMETER_STRING, string_value="nonsense"),
        tracker.set("detector_weights", ParameterType.PARAMETER_STRING, string_value="other.pt"),
        tracker.set("detector_confidence", ParameterType.PARAMETER_DOUBLE, double_value=1.5),
    ]
    assert [(result.successful, bool(result.reason)) for result in refused] == [(False, True)] * 5
    assert "fifo, motion_aware" in refused[2].reason


def test_life_cycle(tracker: Any, clip: list[Frame]) -> None:
    assert tracker.state() == State.PRIMARY_STATE_ACTIVE
    assert tracker.change(Transition.TRANSITION_DEACTIVATE)
    assert tracker.state() == State.PRIMARY_STATE_INACTIVE
    assert tracker.client.spin_until(lambda: tracker.publisher.get_subscription_count() == 0, 10)
    assert tracker.change(Transition.TRANSITION_ACTIVATE)
    tracker.wait_until_active()
    tracker.forget()
    tracker.send(clip[0])
    assert tracker.client.spin_until(lambda: len(tracker.detections) == 1, 30)
    for transition in ("DEACTIVATE", "CLEANUP", "CONFIGURE", "ACTIVATE"):
        assert tracker.change(getattr(Transition, f"TRANSITION_{transition}")), transition
    tracker.wait_until_active()
    tracker.send(clip[0])
    assert tracker.client.spin_until(lambda: len(tracker.detections) == 2, 30)


def test_waits_for_a_lifecycle_manager_if_told_to(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any]
) -> None:
    process = start("tracker", "-r", "__ns:=/manual", "-p", "autostart:=false")
    manual = tracker_of(client, process, "/manual/smotracker")
    assert manual.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert manual.publisher.get_subscription_count() == 0
    assert not client.call(Trigger, "/manual/smotracker/reset").success
    process.interrupt()
    assert process.wait() == 0, process.output


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        ("detector_weights:=/nowhere/weights.pt", "/nowhere/weights.pt"),
        ("preset:=nonsense", "nonsense"),
        ("max_live_tracks:=0", "max_live_tracks"),
        ("memory_policy:=nonsense", "motion_aware"),
    ],
)
def test_bad_set_up_ends_with_a_clear_message(start: Callable[..., Any], parameter: str, text: str) -> None:
    process = start("tracker", "-r", "__ns:=/wrong", "-p", parameter)
    assert process.wait(60) == 1
    assert text in process.output
    assert "Traceback" not in process.output


def test_compressed_images_and_the_words_for_silence(client: Any, start: Callable[..., Any], clip: list[Frame]) -> None:
    process = start(
        "tracker", "-r", "__ns:=/small", "-p", "image_transport:=compressed", "-p", "silence_seconds:=0.5",
        "-r", "image:=/camera/compressed",
    )  # fmt: skip
    found = client.listen(Detection2DArray, "/small/tracks")
    camera_image = client.node.create_publisher(Image, "/elsewhere/image", 1)
    hint = "nobody publishes it; there are images on "
    assert client.spin_until(lambda: hint in process.output and "/elsewhere/image (" in process.output, 90), (
        process.output
    )
    client.node.destroy_publisher(camera_image)
    profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = client.node.create_publisher(CompressedImage, "/camera/compressed", profile)
    assert client.spin_until(lambda: publisher.get_subscription_count() == 1, 20)
    for frame in clip:
        message = CompressedImage(header=frame_to_image(frame).header, format="jpeg")
        message.data = array.array("B", cv2.imencode(".jpg", frame.image[:, :, ::-1])[1].tobytes())
        publisher.publish(message)
        if client.spin_until(lambda: bool(found), 1.0):
            break
    assert found and found[0].header.frame_id.startswith("gimbal"), process.output
    client.node.destroy_publisher(publisher)
    process.interrupt()
    assert process.wait() == 0
    assert rclpy.ok()
