"""Rules of a target's life, without any model."""

import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.box_offset import box_margins, with_margins
from smotracker_ros.tracking.camera_motion import STILL, CameraShift
from smotracker_ros.tracking.population import predict_all
from smotracker_ros.tracking.target import Target

APPEARANCE = np.float32([1, 0])
LABEL = np.float32([100, 100, 120, 116])
TIGHT = np.float32([104, 103, 115, 112])


def _target() -> Target:
    return Target.born(7, LABEL, APPEARANCE)


def _see(target: Target, box: np.ndarray) -> None:
    target.see(MaskPatch(int(box[0]), int(box[1]), np.ones((9, 11), np.bool_)), box, 0.9, 1 / 30)


def _confirmed() -> Target:
    target = _target()
    target.detected(LABEL, 0.5, 1, APPEARANCE)
    target.state = TrackState.CONFIRMED
    return target


def test_quality_is_averaged_over_all_masks_at_first_then_over_the_last_ones() -> None:
    target = _target()
    mask = MaskPatch(104, 103, np.ones((9, 11), np.bool_))
    for quality in (0.2, 0.6, 0.4):
        target.see(mask, TIGHT, quality, 1 / 30)
    assert target.mean_quality == pytest.approx(0.4)
    for _ in range(200):
        target.see(mask, TIGHT, 0.8, 1 / 30)
    assert target.mean_quality == pytest.approx(0.8, abs=0.01)


def test_the_reported_box_keeps_the_detector_s_convention() -> None:
    target = _target()
    _see(target, TIGHT)
    target.detected(LABEL, 0.9, 1, APPEARANCE)
    moved = np.float32([30, 10, 30, 10])
    for _ in range(15):
        predict_all([target], STILL, 1 / 30)
        _see(target, TIGHT + moved)
    np.testing.assert_allclose(target.report({1: "drone"}, TrackerSettings()).box, LABEL + moved, atol=0.6)
    np.testing.assert_allclose(
        target.report({1: "drone"}, TrackerSettings(box_convention="mask")).box, TIGHT + moved, atol=1e-4
    )


def test_the_class_is_a_vote() -> None:
    target = _target()
    for class_id, score in ((2, 0.9), (1, 0.6), (1, 0.6)):
        target.detected(LABEL, score, class_id, APPEARANCE)
    assert target.report({1: "drone", 2: "bird"}, TrackerSettings()).class_name == "drone"


def test_the_place_is_less_sure_the_longer_it_is_out_of_sight() -> None:
    target = _target()
    _see(target, TIGHT)
    assert target.reach == 0
    reaches = []
    for _ in range(30):
        predict_all([target], STILL, 1 / 30)
        reaches.append(target.reach)
    assert reaches == sorted(reaches) and reaches[-1] > 5 * reaches[0] > 0
    _see(target, TIGHT)
    assert target.reach == 0


def test_a_shaking_camera_makes_the_place_less_sure() -> None:
    reaches = []
    for error in (0.0, 5.0):
        target = _target()
        _see(target, TIGHT)
        predict_all([target], CameraShift(STILL.matrix, True, error), 1 / 30)
        reaches.append(target.reach)
    assert reaches[1] == pytest.approx(np.hypot(reaches[0], 2 * 5.0), rel=1e-3)


def test_a_jump_or_a_blow_up_does_not_agree_with_motion() -> None:
    target = _target()
    assert target.agrees(TIGHT) > 0.8
    assert target.agrees(TIGHT + 60) == 0
    assert target.agrees(np.float32([60, 60, 160, 160])) == 0


def test_margins_carry_size_but_not_a_shifted_centre() -> None:
    np.testing.assert_allclose(box_margins(LABEL, TIGHT), LABEL - TIGHT, atol=1.2)
    shifted = box_margins(LABEL + np.float32([12, 0, 12, 0]), TIGHT)
    assert abs(shifted[0] + shifted[2]) / 2 <= 0.12 * 20 + 1e-4
    np.testing.assert_allclose(shifted[2] - shifted[0], 20 - 11, atol=1e-4)


def test_margins_of_a_large_mask_do_not_turn_a_small_one_inside_out() -> None:
    target = _target()
    _see(target, LABEL + np.float32([-20, -20, 20, 20]))
    target.detected(LABEL, 0.9, 1, APPEARANCE)
    for _ in range(60):
        predict_all([target], STILL, 1 / 30)
        _see(target, LABEL)
    assert (target.size >= 0.45 * (LABEL[2:] - LABEL[:2])).all()
    np.testing.assert_allclose(with_margins(TIGHT, np.float32([-1, -2, 3, 4])), TIGHT + np.float32([-1, -2, 3, 4]))


def test_a_mask_rated_far_below_the_others_is_not_the_target_s_own() -> None:
    target = _target()
    assert target.owns(TIGHT, 0.05), "nothing is known of its masks yet"
    for _ in range(6):
        _see(target, TIGHT)  # rated 0.9
    assert target.owns(TIGHT, 0.5)
    assert not target.owns(TIGHT, 0.2)
    assert not target.owns(TIGHT + 200, 0.9)


def test_a_lost_target_waits_where_it_left_the_image() -> None:
    target = _target()
    target.motion.center = np.float32([-30, 90])
    target.wait_inside(100, 80)
    assert target.motion.center.tolist() == [-30, 90], "what is live may be half outside"
    target.state = TrackState.LOST
    target.wait_inside(100, 80)
    assert target.motion.center.tolist() == [0, 80]


def test_the_reported_velocity_is_that_in_the_image() -> None:
    pan = CameraShift(np.float64([[1, 0, 2.0], [0, 1, -1.0]]), True)
    target = _confirmed()
    for index in range(1, 40):
        predict_all([target], pan, 1 / 30)
        # one pixel per frame against the background
        _see(target, TIGHT + np.float32([3, -1, 3, -1]) * index)
    np.testing.assert_allclose(target.report({}, TrackerSettings()).velocity, [90, -30], atol=1.5)
    np.testing.assert_allclose(target.motion.velocity, [30, 0], atol=1.5)


def test_a_target_ages_by_more_than_a_step_of_motion() -> None:
    target = _confirmed()
    target.motion.velocity = np.float32([10, 0])
    before = target.motion.center.copy()
    predict_all([target], STILL, 1.0, 4.0)
    np.testing.assert_allclose(target.motion.center - before, [10, 0], atol=1e-3)
    assert target.seconds_unseen == target.seconds_alive == 4.0


def test_reported_scores_are_confidences_or_probabilities() -> None:
    target = Target.born(1, LABEL, np.float32([1, 0]))
    target.detected(LABEL, 0.3, 1, np.float32([1, 0]))
    target.probability = 0.8
    assert target.report({}, TrackerSettings()).score == pytest.approx(0.3)
    assert target.report({}, TrackerSettings(reported_score="probability")).score == 0.8
