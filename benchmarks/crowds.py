"""Large targets, and many: ids, coverage, and CPU time by the number of targets.

    python benchmarks/crowds.py --scenes 3

Rendered scenes of 1280x720 pixels at 25 frames per second with a camera that moves at random: two targets of 60 to 200
pixels, and 1, 8, 16, 40 and 100 of 8 to 24 pixels. A target has one id if no other is reported for it on more than a
tenth of its frames; it is covered where a reported box has an IoU of .2 or more with it. HOTA and IDF1 are those of the
small-target view. With `--every 2` only every other frame is tracked, and only tracked ones count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from smotracker_ros.commands.options import Overrides
from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import pairwise_iou
from smotracker_ros.core.global_state import threads as limited_threads
from smotracker_ros.core.overrides import parse_overrides
from smotracker_ros.evaluation.metrics import Score, TrackRows, combine, score_sequence
from smotracker_ros.evaluation.sequences import EvaluationSequence, GroundTruth
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.scenes import SceneSettings, render_scene

FPS = 25.0
COVERED_IOU, OTHER_SHARE = 0.2, 0.1
KINDS = {"2 large": (2, (60.0, 200.0)), **{str(n): (n, (8.0, 24.0)) for n in (1, 8, 16, 40, 100)}}


@dataclass
class Result:
    """What became of the scenes of one kind."""

    scores: list[Score]
    # of each target: whether it has one id, and the share of its frames on which it is covered
    one_id: list[bool]
    covered: list[float]
    # of each tracked frame but the first second's
    milliseconds: list[float]
    reported: list[int]


def _play(tracker: SmoTracker, settings: SceneSettings, seed: int, result: Result, every: int) -> None:
    tracker.reset()
    rows: list[tuple[int, int, np.ndarray, float, int]] = []
    truth: list[tuple[int, int, np.ndarray]] = []
    found: dict[int, list[int]] = {}
    for index, scene in enumerate(render_scene(settings, seed)):
        if index % every:
            continue
        started = time.process_time()
        tracks = tracker.update(Frame(scene.image, round(index / FPS * 1e9), index)).reported
        if index >= FPS:
            result.milliseconds.append(1e3 * (time.process_time() - started))
            result.reported.append(len(tracks))
        rows += [(index, track.id, track.box, track.score, track.class_id) for track in tracks]
        truth += [(index, int(key), box) for key, box in zip(scene.ids, scene.boxes, strict=True)]
        boxes = np.array([track.box for track in tracks], np.float32).reshape(-1, 4)
        overlap = pairwise_iou(scene.boxes, boxes)
        for row, key in enumerate(scene.ids.tolist()):
            best = int(overlap[row].argmax()) if len(tracks) else -1
            covered = best >= 0 and overlap[row, best] >= COVERED_IOU
            found.setdefault(key, []).append(tracks[best].id if covered else 0)
    frames, ids, boxes, scores, classes = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    table = TrackRows(
        np.array(frames, np.int64),
        np.array(ids, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int64),
    )
    size = settings.height, settings.width
    exact = GroundTruth.of(*map(list, zip(*truth, strict=True)))
    sequence = EvaluationSequence(str(seed), Path(), Path(), size, FPS, settings.frames, (), exact)
    result.scores.append(score_sequence(sequence, table, "small_target"))
    for owners in found.values():
        numbers, counts = np.unique([owner for owner in owners if owner], return_counts=True)
        result.covered.append(float(np.mean(np.array(owners) > 0)))
        result.one_id.append(len(numbers) > 0 and counts.sum() - counts.max() <= OTHER_SHARE * len(owners))


def main(
    scenes: Annotated[int, typer.Option(min=1, help="Scenes of each kind.")] = 3,
    seconds: Annotated[float, typer.Option(min=2, help="Length of a scene.")] = 3.0,
    kinds: Annotated[str, typer.Option(help="Kinds separated by commas.")] = ",".join(KINDS),
    first: Annotated[int, typer.Option(help="Seed of the first scene.")] = 700,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    width: Annotated[int, typer.Option(min=320, help="Of the frames, pixels; heights are 9/16 of it.")] = 1280,
    looks: Annotated[int, typer.Option(min=0, help="Most targets at which SAM2 looks on a frame; 0: all.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Frames of which one is tracked; the others are not answered.")] = 1,
    override: Overrides = None,
) -> None:
    """Measure; see the module."""
    names = [name.strip() for name in kinds.split(",")]
    if unknown := set(names) - set(KINDS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: known are {', '.join(KINDS)}", param_hint="--kinds")
    table = Table("targets", "one id", "never", "covered", "HOTA", "IDF1", "reported", "CPU ms", "90 %", "most")
    with limited_threads(threads):
        tracker = build_tracker(load_settings(overrides=parse_overrides(override)))
        tracker.looks.most = looks
        for name in progress(names, description="kinds"):
            count, sizes = KINDS[name]
            frames, height = round(seconds * FPS), 9 * width // 16
            settings = SceneSettings(width, height, frames, FPS, count, sizes=sizes, contrasts=(30, 150))
            result = Result([], [], [], [], [])
            for seed in range(first, first + scenes):
                _play(tracker, settings, seed, result, every)
            metrics, cost = combine(result.scores).metrics, np.array(result.milliseconds)
            table.add_row(
                name,
                f"{np.mean(result.one_id):.0%}",
                f"{np.mean(np.array(result.covered) == 0):.0%}",
                f"{np.mean(result.covered):.0%}",
                f"{metrics['HOTA']:.1f}",
                f"{metrics['IDF1']:.1f}",
                f"{np.mean(result.reported):.1f}",
                f"{cost.mean():.0f}",
                f"{np.quantile(cost, 0.9):.0f}",
                f"{cost.max():.0f}",
            )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
