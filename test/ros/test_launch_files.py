"""Launch files: their structure everywhere, their description where ROS's launch is installed."""

from __future__ import annotations

import ast
import importlib.util
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from smotracker_ros.presets import PRESETS, load_settings
from smotracker_ros.ros.launch_arguments import SHARED
from smotracker_ros.ros.parameters import PARAMETERS, setting_parameters

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
ARGUMENTS = {
    "track.launch.py": {
        "image", "image_transport", "camera_info", "cues", "cues_3d", "cue_pose", "extrinsics", "preset",
        "namespace", "name", "params_file",
        "use_sim_time", "autostart", "respawn", "respawn_limit", "run_id", "fastdds_profile",
    },
    "replay.launch.py": {
        "bag", "source", "topic", "image_transport", "player", "output", "rate", "loop", "start_offset", "clock",
        "delay", "preset", "namespace", "params_file", "fastdds_profile",
    },
    "fusion.launch.py": {
        "cameras", "extrinsics", "namespace", "name", "params_file", "use_sim_time", "autostart", "respawn",
        "respawn_limit", "run_id", "fastdds_profile",
    },
    "follow.launch.py": {
        "track_states", "base_frame", "rule", "namespace", "name", "params_file", "use_sim_time", "autostart",
        "respawn", "respawn_limit", "fastdds_profile",
    },
    "multi.launch.py": {
        "cameras", "image", "image_transport", "bags", "topics", "output", "rate", "preset", "params_file", "respawn",
        "fastdds_profile",
    },
}  # fmt: skip


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def _first(call: ast.Call) -> Any:
    return ast.literal_eval(call.args[0])


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_structure(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    calls = [*_calls(tree, "DeclareLaunchArgument"), *_calls(tree, "shared_argument")]
    declared = [_first(call) for call in calls]
    assert sorted(declared) == sorted(ARGUMENTS[file.name])
    shared = {_first(call) for call in _calls(tree, "shared_argument")}
    not_tracker = {"params_file"} if file.name in ("follow.launch.py", "fusion.launch.py") else set()
    assert shared == set(declared) & set(SHARED) - not_tracker, "what is shared is declared in one place"
    assert not _calls(tree, "SetEnvironmentVariable"), "an including launch file's own nodes keep their environment"
    literal = [call for call in _calls(tree, "LaunchConfiguration") if isinstance(call.args[0], ast.Constant)]
    assert {_first(call) for call in literal} <= set(declared), "only declared arguments are used"
    for call in _calls(tree, "DeclareLaunchArgument"):
        assert "description" in {keyword.arg for keyword in call.keywords}
    for call in _calls(tree, "Node"):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        script = ROOT / "scripts" / ast.literal_eval(given["executable"])
        assert script.stat().st_mode & stat.S_IXUSR
        assert f"scripts/{script.name}" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_description(file: Path) -> None:
    pytest.importorskip("launch_ros", reason="ROS's launch comes with a ROS distribution only")
    specification = importlib.util.spec_from_file_location("launch_file", file)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    description = module.generate_launch_description()
    assert {argument.name for argument in description.get_launch_arguments()} == ARGUMENTS[file.name]


def test_shared_arguments_are_described_and_their_files_shipped() -> None:
    for name, shared in SHARED.items():
        assert shared.description.endswith("."), name
        assert not shared.choices or shared.default in shared.choices, name
        assert not shared.is_shipped or (ROOT / shared.default).is_file(), name


def test_the_parameter_file_leaves_presets_alone() -> None:
    content = yaml.safe_load((ROOT / "config" / "tracker.yaml").read_text(encoding="utf-8"))
    assert not {"preset", *(name for preset in PRESETS.values() for name in preset)} & set(
        content["/**"]["ros__parameters"]
    )


def test_parameter_file_names_real_parameters() -> None:
    content = yaml.safe_load((ROOT / "config" / "tracker.yaml").read_text(encoding="utf-8"))
    given = content["/**"]["ros__parameters"]
    known = {parameter.name: parameter for parameter in (*PARAMETERS, *setting_parameters(load_settings()))}
    for name, value in given.items():
        assert type(value) is type(known[name].default), name
        known[name].check(value)


def test_parameters_do_not_clash() -> None:
    names = [parameter.name for parameter in (*PARAMETERS, *setting_parameters(load_settings()))]
    assert len(names) == len(set(names))
    for parameter in (*PARAMETERS, *setting_parameters(load_settings())):
        assert parameter.description.endswith(".") and len(parameter.description) > 15
