"""The demo leaves alone what it did not make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def test_the_demo_moves_aside_what_is_in_its_place(tmp_path: Path) -> None:
    write_scene(tmp_path / "clip", SceneSettings(320, 256, 8, 30.0, 2, "static", "infrared"), seed=1)
    output = tmp_path / "out"
    for name in ("bag", "photos"):
        (output / name).mkdir(parents=True)
        (output / name / "mine.txt").write_text("mine")
    (output / "tracks.txt").write_text("mine")
    command = [sys.executable, "-m", "smotracker_ros.ros.demo", "--output", str(output)]
    done = subprocess.run(
        [*command, "--video", str(tmp_path / "clip" / "video.mp4")], capture_output=True, text=True, env=os.environ,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in output.iterdir()) == ["bag", "earlier", "overlay.mp4", "photos", "tracks.txt"]
    assert (output / "photos" / "mine.txt").read_text() == "mine"
    assert (output / "earlier" / "1" / "bag" / "mine.txt").read_text() == "mine"
    assert (output / "earlier" / "1" / "tracks.txt").read_text() == "mine"
    assert f"held a recording; it is in {output}/earlier/1 now" in done.stdout + done.stderr
