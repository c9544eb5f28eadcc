"""Every publisher that can deliver does, and one that cannot is named within seconds: real processes, real DDS."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import ParameterType
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from smotracker_ros.core.frames import Frame
from smotracker_ros.ros.images import frame_to_image

pytestmark = pytest.mark.slow

RELIABILITIES = (ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE)
DURABILITIES = (DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def node(client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any]) -> Iterator[Any]:
    """A node with the default quality of service."""
    process = start("tracker", "-r", "__ns:=/quality")
    instance = tracker_of(client, process, "/quality/smotracker")
    instance.wait_until_active()
    client.node.destroy_publisher(instance.publisher)
    yield instance
    process.interrupt()
    assert process.wait() == 0, process.output


def _profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(reliability=reliability, durability=durability, history=HistoryPolicy.KEEP_LAST, depth=5)


def _image(index: int) -> Image:
    pixels = np.random.default_rng(index).integers(60, 90, (64, 80, 3), dtype=np.uint8)
    return frame_to_image(Frame(pixels, time.time_ns(), index, "camera"))


@pytest.mark.parametrize("durability", DURABILITIES, ids=lambda policy: policy.name.lower())
@pytest.mark.parametrize("reliability", RELIABILITIES, ids=lambda policy: policy.name.lower())
def test_all_publishers_deliver(node: Any, reliability: ReliabilityPolicy, durability: DurabilityPolicy) -> None:
    publisher = node.client.node.create_publisher(Image, "/quality/image", _profile(reliability, durability))
    node.forget()
    # the first image may come before the two have met, and the node looks at the offers once per second
    node.client.spin_until(lambda: publisher.get_subscription_count() > 0, 10)
    node.client.spin_until(lambda: False, 2.5)
    for index in range(5):
        message = _image(index)
        publisher.publish(message)
        assert node.client.spin_until(lambda: bool(node.detections), 20), f"{index}: {node.process.output}"
        assert node.detections.pop().header == message.header
    node.client.node.destroy_publisher(publisher)


def _told_within(node: Any, words: list[str], seconds: float) -> bool:
    lines = len(node.process.lines)
    return bool(
        node.client.spin_until(
            lambda: any(all(word in line for word in words) for line in node.process.lines[lines:]), seconds
        )
    )


@pytest.mark.parametrize(
    ("kind", "reliability", "words"),
    [
        (
            Image,
            ReliabilityPolicy.BEST_EFFORT,
            [
                "/quality/image is subscribed as sensor_msgs/msg/Image, reliable",
                "best effort, volatile",
                "reliability:=",
            ],
        ),
        (
            CompressedImage,
            ReliabilityPolicy.RELIABLE,
            ["/quality/image is subscribed as", "sends sensor_msgs/msg/CompressedImage", "image_transport:=compressed"],
        ),
    ],
)
def test_what_cannot_deliver_is_named_within_five_seconds(
    node: Any, kind: Any, reliability: ReliabilityPolicy, words: list[str]
) -> None:
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        assert node.change(transition)
    assert node.set("reliability", ParameterType.PARAMETER_STRING, string_value="reliable").successful
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert node.change(transition)
    publisher = node.client.node.create_publisher(kind, "/quality/image", _profile(reliability, DURABILITIES[0]))
    assert _told_within(node, words, 5.0), node.process.output
    node.client.node.destroy_publisher(publisher)
