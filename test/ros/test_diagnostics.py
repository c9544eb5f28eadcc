"""The node's health in words, levels and numbers."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from smotracker_ros.core.tracks import Tracks
from smotracker_ros.ros.diagnostics import DROPS, Health, Limits, watch_clock
from smotracker_ros.ros.images import to_stamp

LIMITS = Limits(warn_latency=1.0, error_latency=5.0, warn_drops=0.5, error_drops=0.9, silence=5.0)
NOTHING = Tracks(0, 0, (8, 8))
PASS = Tracks(0, 0, (8, 8), detector_ran=True)


def _status(health: Health, limits: Limits = LIMITS, **options: bool) -> DiagnosticStatus:
    return health.message(to_stamp(1), limits, 0, {"detector": "yolo"}, **options).status[0]


def _values(status: DiagnosticStatus) -> dict[str, str]:
    return {value.key: value.value for value in status.values}


def _healthy(frames: int = 10, latency: float | None = 0.25) -> Health:
    health = Health("/smotracker")
    for index in range(frames):
        health.received()
        health.processed(PASS if index % 5 == 0 else NOTHING, 0.125, latency)
    return health


def test_all_is_well() -> None:
    status = _status(_healthy())
    assert (status.level, status.message, status.name) == (DiagnosticStatus.OK, "tracking", "/smotracker: tracker")
    values = _values(status)
    assert (values["frames received"], values["frames processed"], values["detector"]) == ("10", "10", "yolo")
    assert (values["latency p50 [s]"], values["latency p99 [s]"], values["processing p99 [s]"]) == (
        "0.250", "0.250", "0.125",
    )  # fmt: skip
    assert (values["detector share"], values["dropped share"]) == ("0.200", "0.000")
    assert float(values["input rate [1/s]"]) > 0 and float(values["output rate [1/s]"]) > 0
    assert float(values["memory of the process [MiB]"]) > 10


@pytest.mark.parametrize("reason", DROPS)
def test_drops_are_counted_by_reason(reason: str) -> None:
    health = _healthy()
    health.dropped(reason, 3)
    assert _values(_status(health))[DROPS[reason]] == "3"


@pytest.mark.parametrize(("latency", "level"), [(0.5, b"\x00"), (2.0, b"\x01"), (9.0, b"\x02")])
def test_latency_has_levels(latency: float, level: bytes) -> None:
    status = _status(_healthy(latency=latency))
    assert status.level == level
    assert (f"{latency:.2f} s after" in status.message) == (level != b"\x00")


@pytest.mark.parametrize("latency", [None, 1e9, -50.0])
def test_stamps_of_another_clock_tell_no_latency(latency: float | None) -> None:
    status = _status(_healthy(latency=latency))
    assert status.level == DiagnosticStatus.OK
    assert _values(status)["latency p50 [s]"] == ""


@pytest.mark.parametrize(("drops", "level"), [(5, b"\x00"), (20, b"\x01"), (200, b"\x02")])
def test_overload_has_levels(drops: int, level: bytes) -> None:
    health = _healthy()
    health.dropped("overload", drops)
    assert _status(health).level == level


def test_faults_are_told_once_and_are_errors_where_nothing_works() -> None:
    health = _healthy()
    health.dropped("bad image", 2)
    status = _status(health)
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "2 images could not be used")
    assert _status(health).level == DiagnosticStatus.OK
    broken = Health("/smotracker")
    for _ in range(3):
        broken.received()
        broken.dropped("bad image")
    assert _status(broken).level == DiagnosticStatus.ERROR


def test_silence_is_stale() -> None:
    health = Health("/smotracker")
    assert (_status(health).level, _status(health).message) == (DiagnosticStatus.STALE, "no image has arrived")
    health.problem("nobody publishes it")
    assert _status(health).message == "no image has arrived: nobody publishes it"
    assert _status(health, active=False).message == "not active"
    health = _healthy()
    time.sleep(0.02)
    assert _status(health, replace(LIMITS, silence=0.01)).level == DiagnosticStatus.STALE


def test_a_jump_of_the_clock_clears_the_latencies() -> None:
    health = _healthy(latency=0.25)
    now = time.time()
    health.follow_clock(now)
    health.follow_clock(now + 0.2)
    assert _values(_status(health))["latency p50 [s]"] == "0.250", "clocks may drift apart a little"
    health.follow_clock(now + 30.0)
    status = _status(health)
    assert _values(status)["latency p50 [s]"] == "" and status.level == DiagnosticStatus.OK
    assert _values(status)["frames processed"] == "10" and float(_values(status)["output rate [1/s]"]) > 0


@pytest.mark.parametrize("step", [-2.0, 5.0])
def test_a_jump_of_simulated_time_clears_the_latencies(client: Any, step: float) -> None:
    node = rclpy.create_node("simulated", parameter_overrides=[Parameter("use_sim_time", value=True)])
    health = _healthy(latency=0.25)
    watch = watch_clock(node, health)
    publisher = client.node.create_publisher(Clock, "/clock", 10)

    def until(seconds: float) -> bool:
        publisher.publish(Clock(clock=to_stamp(round(seconds * 1e9))))
        rclpy.spin_once(node, timeout_sec=0.05)
        return bool(abs(node.get_clock().now().nanoseconds / 1e9 - seconds) < 1e-6)

    assert client.spin_until(lambda: until(100.0), 20)
    health.processed(NOTHING, 0.01, 0.25)
    assert client.spin_until(lambda: until(100.1), 20)
    assert _values(_status(health))["latency p50 [s]"] == "0.250", "time that goes on is no jump"
    assert client.spin_until(lambda: until(100.1 + step), 20)
    assert _values(_status(health))["latency p50 [s]"] == "", f"a jump by {step} s"
    assert watch is not None
    node.destroy_node()


def test_the_hardware_is_named() -> None:
    health = Health("/smotracker")
    assert _status(health).hardware_id, "diagnostics belong to a machine"
    health.hardware = "robot cuda:0"
    assert _status(health).hardware_id == "robot cuda:0"


@pytest.mark.parametrize(("waited", "level"), [(0, b"\x00"), (1, b"\x00"), (12, b"\x01")])
def test_targets_that_wait_are_told_in_words(waited: int, level: bytes) -> None:
    health = _healthy()
    for _ in range(10):
        health.looked(16, waited)
    status = _status(health)
    assert status.level == level
    assert ("SAM2 looks at 16 of 28 a frame" in status.message) == (level != b"\x00")
    assert _values(status)["SAM2 looks that waited per frame"] == f"{waited:.1f}"
