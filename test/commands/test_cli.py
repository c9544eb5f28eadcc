"""The command line: real processes' behaviour, through the same entry point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from smotracker_ros.core.overrides import parse_override
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.io.sources import open_source

ROOT = Path(__file__).resolve().parents[1]


ENTRY = "from smotracker_ros.cli import main; main()"


def _run(*arguments: object, code: str = ENTRY) -> subprocess.CompletedProcess[str]:
    search_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = dict(os.environ, PYTHONPATH=search_path, COLUMNS="200")
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


def _one_line_error(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "s"
    result = _run("synthesize", "--output", path, "--seed", 4, "--frames", 20, "--width", 320, "--height", 256,
                  "--targets", 3, "--camera", "static", "--modality", "infrared")  # fmt: skip
    assert result.returncode == 0, result.stderr
    return path


def test_help_is_quick_because_torch_is_not_imported() -> None:
    code = (
        "import sys\nfrom smotracker_ros.cli import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    result = _run("--help", code=code)
    assert result.returncode == 0, result.stderr
    for command in ("track", "synthesize", "train", "evaluate-model"):
        assert command in result.stdout


def test_synthesize_writes_a_sequence(scene: Path) -> None:
    assert sorted(path.name for path in scene.iterdir()) == ["gt", "seqinfo.ini", "video.mp4"]
    with av.open(str(scene / "video.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 20
    rows = np.loadtxt(scene / "gt" / "gt.txt", delimiter=",")
    assert set(rows[:, 1]) <= {1, 2, 3}


def test_synthesize_is_reproducible(scene: Path, tmp_path: Path) -> None:
    _run("synthesize", "--output", tmp_path / "s", "--seed", 4, "--frames", 20, "--width", 320, "--height", 256,
         "--targets", 3, "--camera", "static", "--modality", "infrared")  # fmt: skip
    for name in ("gt/gt.txt", "seqinfo.ini"):
        assert (tmp_path / "s" / name).read_bytes() == (scene / name).read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["synthesize"],
        ["synthesize", "--output", "x", "--frames", "0"],
        ["synthesize", "--output", "x", "--camera", "upside-down"],
        ["track", "x"],
        ["track", "x", "--output", "y", "--storage", "tape"],
        ["no-such-command"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    result = _run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_missing_source(tmp_path: Path) -> None:
    result = _run("track", tmp_path / "none.mp4", "--output", tmp_path / "o")
    _one_line_error(result, "none.mp4", "does not exist")
    assert not (tmp_path / "o").exists()


def test_broken_source(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"not a video" * 100)
    result = _run("track", tmp_path / "bad.mp4", "--output", tmp_path / "o")
    _one_line_error(result, "bad.mp4")
    assert not (tmp_path / "o").exists()


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = _run("synthesize", "--output", tmp_path / "file" / "scene", "--frames", 2)
    _one_line_error(result, "cannot be written")


@pytest.mark.parametrize(
    "change", ["max_live_trakcs=3", "max_live_tracks=many", "max_live_tracks", "max_live_tracks=0"]
)
def test_wrong_settings(scene: Path, tmp_path: Path, change: str) -> None:
    result = _run("track", scene / "video.mp4", "--output", tmp_path / "o", "--set", change)
    _one_line_error(result)
    assert not (tmp_path / "o").exists()


def test_unknown_preset(scene: Path, tmp_path: Path) -> None:
    result = _run("track", scene / "video.mp4", "--output", tmp_path / "o", "--preset", "z-smotracker")
    _one_line_error(result, "z-smotracker")
    assert not (tmp_path / "o").exists()


def test_missing_weights(scene: Path, tmp_path: Path) -> None:
    result = _run("track", scene / "video.mp4", "--output", tmp_path / "o", "--set", "detector_weights=/no/such.pt")
    _one_line_error(result, "/no/such.pt")
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_track_writes_everything(scene: Path, tmp_path: Path) -> None:
    output = tmp_path / "o"
    result = _run("track", scene, "--output", output, "--masks", "--bag", "--frames", 15, "--set", "clip_seconds=0.2")
    assert result.returncode == 0, result.stderr
    names = sorted(path.name for path in output.iterdir())
    assert names == ["bag", "masks", "overlay.mp4", "summary.json", "tracks.txt"]
    summary = json.loads((output / "summary.json").read_text())
    assert summary["frames"] == 15
    assert summary["fps"] == 30
    assert summary["preset"] == "y-smotracker"
    assert summary["settings"]["clip_seconds"] == 0.2
    assert summary["models"]
    text = (output / "tracks.txt").read_text()
    rows = [line.split(",") for line in text.splitlines()]
    assert len({row[1] for row in rows}) == summary["tracks"]
    assert len(list((output / "masks").iterdir())) == 15
    with av.open(str(output / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 15


@pytest.mark.slow
def test_outputs_are_of_one_run(scene: Path, tmp_path: Path) -> None:
    """What lay in their places, ours or not, is moved aside; what has another name is left alone."""
    output = tmp_path / "o"
    for name in ("masks", "notes"):
        (output / name).mkdir(parents=True)
        (output / name / "mine.txt").write_text("mine")
    first = _run("track", scene, "--output", output, "--masks", "--bag", "--frames", 3)
    assert first.returncode == 0, first.stderr
    assert (output / "earlier" / "1" / "masks" / "mine.txt").read_text() == "mine"
    second = _run("track", scene, "--output", output, "--frames", 4)
    assert second.returncode == 0, second.stderr
    assert f"{output}/earlier/2" in second.stderr.replace("\n", "")
    names = ["earlier", "notes", "overlay.mp4", "summary.json", "tracks.txt"]
    assert sorted(path.name for path in output.iterdir()) == names
    assert json.loads((output / "summary.json").read_text())["frames"] == 4
    kept = sorted(path.name for path in (output / "earlier" / "2").iterdir())
    assert kept == ["bag", "masks", "overlay.mp4", "summary.json", "tracks.txt"]
    assert json.loads((output / "earlier" / "2" / "summary.json").read_text())["frames"] == 3


def test_synthesize_deletes_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = _run("synthesize", "--output", tmp_path, "--frames", 2, "--width", 64, "--height", 64)
    _one_line_error(result, "exists already", "choose another --output")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(scene: Path, tmp_path: Path, number: signal.Signals) -> None:
    """It comes in mid-stream, when all outputs have begun."""
    code = (
        "import os\nfrom smotracker_ros.io import sinks\nwrite = sinks.MaskWriter.write\n"
        "def write_and_signal(self, frame, tracks):\n"
        "    write(self, frame, tracks)\n"
        f"    if frame.index == 5: os.kill(os.getpid(), {int(number)})\n"
        f"sinks.MaskWriter.write = write_and_signal\n{ENTRY}"
    )
    result = _run("track", scene, "--output", tmp_path / "new" / "o", "--masks", "--bag", code=code)
    assert result.returncode == 128 + number, result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As `nohup` has it."""
    code = (
        "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from smotracker_ros.core.terminations import end_in_order\nend_in_order()\n"
        "signal.raise_signal(signal.SIGHUP)\nprint('alive', flush=True)\nsignal.raise_signal(signal.SIGTERM)\n"
    )
    result = _run(code=code)
    assert (result.stdout, result.returncode) == ("alive\n", 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_live_tracks=7", ("max_live_tracks", 7)),
        ("lost_seconds = 2.5", ("lost_seconds", 2.5)),
        ("adaptive_clips=no", ("adaptive_clips", False)),
        ("adaptive_clips=True", ("adaptive_clips", True)),
        ("detector_weights=a=b.pt", ("detector_weights", "a=b.pt")),
    ],
)
def test_overrides(text: str, expected: tuple[str, object]) -> None:
    name, value = parse_override(text)
    assert (name, value) == expected
    assert type(value) is type(expected[1])


@pytest.mark.parametrize("text", ["max_live_tracks", "=3", "nothing=3", "max_live_tracks=2.5", "adaptive_clips=maybe"])
def test_wrong_overrides(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_override(text)


@pytest.mark.parametrize("group", ["train", "evaluate-model"])
def test_groups_reach_their_commands(group: str) -> None:
    for arguments in ([group], [group, "--help"]):
        result = _run(*arguments)
        assert result.returncode == 0, result.stderr
        for command in ("detector", "masklets"):
            assert command in result.stdout
    assert _run(group, "no-such-command").returncode == 2
    assert "--data" in _run(group, "detector", "--help").stdout


@pytest.mark.slow
def test_other_sizes_in_a_folder_begin_anew_and_are_said(scene: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for frame in open_source(scene):
        image = frame.image if frame.index < 12 else cv2.resize(frame.image, (400, 320))
        cv2.imwrite(str(folder / f"{frame.index + 1:04d}.png"), image[:, :, ::-1])
    (folder / "0004.png").unlink()
    settings = ["--set", "birth_confidence=0.15", "--set", "confirm_probability=0"]
    result = _run("track", folder, "--output", tmp_path / "o", "--masks", *settings)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("image size changed from 320x256 to 400x320") == 1
    assert "1 images are missing" in result.stderr
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert (summary["frames"], summary["restarts"], summary["out_of_order_frames"]) == (19, 1, 0)
    rows = np.loadtxt(tmp_path / "o" / "tracks.txt", delimiter=",", ndmin=2)
    before, after = set(rows[rows[:, 0] <= 12, 1]), set(rows[rows[:, 0] > 12, 1])
    assert before and after and not before & after
    assert 4 not in rows[:, 0] and rows[:, 0].max() == 20
    names = sorted(path.stem for path in (tmp_path / "o" / "masks").iterdir())
    assert names == [f"{number:06d}" for number in range(1, 21) if number != 4]


@pytest.mark.parametrize(
    ("command", "package"),
    [("evaluate", "trackeval"), ("compare", "joblib"), ("reproduce", "matplotlib"), ("tune-peers", "trackeval")],
)
def test_a_missing_extra_is_one_line(command: str, package: str, tmp_path: Path) -> None:
    arguments = ["doha"] if command == "reproduce" else []
    code = f"import sys; sys.modules[{package!r}] = None; {ENTRY}"
    result = _run(command, *arguments, "--data", tmp_path, "--output", tmp_path / "o", code=code)
    _one_line_error(result, package, "smotracker_ros[evaluation]")
