"""Poses: both ways, composed, in time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smotracker_ros.space.poses import FixedPose, Pose, PoseBuffer, PoseError, PoseSource

SECOND = 1_000_000_000
# A camera 10 m above the ground that looks east: its x is south, its y down
EAST = Pose(Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.0, 0.0, 10.0]))


def test_a_camera_that_looks_east_sees_what_lies_there() -> None:
    assert np.allclose(EAST.directions_to_world([[0, 0, 1], [1, 0, 0], [0, 1, 0]]), [[1, 0, 0], [0, -1, 0], [0, 0, -1]])
    assert np.allclose(EAST.points_from_world([[100, 0, 10], [100, -5, 12]]), [[0, 0, 100], [5, -2, 100]])
    points = np.array([[1.0, 2.0, 30.0]])
    assert np.allclose(EAST.points_from_world(EAST.points_to_world(points)), points)
    assert np.allclose(EAST.directions_from_world(EAST.directions_to_world(points)), points)
    assert EAST.points_to_world(np.zeros((0, 3))).shape == (0, 3)


def test_poses_compose_and_invert() -> None:
    mast = Pose(Rotation.from_euler("z", 90, degrees=True), np.array([1.0, 2.0, 0.0]))
    camera = mast.compose(EAST)
    assert np.allclose(camera.position, [1, 2, 10])
    assert np.allclose(camera.directions_to_world([[0, 0, 1]]), [[0, 1, 0]])  # the mast has turned it to the north
    back = camera.compose(camera.inverse())
    assert np.allclose(back.position, 0) and back.rotation.magnitude() == pytest.approx(0, abs=1e-9)


def test_a_moving_mast_is_where_it_was_at_the_images_time() -> None:
    buffer = PoseBuffer("the mast")
    for step in (0, 2, 1):  # in any order
        turned = Rotation.from_euler("z", 90 * step, degrees=True)
        buffer.add(step * SECOND, Pose(turned, np.array([10.0 * step, 0, 0])))
    found = buffer.at(SECOND // 2)
    assert np.allclose(found.position, [5, 0, 0])
    assert np.allclose(found.rotation.as_euler("xyz", degrees=True), [0, 0, 45])
    assert np.allclose(buffer.at(2 * SECOND + SECOND // 20).position, [20, 0, 0])  # holds for a while
    assert isinstance(buffer, PoseSource) and isinstance(FixedPose(EAST), PoseSource)
    assert FixedPose(EAST).at(5) is EAST


def test_what_is_missing_or_old_is_said() -> None:
    buffer = PoseBuffer("the mast", hold_seconds=0.1)
    with pytest.raises(PoseError, match="the mast is not known"):
        buffer.at(0)
    buffer.add(10 * SECOND, EAST)
    with pytest.raises(PoseError, match=r"old: its newest is of 2\.0 s before the image.*compare the clocks"):
        buffer.at(12 * SECOND)
    with pytest.raises(PoseError, match="too new: its oldest is of 300 ms after the image"):
        buffer.at(10 * SECOND - 3 * SECOND // 10)
    buffer.add(13 * SECOND, EAST)
    with pytest.raises(PoseError, match=r"gap of 3\.0 s"):
        buffer.at(12 * SECOND)


def test_a_buffer_is_bounded_and_follows_a_clock_that_is_set_back() -> None:
    buffer = PoseBuffer(span_seconds=1.0)
    for step in range(1000):
        buffer.add(step * SECOND // 100, EAST)
    assert len(buffer) == 101
    buffer.add(0, EAST)
    assert len(buffer) == 1 and buffer.newest_ns == 0
    few = PoseBuffer(most=3)
    for step in range(10):
        few.add(step, EAST)
    assert len(few) == 3


def test_numbers_that_are_no_pose_are_refused() -> None:
    with pytest.raises(PoseError, match="three finite numbers"):
        Pose(position=np.array([0, np.nan, 0]))
    for numbers in ([0, 0, 0, 0], [0, 0, 0, np.nan], [0, 0, 0], [3, 0, 0, 1]):
        with pytest.raises(PoseError, match="unit quaternion"):
            Pose.from_quaternion([0, 0, 0], numbers)
    assert np.allclose(Pose.from_quaternion([1, 2, 3], [0, 0, 0, 1]).position, [1, 2, 3])
