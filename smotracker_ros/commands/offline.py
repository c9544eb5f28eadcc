"""The commands `smotracker bag` and `smotracker recover`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from smotracker_ros.commands.options import Overrides, Preset, Rerun, Topic
from smotracker_ros.core.overrides import parse_overrides
from smotracker_ros.io.bag_copy import STORAGES, copy_messages, new_bag, storage_of
from smotracker_ros.io.bag_files import is_bag
from smotracker_ros.io.bag_reader import open_bag
from smotracker_ros.io.base import SourceError

Output = Annotated[Path, typer.Option(help="Folder of the new bag; it must not exist.")]
Storage = Annotated[str, typer.Option(help="mcap or sqlite3; default: as the source.")]

bag_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
recover_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@bag_app.command()
def bag(
    source: Annotated[Path, typer.Argument(help="A rosbag2: its folder, or one .mcap or .db3 file.")],
    output: Output,
    topic: Topic = None,
    namespace: Annotated[str, typer.Option(help="Namespace of tracks, masks and track_states.")] = "/",
    preset: Preset = "y-smotracker",
    override: Overrides = None,
    masks: Annotated[bool, typer.Option(help="Also write masks: 16-bit label images.")] = True,
    rectified: Annotated[
        bool, typer.Option(help="The images have been rectified: bearings use `p` of camera_info, and no distortion.")
    ] = False,
    storage: Storage = "",
    rerun: Rerun = None,
    cues_3d: Annotated[
        str,
        typer.Option("--cues-3d", metavar="TOPIC", help="3D cues; default: cues_3d in the namespace, if it is there."),
    ] = "",
    cue_pose: Annotated[
        str,
        typer.Option(metavar="TOPIC", help="Place of one target; default: cue_pose in the namespace, if it is there."),
    ] = "",
    extrinsics: Annotated[
        Path | None,
        typer.Option(help="YAML file that says where the camera stands, for 3D cues; default: /tf and /tf_static do."),
    ] = None,
    world_frame: Annotated[str, typer.Option(help="Frame of /tf that stands still, for 3D cues.")] = "map",
    cue_friendly: Annotated[str, typer.Option(help="Name of the friendly target whose place is on cue_pose.")] = "",
    cue_metres: Annotated[
        float, typer.Option(min=0.01, max=1e4, help="Standard deviation of a 3D cue whose covariance is all zero.")
    ] = 10.0,
    cue_degrees: Annotated[
        float, typer.Option(min=0.01, max=45.0, help="Standard deviation of a 3D cue that is a direction.")
    ] = 1.0,
    pose_degrees: Annotated[
        float, typer.Option(min=0.0, max=45.0, help="Standard deviation of the camera's orientation.")
    ] = 0.5,
    pose_metres: Annotated[
        float, typer.Option(min=0.0, max=1e3, help="Standard deviation of the camera's position.")
    ] = 0.5,
    cue_speed: Annotated[
        float, typer.Option(min=0.0, max=1e3, help="Standard deviation of a target's velocity, metres per second.")
    ] = 12.0,
) -> None:
    """Copy a bag and add what the node would have published: tracks, masks, track_states. No ROS is needed.

    A run that was interrupted goes on where it was when the same command is given again.
    """
    overrides = parse_overrides(override)
    _check(source, storage)
    from smotracker_ros.offline.bag_hints import CueSettings
    from smotracker_ros.offline.processing import Job, process_bag
    from smotracker_ros.presets import load_settings
    from smotracker_ros.space.extrinsics import read_extrinsics
    from smotracker_ros.space.hint_messages import HintOptions
    from smotracker_ros.space.hints import HintErrors

    errors = HintErrors(pose_degrees, pose_metres, cue_speed)
    options = HintOptions(cue_metres, cue_degrees, cue_friendly, errors)
    stand = read_extrinsics(extrinsics) if extrinsics else None
    cues = CueSettings(cues_3d, cue_pose, stand, world_frame, options)
    settings = load_settings(preset, overrides)
    job = Job(source, output, settings, topic, namespace, masks, storage, rectified, rerun, cues)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        open_bag(source) as reader,
        Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
        ) as bar,
    ):
        task = bar.add_task(source.name, total=None)
        summary = process_bag(job, lambda done, total: bar.update(task, completed=done, total=total))
        seconds = (reader.end_time - reader.start_time) / 1e9
    left_out = summary.broken + summary.out_of_order
    refused = ", ".join(f"{number} {reason}" for reason, number in summary.cues_refused.items())
    typer.echo(
        f"{summary.images} images, {len(summary.ids)} tracks"
        + (f"; {summary.broken} broken images and {summary.out_of_order} out of order left out" if left_out else "")
        + (f"; {summary.cues_used} 3D cues used" if summary.cues_used or refused else "")
        + (f", {sum(summary.cues_refused.values())} refused ({refused})" if refused else "")
        + (f"; went on at image {summary.resumed_at}" if summary.resumed_at else "")
        + f"; {seconds:.1f} s of recording tracked in {summary.seconds:.1f} s"
        + (f" ({seconds / summary.seconds:.1f} times real time)" if summary.seconds > 0 else "")
        + f"; see {output}"
    )


@recover_app.command()
def recover(
    source: Annotated[Path, typer.Argument(help="A rosbag2 that was cut off: its folder or file.")],
    output: Output,
    storage: Storage = "",
) -> None:
    """Make a complete bag of one whose recorder was killed or lost its power; the broken one is left as it is."""
    _check(source, storage)
    with open_bag(source) as reader, new_bag(output, storage or storage_of(source)) as writer:
        count = copy_messages(reader, writer)
        seconds = (reader.end_time - reader.start_time) / 1e9 if count else 0.0
    typer.echo(f"{count} messages of {seconds:.1f} s written to {output}")


def _check(source: Path, storage: str) -> None:
    if storage and storage not in STORAGES:
        raise typer.BadParameter(f"{storage!r} is neither mcap nor sqlite3", param_hint="--storage")
    if not source.exists():
        raise SourceError(f"{source} does not exist; give a rosbag2")
    if not is_bag(source):
        raise SourceError(f"{source} is not a rosbag2; `smotracker track` reads videos and image folders")
