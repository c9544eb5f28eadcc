"""Costs of code that runs side by side: CPU time, wall time and peak memory, as medians with their spread."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from smotracker_ros.core.tracks import Tracks, TrackState

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_LIBRARIES = (
    "torch",
    "onnxruntime",
    "numpy",
    "opencv-python-headless",
    "sam2",
    "ultralytics-opencv-headless",
    "boxmot",
)

Say = Callable[[str], None]
"""Tells the user how far a benchmark is."""


class BenchmarkError(RuntimeError):
    """A benchmark cannot be run as asked; the message says what to do."""


class PartUnavailableError(BenchmarkError):
    """One part of the benchmark cannot run here; the others can."""


@dataclass(frozen=True)
class Result:
    """What one part has measured.

    Attributes:
        medians: the part's keys of `benchmark.json`.
        details: spreads, conditions and by-products, for `spreads` in `benchmark.json`.
    """

    medians: Mapping[str, Any]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """Cost of one run.

    Attributes:
        cpu: seconds of CPU time, of all threads of this process.
        wall: seconds.
        peak_mib: how far resident memory rose above its value at the start, in MiB; None where the system does not
            tell (other systems than Linux).
    """

    cpu: float
    wall: float
    peak_mib: float | None


@dataclass
class Ledger:
    """Costs of several runs of one side."""

    costs: list[Cost] = field(default_factory=list)

    def cpu(self, per: float = 1.0) -> list[float]:
        """CPU milliseconds of each run, divided by the frames in a run."""
        return [1000 * cost.cpu / per for cost in self.costs]

    def summary(self, per: float = 1.0) -> dict[str, Any]:
        """Spreads of CPU and wall time in milliseconds, divided by the frames in a run, and the highest peak."""
        peaks = [cost.peak_mib for cost in self.costs if cost.peak_mib is not None]
        return {
            "cpu_ms": spread(self.cpu(per)),
            "wall_ms": spread([1000 * cost.wall / per for cost in self.costs]),
            "peak_mib": round(max(peaks), 1) if peaks else None,
        }


def measure(run: Callable[[], object]) -> Cost:
    """Run once and take the cost."""
    before = _restart_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = _status_mib("VmHWM")
    return Cost(cpu, wall, None if before is None or peak is None else max(peak - before, 0.0))


def alternate(sides: Mapping[str, Callable[[int], object]], repetitions: int) -> dict[str, Ledger]:
    """Run all sides in turn, so that whatever else the machine does meets all of them alike.

    The order is turned round at every repetition: no side always profits from the caches that another has warmed.

    Args:
        sides: by name; called with the number of the repetition.
        repetitions: how often each side runs.
    """
    ledgers = {name: Ledger() for name in sides}
    for repetition in range(repetitions):
        names = list(sides) if repetition % 2 == 0 else list(sides)[::-1]
        for name in names:
            ledgers[name].costs.append(measure(partial(sides[name], repetition)))
    return ledgers


def spread(values: Sequence[float]) -> dict[str, float]:
    """Minimum, quartiles, maximum and number of values, to four significant digits."""
    if not values:
        raise ValueError("a spread needs at least one value")
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    named = dict(zip(("min", "q1", "median", "q3", "max"), [min(values), *quartiles, max(values)], strict=True))
    return {**{name: significant(value) for name, value in named.items()}, "n": len(values)}


def paired_ratio(upper: Sequence[float], lower: Sequence[float]) -> dict[str, float]:
    """Spread of the ratios of costs that were measured next to each other."""
    return spread([a / b for a, b in zip(upper, lower, strict=True)])


def significant(value: float, digits: int = 4) -> float:
    """A number rounded to significant digits."""
    return float(f"{value:.{digits}g}")


def count_live(tracks: Tracks) -> int:
    """Number of masklets that were propagated to the frame, or born in it."""
    return sum(track.state in (TrackState.TENTATIVE, TrackState.CONFIRMED) for track in tracks)


def resident_mib() -> float:
    """Resident memory of this process in MiB, without what has been freed but not given back."""
    gc.collect()
    _give_back_memory()
    return float(psutil.Process().memory_info().rss) / 2**20


def use_threads(threads: int) -> None:
    """Set torch, onnxruntime and OpenCV up for all sides alike.

    With one thread, CPU time holds no waiting of threads for each other. Denormal numbers are flushed, as the tracker
    does: they would slow single frames down many times.
    """
    import cv2

    os.environ["OMP_NUM_THREADS"] = str(threads)
    cv2.setNumThreads(threads)
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)


def describe_machine(threads: int) -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    try:
        load = round(os.getloadavg()[0], 2)
    except OSError:
        load = None
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "logical_cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "threads": threads,
        "load_before": load,
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _restart_peak() -> float | None:
    """Start a new high-water mark of resident memory at its present value; returns that in MiB, None if it fails.

    Free memory that the allocator still holds is given back first: reused, it would hide what the next run needs.
    """
    _give_back_memory()
    try:
        _CLEAR_REFS.write_text("5", encoding="ascii")
    except OSError:
        return None
    return _status_mib("VmHWM")


def _give_back_memory() -> None:
    """Return freed memory to the system, where the C library can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status_mib(name: str) -> float | None:
    try:
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None
