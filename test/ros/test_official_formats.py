"""Checkpoints in the four official formats, with random weights: on the command line and in the node.

They lie outside the folder of fetched weights, where a file that is not the official one is refused by its size.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sam2
import torch

from smotracker_ros.core.frames import Frame
from smotracker_ros.masklets.checkpoints import instantiate_config
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
BROKEN = {
    "truncated": "cannot be read as a checkpoint",
    "renamed_key": "does not fit it",
    "wrong_size": "does not fit it",
}

pytestmark = pytest.mark.slow


def _state(size: str) -> dict[str, torch.Tensor]:
    config = Path(sam2.__path__[0]) / "configs" / "sam2.1" / f"sam2.1_hiera_{SIZES[size]}.yaml"
    return dict(instantiate_config(config).state_dict())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official") / "scene"
    write_scene(folder, SceneSettings(320, 256, 4, 30.0, 3, "static", "infrared"), 4)
    return folder / "video.mp4"


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[Path]:
    """A folder of one's own; it is emptied, since large files take a gigabyte."""
    folder = tmp_path / "weights"
    folder.mkdir()
    yield folder
    for file in folder.iterdir():
        file.unlink()


def _track(scene: Path, output: Path, weights: Path) -> subprocess.CompletedProcess[str]:
    options = (
        "--set",
        f"masklet_weights={weights}",
        "--set",
        "masklet_image_size=128",
        "--set",
        "masklet_mode=windows",
    )
    command = [sys.executable, "-m", "smotracker_ros.cli", "track", str(scene), "--output", str(output), *options]
    environment = dict(os.environ, COLUMNS="300")
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)


@pytest.mark.parametrize("size", SIZES)
def test_official_formats(
    size: str, scene: Path, weights: Path, tmp_path: Path, client: Any, start: Callable[..., Any],
    tracker_of: Callable[..., Any],
) -> None:  # fmt: skip
    path = weights / f"sam2.1_hiera_{size}.pt"
    torch.save({"model": _state(size)}, path)

    result = _track(scene, tmp_path / "out", path)
    assert result.returncode == 0, result.stderr
    assert f"sam2.1-hiera-{SIZES[size]}" in (tmp_path / "out" / "summary.json").read_text()

    namespace = f"/official_{size}"
    parameters = (f"masklet_weights:={path}", "masklet_image_size:=128", "on_overload:=every_frame")
    options = [text for parameter in parameters for text in ("-p", parameter)]
    process = start("tracker", "-r", f"__ns:={namespace}", *options)
    tracker = tracker_of(client, process, f"{namespace}/smotracker")
    tracker.wait_until_active()
    assert f"masklets sam2.1-hiera-{SIZES[size]}" in process.output
    tracker.send(Frame(np.full((256, 320, 3), 90, np.uint8), 1))
    assert client.spin_until(lambda: bool(tracker.detections), 60), process.output
    process.interrupt()
    assert process.wait() == 0, process.output


@pytest.mark.parametrize("defect", BROKEN)
def test_a_broken_file_gives_one_clear_error(
    defect: str, scene: Path, weights: Path, tmp_path: Path, start: Callable[..., Any]
) -> None:
    path, state = weights / "sam2.1_hiera_tiny.pt", _state("tiny")
    if defect == "renamed_key":
        state["no_memory_embed"] = state.pop("no_mem_embed")
    if defect == "wrong_size":
        state["sam_mask_decoder.iou_token.weight"] = torch.zeros(1, 128)
    torch.save({"model": state}, path)
    if defect == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])

    result = _track(scene, tmp_path / "out", path)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert result.returncode == 1 and len(lines) == 1, result.stderr
    assert "sam2.1_hiera_tiny.pt" in lines[0] and BROKEN[defect] in lines[0]

    process = start("tracker", "-r", f"__ns:=/{defect}", "-p", f"masklet_weights:={path}")
    assert process.wait(120) == 1
    assert process.output.count(BROKEN[defect]) == 1 and "Traceback" not in process.output
