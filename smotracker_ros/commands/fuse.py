"""`smotracker fuse`: recorded tracks of several cameras become targets in space."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smotracker_ros.commands.options import Overrides
from smotracker_ros.commands.progress import progress_bar

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def fuse(
    bags: Annotated[list[Path], typer.Argument(help="Rosbag2s with track_states, as `smotracker bag` makes them.")],
    output: Annotated[Path, typer.Option(help="Folder for targets.jsonl and a bag with the topic /targets.")],
    extrinsics: Annotated[
        Path | None,
        typer.Option(help="YAML file that says where the cameras stand; default: /tf and /tf_static in the bags do."),
    ] = None,
    world_frame: Annotated[str, typer.Option(help="Frame of the places where /tf is used.")] = "map",
    override: Overrides = None,
) -> None:
    """Fuse the tracks of several cameras into targets with place, velocity and one id. No ROS is needed."""
    from smotracker_ros.offline.fusing import fuse_bags
    from smotracker_ros.space.extrinsics import read_extrinsics
    from smotracker_ros.space.fusion.settings import FusionSettings

    pairs = dict(item.partition("=")[::2] for item in override or ())
    settings = FusionSettings.of({name.strip(): value.strip() for name, value in pairs.items()})
    with progress_bar() as progress:
        task = progress.add_task("fusing", total=None)
        summary = fuse_bags(
            bags,
            read_extrinsics(extrinsics) if extrinsics else None,
            output,
            settings,
            world_frame,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    left_out = summary.unusable.total() + summary.late.total()
    typer.echo(
        f"{summary.images} images, {len(summary.ids)} targets, {len(summary.placed)} of them with a known place"
        + (f"; {left_out} images left out" if left_out else "")
        + f"; see {output}"
    )
