"""Where images come from: image_transport's names, and topics that only look like a camera's."""

from __future__ import annotations

import array
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image
from smotracker_ros.msg import TrackArray
from vision_msgs.msg import Detection2DArray

from smotracker_ros.core.topics import camera_info_topic, transport_topic
from smotracker_ros.ros.images import to_stamp
from smotracker_ros.ros.qos import image_topics, sent_topic


@pytest.mark.parametrize(
    ("topic", "transport", "expected"),
    [
        ("/camera/image_raw", "raw", "/camera/image_raw"),
        ("/camera/image_raw", "", "/camera/image_raw"),
        ("/camera/image_raw", "compressed", "/camera/image_raw/compressed"),
        ("/camera/image_raw/compressed", "compressed", "/camera/image_raw/compressed"),
        ("image", "compressed", "image/compressed"),
    ],
)
def test_names_of_image_transport(topic: str, transport: str, expected: str) -> None:
    assert transport_topic(topic, transport) == expected
    assert camera_info_topic(expected) == camera_info_topic(topic)


@pytest.fixture
def node() -> Iterator[Any]:
    instance = rclpy.create_node("topics_test", namespace="/seen", cli_args=["--ros-args", "-r", "image:=/lens/image"])
    yield instance
    instance.destroy_node()


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_compressed_images_are_looked_for_where_image_transport_sends_them(node: Any, client: Any) -> None:
    assert sent_topic(node, "image", "raw") == "/lens/image"
    assert sent_topic(node, "image", "compressed") == "/lens/image/compressed"
    here = client.node.create_publisher(CompressedImage, "/lens/image", 1)
    assert _until(lambda: sent_topic(node, "image", "compressed") == "/lens/image"), "published there alone"
    below = client.node.create_publisher(CompressedImage, "/lens/image/compressed", 1)
    assert _until(lambda: sent_topic(node, "image", "compressed") == "/lens/image/compressed")
    for publisher in (here, below):
        client.node.destroy_publisher(publisher)


def test_results_are_no_cameras(node: Any, client: Any) -> None:
    tracker = LifecycleNode("tracker", namespace="/other")
    for topic, kind in {"track_states": TrackArray, "masks": Image, "overlay": Image, "/renamed": Image}.items():
        tracker.create_publisher(kind, topic, 1)
    tracker.create_publisher(CompressedImage, "masks/compressed", 1)
    player = rclpy.create_node("rosbag2_player", namespace="/played")
    for topic, kind in {"track_states": TrackArray, "masks": Image, "image_raw": Image}.items():
        player.create_publisher(kind, topic, 1)
    camera = client.node.create_publisher(Image, "/lens/image_raw", 1)
    node.create_publisher(Image, "own", 1)
    expected = {"/lens/image_raw (sensor_msgs/msg/Image)", "/played/image_raw (sensor_msgs/msg/Image)"}
    assert _until(lambda: set(image_topics(node, "/seen/image")) == expected), image_topics(node, "/seen/image")
    assert image_topics(node, "/lens/image_raw") == ["/played/image_raw (sensor_msgs/msg/Image)"]
    client.node.destroy_publisher(camera)
    for other in (tracker, player):
        other.destroy_node()


@pytest.mark.slow
def test_the_node_follows_the_convention(client: Any, start: Callable[..., Any]) -> None:
    process = start(
        "tracker", "-r", "__ns:=/thin", "-r", "image:=/link/image_raw", "-p", "image_transport:=compressed"
    )  # fmt: skip
    answers = client.listen(Detection2DArray, "/thin/tracks")
    publisher = client.node.create_publisher(CompressedImage, "/link/image_raw/compressed", 5)
    assert client.spin_until(lambda: publisher.get_subscription_count() == 1, 120), process.output
    picture = np.random.default_rng(1).integers(0, 255, (96, 128, 3), np.uint8)
    for second in range(1, 60):
        message = CompressedImage(format="bgr8; jpeg compressed bgr8")
        message.header.stamp = to_stamp(second * 10**9)
        message.data = array.array("B", cv2.imencode(".jpg", picture)[1].tobytes())
        publisher.publish(message)
        if client.spin_until(lambda: bool(answers), 1.0):
            break
    assert answers, process.output
    client.node.destroy_publisher(publisher)
