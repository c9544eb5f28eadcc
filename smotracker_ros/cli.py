"""The command `smotracker`.

Heavy libraries are imported inside the commands, so that `smotracker --help` answers at once.
"""

from __future__ import annotations

import importlib
import sys

import cv2
import typer

from smotracker_ros.core.frames import FrameError
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.core.terminations import end_in_order

# Looked up by name: these modules are imported only by the commands that can raise the errors.
_EXPECTED_ERRORS = (
    ("smotracker_ros.io.base", "SourceError"),
    ("smotracker_ros.io.pending", "SinkError"),
    ("smotracker_ros.detection.detections", "DetectorError"),
    ("smotracker_ros.masklets.checkpoints", "ModelError"),
    ("smotracker_ros.models.exports", "ExportError"),
    ("smotracker_ros.offline.failures", "TrackingError"),
    ("smotracker_ros.models.weight_files", "WeightError"),
    ("smotracker_ros.training.clips", "ClipError"),
    ("smotracker_ros.evaluation.sequences", "DatasetError"),
    ("smotracker_ros.evaluation.comparison", "ComparisonError"),
    ("smotracker_ros.evaluation.benchmarks.measuring", "BenchmarkError"),
)

# What the extra `evaluation` brings; the other optional parts tell themselves what they lack
_EVALUATION_PACKAGES = ("trackeval", "boxmot", "pandas", "matplotlib", "joblib")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Track many small flying targets with SAM2 masklets.",
)


def _forward(name: str, module: str, attribute: str, summary: str, helps: bool = True) -> None:
    """Add commands whose module is imported only when one of them is called.

    Args:
        name: on the command line.
        module: where they are.
        attribute: the typer app in it.
        summary: for the help.
        helps: whether it says how to use it when it is called without anything.
    """

    def run(context: typer.Context) -> None:
        group = getattr(importlib.import_module(module), attribute)
        arguments = context.args or (["--help"] if helps else [])
        # what goes wrong in it, an interrupt included, ends the whole command
        code = group(args=arguments, prog_name=f"smotracker {name}", standalone_mode=False)
        if isinstance(code, int) and code:
            raise typer.Exit(code)

    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(name, help=summary, context_settings=settings, add_help_option=False)(run)


_forward(
    "track", "smotracker_ros.commands.track", "app", "Track the targets of a video, an image folder or a bag.", False
)
_forward(
    "synthesize",
    "smotracker_ros.commands.synthesize",
    "app",
    "Render a scene of small flying targets with exact ground truth.",
    False,
)
_forward(
    "bag", "smotracker_ros.commands.offline", "bag_app", "Track a bag without ROS: a copy with tracks and masks in it."
)
_forward("recover", "smotracker_ros.commands.offline", "recover_app", "Make a complete bag of one that was cut off.")
_forward("weights", "smotracker_ros.commands.weights", "app", "Weight files: list, verify, fetch.")
_forward(
    "export",
    "smotracker_ros.commands.export",
    "app",
    "Make the models ready for onnxruntime and OpenVINO, compare them with torch, and measure the gain.",
)
_forward("train", "smotracker_ros.commands.training", "app", "Train the embedded models: detector, masklets.")
_forward(
    "evaluate-model",
    "smotracker_ros.commands.training",
    "evaluation_app",
    "Measure a model on labelled clips: detector, masklets.",
)
_forward(
    "benchmark",
    "smotracker_ros.commands.benchmark",
    "app",
    "Measure the speed against SAM2's own predictor and YOLO with ByteTrack, on this machine.",
)
_forward(
    "evaluate", "smotracker_ros.commands.evaluation", "evaluate_app", "Track a labelled data set and score the tracks."
)
_forward(
    "compare",
    "smotracker_ros.commands.evaluation",
    "compare_app",
    "Compare trackers on the same detections: metrics.json, tables and a report.",
)
_forward(
    "reproduce",
    "smotracker_ros.commands.reproduction",
    "app",
    "Compute a published table (doha, anti-uav, dut) with the published figures beside ours.",
)
_forward(
    "tune-peers", "smotracker_ros.commands.evaluation", "tune_app", "Find each peer's best thresholds on training data."
)


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
