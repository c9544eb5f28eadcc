"""Following: whom, where it is, and commands that a head can follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smotracker_ros.core.tracks import TrackState
from smotracker_ros.evaluation.closed_loop import LoopSettings, follow_scene
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.space.follow import Candidate, Follower, FollowSettings
from smotracker_ros.space.pan_tilt import Commander, HeadLimits, angle_rates, angles_of, direction_of
from smotracker_ros.space.poses import Pose
from smotracker_ros.training.pan_tilt_scene import PanTiltScene, PanTiltSettings, head_pose

SECOND = 1_000_000_000
STEP = 1 / 20


def _candidate(identity: int, pan: float, camera: Pose, **options: Any) -> Candidate:
    """A track at a pan angle, degrees, of the base."""
    bearing = camera.directions_from_world(direction_of(np.radians([pan, 5.0])))[0]
    given: dict[str, Any] = {"state": TrackState.CONFIRMED, "is_seen": True, **options}
    return Candidate(identity, bearing, **given)


def _pan(follower: Follower, seconds: float) -> float:
    aim = follower.at(round(seconds * SECOND))
    assert aim is not None
    return float(np.degrees(angles_of(aim.direction)[0]))


def _run(follower: Follower, start: float, seconds: float, **options: Any) -> float:
    """A target that flies at 10 degrees per second past a camera that turns after it at 7; returns the last time."""
    for step in range(round(seconds / STEP)):
        now = start + step * STEP
        camera = head_pose(np.radians(7 * now), 0.1)
        follower.update(round(now * SECOND), [_candidate(3, 10 * now, camera, **options)], camera)
    return now


def test_the_cameras_own_motion_does_not_matter_and_targets_are_led() -> None:
    follower = Follower(FollowSettings(rule="probable"))
    last = _run(follower, 0.0, 2.0)
    assert follower.chosen == 3 and follower.state == "following"
    assert _pan(follower, last + 0.3) == pytest.approx(10 * (last + 0.3), abs=0.2)
    last = _run(follower, last + STEP, 1.0, is_seen=False)
    assert follower.state == "coasting" and 27 < _pan(follower, last) < 30
    _run(follower, last + STEP, 6.0, is_seen=False)
    assert follower.chosen == 0, "given up"


def test_a_new_id_in_the_same_place_is_the_same_target_and_one_that_passes_by_is_not() -> None:
    follower, camera = Follower(FollowSettings()), head_pose(0.0, 0.0)
    for step in range(40):
        stamp = step * SECOND // 20
        tracks = [_candidate(1, 0.0, camera)] if step < 20 else [_candidate(9, 0.1, camera)]
        follower.update(stamp, [*tracks, _candidate(5, 20.0 - step, camera)], camera)
        if step == 0:
            assert follower.choose(1) is None
    assert follower.chosen == 9
    crossing = Follower(FollowSettings())
    for step in range(40):
        tracks = [_candidate(1, 0.0, camera), _candidate(5, 20.0 - step, camera)]
        crossing.update(step * SECOND // 20, tracks, camera)
        if step == 0:
            crossing.choose(1)
    assert crossing.chosen == 1


def test_ids_that_change_places_where_targets_cross_do_not_lead_astray() -> None:
    """The track of the target leaves with the other one, under its id; where the target must be there is another."""
    follower, camera = Follower(FollowSettings()), head_pose(0.0, 0.0)
    for step in range(40):
        target, other = (1, 5) if step < 20 else (8, 1)
        tracks = [_candidate(target, 0.2 * step, camera), _candidate(other, 20.0 - 0.8 * step, camera)]
        if step in (19, 20):
            tracks = []
        follower.update(step * SECOND // 20, tracks, camera)
        if step == 0:
            follower.choose(1)
    assert follower.chosen == 8
    # a known other one that passes while the target is out of sight is not taken for it
    hidden = Follower(FollowSettings(give_up_seconds=3.0))
    for step in range(80):
        tracks = [_candidate(5, 8.0 - 0.3 * step, camera)]
        if step < 20:
            tracks.append(_candidate(1, 0.0, camera))
        hidden.update(step * SECOND // 20, tracks, camera)
        if step == 0:
            hidden.choose(1)
        assert hidden.chosen in (1, 0) and (hidden.chosen == 1 or step > 75)


def test_where_a_bird_takes_the_track_along_the_target_flies_on() -> None:
    """From 1 s on both tracks lie on the other one, which leaves slowly; later the target is found anew."""
    follower, camera = Follower(FollowSettings()), head_pose(0.0, 0.0)
    for step in range(50):
        target = 0.1 * step
        other = 4.0 - 0.1 * step if step < 20 else 2.0 - 0.15 * (step - 20)
        tracks = [_candidate(1, target if step < 20 else other, camera), _candidate(5, other, camera)]
        if step >= 32:
            tracks.append(_candidate(9, target, camera))
        follower.update(step * SECOND // 20, tracks, camera)
        if step == 0:
            follower.choose(1)
    assert follower.chosen == 9 and _pan(follower, 49 / 20) == pytest.approx(4.9, abs=0.2)


def test_rules_choose_and_leave_friends_alone() -> None:
    camera = head_pose(0.0, 0.0)
    there = [
        _candidate(1, 0.0, camera, probability=0.99, friendly="ALPHA", age=90.0),
        _candidate(2, 8.0, camera, probability=0.7, side=20.0, age=5.0, class_name="drone"),
        _candidate(3, 4.0, camera, probability=0.8, side=5.0, age=50.0, class_name="bird"),
        _candidate(4, 2.0, camera, state=TrackState.TENTATIVE),
    ]
    expected = {"none": 0, "probable": 3, "longest": 3, "centre": 3, "largest": 2}
    for rule, chosen in expected.items():
        follower = Follower(FollowSettings(rule=rule))
        for step in range(20):
            follower.update(step * SECOND // 20, there, camera)
            assert follower.chosen in ((0, chosen) if step >= 10 else (0,))
        assert follower.chosen == chosen, rule
    drones = Follower(FollowSettings(rule="probable", classes=("drone",)))
    for step in range(20):
        drones.update(step * SECOND // 20, there, camera)
    assert drones.chosen == 2
    assert "there is no track 77" in str(drones.choose(77)) and drones.chosen == 2


def test_commands_stay_within_the_heads_limits_and_arrive() -> None:
    limits = HeadLimits((-1.0, -0.3), (1.0, 1.0), (0.5, 0.4), (1.0, 0.8))
    commander = Commander(limits)
    before = np.zeros(2)
    for _ in range(300):
        commander.step(np.array([0.8, 0.5]), np.zeros(2), 0.02)
        assert (np.abs(commander.rates) <= np.array(limits.rates) + 1e-9).all()
        assert (np.abs(commander.rates - before) <= np.array(limits.accelerations) * 0.02 + 1e-9).all()
        before = commander.rates
        assert (commander.angles < [0.81, 0.51]).all(), "it does not overshoot"
    assert commander.angles == pytest.approx([0.8, 0.5], abs=1e-3)
    for _ in range(300):
        commander.step(np.array([2.0, 0.5]), np.zeros(2), 0.02)
    assert commander.angles[0] == pytest.approx(1.0, abs=1e-3) and commander.is_limited
    # a head without a stop takes the short way round the back
    free = Commander(HeadLimits(), np.array([np.radians(170), 0.0]))
    for _ in range(200):
        free.step(np.array([np.radians(-170), 0.0]), np.zeros(2), 0.02)
    assert np.degrees(free.angles[0]) == pytest.approx(190, abs=0.1)


def test_angles_and_their_rates() -> None:
    direction, rate, step = direction_of([0.7, 0.4]), np.array([-0.02, 0.03, 0.0]), 1e-6
    rate = rate - (rate @ direction) * direction
    assert np.allclose(angles_of(direction), [0.7, 0.4])
    moved = angles_of((direction + rate * step) / np.linalg.norm(direction + rate * step))
    assert np.allclose(angle_rates(direction, rate), (moved - [0.7, 0.4]) / step, atol=1e-5)


@pytest.mark.slow
def test_a_crossing_drone_stays_in_the_middle_among_birds() -> None:
    """The short form of benchmarks/follow.py."""
    scene = PanTiltScene(PanTiltSettings(seconds=8.0, width=640, height=360, birds=3), 11)
    found = follow_scene(scene, build_tracker(load_settings()), LoopSettings(), 11)
    assert found.in_middle[30:].all(), np.abs(found.offsets[30:]).max()
    assert found.on_drone[30:].mean() > 0.9
    assert found.rates.max() > 3, "the head has turned"
