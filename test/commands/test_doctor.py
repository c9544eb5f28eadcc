"""`smotracker doctor`, `smotracker` alone, completion and `--json`: in real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: object, first: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own; the package is that of the folder `first`."""
    environment = dict(os.environ, COLUMNS="200", **variables)
    environment["PYTHONPATH"] = os.pathsep.join([str(first), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "smotracker_ros.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=first, capture_output=True, text=True, env=environment, timeout=300, check=False)


def _findings(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in json.loads(result.stdout)["findings"]}


def _declare(folder: Path, *requirements: str) -> None:
    """An installation of this project that declares these requirements."""
    information = folder / "smotracker_ros-9.9.dist-info"
    information.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: smotracker_ros", "Version: 9.9"]
    text = "\n".join([*lines, *(f"Requires-Dist: {item}" for item in requirements), ""])
    (information / "METADATA").write_text(text, encoding="utf-8")


def test_doctor_where_everything_is_there() -> None:
    result = _run("doctor", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["complete"] is True
    found = _findings(result)
    assert found["sam2_nano"]["value"].startswith("embedded, checksum")
    assert found["video"]["value"] == "h264 is read and written"
    assert {item["state"] for item in found.values()} <= {"ok", "note"}
    shown = _run("doctor")
    assert shown.returncode == 0
    for section in ("Versions", "Features", "Devices", "Models", "ROS 2", "System"):
        assert f"\n{section}" in f"\n{shown.stdout}"


def test_doctor_names_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    _declare(tmp_path, "numpy>=1", "no-such-package>=3", 'no-such-extra-package; extra == "evaluation"')
    result = _run("doctor", "--json", first=tmp_path)
    assert result.returncode == 1
    found = _findings(result)
    assert found["numpy"]["state"] == "ok"
    assert (found["no-such-package"]["state"], found["no-such-package"]["remedy"]) == (
        "missing",
        "pip install no-such-package",
    )
    feature = found["evaluate, compare, reproduce, tune-peers"]
    assert (feature["state"], feature["remedy"]) == ("note", "pip install 'smotracker_ros[evaluation]'")
    shown = _run("doctor", first=tmp_path)
    assert shown.returncode == 1
    assert "pip install 'smotracker_ros[evaluation]'" in shown.stdout
    assert shown.stdout.rstrip().endswith("missing: no-such-package")


def test_doctor_finds_a_changed_model(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "smotracker_ros", tmp_path / "smotracker_ros", ignore=shutil.ignore_patterns("__pycache__"))
    weights = tmp_path / "smotracker_ros" / "models" / "weights" / "sam2_nano.pt"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    result = _run("doctor", "--json", first=tmp_path)
    assert result.returncode == 1
    assert "has changed" in _findings(result)["sam2_nano"]["value"]


@pytest.mark.ros
@pytest.mark.parametrize("variable", ["FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"])
def test_doctor_looks_at_the_middleware(variable: str, tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    both = {"FASTDDS_DEFAULT_PROFILES_FILE": "", "FASTRTPS_DEFAULT_PROFILES_FILE": ""}
    profile = tmp_path / "mine.xml"
    dds = {**both, "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp", variable: str(profile)}
    found = _findings(_run("doctor", "--json", **dds))["FastDDS profile"]
    assert (found["state"], found["remedy"]) == ("note", "there is no such file")
    profile.touch()
    assert _findings(_run("doctor", "--json", **dds))["FastDDS profile"]["state"] == "ok"
    nothing = _findings(_run("doctor", "--json", **{**dds, variable: ""}))["FastDDS profile"]
    assert (nothing["value"], nothing["state"]) == ("none", "note")
    assert "FastDDS profile" not in _findings(
        _run("doctor", "--json", **{**dds, "RMW_IMPLEMENTATION": "rmw_zenoh_cpp"})
    )


def test_alone_it_says_what_to_do_first() -> None:
    result = _run()
    assert result.returncode == 0
    commands = [line.split()[:2] for line in result.stdout.splitlines() if line.startswith("  smotracker")]
    assert commands == [["smotracker", "doctor"], ["smotracker", "synthesize"], ["smotracker", "track"]]


def test_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert _run("--version").stdout == f"smotracker {project['version']}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("smotracker syn", ["synthesize"]),
        ("smotracker track --pre", ["--preset"]),
        ("smotracker train masklets --ite", ["--iterations"]),
        ("smotracker weights f", ["fetch"]),
        ("smotracker doctor --js", ["--json"]),
    ],
)
def test_the_shell_completes_commands_and_their_options(words: str, expected: list[str]) -> None:
    shell = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    result = _run(_SMOTRACKER_COMPLETE="complete_bash", **shell)
    assert result.stdout.split() == expected, result.stderr


def test_completion_can_be_installed(tmp_path: Path) -> None:
    """Typer asks which shell has started it: a bash of our own."""
    command = f"{sys.executable} -m smotracker_ros.cli --install-completion; exit $?"
    environment = dict(os.environ, HOME=str(tmp_path))
    result = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    script = (tmp_path / ".bash_completions" / "smotracker.sh").read_text(encoding="utf-8")
    assert "_SMOTRACKER_COMPLETE=complete_bash" in script
    assert "smotracker.sh" in (tmp_path / ".bashrc").read_text(encoding="utf-8")


def test_weights_as_json() -> None:
    result = _run("weights", "list", "--json")
    files = {item["name"]: item for item in json.loads(result.stdout)["files"]}
    assert files["sam2_nano"]["state"] == "embedded" and Path(files["sam2_nano"]["path"]).is_file()
    assert len(files["sam2.1_hiera_tiny"]["sha256"]) == 64


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_results_as_json(command: str, tmp_path: Path) -> None:
    """Nothing but JSON on stdout, and the same as in the file."""
    size = ("--frames", 8, "--width", 320, "--height", 256, "--targets", 2, "--camera", "static")
    assert _run("synthesize", "--output", tmp_path / "data" / "one", *size).returncode == 0
    trackers = ("--trackers", "y-smotracker") if command == "compare" else ()
    places = ("--data", tmp_path / "data", "--output", tmp_path / "out", "--cache", tmp_path / "cache")
    result = _run(command, *places, *trackers, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
