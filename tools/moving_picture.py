"""Writes docs/images/tracking.webp, the moving picture of the README, from real clips.

    cd $SMOTRACKER_DATA/val
    python .../tools/moving_picture.py IR_DRONE_145/video.mp4 V_BIRD_051/video.mp4 --frames 180 --step 4

The clips are tracked from their beginning by the defaults and shown side by side. They are of the multi-sensor drone
dataset of Svanstroem, Englund and Alonso-Fernandez (CC0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image

from smotracker_ros import Frame, Tracks, build_tracker, draw_overlay, load_settings, open_source
from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.io.overlay import Trails

PAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "tracking.webp"
WIDTH, HEIGHT = 480, 384
GAP = 8
LARGEST = 3_000_000


def _pictures(clip: Path, start: int, frames: int, step: int) -> list[UInt8Image]:
    """Every `step`-th overlay of a clip's excerpt, which is tracked from the clip's beginning."""
    tracker, trails = build_tracker(load_settings()), Trails()
    pictures = []
    for number, frame in enumerate(open_source(clip)):
        tracks = tracker.update(frame)
        trails.update(tracks)
        if number >= start and (number - start) % step == 0:
            pictures.append(_shown(frame, tracks, trails))
        if number + 1 >= start + frames:
            break
    return pictures


def _shown(frame: Frame, tracks: Tracks, trails: Trails) -> UInt8Image:
    """The overlay, drawn at the size at which it is seen, so that captions stay sharp."""
    scale = 2 if frame.width < WIDTH else 1
    image = draw_overlay(frame, tracks, trails, scale)
    return np.asarray(cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def main(
    clips: Annotated[list[Path], typer.Argument(help="Clips to show side by side.")],
    start: Annotated[list[int] | None, typer.Option(help="First frame shown of each clip, in their order.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of each excerpt.")] = 120,
    step: Annotated[int, typer.Option(help="Every n-th frame is shown.")] = 3,
    quality: Annotated[int, typer.Option(help="Of WebP, 0 to 100.")] = 55,
    output: Annotated[Path, typer.Option(help="The file.")] = PAGE,
) -> None:
    """Track the clips and write the picture."""
    starts = [*(start or []), *[0] * len(clips)]
    columns = [_pictures(clip, first, frames, step) for clip, first in zip(clips, starts, strict=False)]
    space = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    pages = []
    for row in zip(*columns, strict=False):
        parts = [part for picture in row for part in (picture, space)]
        pages.append(Image.fromarray(np.hstack(parts[:-1])))
    period = round(1000 * step / open_source(clips[0]).fps)
    pages[0].save(output, save_all=True, append_images=pages[1:], duration=period, loop=0, quality=quality, method=6)
    size = output.stat().st_size
    if size > LARGEST:
        raise typer.BadParameter(
            f"{output} has {size} bytes, more than {LARGEST}: show fewer frames, or lower the quality"
        )
    typer.echo(f"{output}: {len(pages)} frames, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
