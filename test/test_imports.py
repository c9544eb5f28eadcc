"""What takes seconds to import, or is an extra, is imported by what needs it alone: looked at in fresh processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from smotracker_ros.models.extras import EXTRAS, MissingExtraError, explain, needed_by

HEAVY = [module for modules in EXTRAS.values() for module in modules if module != "matplotlib"]
LIGHT = [
    "smotracker_ros",
    "smotracker_ros.presets",
    "smotracker_ros.tracking.tracker",
    "smotracker_ros.detection.yolo_onnx",
    "smotracker_ros.io.sources",
    "smotracker_ros.io.sinks",
    "smotracker_ros.offline.processing",
    "smotracker_ros.offline.snapshot",
    "smotracker_ros.training.scenes",
    "smotracker_ros.commands.track",
    "smotracker_ros.commands.offline",
    "smotracker_ros.commands.weights",
    "smotracker_ros.commands.export",
    "smotracker_ros.commands.training",
    "smotracker_ros.commands.benchmark",
]
NODES = ["smotracker_ros.ros.tracker_main", "smotracker_ros.ros.recorder", "smotracker_ros.ros.bag_player"]


def _loaded(code: str) -> set[str]:
    """First names of the modules that a process has loaded after some code."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", [*LIGHT, *(pytest.param(node, marks=pytest.mark.ros) for node in NODES)])
def test_no_extra_is_imported_by(module: str) -> None:
    assert not _loaded(f"import {module}") & set(HEAVY)


def test_the_evaluation_commands_do_without_torch() -> None:
    assert not _loaded("import smotracker_ros.commands.evaluation") & {"torch", "ultralytics", "sam2"}


def test_help_imports_next_to_nothing() -> None:
    code = """
from smotracker_ros import cli
sys.argv = ["smotracker", "--help"]
try:
    cli.main()
except SystemExit:
    pass
"""
    assert not _loaded(code) & {*HEAVY, "cv2", "numpy", "scipy", "yaml", "rich", "onnxruntime"}


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    for extra, modules in EXTRAS.items():
        for module in modules:
            error = ModuleNotFoundError("", name=f"{module}.part")
            assert explain(error, "it") == (
                f"it needs {module}, which is not installed; pip install 'smotracker_ros[{extra}]'"
            )
    assert explain(ModuleNotFoundError("", name="elsewhere"), "it") == explain(ValueError("torch"), "it") == ""
    with (
        pytest.raises(MissingExtraError, match=r"a checkpoint needs sam2, .* 'smotracker_ros\[torch\]'"),
        needed_by("a checkpoint"),
    ):
        raise ModuleNotFoundError("No module named 'sam2'", name="sam2")
    with pytest.raises(ModuleNotFoundError), needed_by("a checkpoint"):
        raise ModuleNotFoundError("No module named 'elsewhere'", name="elsewhere")
