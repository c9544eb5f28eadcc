"""The queue between the threads, the quality of service, and the words for silence."""

from __future__ import annotations

import threading

import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from smotracker_ros.ros.frame_queue import FrameQueue
from smotracker_ros.ros.qos import (
    Offer,
    explain_mismatch,
    explain_silence,
    subscription_profile,
    wants_latched,
    wants_reliable,
)

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA = Offer("/camera", IMAGE, reliable=False)
PLAYER = Offer("/player", IMAGE, reliable=True)


def test_queue_keeps_the_newest() -> None:
    queue: FrameQueue[int] = FrameQueue(2, keep_newest=True)
    assert [queue.put(number) for number in range(5)] == [0, 0, 1, 1, 1]
    assert (queue.get(), queue.get(), len(queue)) == (3, 4, 0)


def test_queue_keeps_the_sequence() -> None:
    queue: FrameQueue[int] = FrameQueue(2, keep_newest=False)
    assert [queue.put(number) for number in range(4)] == [0, 0, 1, 1]
    assert (queue.get(), queue.get()) == (0, 1)


def test_closing_wakes_the_receiver() -> None:
    queue: FrameQueue[int] = FrameQueue(1, keep_newest=True)
    seen: list[int | None] = []
    thread = threading.Thread(target=lambda: seen.append(queue.get()))
    thread.start()
    queue.close()
    thread.join(5)
    assert seen == [None] and queue.put(1) == 0 and queue.get() is None


@pytest.mark.parametrize(
    ("reliability", "prefer", "offers", "expected"),
    [
        ("auto", False, [], False),
        ("auto", True, [], True),
        ("auto", False, [PLAYER], True),
        ("auto", True, [CAMERA], False),
        ("auto", True, [CAMERA, PLAYER], False),
        ("best_effort", True, [PLAYER], False),
        ("reliable", False, [CAMERA], True),
    ],
)
def test_reliability(reliability: str, prefer: bool, offers: list[Offer], expected: bool) -> None:
    assert wants_reliable(reliability, prefer, offers) is expected


def test_the_last_message_is_asked_for_only_if_all_publishers_keep_it() -> None:
    keeper = Offer("/camera", IMAGE, reliable=True, latched=True)
    assert wants_latched([keeper, keeper])
    assert not wants_latched([keeper, PLAYER])
    assert not wants_latched([])
    assert subscription_profile(True, 1, latched=True).durability == DurabilityPolicy.TRANSIENT_LOCAL


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert explain_mismatch("/image", IMAGE, False, []) is None
    assert explain_mismatch("/image", IMAGE, True, [CAMERA, PLAYER]) is None


def test_subscriptions_are_volatile() -> None:
    profile = subscription_profile(False, 0)
    assert profile.durability == DurabilityPolicy.VOLATILE and profile.depth == 1
    assert profile.reliability == ReliabilityPolicy.BEST_EFFORT


@pytest.mark.parametrize(
    ("reliable", "offers", "others", "words"),
    [
        (False, [], [], ["/front/image", "nobody publishes it", "-r image:=TOPIC"]),
        (False, [], ["/camera/image_raw (x)"], ["there are images on /camera/image_raw", "-r image:=TOPIC"]),
        (False, [], ["/a (x)", "/front/image/compressed (x)"], ["nobody publishes it", "image_transport:=compressed"]),
        (False, [Offer("/camera", COMPRESSED, False)], [], ["/camera sends", "image_transport:=compressed"]),
        (False, [Offer("/talker", "std_msgs/msg/String", True)], [], ["carries no images"]),
        (True, [CAMERA], [], ["/camera sends", "best effort, volatile", "reliability:=auto"]),
        (False, [CAMERA], [], ["/camera publishes it", "fastdds.xml"]),
        (True, [CAMERA, PLAYER], [], ["paused"]),
    ],
)
def test_silence_is_explained(reliable: bool, offers: list[Offer], others: list[str], words: list[str]) -> None:
    text = explain_silence("/front/image", IMAGE, reliable, offers, others)
    for word in words:
        assert word in text
