"""`smotracker synthesize`: a rendered scene with exact truth, as a video."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smotracker_ros.commands.progress import progress_bar

app = typer.Typer(add_completion=False)


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
) -> None:
    """Render a scene of small flying targets with exact ground truth."""
    from smotracker_ros.training.scene_files import write_scene
    from smotracker_ros.training.scenes import SceneSettings

    try:
        settings = SceneSettings(width, height, frames, fps, targets, camera, modality)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with progress_bar() as progress:
        task = progress.add_task("rendering", total=frames)
        write_scene(output, settings, seed, on_frame=lambda: progress.advance(task))
    typer.echo(f"{frames} frames with {targets} targets written to {output}")
