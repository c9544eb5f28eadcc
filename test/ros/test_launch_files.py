"""Launch files: their structure everywhere, their description where ROS's launch is installed."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python

from smotracker_ros.presets import PRESETS, load_settings
from smotracker_ros.ros.demo import render_scene
from smotracker_ros.ros.parameters import PARAMETERS, setting_parameters

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
ARGUMENTS = {
    "track.launch.py": {
        "image", "image_transport", "camera_info", "cues", "preset", "namespace", "name", "params_file",
        "use_sim_time", "autostart", "respawn", "run_id", "fastdds_profile",
    },
    "replay.launch.py": {
        "bag", "source", "topic", "image_transport", "player", "output", "rate", "loop", "start_offset", "clock",
        "delay", "preset", "namespace", "params_file",
    },
    "multi.launch.py": {
        "cameras", "image", "image_transport", "bags", "topics", "output", "rate", "preset", "params_file", "respawn",
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
    declared = [_first(call) for call in _calls(tree, "DeclareLaunchArgument")]
    assert set(declared) == ARGUMENTS[file.name]
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    for name in declared:
        assert texts.count(name) > 1, f"{name} is used"
    literal = [call for call in _calls(tree, "LaunchConfiguration") if isinstance(call.args[0], ast.Constant)]
    assert {_first(call) for call in literal} <= set(declared), "only declared arguments are used"
    for call in _calls(tree, "DeclareLaunchArgument"):
        assert "description" in {keyword.arg for keyword in call.keywords}
    for call in _calls(tree, "Node"):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        assert ast.literal_eval(given["package"]) == "smotracker_ros"
        script = ROOT / "scripts" / ast.literal_eval(given["executable"])
        assert script.stat().st_mode & stat.S_IXUSR
        assert f"scripts/{script.name}" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["track.launch.py", "replay.launch.py"])
@pytest.mark.parametrize(
    ("distribution", "variable"), [("jazzy", "FASTRTPS"), ("kilted", "FASTDDS"), (None, "FASTDDS")]
)
def test_the_profile_s_variable_is_that_of_the_distribution(
    name: str, distribution: str | None, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = ast.parse((ROOT / "launch" / name).read_text(encoding="utf-8"))
    (call,) = _calls(tree, "SetEnvironmentVariable")
    assert isinstance(call.args[0], ast.Name) and call.args[0].id == "PROFILE_VARIABLE"
    constants = [node for node in tree.body if isinstance(node, ast.Assign)]
    if distribution is None:
        monkeypatch.delenv("ROS_DISTRO", raising=False)
    else:
        monkeypatch.setenv("ROS_DISTRO", distribution)
    values: dict[str, Any] = {"os": os}
    exec(compile(ast.Module(constants, []), name, "exec"), values)
    assert values["PROFILE_VARIABLE"] == f"{variable}_DEFAULT_PROFILES_FILE"


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_description(file: Path) -> None:
    pytest.importorskip("launch_ros", reason="ROS's launch comes with a ROS distribution only")
    specification = importlib.util.spec_from_file_location("launch_file", file)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    description = module.generate_launch_description()
    assert {argument.name for argument in description.get_launch_arguments()} == ARGUMENTS[file.name]


# What `ros2 launch FILE NAME:=VALUE ...` does
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [item.split(":=", 1) for item in sys.argv[2:]]
service = LaunchService(argv=sys.argv[2:])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


@contextlib.contextmanager
def _launched(file: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    pytest.importorskip("launch_ros", reason="ROS's launch comes with a ROS distribution only")
    environment = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    command = [sys.executable, "-c", LAUNCH, str(ROOT / "launch" / file), *arguments]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("launch did not end")


def _parameters(client: Any, node: str, *names: str) -> list[Any]:
    answer = client.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=names), 60)
    return [parameter_value_to_python(value) for value in answer.values]


@pytest.mark.slow
def test_arguments_that_are_not_given_leave_the_file_in_force(client: Any, tmp_path: Path) -> None:
    values = {
        "preset": "g-smotracker",
        "image_transport": "compressed",
        "autostart": False,
        "run_id": "flight7",
        "use_sim_time": True,
    }
    file = tmp_path / "my.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    with _launched("track.launch.py", f"params_file:={file}", "image:=/mast/image_raw", "namespace:=filed"):
        assert _parameters(client, "/filed/smotracker", *values) == list(values.values())
        assert _parameters(client, "/filed/smotracker", "detector_confidence") == [0.35], "that of the preset"
    given = ("preset:=samurai", "image_transport:=raw", "run_id:=007", "use_sim_time:=false", "autostart:=true")
    arguments = (f"params_file:={file}", "image:=/mast/image_raw", "namespace:=said", "cues:=/radar/boxes", *given)
    with _launched("track.launch.py", *arguments):
        assert _parameters(client, "/said/smotracker", *values) == ["samurai", "raw", True, "007", False]
        found = client.spin_until(lambda: client.node.count_subscribers("/mast/camera_info") > 0, 60)
        assert found, "the calibration is looked for beside the image"
        assert client.node.count_subscribers("/mast/image_raw") and client.node.count_subscribers("/radar/boxes")
    with _launched("track.launch.py", "autostart:=false", "namespace:=bare"):
        preset, run = _parameters(client, "/bare/smotracker", "preset", "run_id")
        assert preset == "y-smotracker" and run.startswith("run")


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("rate:=2.0", "player:=own", "clock:=true", "namespace:=sky/north")])
def test_a_replay_is_recorded_and_ends(tmp_path: Path, more: tuple[str, ...]) -> None:
    pytest.importorskip("launch_ros", reason="ROS's launch comes with a ROS distribution only")
    video = render_scene(tmp_path / "scene", 20)
    with _launched("replay.launch.py", f"source:={video}", f"output:={tmp_path / 'out'}", *more) as process:
        output = process.communicate(timeout=180)[0]
    assert "recorded 20 frames" in output, output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bag", "tracks.txt", "overlay.mp4"}


@pytest.mark.slow
def test_a_replay_without_a_tracker_ends(tmp_path: Path) -> None:
    pytest.importorskip("launch_ros", reason="ROS's launch comes with a ROS distribution only")
    video = render_scene(tmp_path / "scene", 5)
    arguments = (f"source:={video}", f"output:={tmp_path / 'out'}", "preset:=nonsense")
    with _launched("replay.launch.py", *arguments) as process:
        output = process.communicate(timeout=120)[0]
    assert "preset must be one of" in output and "process[recorder" in output, output
    assert "recorded" not in output


@pytest.mark.slow
def test_several_cameras_are_launched(client: Any) -> None:
    with _launched("multi.launch.py", "cameras:=front,rear", "image:=camera/image_raw", "preset:=samurai"):
        for name in ("front", "rear"):
            assert _parameters(client, f"/{name}/smotracker", "preset") == ["samurai"]
            topics = (f"/{name}/camera/image_raw", f"/{name}/camera/camera_info", f"/{name}/cues")
            assert client.spin_until(lambda topics=topics: all(map(client.node.count_subscribers, topics)), 90)


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
