"""Recordings whose frames fail: a frame is tried again, and a command ends with one clear error, not with a gap."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from sam2.modeling.sam.mask_decoder import MaskDecoder
from torch.nn.modules.module import register_module_forward_pre_hook

from smotracker_ros.cli import main
from smotracker_ros.evaluation.comparison import Plan, run_tracker
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

FRAMES = 12
# whose modules can be made to fail
IN_TORCH = ("--set", "runtime=torch")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    scene = SceneSettings(256, 192, FRAMES, 30.0, 3, "static", "infrared", sizes=(8.0, 16.0), contrasts=(80.0, 150.0))
    write_scene(folder / "scene1", scene, 1)
    return folder


@contextmanager
def failing(first: int, times: int) -> Iterator[None]:
    """Let the decoder run out of memory at calls from the first one on, so many times."""
    calls = 0

    def hook(module: torch.nn.Module, given: Any) -> None:
        nonlocal calls
        if isinstance(module, MaskDecoder):
            calls += 1
            if first <= calls < first + times:
                raise torch.OutOfMemoryError("injected")

    handle = register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _smotracker(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["smotracker", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_a_frame_that_fails_once_is_answered(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video, output = str(data / "scene1" / "video.mp4"), tmp_path / "out"
    with failing(4, 1):
        assert _smotracker(monkeypatch, "track", video, "--output", str(output), *IN_TORCH) == 0
    assert json.loads((output / "summary.json").read_text())["frames"] == FRAMES
    said = capsys.readouterr().err
    assert "tracked again" in said and "OutOfMemoryError: injected" in said


def test_a_frame_that_fails_twice_ends_the_command_with_one_clear_error(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video, output = str(data / "scene1" / "video.mp4"), tmp_path / "out"
    with failing(4, 10**6):
        assert _smotracker(monkeypatch, "track", video, "--output", str(output), *IN_TORCH) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("smotracker: frame ") and "OutOfMemoryError: injected" in last and "run the command" in last
    assert not output.exists()


def test_an_evaluation_scores_no_sequence_that_has_failed(data: Path, tmp_path: Path) -> None:
    sequence = read_dataset(data)[0]
    plan = Plan(tmp_path / "out", tmp_path / "cache", overrides={"runtime": "torch"})
    with failing(4, 1):
        failed = run_tracker(plan, "y-smotracker", sequence)
    assert "OutOfMemoryError: injected" in failed.error
    assert not (tmp_path / "out" / "tracks" / "y-smotracker" / "scene1.txt").exists()
    again = run_tracker(plan, "y-smotracker", sequence)
    assert not again.error and again.frames == FRAMES
