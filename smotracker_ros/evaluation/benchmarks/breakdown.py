"""Where the CPU time of a frame goes, and how much of it is spent outside the networks.

The calls of the networks and of the larger steps are timed from outside: while the clock runs, their entry points are
replaced by ones that keep time. A step's time is its own: what it spends inside another timed step counts there.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from smotracker_ros.core.frames import Frame
from smotracker_ros.detection.yolo_model import YoloModel
from smotracker_ros.detection.yolo_onnx import OnnxYoloDetector
from smotracker_ros.evaluation.benchmarks.clips import scene_clip
from smotracker_ros.evaluation.benchmarks.measuring import Result, Say, count_live, significant, spread
from smotracker_ros.io.overlay import Trails, draw_overlay
from smotracker_ros.masklets import onnx_network as onnx_network_module
from smotracker_ros.masklets import propagator as propagator_module
from smotracker_ros.masklets import views as views_module
from smotracker_ros.masklets.onnx_network import OnnxNetwork
from smotracker_ros.masklets.propagator import Propagator
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking import detector_pass
from smotracker_ros.tracking.camera_motion import CameraMotion
from smotracker_ros.tracking.tracker import SmoTracker

NETWORKS = ("detector network", "image encoder", "memory attention", "mask decoder", "memory encoder")
"""Steps that count as networks."""

_REST, _DRAWING = "the rest of the tracker", "drawing"


def _steps() -> tuple[tuple[Any, str, str], ...]:
    """Owner, attribute, and the step that its calls belong to; networks in torch only where that is in use."""
    return (
        *(_torch_steps() if "torch" in sys.modules else ()),
        (OnnxYoloDetector, "infer", "detector network"),
        (OnnxNetwork, "encode", "image encoder"),
        (OnnxNetwork, "condition", "memory attention"),
        (OnnxNetwork, "decode", "mask decoder"),
        (OnnxNetwork, "memorise", "memory encoder"),
        (views_module, "cut", "cutting windows"),
        (propagator_module, "batch_memories", "collecting memories"),
        (onnx_network_module, "stack_memories", "collecting memories"),
        (propagator_module, "clean_masks", "pasting masks"),
        (propagator_module, "paste", "pasting masks"),
        (Propagator, "describe", "appearance"),
        (Propagator, "step", "propagation, the rest"),
        (Propagator, "prompt", "propagation, the rest"),
        (YoloModel, "detect", "detector, round its network"),
        (CameraMotion, "update", "camera motion"),
        (detector_pass, "associate", "association"),
        (SmoTracker, "update", _REST),
    )


def _torch_steps() -> tuple[tuple[Any, str, str], ...]:
    from smotracker_ros.masklets import torch_network
    from smotracker_ros.masklets.model import Sam2Steps

    steps: list[tuple[Any, str, str]] = [
        (Sam2Steps, "encode", "image encoder"),
        (Sam2Steps, "condition", "memory attention"),
        (Sam2Steps, "decode", "mask decoder"),
        (Sam2Steps, "memorise", "memory encoder"),
        (Sam2Steps, "normalise", "cutting windows"),
        (torch_network, "stack_memories", "collecting memories"),
    ]
    if "ultralytics" in sys.modules:
        from ultralytics.nn.autobackend import AutoBackend

        steps.append((AutoBackend, "forward", "detector network"))
    return tuple(steps)


@dataclass(frozen=True)
class BreakdownSettings:
    """What is measured.

    Attributes:
        targets: numbers of targets in the scenes; `non_network_share` is that of the second, or of the only one.
        width: of the frames, pixels.
        height: of the frames, pixels.
        scenes: scenes per number of targets.
        frames: timed frames per scene, after `warm_up` ones that are not.
        warm_up: frames in which the targets are found.
        block_frames: frames over which shares are taken; a clip.
        preset: of the tracker.
    """

    targets: tuple[int, ...] = (1, 3, 8)
    width: int = 1280
    height: int = 720
    scenes: int = 4
    frames: int = 48
    warm_up: int = 12
    block_frames: int = 12
    preset: str = "y-smotracker"


class Clock:
    """Own CPU time of each step, in seconds, since the last :meth:`restart`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def restart(self) -> None:
        """Set all times to zero."""
        self.seconds.clear()

    def timed(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same callable, which adds its own time to a step."""

        def run(*arguments: Any, **named: Any) -> Any:
            with self.step(step):
                return call(*arguments, **named)

        return run

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block."""
        self._inner.append(0.0)
        started = time.process_time()
        try:
            yield
        finally:
            total = time.process_time() - started
            self.seconds[name] += total - self._inner.pop()
            if self._inner:
                self._inner[-1] += total


@contextlib.contextmanager
def instrumented() -> Iterator[Clock]:
    """Time the steps while the block runs; afterwards everything is as before."""
    clock = Clock()
    with contextlib.ExitStack() as stack:
        for owner, attribute, step in _steps():
            original = getattr(owner, attribute)
            setattr(owner, attribute, clock.timed(step, original))
            stack.callback(setattr, owner, attribute, original)
        yield clock


def run(settings: BreakdownSettings, say: Say) -> Result:
    """Measure; see the module."""
    tracker = build_tracker(load_settings(settings.preset))
    details = {str(number): _break_down(settings, number, tracker, say) for number in settings.targets}
    chosen = str(settings.targets[min(1, len(settings.targets) - 1)])
    return Result({"non_network_share": details[chosen]["non_network_share"]["median"]}, {"targets": details})


def _break_down(settings: BreakdownSettings, number: int, tracker: SmoTracker, say: Say) -> dict[str, Any]:
    blocks: list[dict[str, float]] = []
    live: list[int] = []
    for seed in range(settings.scenes):
        say(f"{number} target(s): scene {seed + 1} of {settings.scenes}")
        clip = scene_clip(number, settings.width, settings.height, settings.warm_up + settings.frames, seed)
        tracker.reset()
        trails = Trails()
        for index, frame in enumerate(clip.frames[: settings.warm_up]):
            trails.update(tracker.update(frame, clip.first_cues() if index == 0 else ()))
        with instrumented() as clock:
            timed = clip.frames[settings.warm_up :]
            for start in range(0, len(timed), settings.block_frames):
                clock.restart()
                for frame in timed[start : start + settings.block_frames]:
                    live.append(_track_and_draw(tracker, frame, trails, clock))
                frames = len(timed[start : start + settings.block_frames])
                blocks.append({step: 1000 * seconds / frames for step, seconds in clock.seconds.items()})
    steps = {step: statistics.fmean(block.get(step, 0.0) for block in blocks) for step in sorted(set().union(*blocks))}
    total = sum(steps.values())
    ordered = sorted(steps, key=lambda step: (step not in NETWORKS, -steps[step]))
    return {
        "non_network_share": spread([_outside(block) for block in blocks]),
        "non_network_share_without_drawing": spread([_outside(_without_drawing(block)) for block in blocks]),
        "steps": {
            step: {
                "cpu_ms": significant(steps[step]),
                "share": significant(steps[step] / total),
                "network": step in NETWORKS,
            }
            for step in ordered
        },
        "cpu_ms": significant(total),
        "frames": len(live),
        "mean_live_masklets": significant(statistics.fmean(live)),
    }


def _track_and_draw(tracker: SmoTracker, frame: Frame, trails: Trails, clock: Clock) -> int:
    """Track a frame and draw the overlay; returns the number of live masklets."""
    tracks = tracker.update(frame)
    with clock.step(_DRAWING):
        trails.update(tracks)
        draw_overlay(frame, tracks, trails)
    return count_live(tracks)


def _outside(steps: dict[str, float]) -> float:
    """Share of the time that no network takes."""
    return 1 - sum(steps.get(step, 0.0) for step in NETWORKS) / sum(steps.values())


def _without_drawing(steps: dict[str, float]) -> dict[str, float]:
    return {step: milliseconds for step, milliseconds in steps.items() if step != _DRAWING}
