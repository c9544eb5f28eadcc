"""Hints in space: gates of their shape, at the camera's pose of the frame's time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smotracker_ros.io.calibration import Calibration
from smotracker_ros.space.hints import HintErrors, SpaceHint
from smotracker_ros.space.poses import OPTICAL_IN_BODY, FixedPose, Pose, PoseBuffer
from smotracker_ros.tracking.gates import Gate, HintError

SECOND = 1_000_000_000
CAMERA = Calibration((720, 1280), np.array([[1000.0, 0, 639.5], [0, 1000.0, 359.5], [0, 0, 1]]))
# 10 m above the ground, looking along the world's x
EAST = FixedPose(Pose(OPTICAL_IN_BODY, np.array([0.0, 0.0, 10.0])))
EXACT = HintErrors(pose_degrees=0.0, pose_metres=0.0, speed=0.0)


def _gate(place: list[float], deviations: list[float], time: int = 0, **options: Any) -> Gate | None:
    options = {"camera": EAST, "errors": EXACT, **options}
    return SpaceHint(0, np.array(place), np.diag(np.square(deviations)), calibration=CAMERA, **options).gate(time)


def test_a_gate_has_the_shape_of_the_hint() -> None:
    """500 m ahead, 1000 pixels per radian: 2 pixels per metre. As a Monte Carlo draw of the hint finds it, too."""
    gate = _gate([500, 0, 10], [1.0, 10.0, 30.0])
    assert gate is not None and np.allclose(gate.center, [640, 360], atol=0.1)
    assert np.allclose(np.sqrt(np.diag(gate.covariance)), [20, 60], rtol=0.1)
    long = _gate([300, 60, 40], [80.0, 3.0, 3.0])
    assert long is not None
    drawn = np.random.default_rng(1).normal(0, 1, (20_000, 3)) * [80, 3, 3] + [300, 60, 40]
    pixels = CAMERA.project(EAST.pose.points_from_world(drawn[drawn[:, 0] > 80]))
    assert np.abs(long.center - pixels.mean(axis=0)).max() < 8
    widest = np.sqrt(np.linalg.eigvalsh(long.covariance)[1])
    assert widest == pytest.approx(np.sqrt(np.linalg.eigvalsh(np.cov(pixels.T))[1]), rel=0.3)
    assert len(long.places()) > 3  # a chain along the ray, not one box round all of it


def test_without_range_a_hint_is_a_direction() -> None:
    """Of a radar beside the camera a round gate; of one far off the image of its ray; and a huge variance says it."""
    beside = _gate([10, 1, 10], [1, 1, 1], direction_degrees=1.0, origin=np.array([0.0, 0, 10]))
    assert beside is not None and np.allclose(beside.center, [540, 360], atol=3)
    assert np.allclose(np.sqrt(np.diag(beside.covariance)), 17.5, rtol=0.15)
    rangeless = _gate([500, 0, 10], [1e4, 8.7, 8.7], origin=np.array([0.0, 0, 10]))
    assert rangeless is not None and np.allclose(np.sqrt(np.diag(rangeless.covariance)), 17.5, rtol=0.15)
    far = _gate([100, -200, 20], [1, 1, 1], direction_degrees=0.5, origin=np.array([100.0, -300, 10]))
    assert far is not None
    variances = np.linalg.eigvalsh(far.covariance)
    assert variances[1] > 25 * variances[0]
    # the ray itself lies in the gate
    ray = CAMERA.project(
        EAST.pose.points_from_world(np.array([[100.0, -300, 10]]) + [[0, s, s / 10] for s in (250, 320)])
    )
    boxes = np.concatenate([ray - 2, ray + 2], axis=1).astype(np.float32)
    assert far.holds(boxes).all()


def test_errors_and_time_widen_a_gate() -> None:
    turned = _gate([500, 0, 10], [0.1, 0.1, 0.1], errors=HintErrors(0.5, 0.0, 0.0))
    assert turned is not None
    assert np.allclose(np.sqrt(np.diag(turned.covariance)), 1000 * np.radians(0.5), rtol=0.02)
    late = _gate([500, 0, 10], [0.1, 0.1, 0.1], SECOND // 2, errors=HintErrors(0.0, 0.0, 20.0))
    assert late is not None and np.allclose(np.sqrt(np.diag(late.covariance)), 20, rtol=0.1)


def test_the_camera_is_where_it_was_at_the_frames_time() -> None:
    mast = PoseBuffer("the mast", hold_seconds=0.0)
    for step in range(3):
        turned = Rotation.from_euler("z", 10.0 * step, degrees=True)
        mast.add(step * SECOND, Pose(turned * OPTICAL_IN_BODY, np.array([0.0, 0.0, 10.0])))
    for time, angle in ((0, 0.0), (SECOND // 2, 5.0), (SECOND, 10.0)):
        gate = _gate([500, 0, 10], [1, 1, 1], time, camera=mast)
        assert gate is not None and gate.center[0] == pytest.approx(640 + 1000 * np.tan(np.radians(angle)), abs=0.5)
    with pytest.raises(HintError, match="the mast is old"):
        _gate([500, 0, 10], [1, 1, 1], 3 * SECOND, camera=mast)


def test_what_is_not_in_the_image_makes_no_gate() -> None:
    assert _gate([-500, 0, 10], [5, 5, 5]) is None
    assert _gate([10, 500, 10], [1, 1, 1]) is None
