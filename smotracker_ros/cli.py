"""The command `smotracker`.

Heavy libraries are imported inside the commands, so that `smotracker --help` answers at once.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import smotracker_ros
from smotracker_ros.core.terminations import end_in_order
from smotracker_ros.models.extras import needed_by

# Looked up by name: these modules are imported only by the commands that can raise the errors.
_EXPECTED_ERRORS = (
    ("smotracker_ros.core.frames", "FrameError"),
    ("smotracker_ros.core.settings", "SettingsError"),
    ("smotracker_ros.io.base", "SourceError"),
    ("smotracker_ros.io.pending", "SinkError"),
    ("smotracker_ros.detection.detections", "DetectorError"),
    ("smotracker_ros.masklets.checkpoints", "ModelError"),
    ("smotracker_ros.models.exports", "ExportError"),
    ("smotracker_ros.models.extras", "MissingExtraError"),
    ("smotracker_ros.offline.failures", "TrackingError"),
    ("smotracker_ros.space.extrinsics", "ExtrinsicsError"),
    ("smotracker_ros.space.poses", "PoseError"),
    ("smotracker_ros.models.weight_files", "WeightError"),
    ("smotracker_ros.training.clips", "ClipError"),
    ("smotracker_ros.evaluation.sequences", "DatasetError"),
    ("smotracker_ros.evaluation.comparison", "ComparisonError"),
    ("smotracker_ros.evaluation.benchmarks.measuring", "BenchmarkError"),
)


@dataclass(frozen=True)
class Command:
    """A command, or a group of them, whose module is imported only when it is called.

    Attributes:
        module: in which it is.
        attribute: the typer app in that module.
        summary: for the help.
        helps: whether it says how to use it when it is called without anything.
        extra: that brings what it needs beyond the base; "": it tells itself what it lacks.
    """

    module: str
    attribute: str
    summary: str
    helps: bool = True
    extra: str = ""

    def load(self) -> Any:
        """Import it: the click command, or group of commands."""
        return typer.main.get_command(getattr(importlib.import_module(self.module), self.attribute))


_PLACE = "smotracker_ros.commands"
COMMANDS = {
    "track": Command(
        f"{_PLACE}.track", "app", "Track the targets of videos, image folders, bags, a stream or a camera.", False
    ),
    "synthesize": Command(
        f"{_PLACE}.synthesize", "app", "Render a scene of small flying targets with exact ground truth.", False
    ),
    "bag": Command(f"{_PLACE}.offline", "bag_app", "Track a bag without ROS: a copy with tracks and masks in it."),
    "fuse": Command(f"{_PLACE}.fuse", "app", "Fuse the recorded tracks of several cameras into targets in space."),
    "recover": Command(f"{_PLACE}.offline", "recover_app", "Make a complete bag of one that was cut off."),
    "weights": Command(f"{_PLACE}.weights", "app", "Weight files: list, verify, fetch."),
    "doctor": Command(
        f"{_PLACE}.doctor", "app", "Show versions, devices, models, and what is missing for which feature.", False
    ),
    "export": Command(
        f"{_PLACE}.export",
        "app",
        "Make the models ready for onnxruntime and OpenVINO, compare them with torch, and measure the gain.",
        extra="export",
    ),
    "train": Command(f"{_PLACE}.training", "app", "Train the embedded models: detector, masklets.", extra="training"),
    "evaluate-model": Command(
        f"{_PLACE}.training",
        "evaluation_app",
        "Measure a model on labelled clips: detector, masklets.",
        extra="training",
    ),
    "benchmark": Command(
        f"{_PLACE}.benchmark",
        "app",
        "Measure the speed against SAM2's own predictor and YOLO with ByteTrack, on this machine.",
    ),
    "evaluate": Command(
        f"{_PLACE}.evaluation", "evaluate_app", "Track a labelled data set and score the tracks.", extra="evaluation"
    ),
    "compare": Command(
        f"{_PLACE}.evaluation",
        "compare_app",
        "Compare trackers on the same detections: metrics.json, tables and a report.",
        extra="evaluation",
    ),
    "reproduce": Command(
        f"{_PLACE}.reproduction",
        "app",
        "Compute a published table (doha, anti-uav, dut) with the published figures beside ours.",
        extra="evaluation",
    ),
    "tune-peers": Command(
        f"{_PLACE}.evaluation", "tune_app", "Find each peer's best thresholds on training data.", extra="evaluation"
    ),
}

FIRST_STEPS = """Tracks small flying targets in videos, image folders and bags. To begin:

  smotracker doctor                                          is everything there?
  smotracker synthesize --output scene                       renders a scene, if you have no clip at hand
  smotracker track scene/video.mp4 --output out              writes out/overlay.mp4, out/tracks.txt, out/summary.json

All commands: smotracker --help"""


class _Commands(TyperGroup):
    """Shell completion asks for the commands' own options; otherwise nothing is imported before it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if ctx.resilient_parsing and name in COMMANDS:
            command = COMMANDS[name].load()
        return name, command, rest


app = typer.Typer(
    cls=_Commands,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to import than everything else here
    help="Track many small flying targets with SAM2 masklets.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"smotracker {smotracker_ros.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _begin(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(FIRST_STEPS)


def _forward(name: str, command: Command) -> None:
    """Add a command that hands all its arguments on."""

    def run(context: typer.Context) -> None:
        import cv2

        cv2.setNumThreads(1)  # its threads would only take the processor from the networks'
        with needed_by(f"smotracker {name}", command.extra):
            arguments = context.args or (["--help"] if command.helps else [])
            # what goes wrong in it, an interrupt included, ends the whole command
            code = command.load()(args=arguments, prog_name=f"smotracker {name}", standalone_mode=False)
        if isinstance(code, int) and code:
            raise typer.Exit(code)

    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(
        name, help=command.summary, short_help=command.summary, context_settings=settings, add_help_option=False
    )(run)


for _name, _command in COMMANDS.items():
    _forward(_name, _command)


def main() -> None:
    """Run the command; expected errors become one line on stderr and exit code 1."""
    end_in_order()
    try:
        app(prog_name="smotracker")
    except Exception as error:
        if not _is_expected(error):
            raise
        typer.echo(f"smotracker: {error}", err=True)
        sys.exit(1)


def _is_expected(error: Exception) -> bool:
    """Whether the message tells a user what to do, so that a traceback would only hide it."""
    for module, name in _EXPECTED_ERRORS:
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(error, getattr(loaded, name)):
            return True
    return False


if __name__ == "__main__":
    main()
