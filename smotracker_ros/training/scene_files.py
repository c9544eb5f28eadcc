"""Rendered scenes as files, laid out like the sequences of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from smotracker_ros.io.pending import pending_path
from smotracker_ros.io.sinks import VideoWriter
from smotracker_ros.training.compositing import SceneFrame
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
                    truth.write(truth_rows(number, frame))
                    if on_frame is not None:
                        on_frame()
        finally:
            video.close()
        size = settings.width, settings.height
        text = sequence_description(name, settings.fps, settings.frames, size, seed, settings.modality)
        (temporary / "seqinfo.ini").write_text(text, encoding="utf-8")


def truth_rows(number: int, frame: SceneFrame) -> str:
    """Rows of gt.txt for a frame of that 1-based number."""
    rows = zip(frame.ids, frame.boxes, frame.class_ids, frame.visibility, strict=True)
    return "".join(
        f"{number},{target_id},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},"
        f"{int(visibility >= IGNORED_VISIBILITY)},{class_id},{visibility:.3f}\n"
        for target_id, (x1, y1, x2, y2), class_id, visibility in rows
    )


def sequence_description(
    name: str, fps: float, frames: int, size: tuple[int, int], seed: int, modality: str = "random"
) -> str:
    """Text of seqinfo.ini; `size` is (width, height) in pixels; a modality of "random" is not stated."""
    values = {
        "name": name,
        "video": "video.mp4",
        "frameRate": f"{fps:g}",
        "seqLength": frames,
        "imWidth": size[0],
        "imHeight": size[1],
        "coordBase": 0,
        "cuts": "",
        "scene": f"rendered:{seed}",
    }
    if modality != "random":
        values["modality"] = modality
    return "[Sequence]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
