"""The examples run as they stand, each as a process of its own, on a rendered scene."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "first_steps.ipynb"
LARGEST_NOTEBOOK = 1_000_000
SCENE = "--seed 1 --frames 40 --width 384 --height 288 --targets 4 --camera pan --modality infrared"


def _python(*arguments: object) -> str:
    environment = dict(os.environ, MPLBACKEND="Agg", COLUMNS="200")
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "one"
    _python("-m", "smotracker_ros.cli", "synthesize", "--output", folder, *SCENE.split())
    return folder


def _cells() -> list[dict[str, object]]:
    return list(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"])


def test_all_examples_are_tested_and_named() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for file in EXAMPLES.iterdir():
        if file.suffix in (".py", ".ipynb"):
            assert f'"{file.name}"' in text, f"{file.name} is not run here"
            assert f"]({file.name})" in table


@pytest.mark.slow
def test_a_file(scene: Path) -> None:
    lines = _python(EXAMPLES / "track_file.py", scene / "video.mp4", "--clip-seconds", 0.3).splitlines()
    found = [re.fullmatch(r"target (\d+) \((\w+)\): seen on (\d+) frames, [\d.]+ s", line) for line in lines]
    assert all(found) and 3 <= len(found) <= 8
    assert max(int(match[3]) for match in found if match) >= 20


@pytest.mark.slow
def test_a_stream_of_ones_own(scene: Path, tmp_path: Path) -> None:
    lines = _python(EXAMPLES / "own_stream.py", scene / "video.mp4").splitlines()
    places = np.array([re.findall(r"\((-?\d+), (-?\d+)\)", line)[0] for line in lines], dtype=int)
    assert len(places) > 60
    truth = np.loadtxt(scene / "gt" / "gt.txt", delimiter=",")
    numbers = np.array([int(line.split()[1].rstrip(":")) for line in lines])
    centers = truth[:, 2:4] + truth[:, 4:6] / 2
    near = [
        np.linalg.norm(centers[truth[:, 0] == number + 1] - place, axis=1).min() < 8
        for number, place in zip(numbers, places, strict=True)
    ]
    assert np.mean(near) > 0.8, "what it prints are not the places of the scene's targets"


@pytest.mark.slow
def test_evaluation(scene: Path) -> None:
    lines = _python(EXAMPLES / "evaluate.py", scene.parent).splitlines()
    values = {line.split(":")[0]: float(re.findall(r"IDF1 ([\d.]+)", line)[0]) for line in lines}
    assert set(values) == {"iou", "small_target"}
    assert 20 < values["small_target"] <= 100


@pytest.mark.slow
def test_a_detector_of_ones_own(scene: Path) -> None:
    output = _python(EXAMPLES / "custom_detector.py", scene / "video.mp4")
    assert re.fullmatch(r"bright spots: [1-9]\d* targets: \[[\d, ]+\]\n", output)


@pytest.mark.slow
def test_results_of_a_bag(scene: Path, tmp_path: Path) -> None:
    track = ("-m", "smotracker_ros.cli", "track", scene / "video.mp4", "--frames", 15, "--bag")
    _python(*track, "--output", tmp_path / "out")
    lines = _python(EXAMPLES / "read_results.py", tmp_path / "out" / "bag").splitlines()
    assert len({line.split()[0] for line in lines}) >= 14, "one time stamp per image with targets"
    confirmed = [line for line in lines if "confirmed" in line and "mask of" in line]
    assert len(confirmed) > 20


@pytest.mark.ros
@pytest.mark.slow
def test_a_live_topic(scene: Path, tmp_path: Path) -> None:
    pytest.importorskip("vision_msgs")
    environment = {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    environment |= {"ROS_DOMAIN_ID": str(random.randint(1, 100)), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    watch = [sys.executable, str(EXAMPLES / "watch_tracks.py"), "/tracks"]
    demo = [sys.executable, "-m", "smotracker_ros.ros.demo", "--video", str(scene / "video.mp4")]
    with subprocess.Popen(watch, env=environment, stdout=subprocess.PIPE, text=True) as watcher:
        subprocess.run([*demo, "--output", str(tmp_path)], env=environment, timeout=300, check=True)
        watcher.send_signal(signal.SIGINT)
        lines = watcher.communicate(timeout=60)[0].splitlines()
    assert watcher.returncode == 0
    shown = [
        re.fullmatch(r"[\d.]+ (\w+) (\d+) at \((-?[\d.]+), (-?[\d.]+)\), [\d.]+ x [\d.]+ pixels", line)
        for line in lines
    ]
    assert len(shown) > 20
    rows = np.loadtxt(tmp_path / "tracks.txt", delimiter=",", usecols=range(6))
    for match in shown:
        assert match is not None
        own = rows[rows[:, 1] == int(match[2])]
        distances = np.hypot(*(own[:, 2:4] + own[:, 4:6] / 2 - [float(match[3]), float(match[4])]).T)
        assert distances.min() < 0.2, "the recorder wrote no such box"


@pytest.mark.slow
def test_the_notebook(tmp_path: Path) -> None:
    """Its code as one script: no Jupyter is needed."""
    code = ["".join(cell["source"]) for cell in _cells() if cell["cell_type"] == "code"]  # type: ignore[arg-type]
    script = tmp_path / "first_steps.py"
    script.write_text("\n\n".join(code), encoding="utf-8")
    output = _python(script)
    assert "small_target {'HOTA':" in output


def test_the_notebook_holds_its_pictures() -> None:
    assert NOTEBOOK.stat().st_size < LARGEST_NOTEBOOK
    outputs = [output for cell in _cells() for output in cell.get("outputs", [])]  # type: ignore[attr-defined]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3


def test_usage_is_told() -> None:
    """An example that is called without its argument says how to call it."""
    for name in ("own_stream.py", "evaluate.py", "custom_detector.py", "read_results.py"):
        result = subprocess.run(
            [sys.executable, str(EXAMPLES / name)],
            capture_output=True,
            text=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])),
            timeout=120,
            check=False,
        )
        assert result.returncode == 1
        assert f"python examples/{name}" in result.stderr
