"""The benchmark of moving cameras: labels go with the picture, and the tracker keeps up."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from smotracker_ros.training.clips import Clip, read_clip
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

FRAMES = 24


@pytest.fixture(scope="module")
def moving_camera() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "moving_camera.py"
    specification = importlib.util.spec_from_file_location("moving_camera", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    folder = tmp_path_factory.mktemp("data") / "scene"
    write_scene(folder, SceneSettings(320, 256, FRAMES, 30.0, 3, "static", "infrared"), seed=4)
    return read_clip(folder)


def test_labels_go_with_the_picture(moving_camera: ModuleType) -> None:
    image = np.zeros((256, 320, 3), np.uint8)
    image[100:112, 200:216] = 255
    for offset, scale in (((0.0, 0.0), 1.0), ((7.0, -9.0), 1.0), ((-3.0, 2.0), 1.4)):
        seen, matrix = moving_camera._view(image, offset, scale)
        assert seen.shape == (256 - 2 * moving_camera.RIM, 320 - 2 * moving_camera.RIM, 3)
        (box,) = moving_camera._moved(np.float32([[200, 100, 216, 112]]), matrix)
        rows, columns = np.nonzero(seen[..., 0] > 127)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, found, atol=1.0)


@pytest.mark.parametrize("name", ["still", "shake, up to 20 px per frame"])
def test_the_tracker_keeps_up(moving_camera: ModuleType, clip: Clip, name: str) -> None:
    (labels, covered, *_), off = moving_camera.measure(clip, moving_camera.MOTIONS[name], FRAMES)
    assert labels > 2 * FRAMES and covered > 0.5 * labels
    assert np.isnan(off), "the clip is too short to tell"


def test_the_drift_is_that_of_the_motions_put_together(moving_camera: ModuleType) -> None:
    frames = moving_camera.DRIFT_FRAMES + 6
    places = [np.array([[1.0, 0, 2.0 * index], [0, 1.0, 0]]) for index in range(frames)]
    exact = [np.array([[1.0, 0, 2.0], [0, 1.0, 0]])] * frames
    slow = [np.array([[1.0, 0, 1.9], [0, 1.0, 0]])] * frames
    assert moving_camera.drift(exact, places, (320, 256)) == pytest.approx(0, abs=1e-6)
    assert moving_camera.drift(slow, places, (320, 256)) == pytest.approx(0.1 * moving_camera.DRIFT_FRAMES)
