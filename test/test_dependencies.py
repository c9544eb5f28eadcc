"""Every package that is imported is declared: in pyproject.toml, and those of ROS in package.xml."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from smotracker_ros.evaluation.peer_environment import REQUIREMENTS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Packages that come with a ROS distribution; their names are those of package.xml
ROS = re.compile(
    r"rclpy|launch(_ros|_testing\w*)?|ament_\w+|rosidl_\w+|cv_bridge|\w+_(msgs|interfaces)|std_srvs|tf2_ros|domain_\w+"
)
PACKAGES = {"tf2_ros": "tf2_ros_py"}
"""Those whose module is called otherwise."""

# Which extra an import may need: only in these files, or behind a message that names the extra
EXTRAS = {
    "torch": (
        "smotracker_ros/masklets/",
        "smotracker_ros/training/",
        "smotracker_ros/evaluation/",
        "smotracker_ros/commands/export.py",
        "smotracker_ros/core/global_state.py",
        "smotracker_ros/detection/grounding_dino.py",
        "smotracker_ros/models/hardware.py",
        "smotracker_ros/offline/snapshot.py",
        "benchmarks/",
        "test/",
    ),
    "yolo": ("smotracker_ros/detection/yolo.py", "smotracker_ros/training/", "smotracker_ros/evaluation/", "test/"),
    "evaluation": ("smotracker_ros/evaluation/", "smotracker_ros/commands/evaluation.py", "benchmarks/", "test/"),
    "training": ("smotracker_ros/training/", "test/"),
    "cluster": ("smotracker_ros/commands/evaluation.py", "test/"),
    "open-vocabulary": ("smotracker_ros/detection/grounding_dino.py", "test/"),
    "export": (
        "smotracker_ros/models/exports.py",
        "smotracker_ros/masklets/exported.py",
        "smotracker_ros/masklets/graphs.py",
        "smotracker_ros/masklets/onnx_network.py",
        "smotracker_ros/commands/export.py",
        "smotracker_ros/detection/yolo.py",
        "smotracker_ros/training/int8.py",
        "test/",
    ),
    "rerun": ("smotracker_ros/io/rerun_files.py", "test/"),
    "all": (),
    "development": ("test/", "tools/"),
}
# Made in tests for other libraries, and looked for before they are there
OPTIONAL = {"setproctitle"}


def _imports(file: Path) -> Iterator[str]:
    """First names of all modules that a file imports, by statement or by name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (item.name.partition(".")[0] for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "importorskip") and isinstance(node.args[0].value, str):
                yield node.args[0].value.partition(".")[0]


def _files() -> list[Path]:
    folders = ("smotracker_ros", "benchmarks", "examples", "launch", "test", "tools")
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", text)[0].lower().replace("_", "-") for text in requirements}


def _foreign() -> dict[str, set[str]]:
    """Files by imported module, without Python's own modules and this project's."""
    own = {"smotracker_ros", "conftest", "tools"} | {file.stem for file in (ROOT / "tools").glob("*.py")}
    found: dict[str, set[str]] = {}
    for file in _files():
        for name in _imports(file):
            if name not in sys.stdlib_module_names and name not in own:
                found.setdefault(name, set()).add(str(file.relative_to(ROOT)))
    return found


FOREIGN = _foreign()


@pytest.mark.parametrize("module", sorted(name for name in FOREIGN if not ROS.fullmatch(name)))
def test_what_is_imported_from_pypi_is_declared(module: str) -> None:
    providers = {item.lower().replace("_", "-") for item in metadata.packages_distributions().get(module, [])}
    providers |= {module.lower().replace("_", "-")}
    if providers & _names(PROJECT["dependencies"]) or module in OPTIONAL:
        return
    in_own_environments = _names([package for packages in REQUIREMENTS.values() for package in packages])
    if providers & in_own_environments and FOREIGN[module] == {"smotracker_ros/evaluation/peer_process.py"}:
        return
    extras = [name for name, needs in PROJECT["optional-dependencies"].items() if providers & _names(needs)]
    assert extras, (
        f"{module} ({', '.join(sorted(providers))}) is imported by {sorted(FOREIGN[module])} and not declared"
    )
    places = tuple(place for extra in extras for place in EXTRAS[extra])
    elsewhere = [file for file in FOREIGN[module] if not file.startswith(places)]
    assert not elsewhere, f"{module} belongs to the extra {extras} and is imported by {elsewhere}"


@pytest.mark.parametrize("module", sorted(name for name in FOREIGN if ROS.fullmatch(name)))
def test_what_is_imported_from_ros_is_declared(module: str) -> None:
    declared = {
        (item.text or "").strip(): item.tag for item in ElementTree.parse(ROOT / "package.xml").getroot() if item.text
    }
    in_tests_alone = all(file.startswith(("test/", "tools/")) for file in FOREIGN[module])
    module = PACKAGES.get(module, module)
    assert module in declared or (in_tests_alone and module in ("domain_coordinator",)), module
    if not in_tests_alone:
        assert declared[module] in ("depend", "exec_depend"), "a dependency of tests alone is not there at run time"
