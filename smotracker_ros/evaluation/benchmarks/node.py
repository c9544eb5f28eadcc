"""What the ROS node costs beyond the tracker; :mod:`smotracker_ros.ros.speed` measures it in processes of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smotracker_ros.evaluation.benchmarks.measuring import BenchmarkError, PartUnavailableError, Result, Say


@dataclass(frozen=True)
class NodeSettings:
    """What is measured.

    Attributes:
        frames: images sent at the camera's rate to a node that queues every one.
        live_frames: images sent at the camera's rate to a node that follows the latest; 0: this is left out.
        single_frames: images that wait for the answer before, to tell the node's share from the tracker's.
        width: of the images, pixels.
        height: of the images, pixels.
        targets: targets in the scene.
        fps: the camera's rate.
        threads: CPU threads of the node.
        preset: of the tracker.
    """

    frames: int = 150
    live_frames: int = 150
    single_frames: int = 90
    width: int = 1280
    height: int = 720
    targets: int = 3
    fps: float = 30.0
    threads: int = 1
    preset: str = "y-smotracker"


def run(settings: NodeSettings, say: Say) -> Result:
    """Measure; see :mod:`smotracker_ros.ros.speed`.

    Raises:
        PartUnavailableError: if there is no ROS, or the package's messages are not built.
        BenchmarkError: if the processes fail.
    """
    check_ros()
    say("camera and node, two processes")
    names = ("frames", "live_frames", "single_frames", "width", "height", "targets", "fps", "threads", "preset")
    options = {name: getattr(settings, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        figures = run_measurement("smotracker_ros.ros.speed", Path(folder) / "figures.json", options, settings.threads)
    overhead, queued, live = figures["overhead"], figures["every_frame"], figures.get("latest")
    ros = {
        "frames_sent": queued["frames_sent"],
        "frames_delivered": queued["frames_delivered"],
        "added_latency_ms": overhead["added_latency_ms"]["median"],
        "added_cpu_ms_per_frame": overhead["added_cpu_ms_per_frame"],
        "tracker_cpu_ms_per_frame": overhead["tracker_cpu_ms_per_frame"],
        "camera_cpu_ms_per_frame": queued["camera_cpu_ms_per_frame"],
    }
    if live:
        ros |= {"live_frames_per_second": live["answers_per_second"], "live_age_ms": live["age_ms"]["median"]}
    return Result({"ros": ros}, figures)


def run_measurement(module: str, output: Path, options: Mapping[str, Any], threads: int) -> Any:
    """What a module's `main` measures in a process of its own, which may import ROS.

    Args:
        module: its full name; it takes `--output` and the options.
        output: JSON file that it writes.
        options: by the names of the settings.
        threads: CPU threads.

    Raises:
        BenchmarkError: if the process fails.
    """
    script = f"import sys; from {module} import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "--output", str(output)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    # The wheels of ROS complete the library path when Python starts, unless this says that it was done
    environment = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    environment |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode or not output.exists():
        raise BenchmarkError(f"the measurement of the node failed (exit code {done.returncode}):\n{done.stdout}")
    return json.loads(output.read_text(encoding="utf-8"))


def check_ros() -> None:
    """Make sure that nodes can run.

    Raises:
        PartUnavailableError: saying what is missing.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise PartUnavailableError("there is no ROS 2 in this Python (no module rclpy); source a ROS 2 workspace")
    if importlib.util.find_spec("smotracker_ros.msg") is None:
        raise PartUnavailableError(
            "the package's messages are not built; use `make setup`, or colcon in a ROS 2 workspace, and source it"
        )
