"""The command `smotracker`.

Heavy libraries are imported inside the commands, so that `smotracker --help` answers at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cv2
import typer

from smotracker_ros.frames import FrameError
from smotracker_ros.settings import SettingsError, parse_overrides
from smotracker_ros.terminations import end_in_order

if TYPE_CHECKING:
    from rich.progress import Progress

    from smotracker_ros.frames import Frame
    from smotracker_ros.tracks import Tracks
    from smotracker_ros.video.base import FrameSource

# Looked up by name: these modules are imported only by the commands that can raise the errors.
_EXPECTED_ERRORS = (
    ("smotracker_ros.video.base", "SourceError"),
    ("smotracker_ros.video.pending", "SinkError"),
    ("smotracker_ros.detection.detections", "DetectorError"),
    ("smotracker_ros.masklets.checkpoints", "ModelError"),
    ("smotracker_ros.exports", "ExportError"),
    ("smotracker_ros.offline.failures", "TrackingError"),
    ("smotracker_ros.weight_files", "WeightError"),
    ("smotracker_ros.training.clips", "ClipError"),
    ("smotracker_ros.evaluation.sequences", "DatasetError"),
    ("smotracker_ros.evaluation.comparison", "ComparisonError"),
    ("smotracker_ros.evaluation.benchmarks.measuring", "BenchmarkError"),
)

# What the extra `evaluation` brings; the other optional parts tell themselves what they lack
_EVALUATION_PACKAGES = ("trackeval", "boxmot", "pandas", "matplotlib", "joblib")
TRACK_OUTPUTS = ("tracks.txt", "overlay.mp4", "summary.json", "masks", "bag")
"""What `smotracker track` may write; all of it belongs to one run."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Track many small flying targets with SAM2 masklets.",
)


def _forward(name: str, module: str, attribute: str, summary: str) -> None:
    """Add a group of commands whose module is imported only when one of them is called."""

    def run(context: typer.Context) -> None:
        group = getattr(importlib.import_module(module), attribute)
        group(args=context.args or ["--help"], prog_name=f"smotracker {name}")

    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(name, help=summary, context_settings=settings, add_help_option=False)(run)


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
    from smotracker_ros.video.sources import open_source

    frame_source = open_source(source, topic, fps)
    from smotracker_ros.offline.failures import track_frame
    from smotracker_ros.presets import build_tracker, load_settings
    from smotracker_ros.stream import StreamRules
    from smotracker_ros.video import sinks
    from smotracker_ros.video.pending import pending_outputs

    settings = load_settings(preset, overrides)
    tracker = build_tracker(settings)
    statistics, rules = _Statistics(), StreamRules(logging.getLogger(__name__).warning)
    with pending_outputs(output, TRACK_OUTPUTS) as pending, ExitStack() as stack, _progress() as progress:
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
    with _progress() as progress:
        task = progress.add_task("rendering", total=frames)
        write_scene(output, settings, seed, on_frame=lambda: progress.advance(task))
    typer.echo(f"{frames} frames with {targets} targets written to {output}")


_forward(
    "bag", "smotracker_ros.offline.commands", "bag_app", "Track a bag without ROS: a copy with tracks and masks in it."
)
_forward("recover", "smotracker_ros.offline.commands", "recover_app", "Make a complete bag of one that was cut off.")
_forward("weights", "smotracker_ros.weight_commands", "app", "Weight files: list, verify, fetch.")
_forward(
    "export",
    "smotracker_ros.export_command",
    "app",
    "Make the models ready for onnxruntime and OpenVINO, compare them with torch, and measure the gain.",
)
_forward("train", "smotracker_ros.training.commands", "app", "Train the embedded models: detector, masklets.")
_forward(
    "evaluate-model",
    "smotracker_ros.training.commands",
    "evaluation_app",
    "Measure a model on labelled clips: detector, masklets.",
)
_forward(
    "benchmark",
    "smotracker_ros.evaluation.benchmark_command",
    "app",
    "Measure the speed against SAM2's own predictor and YOLO with ByteTrack, on this machine.",
)
_forward(
    "evaluate", "smotracker_ros.evaluation.commands", "evaluate_app", "Track a labelled data set and score the tracks."
)
_forward(
    "compare",
    "smotracker_ros.evaluation.commands",
    "compare_app",
    "Compare trackers on the same detections: metrics.json, tables and a report.",
)
_forward(
    "reproduce",
    "smotracker_ros.evaluation.reproduction",
    "app",
    "Compute a published table (doha, anti-uav, dut) with the published figures beside ours.",
)
_forward(
    "tune-peers", "smotracker_ros.evaluation.commands", "tune_app", "Find each peer's best thresholds on training data."
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


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A progress bar on stderr, with warnings printed above it."""
    from rich.console import Console
    from rich.logging import RichHandler
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    handler = RichHandler(logging.WARNING, console=console, show_time=False, show_path=False)
    logger = logging.getLogger("smotracker_ros")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    logger.addHandler(handler)
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            yield progress
    finally:
        logger.removeHandler(handler)


def main() -> None:
    """Run the command; expected errors become one line on stderr and exit code 1."""
    end_in_order()
    cv2.setNumThreads(1)  # its threads would only take the processor from torch's
    try:
        app(prog_name="smotracker")
    except Exception as error:
        text = _missing_extra(error) or (str(error) if _is_expected(error) else "")
        if not text:
            raise
        typer.echo(f"smotracker: {text}", err=True)
        sys.exit(1)


def _missing_extra(error: Exception) -> str:
    """What to install for a package that is not there; empty if it is none of the extra `evaluation`."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in _EVALUATION_PACKAGES:
        return ""
    return f"this command needs {package}, which is not installed; pip install 'smotracker_ros[evaluation]'"


def _is_expected(error: Exception) -> bool:
    """Whether the message tells a user what to do, so that a traceback would only hide it."""
    if isinstance(error, FrameError | SettingsError):
        return True
    for module, name in _EXPECTED_ERRORS:
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return True
    return False


if __name__ == "__main__":
    main()
