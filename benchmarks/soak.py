"""Hours of a camera: does the node's memory grow, do its answers come later and later, is an image forgotten?

`python benchmarks/soak.py --minutes 30` plays a rendered scene, forth and back, to a tracker node in a second process
and prints for each minute the node's resident memory, the latency of its answers and how many came. The machine must
keep up with the rate. The exit code is 1 if the memory after a warm-up of three minutes grew by more than two per cent,
the latency's 99th percentile of the second half is more than half as large again as that of the first, or an image was
not answered.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack

import numpy as np
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from smotracker_ros.msg import TrackArray

from smotracker_ros.evaluation.benchmarks.clips import scene_clip
from smotracker_ros.ros.demo import Process, ros_environment
from smotracker_ros.ros.qos import result_profile
from smotracker_ros.ros.speed import Camera, SpeedError, stream

WARM_UP_MINUTES = 3
LARGEST_GROWTH = 0.02
LARGEST_SLOWING = 1.5


def run(minutes: int, fps: float, width: int, height: int, targets: int) -> bool:
    """Print a line per minute and the verdict; returns whether all is well."""
    clip = scene_clip(targets, width, height, 300, 1).frames
    with ExitStack() as stack:
        environment = ros_environment(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["ROS_DOMAIN_ID"] = environment["ROS_DOMAIN_ID"]
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        node = rclpy.create_node("camera")
        stack.callback(node.destroy_node)
        camera = Camera(node, reliable=True)
        states: list[TrackArray] = []
        node.create_subscription(TrackArray, "track_states", states.append, result_profile(500))
        node.create_subscription(Image, "masks", lambda message: None, result_profile(5))
        node.create_subscription(DiagnosticArray, "/diagnostics", lambda message: None, 5)
        process = stack.enter_context(Process("tracker", {"on_overload": "every_frame"}, environment))
        camera.wait_for_node(process)
        tracker = psutil.Process(process.pid)
        memory, latencies, unanswered = [], [], 0
        frames = stream(clip, round(60 * fps) * minutes, fps)
        print("minute  memory [MiB]  latency p50 [ms]  p99 [ms]  answered  highest id", flush=True)
        for minute in range(1, minutes + 1):
            camera.sent.clear()
            camera.answered.clear()
            states.clear()
            camera.send_at_rate([next(frames) for _ in range(round(60 * fps))], fps, 30.0)
            late = [
                1000 * (camera.answered[stamp] - sent)
                for stamp, sent in camera.sent.items()
                if stamp in camera.answered
            ]
            unanswered += len(camera.sent) - len(late)
            memory.append(tracker.memory_info().rss / 2**20)
            latencies.append(late)
            p50, p99 = np.percentile(late, [50, 99])
            highest = max((track.id for message in states for track in message.tracks), default=0)
            answered = f"{len(late)}/{len(camera.sent)}"
            print(f"{minute:6d}  {memory[-1]:12.1f}  {p50:16.1f}  {p99:8.1f}  {answered:>8}  {highest:10d}", flush=True)
        if process.stop():
            raise SpeedError("the node did not end in order")
    start = min(WARM_UP_MINUTES, minutes - 1)
    growth = max(memory[start:]) / memory[start] - 1
    halves = [
        np.percentile(np.concatenate(part), 99) for part in (latencies[: minutes // 2], latencies[minutes // 2 :])
    ]
    print(
        f"memory after minute {start + 1}: at most {growth:+.2%}; latency p99: {halves[0]:.1f} ms in the first half, "
        f"{halves[1]:.1f} ms in the second; unanswered: {unanswered}"
    )
    return growth <= LARGEST_GROWTH and halves[1] <= LARGEST_SLOWING * halves[0] and not unanswered


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--targets", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.minutes < 2:
        parser.error("two minutes or more are needed")
    try:
        return 0 if run(**vars(arguments)) else 1
    except KeyboardInterrupt:
        return 130
    except SpeedError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
