"""How long one waits: for `smotracker --help`, for the node to be active, and for the answer to a first image."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smotracker_ros.evaluation.benchmarks.measuring import PartUnavailableError, Result, Say, spread
from smotracker_ros.evaluation.benchmarks.node import check_ros, run_measurement

_HELP = "import sys; from smotracker_ros.cli import main; sys.argv[1:] = ['--help']; main()"


@dataclass(frozen=True)
class StartSettings:
    """What is measured.

    Attributes:
        repetitions: starts of each process; the first, which may find nothing in the system's caches, counts too.
        width: of the first image, pixels.
        height: of the first image, pixels.
        threads: CPU threads of the node.
    """

    repetitions: int = 5
    width: int = 1280
    height: int = 720
    threads: int = 1


def run(settings: StartSettings, say: Say) -> Result:
    """Measure; without ROS the help alone. See also :mod:`smotracker_ros.ros.start_speed`.

    Raises:
        BenchmarkError: if a process fails.
    """
    say("smotracker --help")
    runs = [_run_help() for _ in range(settings.repetitions)]
    details: dict[str, Any] = {
        "help_seconds": spread([wall for wall, _ in runs]),
        "help_cpu_seconds": spread([cpu for _, cpu in runs]),
    }
    try:
        check_ros()
    except PartUnavailableError as error:
        details["left_out"] = str(error)
    else:
        say("the node, from its process's start")
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "figures.json"
            options = {name: getattr(settings, name) for name in ("repetitions", "width", "height")}
            figures = run_measurement("smotracker_ros.ros.start_speed", output, options, settings.threads)
        for name in figures[0]:
            details[name] = spread([start[name] for start in figures])
    medians = {name: item["median"] for name, item in details.items() if name != "left_out"}
    return Result({"start": medians}, details)


def _run_help() -> tuple[float, float]:
    """Seconds of wall and CPU time of one process that prints the help."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", _HELP], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu
