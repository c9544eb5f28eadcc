"""Hours of a camera: does the node's memory grow, do its answers come later and later, is an image forgotten?

`python benchmarks/soak.py --minutes 30` plays a rendered scene, forth and back, to a tracker node in a second process
and prints for each minute the node's resident memory, its CPU time per answer, the latency of the answers, how many
images were answered and how many of these without a message on `track_states`. The node follows the latest image, as it
does by default: on a busy machine it skips some, while with `--every-frame` it falls behind if the machine cannot keep
up.

The exit code is 1 if, after a warm-up of three minutes, memory grew by more than two per cent, CPU time per answer in
the second half is more than a fifth larger than in the first, an answer came without track states, or, with
`--every-frame`, an image was not answered.
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
from smotracker_ros.ros.images import to_nanoseconds
from smotracker_ros.ros.qos import result_profile
from smotracker_ros.ros.speed import Camera, SpeedError, stream

WARM_UP_MINUTES = 3
LARGEST_GROWTH = 0.02
LARGEST_SLOWING = 1.2


def run(minutes: int, fps: float, width: int, height: int, targets: int, every_frame: bool) -> bool:
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
        process = stack.enter_context(
            Process("tracker", {"on_overload": "every_frame" if every_frame else "latest"}, environment)
        )
        camera.wait_for_node(process)
        tracker = psutil.Process(process.pid)
        memory, costs, unanswered, stateless = [], [], 0, 0
        frames = stream(clip, round(60 * fps) * minutes, fps)
        print(
            "minute  memory [MiB]  CPU [ms/answer]  latency p50 [ms]  p99 [ms]  answered  without states  highest id",
            flush=True,
        )
        for minute in range(1, minutes + 1):
            for notes in (camera.sent, camera.answered, states):
                notes.clear()
            before = tracker.cpu_times()
            camera.send_at_rate([next(frames) for _ in range(round(60 * fps))], fps, 30.0 if every_frame else 0.5)
            camera.wait_until(lambda: len(states) >= len(camera.answered), 1.0)  # the last one may be on its way
            after = tracker.cpu_times()
            late = [
                1000 * (camera.answered[time] - sent) for time, sent in camera.sent.items() if time in camera.answered
            ]
            if not late:
                raise SpeedError(f"no image of minute {minute} was answered")
            unanswered += len(camera.sent) - len(late)
            memory.append(tracker.memory_info().rss / 2**20)
            costs.append(1000 * (after.user + after.system - before.user - before.system) / len(late))
            p50, p99 = np.percentile(late, [50, 99])
            answered = {time for time in camera.sent if time in camera.answered}
            without = len(answered - {to_nanoseconds(message.header.stamp) for message in states})
            stateless += without
            highest = max((track.id for message in states for track in message.tracks), default=0)
            print(
                f"{minute:6d}  {memory[-1]:12.1f}  {costs[-1]:15.1f}  {p50:16.1f}  {p99:8.1f}  "
                f"{len(late):4d}/{len(camera.sent):<3d}  {without:14d}  {highest:10d}",
                flush=True,
            )
        if process.stop():
            raise SpeedError("the node did not end in order")
    start = min(WARM_UP_MINUTES, minutes - 1)
    growth = max(memory[start:]) / memory[start] - 1
    first, second = np.mean(costs[: minutes // 2]), np.mean(costs[minutes // 2 :])
    print(
        f"memory after minute {start + 1}: at most {growth:+.2%}; CPU per answer: {first:.1f} ms in the first half, "
        f"{second:.1f} ms in the second; unanswered: {unanswered}; answers without track states: {stateless}"
    )
    steady = growth <= LARGEST_GROWTH and second <= LARGEST_SLOWING * first
    return bool(steady and not stateless and not (every_frame and unanswered))


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--targets", type=int, default=1)
    parser.add_argument("--every-frame", action="store_true", help="queue images instead of skipping to the latest")
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
