"""`smotracker synthesize`: a rendered scene with exact truth, as a video, or as videos and bags of several cameras."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smotracker_ros.commands.progress import progress_bar

app = typer.Typer(add_completion=False)

_SPACE = "With --cameras: "


@app.command()
def synthesize(
    output: Annotated[Path, typer.Option(help="Folder for video.mp4, gt/gt.txt and seqinfo.ini.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same scene.")] = 0,
    frames: Annotated[int, typer.Option(min=1, help="Length.")] = 150,
    width: Annotated[int, typer.Option(min=64, max=4096, help="Pixels.")] = 640,
    height: Annotated[int, typer.Option(min=64, max=4096, help="Pixels.")] = 512,
    targets: Annotated[int, typer.Option(min=0, max=1000, help="Number of drones, birds and other targets.")] = 5,
    camera: Annotated[str, typer.Option(help="static, pan, shake, zoom or random.")] = "random",
    modality: Annotated[str, typer.Option(help="visible, infrared or random.")] = "random",
    fps: Annotated[float, typer.Option(min=1.0, max=240.0, help="Frames per second.")] = 30.0,
    cameras: Annotated[
        int,
        typer.Option(
            min=0,
            max=16,
            help="Calibrated cameras that see one scene in space, each in a folder of its own; 0: one "
            "camera without a place. They stand still, and see visible light.",
        ),
    ] = 0,
    baseline: Annotated[float, typer.Option(min=0.0, help=f"{_SPACE}metres from one to the next.")] = 30.0,
    distance: Annotated[float, typer.Option(help=f"{_SPACE}metres to the middle of the flights, 20 to 2000.")] = 150.0,
    field_of_view: Annotated[float, typer.Option(help=f"{_SPACE}degrees across the image, 5 to 150.")] = 40.0,
    lens: Annotated[str, typer.Option(help=f"{_SPACE}pinhole, fisheye, or mixed.")] = "pinhole",
    clock_offset: Annotated[
        float, typer.Option(min=0.0, help=f"{_SPACE}standard deviation of the clocks' errors, seconds.")
    ] = 0.0,
    pose_error: Annotated[
        float, typer.Option(min=0.0, help=f"{_SPACE}standard deviation of the stated orientations' errors, degrees.")
    ] = 0.0,
) -> None:
    """Render a scene of small flying targets with exact ground truth."""
    from smotracker_ros.training.scene_files import write_scene
    from smotracker_ros.training.scenes import SceneSettings
    from smotracker_ros.training.space_files import write_space_scene
    from smotracker_ros.training.space_rig import SpaceSettings

    try:
        settings = SceneSettings(width, height, frames, fps, targets, camera, modality)
        space = SpaceSettings(
            cameras=max(cameras, 1),
            baseline=baseline,
            distance=distance,
            targets=targets,
            seconds=frames / fps,
            fps=fps,
            width=width,
            height=height,
            field_of_view=field_of_view,
            lens=lens,
            clock_offset=clock_offset,
            pose_error=pose_error,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with progress_bar() as progress:
        task = progress.add_task("rendering", total=frames * max(cameras, 1))
        if cameras:
            write_space_scene(output, space, seed, on_frame=lambda: progress.advance(task))
        else:
            write_scene(output, settings, seed, on_frame=lambda: progress.advance(task))
    seen = f" by {cameras} cameras" if cameras else ""
    typer.echo(f"{frames} frames with {targets} targets{seen} written to {output}")
