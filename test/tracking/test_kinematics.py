"""The Kalman filter of a target's place and velocity."""

import numpy as np
import pytest

from smotracker_ros.tracking.camera_motion import STILL, CameraShift
from smotracker_ros.tracking.kinematics import FLIGHT, StraightFlight, TargetMotion

SIDE = 16.0


def _motion(x: float = 10, y: float = 20) -> TargetMotion:
    return TargetMotion.born(np.float32([x, y]), SIDE)


def test_velocity_is_learned_and_carries_on() -> None:
    motion = _motion()
    for index in range(1, 31):
        motion.predict(STILL, 0.1, SIDE)
        motion.measure(np.float32([10 + 3 * index, 20 - index]), SIDE, 0.1)
    # a velocity fades slowly, so that the filter lags a little behind
    np.testing.assert_allclose(motion.velocity, [30, -10], atol=1.5)
    motion.predict(STILL, 0.5, SIDE)
    np.testing.assert_allclose(motion.center, [10 + 90 + 15, 20 - 30 - 5], atol=2)


def test_a_late_frame_hardly_changes_the_velocity() -> None:
    motion, generator, before = _motion(0, 0), np.random.default_rng(0), 0.0
    for index in range(1, 121):
        # 60 pixels per second at 30 frames per second; the stamp of every fifteenth frame is 31 ms late
        stamp = index / 30 + (0.031 if index % 15 == 0 else 0.0)
        motion.predict(STILL, stamp - before, SIDE)
        motion.measure(np.float32([2 * index, 0]) + np.float32(generator.normal(0, 0.2, 2)), SIDE, stamp - before)
        before = stamp
        if index > 30:
            assert 30 < motion.velocity[0] < 90, index


def test_a_target_that_was_hidden_has_its_mean_velocity() -> None:
    motion = _motion(0, 0)
    for index in range(1, 31):
        motion.predict(STILL, 1 / 30, SIDE)
        motion.measure(np.float32([2 * index, 0]), SIDE, 1 / 30)
    for _ in range(15):
        motion.predict(STILL, 1 / 30, SIDE)
    motion.measure(np.float32([60 + 24, 0]), SIDE, 0.5)
    assert 36 < motion.velocity[0] < 54, "slower than before, as it came less far"


def test_bursts_of_time_stamps_are_no_speed() -> None:
    motion, noise = _motion(), np.random.default_rng(0)
    for _ in range(60):
        motion.predict(STILL, 1e-6, SIDE)
        motion.measure(np.float32(noise.normal([10, 20], 0.3)), SIDE, 1e-6)
    assert np.abs(motion.velocity).max() < 30


@pytest.mark.parametrize("rate", [8.0, 30.0, 90.0])
def test_what_the_filter_says_of_its_own_error_is_about_right(rate: float) -> None:
    """Targets that fly as the model has it, unseen for half a second, are as far off as it says."""
    generator, ratios = np.random.default_rng(3), []
    for _ in range(60):
        place, velocity = np.zeros(2), generator.normal(0, FLIGHT.speed * SIDE / 4, 2)
        motion = TargetMotion.born(np.float32(place), SIDE)
        for index in range(int(1.5 * rate)):
            kick = FLIGHT.agility * SIDE * np.sqrt(1 / rate)
            velocity = velocity * np.exp(-1 / rate / FLIGHT.persistence) + generator.normal(0, kick, 2)
            place = place + velocity / rate
            motion.predict(STILL, 1 / rate, SIDE)
            if index < rate:
                motion.measure(np.float32(place + generator.normal(0, FLIGHT.jitter * SIDE, 2)), SIDE, 1 / rate)
        ratios.append(((place - motion.center) ** 2).sum() / 2 / motion.deviation(SIDE) ** 2)
    assert 0.15 < np.mean(ratios) < 2, "its noise is that of restless targets as soon as it errs"


def test_who_turns_sharply_is_less_sure_than_who_flies_calmly() -> None:
    deviations = []
    for swing in (0.0, 6.0):
        motion = _motion(0, 0)
        for index in range(1, 61):
            motion.predict(STILL, 1 / 30, SIDE)
            motion.measure(np.float32([2 * index, swing * np.sin(index)]), SIDE, 1 / 30)
        motion.predict(STILL, 0.3, SIDE)
        deviations.append(motion.deviation(SIDE))
    assert deviations[1] > 3 * deviations[0]


def test_the_background_carries_place_and_velocity_along() -> None:
    quarter_turn = CameraShift(np.float64([[0, -1, 100], [1, 0, 0]]), True)
    motion = _motion(10, 0)
    motion.velocity = np.float32([30, 0])
    motion.predict(quarter_turn, 0.0, SIDE)
    np.testing.assert_allclose(motion.center, [100, 10], atol=1e-4)
    np.testing.assert_allclose(motion.velocity, [0, 30], atol=1e-4)


def test_a_flight_that_is_found_elsewhere_flies_on_with_the_speed_that_led_there() -> None:
    flight = StraightFlight.of(_motion(0, 0), np.float32([SIDE, SIDE]))
    for _ in range(15):
        flight.predict(STILL, 1 / 30)
    flight.arrive(np.float32([15 - SIDE / 2, -SIDE / 2, 15 + SIDE / 2, SIDE / 2]))
    assert 15 < flight.motion.velocity[0] < 35 and flight.seconds == 0
