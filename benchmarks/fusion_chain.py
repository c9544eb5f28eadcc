"""From rendered images to targets in space: synthesize, bag, fuse, and the scores of what comes out.

    python benchmarks/fusion_chain.py --output chain

Steps whose files are there already are left out, so that an interrupted run goes on.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from smotracker_ros.commands.progress import progress_bar
from smotracker_ros.evaluation.space import score_targets
from smotracker_ros.offline.fusing import RECORDS, fuse_bags
from smotracker_ros.offline.processing import Job, process_bag
from smotracker_ros.presets import load_settings
from smotracker_ros.space.extrinsics import read_extrinsics
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.fusion.sightings import FusedTargets, TargetEstimate
from smotracker_ros.training.space_files import EXTRINSICS, write_space_scene
from smotracker_ros.training.space_rig import SpaceSettings, make_rig

PIXELS = 0.5
"""Noise of a box's centre that the bounds take, pixels."""


def read_targets(file: Path) -> list[FusedTargets]:
    """What `smotracker fuse` has written."""
    results = []
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        targets = tuple(
            TargetEstimate(
                id=item["id"],
                position=np.array(item["position"]),
                velocity=np.array(item["velocity"]),
                covariance=np.array(item["covariance"]),
                cameras=tuple((name, track) for name, track in item["tracks"]),
                class_name=item["class_name"],
                probability=item["probability"],
                seen_ns=item["seen_ns"],
                range_known=item["range_known"],
            )
            for item in record["targets"]
        )
        results.append(FusedTargets(record["stamp_ns"], record["camera"], targets))
    return results


def main(
    output: Annotated[Path, typer.Option(help="Folder for scene, tracked bags and fused targets.")],
    seconds: Annotated[float, typer.Option(help="Length of the scene.")] = 60.0,
    fps: Annotated[float, typer.Option(help="Images per second of each camera.")] = 10.0,
    targets: Annotated[int, typer.Option(help="Number of targets.")] = 3,
    distance: Annotated[float, typer.Option(help="To the middle of the flights, metres.")] = 120.0,
    baseline: Annotated[float, typer.Option(help="Between neighbouring cameras, metres.")] = 30.0,
    lens: Annotated[str, typer.Option(help="pinhole, fisheye, or mixed.")] = "mixed",
    clock_offset: Annotated[float, typer.Option(help="Standard deviation, seconds.")] = 0.0,
    pose_error: Annotated[float, typer.Option(help="Standard deviation, degrees.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the scene.")] = 21,
) -> None:
    """Run the chain and print its scores."""
    settings = SpaceSettings(
        baseline=baseline,
        distance=distance,
        targets=targets,
        seconds=seconds,
        fps=fps,
        width=960,
        height=540,
        field_of_view=40.0,
        lens=lens,
        clock_offset=clock_offset,
        pose_error=pose_error,
    )
    rig, scene = make_rig(settings, seed), output / "scene"
    with progress_bar() as progress:
        task = progress.add_task("rendering", total=settings.frames * settings.cameras)
        if not scene.exists():
            write_space_scene(scene, settings, seed, on_frame=lambda: progress.advance(task))
        bags = []
        for camera in rig.cameras:
            bags.append(output / f"tracked_{camera.name}")
            task = progress.add_task(f"tracking {camera.name}", total=settings.frames)
            if not bags[-1].exists():
                job = Job(
                    scene / camera.name / "bag",
                    bags[-1],
                    load_settings("y-smotracker"),
                    namespace=f"/{camera.name}",
                    masks=False,
                )
                process_bag(job, lambda done, total, task=task: progress.update(task, completed=done))
    if not (output / "fused").exists():
        fuse_bags(bags, read_extrinsics(scene / EXTRINSICS), output / "fused", FusionSettings())
    scores = score_targets(read_targets(output / "fused" / RECORDS), rig, seconds, PIXELS)
    for name, value in asdict(scores).items():
        typer.echo(f"{name}: {value:.3f}")


if __name__ == "__main__":
    typer.run(main)
