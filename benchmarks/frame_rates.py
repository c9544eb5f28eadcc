"""The same flights at several frame rates: time to confirmation, work of the detector, and HOTA.

    python benchmarks/frame_rates.py --seeds 6

Rendered scenes of 360 frames per second are thinned out, so that every rate sees the very same flights. A target is
confirmed when a reported box first lies on it (its centre within half the target's longer side). What the detector does
is counted in looks and in whole frames seen, both per second. HOTA and IDF1 are those of the small-target view: the
truth ends where half of the light does, the models where a target stops to be seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from smotracker_ros.core.frames import Frame
from smotracker_ros.evaluation.metrics import Score, TrackRows, combine, score_sequence
from smotracker_ros.evaluation.sequences import EvaluationSequence, GroundTruth
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.clips import owners
from smotracker_ros.training.scenes import SceneFrame, SceneSettings, render_scene

RATE = 360
RATES = (8, 15, 30, 60, 90)


def _scene(seed: int, seconds: float) -> dict[int, SceneFrame]:
    """Pictures of a scene by their numbers at :data:`RATE`."""
    settings = SceneSettings(
        frames=round(seconds * RATE), fps=RATE, targets=3, sizes=(6, 30), contrasts=(30, 150), camera="random"
    )
    needed = {number for rate in RATES for number in range(0, settings.frames, RATE // rate)}
    return {number: scene for number, scene in enumerate(render_scene(settings, seed)) if number in needed}


def _play(
    tracker: SmoTracker, scene: dict[int, SceneFrame], rate: int
) -> tuple[TrackRows, EvaluationSequence, int, float]:
    """Track a scene at a rate; returns also the looks of the detector, and the whole frames that it has seen."""
    tracker.reset()
    step, looks, before = RATE // rate, 0, tracker.detector_frames
    frames, ids, boxes, scores, classes = [], [], [], [], []
    truth_frames, truth_ids, truth_boxes = [], [], []
    numbers = [number for number in sorted(scene) if number % step == 0]
    for index, number in enumerate(numbers):
        picture = scene[number]
        tracks = tracker.update(Frame(picture.image, round(number / RATE * 1e9), index))
        looks += tracks.detector_ran
        for track in tracks.reported:
            frames.append(index)
            ids.append(track.id)
            boxes.append(track.box)
            scores.append(track.score)
            classes.append(track.class_id)
        truth_frames += [index] * len(picture.ids)
        truth_ids += picture.ids.tolist()
        truth_boxes += list(picture.boxes)
    rows = TrackRows(
        np.array(frames, np.int64),
        np.array(ids, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
    )
    truth = GroundTruth.of(truth_frames, truth_ids, truth_boxes)
    size = next(iter(scene.values())).image.shape[:2]
    sequence = EvaluationSequence(str(rate), Path(), Path(), size, rate, len(numbers), (), truth)
    return rows, sequence, looks, tracker.detector_frames - before


def _waits(rows: TrackRows, sequence: EvaluationSequence) -> dict[int, float]:
    """Seconds from a target's first frame to the first report that lies on it, by the target's id; inf: never."""
    truth = sequence.truth
    waits: dict[int, float] = {}
    for identity in np.unique(truth.ids).tolist():
        own = truth.ids == identity
        waits[identity] = np.inf
        for frame, box in zip(truth.frames[own], truth.boxes[own], strict=True):
            if (owners(rows.boxes[rows.frames == frame], box[None]) >= 0).any():
                waits[identity] = float(frame - truth.frames[own][0]) / sequence.fps
                break
    return waits


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 6,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a scene.")] = 4.0,
    first: Annotated[int, typer.Option(help="Seed of the first scene.")] = 500,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
) -> None:
    """Measure; see the module."""
    torch.set_num_threads(threads)
    tracker = build_tracker(load_settings())
    waits: dict[int, list[float]] = {rate: [] for rate in RATES}
    looks, seen = dict.fromkeys(RATES, 0), dict.fromkeys(RATES, 0.0)
    scores: dict[int, list[Score]] = {rate: [] for rate in RATES}
    for seed in progress(range(first, first + seeds), description="scenes"):
        scene = _scene(seed, seconds)
        by_rate: dict[int, dict[int, float]] = {}
        for rate in RATES:
            rows, sequence, count, frames = _play(tracker, scene, rate)
            looks[rate] += count
            seen[rate] += frames
            scores[rate].append(score_sequence(sequence, rows, "small_target"))
            by_rate[rate] = _waits(rows, sequence)
        # the same targets at all rates: those that one of them does not confirm say nothing of the time
        common = set.intersection(
            *({key for key, wait in found.items() if wait < np.inf} for found in by_rate.values())
        )
        for rate in RATES:
            waits[rate] += [by_rate[rate][key] for key in sorted(common)]
    table = Table("fps", "s to confirm", "quartiles", "looks/s", "frames/s", "HOTA", "IDF1")
    for rate in RATES:
        metrics = combine(scores[rate]).metrics
        quartiles = np.quantile(waits[rate], [0.25, 0.75]) if waits[rate] else [np.nan, np.nan]
        table.add_row(
            str(rate),
            f"{np.median(waits[rate]) if waits[rate] else np.nan:.2f}",
            f"{quartiles[0]:.2f} to {quartiles[1]:.2f}",
            f"{looks[rate] / seeds / seconds:.2f}",
            f"{seen[rate] / seeds / seconds:.2f}",
            f"{metrics['HOTA']:.1f}",
            f"{metrics['IDF1']:.1f}",
        )
    console = Console()
    console.print(table)
    console.print(f"{len(waits[RATES[0]])} targets that are confirmed at all rates")


if __name__ == "__main__":
    typer.run(main)
