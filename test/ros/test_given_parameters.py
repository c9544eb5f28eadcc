"""Parameters from outside: wrong, misspelt, for another node, of another type, and the node's own dump."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters

from smotracker_ros.ros.process import own_arguments
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

FATAL = {
    "nothing.yaml": "nothing.yaml cannot be read: No such file or directory",
    "broken.yaml": "broken.yaml is no YAML in line 3",
    "flat.yaml": "ros__parameters is expected below /max_live_tracks",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parameters")
    (folder / "broken.yaml").write_text("/**:\n  ros__parameters: [1,\n")
    (folder / "flat.yaml").write_text("max_live_tracks: 5\n")
    (folder / "other.yaml").write_text("/other: {ros__parameters: {max_live_tracks: 5}}\n")
    (folder / "whole.yaml").write_text("/**: {ros__parameters: {run_id: 7, silence_seconds: 4, max_live_tracks: 6}}\n")
    return folder


@pytest.mark.parametrize("name", FATAL)
@pytest.mark.parametrize("kind", ["recorder", "player", "tracker"])
def test_a_wrong_parameter_file_gives_one_line(start: Callable[..., Any], files: Path, kind: str, name: str) -> None:
    process = start(kind, "--params-file", str(files / name))
    assert process.wait(120) == 1
    assert FATAL[name] in process.output
    assert len(process.output.splitlines()) == 1, process.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-p", "output"), "parameter override rule: '-p output'"),
        (("-p", "output:="), "'-p output:='"),
        (("-r", "image"), "remap rule"),
        (("--nonsense",), "unknown arguments after --ros-args: ['--nonsense']"),
        (("--log-level", "loud"), "log level: '--log-level loud'"),
        (("-p", "output:=20.10"), "output must be of type str, not float (20.1); put it in quotes"),
        (("-p", "output:=out", "-p", "idle_seconds:=soon"), "idle_seconds must be of type float, not str ('soon')"),
    ],
)
def test_wrong_arguments_are_explained(start: Callable[..., Any], arguments: tuple[str, ...], words: str) -> None:
    process = start("recorder", *arguments)
    assert process.wait(60) == 1
    assert words in process.output and "Traceback" not in process.output, process.output


@pytest.mark.parametrize("kind", ["recorder", "player"])
def test_what_is_given_but_not_used_is_named(
    client: Any, start: Callable[..., Any], files: Path, tmp_path: Path, kind: str
) -> None:
    wrong = {"recorder": "ouput", "player": "sorce"}[kind]
    right = {"recorder": "output", "player": "source"}[kind]
    options = ("--params-file", str(files / "other.yaml"), "-p", f"{wrong}:={tmp_path}")
    process = start(kind, *options, arguments=("--output", "here"))
    assert process.wait(60) == 1, "what is needed is missing"
    assert f"there is no parameter {wrong}; did you mean {right}?" in process.output
    assert "not used: --output here; parameters are given as --ros-args -p NAME:=VALUE" in process.output
    assert "other.yaml is used: it is for /other, and this node is /" in process.output


def _values(client: Any, node: str) -> list[Parameter]:
    names = list(client.call(ListParameters, f"{node}/list_parameters").result.names)
    values = client.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=names)).values
    return [Parameter(name=name, value=value) for name, value in zip(names, values, strict=True)]


def _set(client: Any, node: str, parameters: list[Parameter]) -> dict[str, str]:
    """Reasons of those that are refused, by name."""
    request = SetParameters.Request(parameters=parameters)
    results = client.call(SetParameters, f"{node}/set_parameters", request).results
    return {item.name: result.reason for item, result in zip(parameters, results, strict=True) if not result.successful}


@pytest.mark.slow
def test_a_node_takes_its_own_values_and_whole_numbers(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any], files: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    process = start(
        "tracker", "-r", "__ns:=/given", "--params-file", str(files / "whole.yaml"), "-p", "max_live_trakcs:=5"
    )  # fmt: skip
    node = tracker_of(client, process, "/given/smotracker")
    node.wait_until_active()
    assert "there is no parameter max_live_trakcs; did you mean max_live_tracks?" in process.output
    assert "run_id is given as a number and taken as the text '7'" in process.output
    dump = _values(client, "/given/smotracker")
    found = {item.name: item.value for item in dump}
    assert found["run_id"].string_value == "7" and found["silence_seconds"].double_value == 4.0
    assert (tmp_path / "smotracker" / "7").is_dir()
    assert _set(client, "/given/smotracker", dump) == {}, "what `ros2 param dump` wrote can be loaded"
    changes = {
        "trusted_weights": ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="/tmp"),
        "device": ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="cpu"),
        "silence_seconds": ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=3),
        "class_id": ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="word"),
    }
    refused = _set(client, "/given/smotracker", [Parameter(name=name, value=value) for name, value in changes.items()])
    assert refused.keys() == {"trusted_weights", "device", "class_id"}
    assert "read-only" in refused["trusted_weights"] and "unconfigured" in refused["device"]
    assert node.change(Transition.TRANSITION_DEACTIVATE) and node.change(Transition.TRANSITION_ACTIVATE)


def test_the_player_takes_its_own_values(client: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    write_scene(tmp_path / "scene", SceneSettings(64, 64, 2, 30.0, 1, "static", "infrared"), seed=1)
    process = start(
        "player", "-r", "__ns:=/played", "-p", f"source:={tmp_path / 'scene' / 'video.mp4'}", "-p", "rate:=1"
    )
    dump = _values(client, "/played/bag_player")
    assert {item.name: item.value for item in dump}["rate"].double_value == 1.0, process.output
    assert _set(client, "/played/bag_player", dump) == {}
    rate = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=2.0)
    assert "read-only" in _set(client, "/played/bag_player", [Parameter(name="rate", value=rate)])["rate"]


def test_the_arguments_that_are_not_ros_s() -> None:
    words = ["--respawn", "true", "--ros-args", "-p", "a:=1", "--", "rest", "--ros-args", "-r", "b:=c"]
    assert own_arguments(words) == ["--respawn", "true", "rest"]
