"""How long the node's process takes to be active, and its first answer: run by `smotracker benchmark --parts start`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node

from smotracker_ros.core.frames import Frame
from smotracker_ros.ros.demo import Process, ros_environment
from smotracker_ros.ros.speed import Camera, SpeedError

_PATIENCE_SECONDS = 120.0
# Discovery lets the subscriber appear before its endpoint is ready for data
_SETTLE_SECONDS = 1.0


def measure_start(node: Node, environment: dict[str, str], width: int, height: int) -> dict[str, float]:
    """Seconds until the node is active, from its process's start, and from a first image to its answer; CPU time, too.

    Raises:
        SpeedError: if the node ends, or does not become active, or does not answer.
    """
    client = node.create_client(GetState, "/smotracker/get_state")
    camera = Camera(node, reliable=True)
    started = time.monotonic()
    try:
        with Process("tracker", {"on_overload": "every_frame", "reliability": "reliable"}, environment) as process:
            deadline = started + _PATIENCE_SECONDS
            _until(client.service_is_ready, camera, process, deadline)
            state = State.PRIMARY_STATE_UNKNOWN
            while state != State.PRIMARY_STATE_ACTIVE:
                answer = client.call_async(GetState.Request())
                _until(answer.done, camera, process, deadline)
                state = answer.result().current_state.id
            active, active_cpu = time.monotonic() - started, _cpu_seconds(process)
            camera.wait_until(lambda: False, _SETTLE_SECONDS)
            settled = _cpu_seconds(process)
            frame = Frame(np.zeros((height, width, 3), np.uint8), time.time_ns(), 0, "camera")
            camera.send(frame)
            _until(lambda: frame.timestamp_ns in camera.answered, camera, process, deadline)
            return {
                "active_seconds": active,
                "active_cpu_seconds": active_cpu,
                "first_answer_seconds": camera.answered[frame.timestamp_ns] - camera.sent[frame.timestamp_ns],
                "first_answer_cpu_seconds": _cpu_seconds(process) - settled,
            }
    finally:
        camera.close()
        node.destroy_client(client)


def _cpu_seconds(process: Process) -> float:
    """CPU time of the node's process so far."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _until(condition: Callable[[], bool], camera: Camera, process: Process, deadline: float) -> None:
    """Handle messages until the condition holds.

    Raises:
        SpeedError: if the process ends, or the time is over before.
    """
    camera.wait_until(lambda: condition() or process.code is not None, deadline - time.monotonic())
    if process.code is not None or not condition():
        raise SpeedError(f"the tracker's node does not start or answer (exit code {process.code})")


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        environment = ros_environment(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["ROS_DOMAIN_ID"] = environment["ROS_DOMAIN_ID"]
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        node = rclpy.create_node("camera")
        stack.callback(node.destroy_node)
        try:
            figures = [
                measure_start(node, environment, arguments.width, arguments.height)
                for _ in range(arguments.repetitions)
            ]
        except SpeedError as error:
            print(f"start: {error}", file=sys.stderr)
            return 1
    arguments.output.write_text(json.dumps(figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
