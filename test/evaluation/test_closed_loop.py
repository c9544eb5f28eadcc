"""The simulated world of the closed loop: gusts on the mast, and what the tracker is told of the followed target."""

from __future__ import annotations

import numpy as np

from smotracker_ros.evaluation.closed_loop import Gusts, hint_of
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.space.follow import Aim
from smotracker_ros.space.poses import FixedPose
from smotracker_ros.training.pan_tilt_scene import head_pose

SECONDS = 600.0
TIMES = np.arange(0, SECONDS, 0.01)


def angles(gusts: Gusts) -> np.ndarray:
    """Pan and tilt by time, (N, 2), degrees."""
    return np.degrees([gusts.at(time) for time in TIMES])


def test_the_seed_alone_decides() -> None:
    first, same, other = (angles(Gusts(1.5, SECONDS, seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1


def test_without_degrees_the_mast_stands() -> None:
    assert not angles(Gusts(0.0, SECONDS, 3)).any()


def test_jerks_are_rare_quick_and_as_large_as_stated() -> None:
    found = angles(Gusts(1.5, SECONDS, 5))
    assert not found[TIMES < 2].any(), "it begins at rest"
    turned = np.abs(found).max(axis=1) > 1e-9
    begins = np.flatnonzero(turned[1:] & ~turned[:-1]) + 1
    ends = np.flatnonzero(~turned[1:] & turned[:-1]) + 1
    begins = begins[: len(ends)]  # the last one may not be over
    # two to five seconds of rest between them; each is held for two to seven tenths
    rests, lengths = TIMES[begins[1:]] - TIMES[ends[:-1]], TIMES[ends] - TIMES[begins]
    assert rests.min() > 1.9 and rests.max() < 5.1
    assert lengths.min() > 0.35 and lengths.max() < 0.95
    held = np.array([found[(begin + end) // 2] for begin, end in zip(begins, ends, strict=True)])
    assert len(held) > 100
    pan, tilt = np.sqrt(np.mean(held**2, axis=0))
    assert abs(pan / 1.5 - 1) < 0.2 and abs(tilt / 0.75 - 1) < 0.2
    # there and back within a tenth of a second each
    largest = np.abs(held[:, 0]).argmax()
    steps = np.abs(np.diff(found[begins[largest] - 1 : ends[largest] + 1, 0]))
    assert np.isclose(steps.max(), abs(held[largest, 0]) / 10, rtol=0.01)


def test_a_hint_of_the_followed_target_is_a_gate_round_it() -> None:
    calibration = Calibration((540, 960), np.array([[1000.0, 0, 479.5], [0, 1000.0, 269.5], [0, 0, 1]]))
    camera = head_pose(0.3, 0.2)
    direction = camera.directions_to_world(calibration.bearings([[500.0, 250.0]]))[0]
    for degrees, seen in ((0.01, 0.15), (0.5, 0.5), (20.0, 2.0)):
        aim = Aim(direction, np.zeros(3), np.radians(degrees))
        gate = hint_of(aim, 7, FixedPose(camera), calibration).gate(7)
        assert gate is not None
        np.testing.assert_allclose(gate.center, (500, 250), atol=2)
        np.testing.assert_allclose(np.sqrt(np.diag(gate.covariance)), np.radians(seen) * 1000, rtol=0.3)
