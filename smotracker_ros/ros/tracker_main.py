"""The process of the tracker's node: its command line, its end, and its restarts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import cv2
import rclpy

from smotracker_ros.ros.process import has_started, own_arguments, run_process
from smotracker_ros.ros.respawn import respawning
from smotracker_ros.ros.respawn_limit import DEATHS
from smotracker_ros.ros.tracker_node import TrackerNode
from smotracker_ros.ros.worker import end_without_waiting


def run(arguments: Sequence[str]) -> int:
    """Run the node until it is interrupted; returns the exit code. `arguments`: what nobody has used of them."""

    def body(stack: ExitStack) -> int:
        cv2.setNumThreads(1)  # its threads would only take the processor from torch's
        node = TrackerNode()
        stack.callback(node.close)
        if not has_started(node):
            return 1 if rclpy.ok() else 0  # a signal meanwhile is no failure
        rclpy.spin_until_future_complete(node, node.failures.ended)
        return node.failures.ended.result() or 0 if node.failures.ended.done() else 0

    return end_without_waiting(run_process("smotracker", body, arguments))


def main() -> int:
    """Command line of the node: `--respawn true` before `--ros-args` starts it again when it is killed or crashes."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--respawn", choices=("true", "false"), default="false")
    parser.add_argument("--respawn-limit", type=int, default=DEATHS)
    given, unused = parser.parse_known_args(own_arguments(sys.argv[1:]))
    if given.respawn == "false":
        return run(unused)
    return respawning(partial(run, unused), given.respawn_limit)
