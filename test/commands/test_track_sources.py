"""`smotracker track` on live streams, on several sources and with a Rerun recording, in real processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from rerun.chunk import RrdReader

from smotracker_ros.io.sources import open_source

ROOT = Path(__file__).resolve().parents[2]
EAGER = ("--set", "birth_confidence=0.15", "--set", "confirm_probability=0", "--set", "clip_seconds=0.2")


ENTRY = "from smotracker_ros.cli import main; main()"


def _start(*arguments: object, code: str = ENTRY) -> subprocess.Popen[str]:
    search_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = dict(os.environ, PYTHONPATH=search_path, COLUMNS="200")
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _run(*arguments: object, code: str = ENTRY) -> tuple[int, str, str]:
    process = _start(*arguments, code=code)
    out, error = process.communicate(timeout=300)
    return process.returncode, out, error


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "s"
    code, _, error = _run("synthesize", "--output", path, "--seed", 4, "--frames", 30, "--width", 320, "--height", 256,
                          "--targets", 3, "--camera", "static", "--modality", "infrared")  # fmt: skip
    assert code == 0, error
    return path


def _wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_live_stream_with_whole_outputs(
    number: signal.Signals,
    scene: Path,
    tmp_path: Path,
    http_camera: Callable[..., str],
    transport_stream: Callable[..., list[bytes]],
) -> None:
    """It breaks off once, comes back, and is ended in the middle."""
    pieces = transport_stream((frame.image for frame in open_source(scene)), fps=30)
    came_back = []

    def endless() -> Iterator[bytes]:
        came_back.append(True)
        yield from itertools.chain.from_iterable(itertools.repeat(pieces))

    address = http_camera(pieces, endless(), seconds=0.1)
    output = tmp_path / "o"
    process = _start("track", address, "--output", output, "--masks", *EAGER)
    try:
        _wait_for(lambda: came_back or process.poll() is not None)
        before = len(list(output.rglob("*.png")))
        _wait_for(lambda: len(list(output.rglob("*.png"))) > before + 10 or process.poll() is not None)
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, error
    assert "Traceback" not in error
    assert "is back after" in error
    assert "frames dropped; see" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o"]
    assert sorted(path.name for path in output.iterdir()) == ["masks", "overlay.mp4", "summary.json", "tracks.txt"]
    summary = json.loads((output / "summary.json").read_text())
    assert summary["reconnections"] == 1
    assert summary["frames"] > 10
    assert summary["tracks"] > 0
    assert summary["dropped_frames"] >= 0
    with av.open(str(output / "overlay.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    masks_written = sorted(int(path.stem) for path in (output / "masks").iterdir())
    assert len(times) == len(masks_written) == summary["frames"]
    np.testing.assert_allclose(np.diff(times), np.diff(masks_written) / summary["fps"], atol=1e-3)
    rows = np.loadtxt(output / "tracks.txt", delimiter=",", ndmin=2)
    assert set(rows[:, 0]) <= set(masks_written)


@pytest.mark.slow
def test_several_sources(scene: Path, tmp_path: Path) -> None:
    """One after the other, by one tracker that forgets what it has seen before."""
    code, out, error = _run("track", scene, scene / "video.mp4", scene, "--output", tmp_path / "all", "--frames", 20,
                            *EAGER)  # fmt: skip
    assert code == 0, error
    assert [line.rpartition("; see ")[2] for line in out.splitlines()] == [
        str(tmp_path / "all" / name) for name in ("s", "s-2", "s-3")
    ]
    code, _, error = _run("track", scene, "--output", tmp_path / "alone", "--frames", 20, *EAGER)
    assert code == 0, error
    alone = np.loadtxt(tmp_path / "alone" / "tracks.txt", delimiter=",", ndmin=2)
    assert len(alone)
    ids: set[float] = set()
    for name in ("s", "s-2", "s-3"):
        rows = np.loadtxt(tmp_path / "all" / name / "tracks.txt", delimiter=",", ndmin=2)
        assert not ids & set(rows[:, 1]), "no id is used for two objects"
        ids |= set(rows[:, 1])
        np.testing.assert_array_equal(np.delete(rows, 1, axis=1), np.delete(alone, 1, axis=1))
        assert json.loads((tmp_path / "all" / name / "summary.json").read_text())["frames"] == 20


def test_one_source_of_several_that_cannot_be_read(scene: Path, tmp_path: Path) -> None:
    for other, words in {"none.mp4": "does not exist", "udp://127.0.0.1:9000": "cannot wait for its turn"}.items():
        code, _, error = _run("track", scene, other, "--output", tmp_path / "o")
        assert code == 1
        assert len(error.splitlines()) == 1 and words in error
    assert not (tmp_path / "o").exists()


def test_wrong_options_of_streams(scene: Path, tmp_path: Path) -> None:
    code, _, error = _run("track", scene, "--output", tmp_path / "o", "--stream-option", "video_size")
    assert code == 2 and "is not NAME=VALUE" in error
    code, _, error = _run("track", scene / "video.mp4", "--output", tmp_path / "o", "--stream-option", "video_size=1x1")
    assert code == 1 and "is no stream and no camera" in error


@pytest.mark.slow
def test_a_rerun_recording_beside_the_other_outputs(scene: Path, tmp_path: Path) -> None:
    output, file = tmp_path / "o", tmp_path / "look" / "s.rrd"
    code, _, error = _run("track", scene, "--output", output, "--frames", 12, "--rerun", file, *EAGER)
    assert code == 0, error
    assert sorted(path.name for path in output.iterdir()) == ["overlay.mp4", "summary.json", "tracks.txt"]
    assert list(file.parent.iterdir()) == [file]
    rows = [batch for chunk in RrdReader(file).stream() if chunk.entity_path == "/camera/tracks"
            for batch in chunk.to_record_batch().to_pylist()]  # fmt: skip
    tracks = np.loadtxt(output / "tracks.txt", delimiter=",", ndmin=2)
    named = {(row["frame"] + 1, int(label.split()[0])) for row in rows for label in row["Boxes2D:labels"]}
    assert len(rows) == 12
    assert named == {(int(frame), int(identity)) for frame, identity in tracks[:, :2]} != set()


def test_wrong_use_of_rerun(scene: Path, tmp_path: Path) -> None:
    code, _, error = _run("track", scene, "--output", tmp_path / "o", "--rerun", scene / "video.mp4")
    assert code == 2 and "does not end in .rrd" in error
    code, _, error = _run("track", scene, scene, "--output", tmp_path / "o", "--rerun", tmp_path / "a.rrd")
    assert code == 2 and "give one source" in error
    without = f"import sys; sys.modules['rerun'] = None; {ENTRY}"
    code, _, error = _run("track", scene, "--output", tmp_path / "o", "--rerun", tmp_path / "a.rrd", code=without)
    assert code == 1
    assert (
        len(error.strip().splitlines()) == 1 and "--rerun needs rerun" in error and "'smotracker_ros[rerun]'" in error
    )
    assert list(tmp_path.iterdir()) == []
