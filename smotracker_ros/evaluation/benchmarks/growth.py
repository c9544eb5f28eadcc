"""How the tracker's cost grows with the number of targets, the size of the frame, and the length of the stream.

The long stream is one cycle of scenes again and again: the end shows what the start has shown, so that any growth is
the tracker's own. Targets come and go with every scene. The cycle lies on disk, compressed: keeping its frames or
rendering them would show in the resident memory that is to be measured. A machine is not equally fast at both ends of a
long run: the time per frame at the end is therefore compared with that of a second tracker that has seen one cycle
only, scene by scene in turn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.evaluation.benchmarks.clips import FPS, scene_clip
from smotracker_ros.evaluation.benchmarks.measuring import (
    Result,
    Say,
    count_live,
    measure,
    paired_ratio,
    resident_mib,
    significant,
    spread,
)
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.tracker import SmoTracker


@dataclass(frozen=True)
class GrowthSettings:
    """What is measured.

    Attributes:
        frames: length of the stream; a tenth of it is the cycle that is repeated.
        scene_frames: length of a scene of that cycle.
        width: of the stream's frames, pixels.
        height: of the stream's frames, pixels.
        scene_targets: targets in a scene of the stream.
        targets: numbers of targets to compare.
        sizes: (width, height) of the frames to compare, with `scene_targets` targets.
        short_frames: timed frames of each of those comparisons.
        warm_up: frames before them that are not timed.
        preset: of the tracker.
    """

    frames: int = 10_000
    scene_frames: int = 200
    width: int = 320
    height: int = 256
    scene_targets: int = 4
    targets: tuple[int, ...] = (1, 2, 4, 8, 16)
    sizes: tuple[tuple[int, int], ...] = ((320, 256), (640, 512), (1280, 720), (1920, 1080))
    short_frames: int = 48
    warm_up: int = 12
    preset: str = "y-smotracker"


_CYCLES = 10


def run(settings: GrowthSettings, say: Say) -> Result:
    """Measure; see the module.

    Returns:
        `growth`: `time_ratio`, a tracker after the whole stream to one after a cycle; `rss_ratio`, resident memory
        after the last cycle to that after the second (in the first one, libraries still load).
    """
    tracker = build_tracker(load_settings(settings.preset))
    by_targets = {
        str(number): _short(settings, tracker, number, (640, 512), say, f"{number} target(s)")
        for number in settings.targets
    }
    by_size = {
        f"{size[0]}x{size[1]}": _short(settings, tracker, settings.scene_targets, size, say, f"{size[0]}x{size[1]}")
        for size in settings.sizes
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = _render_cycle(settings, Path(folder))
        cycles = _long(settings, tracker, paths, say)
        say("the end of the stream against the start of another")
        ratios, same_work = _end_against_start(settings, tracker, paths)
    growth = {
        "time_ratio": ratios["median"],
        "rss_ratio": significant(cycles[-1]["rss_mib"] / cycles[1]["rss_mib"]),
    }
    details = {
        "frames": sum(cycle["frames"] for cycle in cycles),
        "time_ratio": ratios,
        "same_work": same_work,
        "cycles": cycles,
        "by_targets": by_targets,
        "by_size": by_size,
    }
    return Result({"growth": growth}, details)


def _short(
    settings: GrowthSettings, tracker: SmoTracker, targets: int, size: tuple[int, int], say: Say, what: str
) -> dict[str, Any]:
    """Cost of a frame in one short scene."""
    say(what)
    clip = scene_clip(targets, *size, settings.warm_up + settings.short_frames, seed=1)
    tracker.reset()
    times: list[float] = []
    live: list[int] = []

    def track(frames: list[Frame]) -> None:
        for frame in frames:
            times.append(_timed(tracker, frame, live))

    tracker.update(clip.frames[0], clip.first_cues())
    track(clip.frames[1 : settings.warm_up])
    times.clear()
    live.clear()
    cost = measure(partial(track, clip.frames[settings.warm_up :]))
    return {
        "cpu_ms": spread(times),
        "mean_cpu_ms": significant(statistics.fmean(times)),
        "peak_mib": None if cost.peak_mib is None else round(cost.peak_mib, 1),
        "mean_live_masklets": significant(statistics.fmean(live)),
    }


def _long(settings: GrowthSettings, tracker: SmoTracker, paths: list[Path], say: Say) -> list[dict[str, Any]]:
    """Track the stream; returns the figures of each cycle."""
    tracker.reset()
    cycles = []
    for cycle in range(_CYCLES):
        say(f"stream: cycle {cycle + 1} of {_CYCLES}, {len(paths)} frames each")
        live: list[int] = []
        times = [_timed(tracker, frame, live) for frame in _frames(paths, cycle * len(paths))]
        cycles.append(
            {
                "frames": len(times),
                "cpu_ms": spread(times),
                "mean_cpu_ms": significant(statistics.fmean(times)),
                "rss_mib": significant(resident_mib(), 5),
                "memory_banks_mib": significant(tracker.memory_bytes / 2**20),
                "mean_live_masklets": significant(statistics.fmean(live)),
                "objects_so_far": tracker.next_id - 1,
            }
        )
    return cycles


def _end_against_start(settings: GrowthSettings, old: SmoTracker, paths: list[Path]) -> tuple[dict[str, float], bool]:
    """Spread over the scenes of the ratio of CPU time, and whether both trackers had equally many masklets to carry."""
    fresh = build_tracker(load_settings(settings.preset))
    for frame in _frames(paths, 0):
        fresh.update(frame)
    runs = {"old": (old, _CYCLES * len(paths)), "fresh": (fresh, len(paths))}
    times: dict[str, list[float]] = {name: [] for name in runs}
    live: dict[str, list[int]] = {name: [] for name in runs}
    for number, start in enumerate(range(0, len(paths), settings.scene_frames)):
        scene = paths[start : start + settings.scene_frames]
        for name in list(runs) if number % 2 == 0 else list(reversed(runs)):
            tracker, first = runs[name]
            costs = [_timed(tracker, frame, live[name]) for frame in _frames(scene, first + start)]
            times[name].append(statistics.fmean(costs))
    return paired_ratio(times["old"], times["fresh"]), live["old"] == live["fresh"]


def _timed(tracker: SmoTracker, frame: Frame, live: list[int]) -> float:
    """CPU milliseconds of one frame; the number of its live masklets is added to `live`."""
    started = time.process_time()
    tracks = tracker.update(frame)
    seconds = time.process_time() - started
    live.append(count_live(tracks))
    return 1000 * seconds


def _render_cycle(settings: GrowthSettings, folder: Path) -> list[Path]:
    """Render the cycle's scenes to pictures, in order."""
    length = max(settings.frames // _CYCLES, 1)
    paths: list[Path] = []
    while len(paths) < length:
        frames = min(settings.scene_frames, length - len(paths))
        seed = len(paths)
        for frame in scene_clip(settings.scene_targets, settings.width, settings.height, frames, seed).frames:
            paths.append(folder / f"{len(paths):06d}.png")
            cv2.imwrite(str(paths[-1]), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
    return paths


def _frames(paths: list[Path], first: int) -> Iterator[Frame]:
    for index, path in enumerate(paths, start=first):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        yield Frame(np.asarray(image, dtype=np.uint8), round(index * 1e9 / FPS), index)
