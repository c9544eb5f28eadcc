"""Rendered scenes as files, laid out like the sequences of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from smotracker_ros.io.pending import pending_path
from smotracker_ros.io.sinks import VideoWriter
from smotracker_ros.training.scenes import SceneSettings, render_scene

IGNORED_VISIBILITY = 0.15
"""Targets less visible than this are written with flag 0: no tracker is to be blamed for them."""


def write_scene(
    directory: str | Path, settings: SceneSettings, seed: int, on_frame: Callable[[], None] | None = None
) -> None:
    """Render a scene into `video.mp4`, `gt/gt.txt` and `seqinfo.ini`.

    Rows of gt.txt are `frame,id,x,y,w,h,flag,class,visibility`: frame 1-based, x and y 0-based pixels, boxes tight
    round the visible pixels, flag 0 for hardly visible targets.

    Args:
        directory: appears only when everything is written; it must not exist, or be empty.
        settings: what to render.
        seed: which scene of that kind.
        on_frame: called after each frame.

    Raises:
        SinkError: if the directory cannot be written.
    """
    name = Path(directory).absolute().name
    with pending_path(directory) as temporary:
        (temporary / "gt").mkdir(parents=True)
        video = VideoWriter(temporary / "video.mp4", settings.fps, quality=16)
        try:
            with (temporary / "gt" / "gt.txt").open("w", encoding="ascii", newline="\n") as truth:
                for number, frame in enumerate(render_scene(settings, seed), start=1):
                    video.write(frame.image)
                    rows = zip(frame.ids, frame.boxes, frame.class_ids, frame.visibility, strict=True)
                    for target_id, (x1, y1, x2, y2), class_id, visibility in rows:
                        truth.write(
                            f"{number},{target_id},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},"
                            f"{int(visibility >= IGNORED_VISIBILITY)},{class_id},{visibility:.3f}\n"
                        )
                    if on_frame is not None:
                        on_frame()
        finally:
            video.close()
        (temporary / "seqinfo.ini").write_text(_sequence_description(name, settings, seed), encoding="utf-8")


def _sequence_description(name: str, settings: SceneSettings, seed: int) -> str:
    """Text of seqinfo.ini."""
    values = {
        "name": name,
        "video": "video.mp4",
        "frameRate": f"{settings.fps:g}",
        "seqLength": settings.frames,
        "imWidth": settings.width,
        "imHeight": settings.height,
        "coordBase": 0,
        "cuts": "",
        "scene": f"rendered:{seed}",
    }
    return "[Sequence]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
