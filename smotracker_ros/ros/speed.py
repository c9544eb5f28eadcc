"""What the node costs beyond the tracker: run by `smotracker benchmark`, as a process that plays the camera.

The node runs in a second process. First each image waits for the answer to the one before, and the same frame goes
through a tracker in this process: the difference is the node's. Then images come as fast as a camera sends them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.global_state import threads
from smotracker_ros.evaluation.benchmarks.clips import scene_clip
from smotracker_ros.evaluation.benchmarks.measuring import significant, spread
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.ros.demo import Process, ros_environment
from smotracker_ros.ros.diagnostics import LOOKS, WAITING
from smotracker_ros.ros.images import frame_to_image, to_nanoseconds
from smotracker_ros.ros.qos import result_profile

_START_SECONDS = 180.0
_PATIENCE_SECONDS = 60.0
# How long no answer may come before the last one is taken to have been it; where images are skipped, it always ends so
_SILENCE_SECONDS = {"every_frame": 15.0, "latest": 3.0}
# Answers to the first images hold what happens once: matching of the publishers, first allocations
_WARM_UP = 6
# Discovery lets the subscriber appear before its endpoint is ready for data
_SETTLE_SECONDS = 1.0


class SpeedError(RuntimeError):
    """The measurement cannot go on; the message says why."""


@dataclass
class Camera:
    """Sends images and notes when they are answered.

    Attributes:
        sent: when the image with a time stamp was published, seconds of the monotonic clock.
        answered: when it was answered.
        found: number of tracks in the answer.
        health: what the node has said last in its diagnostics, by name; "" is the message.
    """

    node: Node
    reliable: bool
    sent: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    found: dict[int, int] = field(default_factory=dict)
    health: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reliability = ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(reliability=reliability, history=HistoryPolicy.KEEP_LAST, depth=50)
        self._publisher = self.node.create_publisher(Image, "image", profile)
        self._subscription = self.node.create_subscription(Detection2DArray, "tracks", self._take, result_profile(500))
        self._diagnostics = self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note, 10)

    def _take(self, message: Detection2DArray) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        self.answered[stamp] = time.monotonic()
        self.found[stamp] = len(message.detections)

    def _note(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.health = {"": status.message, **{item.key: item.value for item in status.values}}

    def close(self) -> None:
        """Withdraw publisher and subscriptions."""
        self.node.destroy_publisher(self._publisher)
        self.node.destroy_subscription(self._subscription)
        self.node.destroy_subscription(self._diagnostics)

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Handle messages until the condition holds; False if the time is over before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.02)
        return True

    def wait_for_node(self, process: Process) -> None:
        """Wait until the tracker's node listens.

        Raises:
            SpeedError: if it ends, or does not come.
        """
        ready = self.wait_until(
            lambda: process.code is not None or self._publisher.get_subscription_count() > 0, _START_SECONDS
        )
        if process.code is not None or not ready:
            raise SpeedError(f"the tracker's node does not listen to images (exit code {process.code})")
        self.wait_until(lambda: False, _SETTLE_SECONDS)

    def send(self, frame: Frame) -> None:
        """Publish a frame."""
        message = frame_to_image(frame)
        self.sent[frame.timestamp_ns] = time.monotonic()
        self._publisher.publish(message)

    def send_at_rate(self, frames: list[Frame], fps: float, silence: float) -> None:
        """Publish frames by the clock, then wait until all are answered or `silence` seconds pass without an answer."""
        start = time.monotonic()
        for number, frame in enumerate(frames):
            self.wait_until(lambda due=start + number / fps: time.monotonic() >= due, 1e9)  # type: ignore[misc]
            self.send(frame)
        while len(self.answered) < len(frames):
            count = len(self.answered)
            if not self.wait_until(lambda count=count: len(self.answered) > count, silence):  # type: ignore[misc]
                return


def stream(clip: list[Frame], count: int, fps: float) -> Iterator[Frame]:
    """Frames of a clip played forth and back, so that nothing jumps, with time stamps from now on."""
    start = time.time_ns()
    turn = max(2 * (len(clip) - 1), 1)
    for index in range(count):
        place = index % turn
        image = clip[place if place < len(clip) else turn - place].image
        yield Frame(image, start + round(index * 1e9 / fps), index, "camera")


def measure_overhead(camera: Camera, process: Process, frames: list[Frame], preset: str) -> dict[str, Any]:
    """One image at a time, each also through a tracker in this process.

    Raises:
        SpeedError: if an answer does not come.
    """
    tracker = build_tracker(load_settings(preset))
    node = psutil.Process(process.pid)
    added, node_cpu, own_cpu, own_wall, same = [], 0.0, 0.0, [], 0
    for number, frame in enumerate(frames):
        before = node.cpu_times()
        camera.send(frame)
        if not camera.wait_until(lambda frame=frame: frame.timestamp_ns in camera.answered, _PATIENCE_SECONDS):  # type: ignore[misc]
            raise SpeedError(f"image {number + 1} was not answered within {_PATIENCE_SECONDS:.0f} s")
        trip = camera.answered[frame.timestamp_ns] - camera.sent[frame.timestamp_ns]
        after = node.cpu_times()
        wall, cpu = time.perf_counter(), time.process_time()
        tracks = tracker.update(frame)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        same += len(tracks.reported) == camera.found[frame.timestamp_ns]
        if number >= _WARM_UP:
            added.append(1000 * (trip - wall))
            node_cpu += after.user + after.system - before.user - before.system
            own_cpu += cpu
            own_wall.append(1000 * wall)
    return {
        "frames": len(added),
        "added_latency_ms": spread(added),
        "added_cpu_ms_per_frame": significant(1000 * (node_cpu - own_cpu) / len(added)),
        "node_cpu_ms_per_frame": significant(1000 * node_cpu / len(added)),
        "tracker_cpu_ms_per_frame": significant(1000 * own_cpu / len(added)),
        "tracker_wall_ms": spread(own_wall),
        "same_number_of_tracks": same,
    }


def measure_delivery(
    camera: Camera, process: Process, frames: list[Frame], fps: float, silence: float
) -> dict[str, Any]:
    """Images at a camera's rate: how many are answered, and how long after they were sent.

    Raises:
        SpeedError: if none is answered.
    """
    node = psutil.Process(process.pid)
    before, own = node.cpu_times(), time.process_time()
    camera.answered.clear()
    camera.sent.clear()
    camera.send_at_rate(frames, fps, silence)
    after, own = node.cpu_times(), time.process_time() - own
    ages = [1000 * (camera.answered[stamp] - camera.sent[stamp]) for stamp in camera.sent if stamp in camera.answered]
    if not ages:
        raise SpeedError("no image was answered")
    span = max(camera.answered.values()) - min(camera.sent.values())
    return {
        "frames_sent": len(camera.sent),
        "frames_delivered": len(ages),
        "delivered_share": significant(len(ages) / len(camera.sent)),
        "age_ms": spread(ages),
        "answers_per_second": significant(len(ages) / span),
        "looks_per_frame": float(camera.health.get(LOOKS, "nan")),
        "waiting_per_frame": float(camera.health.get(WAITING, "nan")),
        "health": camera.health.get("", ""),
        "node_cpu_ms_per_answer": significant(
            1000 * (after.user + after.system - before.user - before.system) / len(ages)
        ),
        "camera_cpu_ms_per_frame": significant(1000 * own / len(camera.sent)),
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure; returns the figures.

    Raises:
        SpeedError: if a process does not do its part.
    """
    length = max(min(arguments.frames, 60), 2)
    clip = scene_clip(arguments.targets, arguments.width, arguments.height, length, 1).frames
    results: dict[str, Any] = {}
    with ExitStack() as stack:
        stack.enter_context(threads(arguments.threads))
        environment = ros_environment(stack.enter_context(tempfile.TemporaryDirectory()))
        environment["OMP_NUM_THREADS"] = str(arguments.threads)
        os.environ["ROS_DOMAIN_ID"] = environment["ROS_DOMAIN_ID"]
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        node = rclpy.create_node("camera")
        stack.callback(node.destroy_node)
        for mode, reliability, count in (
            ("every_frame", "reliable", arguments.frames),
            ("latest", "best_effort", arguments.live_frames),
        ):
            if not count:
                continue
            camera = Camera(node, reliable=reliability == "reliable")
            parameters = {"preset": arguments.preset, "on_overload": mode, "reliability": reliability}
            with Process("tracker", parameters, environment) as process:
                camera.wait_for_node(process)
                if mode == "every_frame":
                    frames = list(stream(clip, _WARM_UP + arguments.single_frames, arguments.fps))
                    results["overhead"] = measure_overhead(camera, process, frames, arguments.preset)
                else:  # a node that has just begun would drop images for reasons of its own
                    warm_up(camera, list(stream(clip, _WARM_UP, arguments.fps)))
                frames = list(stream(clip, count, arguments.fps))
                silence = _SILENCE_SECONDS[mode]
                results[mode] = measure_delivery(camera, process, frames, arguments.fps, silence)
            camera.close()
    return results


def warm_up(camera: Camera, frames: list[Frame]) -> None:
    """Let the node answer a few images, one at a time; lost ones do not matter."""
    for frame in frames:
        camera.send(frame)
        camera.wait_until(lambda frame=frame: frame.timestamp_ns in camera.answered, 5.0)  # type: ignore[misc]


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--frames", type=int, default=150, help="images at the camera's rate; 1 or more")
    parser.add_argument("--live-frames", type=int, default=150, help="the same to a node that follows the latest one")
    parser.add_argument("--single-frames", type=int, default=60, help="images that wait for the answer before")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--targets", type=int, default=3)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--preset", default="y-smotracker")
    arguments = parser.parse_args()
    try:
        results = run(arguments)
    except SpeedError as error:
        print(f"speed: {error}", file=sys.stderr)
        return 1
    arguments.output.write_text(json.dumps(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
