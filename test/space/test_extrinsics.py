"""Files of extrinsics: what they mean, and what is wrong with those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.space import extrinsics as module
from smotracker_ros.space.extrinsics import ExtrinsicsError, read_extrinsics, write_extrinsics
from smotracker_ros.space.poses import PoseError


def _file(folder: Path, text: str) -> Path:
    path = folder / "cameras.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_of_the_description(tmp_path: Path) -> None:
    found = read_extrinsics(_file(tmp_path, str(module.__doc__).split("\n\n")[1]))
    north, south = found.pose("north_optical_frame"), found.pose("south")
    assert found.world == "map" and found.source("north").at(0) is north
    # north looks north (y of the world), 10 degrees up, and its image's right is east
    up = np.radians(10)
    assert np.allclose(north.directions_to_world([[0, 0, 1], [1, 0, 0]]), [[0, np.cos(up), np.sin(up)], [1, 0, 0]])
    assert np.allclose(north.position, [0, 12.5, 9.8])
    assert np.allclose(south.directions_to_world([[0, 0, 1], [0, 1, 0]]), [[1, 0, 0], [0, 0, -1]])
    with pytest.raises(PoseError, match="no camera 'nort'; did you mean north"):
        found.pose("nort")
    again = tmp_path / "again.yaml"
    write_extrinsics(again, found)
    for name, pose in read_extrinsics(again).cameras.items():
        assert np.allclose(pose.rotation.as_matrix(), found.pose(name).rotation.as_matrix())
    assert read_extrinsics(again).frame_ids == found.frame_ids


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no list of cameras; write cameras:"),
        ("cameras: {a: 3}", "camera a has no position and rotation; write"),
        ("cameras: {a: {position: [0, 0, 0]}}", "camera a: give either quaternion"),
        ("cameras: {a: {position: [0, 0], quaternion: [0, 0, 0, 1]}}", "camera a: position is a list of 3 numbers"),
        ("cameras: {a: {position: [0, 0, .nan], quaternion: [0, 0, 0, 1]}}", "position is a list of 3 numbers"),
        ("cameras: {a: {position: [0, 0, 0], quaternion: [0, 0, 0, 0]}}", "unit quaternion"),
        ("cameras: {a: {position: [0, 0, 0], rpy: [0, 0, 0]}}", "camera a: there is no rpy"),
        ("cameras: {a: {position: [0, 0, 0], rpy_degrees: [0, 0, 0], axes: ned}}", "axes are optical or body"),
        ("world: 3\ncameras: {a: {position: [0, 0, 0], rpy_degrees: [0, 0, 0]}}", "world is the name of a frame"),
        ("camera: {}\ncameras: {a: {position: [0, 0, 0], rpy_degrees: [0, 0, 0]}}", "there is no camera, only"),
        ("a: [", "no YAML"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ExtrinsicsError, match=reason) as raised:
        read_extrinsics(_file(tmp_path, text))
    assert "cameras.yaml" in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(ExtrinsicsError, match="cannot be read: No such file"):
        read_extrinsics(tmp_path / "none.yaml")
