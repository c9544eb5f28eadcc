"""`smotracker track`: a video, an image folder or a bag in, tracks and an overlay out."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smotracker_ros.commands.progress import progress_bar
from smotracker_ros.core.settings import SettingsError, parse_overrides

if TYPE_CHECKING:
    from smotracker_ros.core.frames import Frame
    from smotracker_ros.core.tracks import Tracks
    from smotracker_ros.io.base import FrameSource

app = typer.Typer(add_completion=False)

TRACK_OUTPUTS = ("tracks.txt", "overlay.mp4", "summary.json", "masks", "bag")
"""What `smotracker track` may write; all of it belongs to one run."""


@app.command()
def track(
    source: Annotated[Path, typer.Argument(help="A video file, an image or a folder of images, or a rosbag2.")],
    output: Annotated[Path, typer.Option(help="Folder for tracks.txt, overlay.mp4 and summary.json.")],
    preset: Annotated[str, typer.Option(help="Named set-up of the tracker.")] = "y-smotracker",
    prompt: Annotated[
        str | None, typer.Option(help="What to look for, for presets with Grounding DINO: 'drone . bird .'")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one setting; may be repeated.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Image topic of a bag with several.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of an image folder.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Also write masks/: 16-bit label images.")] = False,
    bag: Annotated[bool, typer.Option("--bag", help="Also write bag/: a rosbag2 with tracks and masks.")] = False,
    storage: Annotated[str, typer.Option(help="Storage of that bag: mcap or sqlite3.")] = "mcap",
) -> None:
    """Track the targets of a video, an image folder or a bag."""
    overrides = parse_overrides(override)
    if prompt is not None:
        if "prompt" in overrides:
            raise SettingsError("the prompt is given twice, by --prompt and by --set; give it once")
        overrides["prompt"] = prompt
    if storage not in ("mcap", "sqlite3"):
        raise typer.BadParameter(f"{storage!r} is neither mcap nor sqlite3", param_hint="--storage")
    from smotracker_ros.io.sources import open_source

    frame_source = open_source(source, topic, fps)
    from smotracker_ros.io import sinks
    from smotracker_ros.io.pending import pending_outputs
    from smotracker_ros.io.stream import StreamRules
    from smotracker_ros.offline.failures import track_frame
    from smotracker_ros.presets import build_tracker, load_settings

    settings = load_settings(preset, overrides)
    tracker = build_tracker(settings)
    statistics, rules = _Statistics(), StreamRules(logging.getLogger(__name__).warning)
    with pending_outputs(output, TRACK_OUTPUTS) as pending, ExitStack() as stack, progress_bar() as progress:
        writers: list[sinks.Sink] = [
            sinks.MotWriter(pending / "tracks.txt"),
            sinks.OverlayWriter(pending / "overlay.mp4", frame_source.fps, frame_source.size),
        ]
        if masks:
            writers.append(sinks.MaskWriter(pending / "masks"))
        if bag:
            writers.append(sinks.BagWriter(pending / "bag", storage))
        for writer in writers:
            stack.enter_context(writer)
        total = min(filter(None, (frame_source.length, frames)), default=None)
        for frame in progress.track(_first(frame_source, frames), total=total, description=frame_source.name):
            if not rules.admit(frame):
                continue
            if rules.broken:
                tracker.reset()
            started = time.perf_counter()
            tracks = track_frame(tracker, frame)
            statistics.add(tracks, time.perf_counter() - started)
            for writer in writers:
                writer.write(frame, tracks)
        summary = statistics.summary(frame_source)
        summary |= {"out_of_order_frames": rules.out_of_order, "restarts": rules.restarts}
        summary |= {"preset": preset, "models": dict(tracker.models), "settings": dataclasses.asdict(settings)}
        (pending / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    typer.echo(
        f"{summary['frames']} frames, {summary['tracks']} tracks (longest: {summary['longest_track_frames']} frames), "
        f"{summary['milliseconds_per_frame']['mean']} ms per frame; see {output}"
    )


class _Statistics:
    """Counts what goes into summary.json."""

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}
        self._seconds: list[float] = []
        self._detector_frames = 0

    def add(self, tracks: Tracks, seconds: float) -> None:
        """Count one frame."""
        self._seconds.append(seconds)
        self._detector_frames += tracks.detector_ran
        for item in tracks.reported:
            self._lengths[item.id] = self._lengths.get(item.id, 0) + 1

    def summary(self, source: FrameSource) -> dict[str, Any]:
        """What is known at the end. Times are milliseconds of the tracker alone, reading and writing left out."""
        ordered = sorted(1000 * seconds for seconds in self._seconds) or [0.0]
        return {
            "source": source.name,
            "frames": len(self._seconds),
            "skipped_frames": source.skipped,
            "fps": round(source.fps, 3),
            "size": list(source.size) if source.size else None,
            "tracks": len(self._lengths),
            "longest_track_frames": max(self._lengths.values(), default=0),
            "track_lengths": {str(key): self._lengths[key] for key in sorted(self._lengths)},
            "detector_frames": self._detector_frames,
            "milliseconds_per_frame": {
                "mean": round(sum(ordered) / len(ordered), 2),
                "median": round(ordered[len(ordered) // 2], 2),
                "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 2),
                "max": round(ordered[-1], 2),
            },
        }


def _first(source: FrameSource, count: int | None) -> Iterator[Frame]:
    """The first `count` frames, or all."""
    for number, frame in enumerate(source, start=1):
        yield frame
        if number == count:
            return
