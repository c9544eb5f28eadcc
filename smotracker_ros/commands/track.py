"""`smotracker track`: videos, image folders, bags, a stream or a camera in, tracks and an overlay out."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smotracker_ros.commands.options import Overrides, Preset, Rerun, Topic
from smotracker_ros.commands.progress import progress_bar
from smotracker_ros.core.overrides import parse_overrides
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.core.terminations import stopping

if TYPE_CHECKING:
    from smotracker_ros.core.frames import Frame
    from smotracker_ros.core.tracks import Tracks
    from smotracker_ros.io.base import FrameSource
    from smotracker_ros.io.sinks import Sink
    from smotracker_ros.tracking.tracker import SmoTracker

app = typer.Typer(add_completion=False)

TRACK_OUTPUTS = ("tracks.txt", "overlay.mp4", "summary.json", "masks", "bag")
"""What `smotracker track` may write; all of it belongs to one run."""


@dataclass(frozen=True)
class _Outputs:
    """What is written beside tracks, overlay and summary; and what the summary says of the settings."""

    masks: bool
    bag: bool
    storage: str
    rerun: Path | None
    facts: dict[str, Any]

    def writers(self, folder: Path, source: FrameSource, tracker: SmoTracker) -> Iterator[Sink]:
        """All sinks, to be opened in this order."""
        from smotracker_ros.io import sinks

        yield sinks.MotWriter(folder / "tracks.txt")
        yield sinks.OverlayWriter(folder / "overlay.mp4", source.fps, source.size)
        if self.masks:
            yield sinks.MaskWriter(folder / "masks")
        if self.bag:
            yield sinks.BagWriter(folder / "bag", self.storage)
        if self.rerun is not None:
            from smotracker_ros.io.rerun_files import RerunWriter

            yield RerunWriter(self.rerun, tracker)


@app.command()
def track(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Videos, images, folders of images, rosbag2s; or one stream (rtsp://, http://, udp://) or camera "
            "(/dev/video0).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(help="Folder for tracks.txt, overlay.mp4 and summary.json; of several sources, one in it each."),
    ],
    preset: Preset = "y-smotracker",
    prompt: Annotated[
        str | None, typer.Option(help="What to look for, for presets with Grounding DINO: 'drone . bird .'")
    ] = None,
    override: Overrides = None,
    topic: Topic = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames per second of an image folder, and of what does not state its own.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames of each source.")] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Also write masks/: 16-bit label images.")] = False,
    bag: Annotated[bool, typer.Option("--bag", help="Also write bag/: a rosbag2 with tracks and masks.")] = False,
    storage: Annotated[str, typer.Option(help="Storage of that bag: mcap or sqlite3.")] = "mcap",
    rerun: Rerun = None,
    stream_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="FFmpeg's option for a stream or camera: video_size=1280x720; may be repeated."
        ),
    ] = None,
    patience: Annotated[
        float | None, typer.Option(min=0.1, help="End a stream or camera that gives nothing for so many seconds.")
    ] = None,
) -> None:
    """Track the targets of videos, image folders, bags, a stream or a camera.

    Streams and cameras are tracked live, the newest frame first, until Ctrl-C ends them with whole outputs.
    """
    overrides = parse_overrides(override)
    if prompt is not None:
        if "prompt" in overrides:
            raise SettingsError("the prompt is given twice, by --prompt and by --set; give it once")
        overrides["prompt"] = prompt
    if storage not in ("mcap", "sqlite3"):
        raise typer.BadParameter(f"{storage!r} is neither mcap nor sqlite3", param_hint="--storage")
    if rerun is not None and len(sources) > 1:
        raise typer.BadParameter("it is one file; give one source", param_hint="--rerun")
    options = _stream_options(stream_option)
    opened = _open(sources, output, topic, fps, options, patience)
    from smotracker_ros.presets import build_tracker, load_settings

    settings = load_settings(preset, overrides)
    tracker = build_tracker(settings)
    facts = {"preset": preset, "models": dict(tracker.models), "settings": dataclasses.asdict(settings)}
    for folder, source in opened.items():
        summary = _track(tracker, source, folder, frames, _Outputs(masks, bag, storage, rerun, facts))
        tracker.reset()
        typer.echo(
            f"{summary['frames']} frames, {summary['tracks']} {'track' if summary['tracks'] == 1 else 'tracks'} "
            f"(longest: {summary['longest_track_frames']} "
            f"frames), {summary['milliseconds_per_frame']['mean']} ms per frame"
            + (f", {summary['dropped_frames']} frames dropped" if "dropped_frames" in summary else "")
            + f"; see {folder}"
        )


def _stream_options(texts: Sequence[str] | None) -> dict[str, str]:
    """FFmpeg's options by name."""
    for text in texts or ():
        if not text.partition("=")[0] or "=" not in text:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--stream-option")
    return {name: value for name, _, value in (text.partition("=") for text in texts or ())}


def _open(
    names: Sequence[str],
    output: Path,
    topic: str | None,
    fps: float | None,
    options: dict[str, str],
    patience: float | None,
) -> dict[Path, FrameSource]:
    """All sources by the folders of their outputs: one alone writes into `output`, several into folders in it.

    Raises:
        SourceError: if one cannot be read, or one of several is live, so that the next would never have its turn.
    """
    from smotracker_ros.io.addresses import is_address, is_camera, shown
    from smotracker_ros.io.base import SourceError
    from smotracker_ros.io.sources import open_source

    if len(names) > 1:
        for name in names:
            if is_address(name) or is_camera(name):
                raise SourceError(f"{shown(name)} is a stream or a camera and cannot wait for its turn; give it alone")
    opened = [open_source(name, topic, fps, options=options, patience=patience or math.inf) for name in names]
    if len(opened) == 1:
        return {output: opened[0]}
    folders: dict[Path, FrameSource] = {}
    for source in opened:
        folder, number = output / source.name, 1
        while folder in folders:
            number += 1
            folder = output / f"{source.name}-{number}"
        folders[folder] = source
    return folders


def _track(
    tracker: SmoTracker, source: FrameSource, folder: Path, frames: int | None, outputs: _Outputs
) -> dict[str, Any]:
    """Track one source, and write everything that belongs to it; what summary.json holds is returned."""
    from smotracker_ros.io.base import SourceError
    from smotracker_ros.io.live import LiveSource
    from smotracker_ros.io.pending import pending_outputs
    from smotracker_ros.io.stream import StreamRules
    from smotracker_ros.offline.failures import track_frame

    live = source if isinstance(source, LiveSource) else None
    statistics, rules = _Statistics(), StreamRules(logging.getLogger(__name__).warning)
    with pending_outputs(folder, TRACK_OUTPUTS) as pending, ExitStack() as stack, progress_bar() as progress:
        writers = [stack.enter_context(writer) for writer in outputs.writers(pending, source, tracker)]
        total = min(filter(None, (source.length, frames)), default=None)
        with stopping(live.stop) if live else nullcontext():
            for frame in progress.track(_first(source, frames), total=total, description=source.name):
                if not rules.admit(frame):
                    continue
                if rules.broken:
                    tracker.reset()
                started = time.perf_counter()
                tracks = track_frame(tracker, frame)
                statistics.add(tracks, time.perf_counter() - started)
                for writer in writers:
                    writer.write(frame, tracks)
        summary = statistics.summary(source)
        summary |= {"out_of_order_frames": rules.out_of_order, "restarts": rules.restarts}
        if live:
            if not summary["frames"]:
                raise SourceError(f"{live.name} gave no frame; check that it sends")
            summary |= {"dropped_frames": live.dropped, "reconnections": live.reconnections}
        summary |= outputs.facts
        (pending / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


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
