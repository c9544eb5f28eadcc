"""Places and ids of fused targets, by baseline, distance and number of targets, beside what is possible at best.

    python benchmarks/fusion.py --output fusion.md

Trackers are simulated: true directions with the noise of boxes, misses, interruptions, exchanged ids and false tracks
(`smotracker_ros.evaluation.space.TrackerErrors`). Each scene is also fused with clocks that are 20 ms
off and poses that are 0.1 degrees off.

    python benchmarks/fusion.py --sway 1.5 --output sway.md

compares masts that stand with masts that sway, whose poses are known at the images' stamps, and with poses that are
100 ms late.
"""

from __future__ import annotations

import itertools
from dataclasses import astuple, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from smotracker_ros.commands.progress import progress_bar
from smotracker_ros.evaluation.space import SpaceScores, TrackerErrors, pose_bound, score_targets, simulate_tracks
from smotracker_ros.evaluation.sway import Sway
from smotracker_ros.space.fusion.fusion import Fusion
from smotracker_ros.training.space_rig import SpaceSettings, make_rig

DISTANCES = {10.0: (50.0, 100.0, 200.0), 30.0: (50.0, 100.0, 200.0, 400.0, 800.0), 100.0: (200.0, 400.0, 800.0)}
"""By baseline, metres."""

ERRORS = ((0.0, 0.0), (0.02, 0.1))
"""Standard deviations of clocks, seconds, and of poses, degrees."""

HEAD = (
    "| baseline [m] | distance [m] | targets | clocks, poses | error [m] | bound, one moment [m] | bound, filter [m] "
    "| of .1 deg [m] | found | IDF1 | id changes | ghosts/min | stray s/min | in 95 % ellipsoid |\n" + "|---" * 14 + "|"
)


SWAYING = ((30.0, 100.0, 3), (30.0, 200.0, 3))
"""Baseline, distance and number of targets of the scenes with masts that sway."""

LATE_SECONDS = 0.1


def fuse_scene(settings: SpaceSettings, seed: int, errors: TrackerErrors, sway: Sway | None = None) -> SpaceScores:
    """Scores of one scene."""
    rig = make_rig(settings, seed)
    fusion = Fusion([camera.name for camera in rig.cameras], warn=lambda text: None)
    results = [result for view in simulate_tracks(rig, errors, seed, sway) for result in fusion.add(view)]
    return score_targets(results + fusion.flush(), rig, settings.seconds, errors.pixels)


def row(settings: SpaceSettings, found: list[SpaceScores], by_poses: float, sway: Sway | None = None) -> str:
    """A line of the table: means over the scenes, NaN left out; `by_poses`: what a tenth of a degree alone leaves."""
    mean = {
        field.name: float(np.nanmean(values)) if np.isfinite(values).any() else np.nan
        for field, values in zip(fields(SpaceScores), np.array([astuple(item) for item in found]).T, strict=True)
    }
    off = f"{1e3 * settings.clock_offset:.0f} ms, {settings.pose_error:g} deg" if settings.pose_error else "right"
    if sway is not None:
        off = f"sway {sway.degrees:g} deg" if sway.degrees else "stand"
        off += f", {1e3 * sway.late_seconds:.0f} ms late" if sway.late_seconds else ""
    return (
        f"| {settings.baseline:g} | {settings.distance:g} | {settings.targets} | {off} | {mean['error']:.2f} "
        f"| {mean['bound']:.2f} | {mean['filtered_bound']:.2f} | {by_poses:.2f} | {mean['found']:.2f} "
        f"| {mean['idf1']:.3f} | {mean['switches']:.2f} | {mean['ghosts']:.2f} "
        f"| {mean['stray_seconds']:.2f} | {mean['within']:.2f} |"
    )


def poses(settings: SpaceSettings, first_seed: int, seeds: int) -> float:
    """Median distance that a tenth of a degree in all poses leaves, metres."""
    rigs = [make_rig(settings, seed) for seed in range(first_seed, first_seed + seeds)]
    return float(np.mean([pose_bound(rig, settings.seconds, 0.1) for rig in rigs]))


def swaying(output: Path, seconds: float, seeds: range, fps: float, degrees: float) -> None:
    """Fuse scenes of masts that stand, that sway, and whose poses are late; write a table."""
    lines, kinds = [HEAD], (Sway(), Sway(degrees), Sway(degrees, late_seconds=LATE_SECONDS))
    with progress_bar() as progress:
        task = progress.add_task("fusing", total=len(SWAYING) * len(kinds) * len(seeds))
        for (baseline, distance, targets), sway in itertools.product(SWAYING, kinds):
            settings = SpaceSettings(baseline=baseline, distance=distance, targets=targets, seconds=seconds, fps=fps)
            found = []
            for seed in seeds:
                found.append(fuse_scene(settings, seed, TrackerErrors(), sway))
                progress.advance(task)
            lines.append(row(settings, found, poses(settings, seeds.start, len(seeds)), sway))
            output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(
    output: Annotated[Path, typer.Option(help="Markdown file for the table.")],
    seconds: Annotated[float, typer.Option(help="Length of a scene.")] = 60.0,
    seeds: Annotated[int, typer.Option(help="Scenes of each kind.")] = 2,
    first_seed: Annotated[int, typer.Option(help="Of the scenes.")] = 100,
    fps: Annotated[float, typer.Option(help="Images per second of each camera.")] = 10.0,
    sway: Annotated[
        float, typer.Option(help="Instead: masts that sway by so many degrees (standard deviation).")
    ] = 0.0,
) -> None:
    """Fuse scenes of all kinds and write a table."""
    if sway:
        swaying(output, seconds, range(first_seed, first_seed + seeds), fps, sway)
        return
    kinds = [(baseline, distance, 3) for baseline, distances in DISTANCES.items() for distance in distances]
    kinds += [(30.0, 200.0, targets) for targets in (1, 2, 4, 5)]
    lines = [HEAD]
    with progress_bar() as progress:
        task = progress.add_task("fusing", total=len(kinds) * len(ERRORS) * seeds)
        for (baseline, distance, targets), (clock, pose) in itertools.product(kinds, ERRORS):
            settings = SpaceSettings(
                baseline=baseline,
                distance=distance,
                targets=targets,
                seconds=seconds,
                fps=fps,
                clock_offset=clock,
                pose_error=pose,
            )
            found = []
            for seed in range(first_seed, first_seed + seeds):
                found.append(fuse_scene(settings, seed, TrackerErrors()))
                progress.advance(task)
            lines.append(row(settings, found, poses(settings, first_seed, seeds)))
            output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
