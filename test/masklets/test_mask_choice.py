"""SAMURAI's choice of masks."""

import numpy as np
import pytest

from smotracker_ros.core.geometry import FloatArray, pairwise_iou
from smotracker_ros.masklets.mask_choice import BoxFilter, MotionAwareChoice


def box(frame: int) -> FloatArray:
    """A target of 12 x 8 pixels that flies 3 pixels to the right and 1 down in each frame."""
    x, y = 50 + 3 * frame, 40 + frame
    return np.array([x - 6, y - 4, x + 6, y + 4], dtype=np.float32)


def test_the_filter_learns_the_speed() -> None:
    motion = BoxFilter(box(0))
    for frame in range(1, 40):
        motion.predict()
        motion.correct(box(frame))
    motion.predict()
    assert pairwise_iou(motion.box, box(40))[0, 0] > 0.8
    for _ in range(5):
        motion.predict()
    np.testing.assert_allclose((motion.box[:2] + motion.box[2:]) / 2, [50 + 3 * 45, 40 + 45], atol=2.5)


def test_a_distractor_that_the_network_prefers_a_little_is_refused_once_motion_is_known() -> None:
    choice = MotionAwareChoice()
    far = box(0) + 60
    ratings = np.array([0.70, 0.75], dtype=np.float32)
    assert choice.choose(1, [box(0), far], ratings) == 1, "nothing is known of the motion yet"
    choice.reset()
    for frame in range(20):
        assert choice.choose(1, [box(frame), None], np.array([0.9, 0.1], dtype=np.float32)) == 0
    assert choice.agreement(1, box(19)) > 0.6
    assert choice.agreement(1, far) == 0
    assert choice.choose(1, [box(20), far], ratings) == 0
    assert choice.choose(1, [box(21), far], np.array([0.5, 0.9], dtype=np.float32)) == 1, "motion only tips the scales"


def test_bad_frames_silence_the_filter_until_good_ones_return() -> None:
    choice = MotionAwareChoice()
    for frame in range(20):
        choice.choose(1, [box(frame)], np.array([0.9], dtype=np.float32))
    choice.choose(1, [None], np.array([0.9], dtype=np.float32))
    choice.choose(1, [box(21)], np.array([0.9], dtype=np.float32))
    assert choice.agreement(1, box(0) + 500) == 1.0
    choice.keep([2])
    assert choice.choose(1, [box(0), box(30)], np.array([0.5, 0.6], dtype=np.float32)) == 1


@pytest.mark.parametrize("ratings", [(0.2, 0.9), (0.9, 0.2)])
def test_the_first_frame_goes_to_the_network(ratings: tuple[float, float]) -> None:
    chosen = MotionAwareChoice().choose(7, [box(0), box(5)], np.array(ratings, dtype=np.float32))
    assert chosen == int(np.argmax(ratings))
