"""Scenes of several cameras: the pixels lie where the truth in space says, through either lens."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from smotracker_ros.io.bags import BagSource
from smotracker_ros.io.image_messages import read_stamp
from smotracker_ros.space.extrinsics import read_extrinsics
from smotracker_ros.training.space_files import EXTRINSICS, START_NS, TRUTH, write_space_scene
from smotracker_ros.training.space_rig import SpaceSettings, make_rig
from smotracker_ros.training.space_scenes import render_camera

SETTINGS = SpaceSettings(
    cameras=2, baseline=20.0, distance=60.0, targets=3, seconds=0.5, fps=8.0, width=320, height=240, lens="mixed",
    clock_offset=0.05, pose_error=0.5,
)  # fmt: skip


def test_boxes_lie_where_the_truth_is_seen() -> None:
    rig = make_rig(SETTINGS, seed=4)
    compared = 0
    for number, camera in enumerate(rig.cameras):
        for time, frame in zip(camera.times, render_camera(rig, number, 4), strict=True):
            for identity, box in zip(frame.ids, frame.boxes, strict=True):
                pixel = camera.pixels(rig.flights[identity - 1].places([time]))[0]
                if np.isfinite(pixel).all() and frame.visibility[list(frame.ids).index(identity)] > 0.9:
                    assert np.abs((box[:2] + box[2:]) / 2 - pixel).max() < 3.0
                    compared += 1
    assert compared > 10


def test_the_models_of_lenses_lead_back() -> None:
    for camera in make_rig(SETTINGS, seed=4).cameras:
        points = np.random.default_rng(0).uniform((0, 0), (320, 240), (50, 2)).astype(np.float32)
        np.testing.assert_allclose(camera.calibration.project(camera.calibration.bearings(points)), points, atol=1e-3)


def test_files_hold_stamps_poses_and_truth(tmp_path: Path) -> None:
    write_space_scene(tmp_path / "scene", SETTINGS, seed=4)
    rig = make_rig(SETTINGS, seed=4)
    stated = read_extrinsics(tmp_path / "scene" / EXTRINSICS)
    true = read_extrinsics(tmp_path / "scene" / f"true_{EXTRINSICS}")
    for camera in rig.cameras:
        off = (true.pose(camera.name).rotation.inv() * stated.pose(camera.name).rotation).magnitude()
        assert 0.0005 < off < 0.05, "the stated orientation is half a degree off or so"
        source = BagSource(tmp_path / "scene" / camera.name / "bag")
        stamps = [(read_stamp(image.message) - START_NS) / 1e9 for image in source.images()]
        np.testing.assert_allclose(stamps, camera.stamps, atol=1e-6)
        content = yaml.safe_load((tmp_path / "scene" / camera.name / "camera_info.yaml").read_text())
        assert content["camera_matrix"]["data"][0] == pytest.approx(camera.calibration.matrix[0, 0])
        assert (tmp_path / "scene" / camera.name / "gt" / "gt.txt").stat().st_size > 0
    assert abs(rig.cameras[1].stamps[0] - rig.cameras[1].times[0]) > 1e-3
    with (tmp_path / "scene" / TRUTH).open() as file:
        first = next(csv.DictReader(file))
    place = rig.flights[int(first["id"]) - 1].places([float(first["stamp"]) - START_NS / 1e9])[0]
    np.testing.assert_allclose([float(first[axis]) for axis in "xyz"], place, atol=1e-3)


def test_settings_that_make_no_scene_are_refused() -> None:
    with pytest.raises(ValueError, match="lens must be one of"):
        SpaceSettings(lens="telephoto")
    with pytest.raises(ValueError, match="distance must lie"):
        SpaceSettings(distance=5.0)
