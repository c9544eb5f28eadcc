"""What the cue models say of pairs."""

import numpy as np

from smotracker_ros.tracking.costs import AFFINITY, Side, appearance_cost, appearance_matters


def test_appearance_says_nothing_where_it_does_not_matter() -> None:
    boxes = np.float32([[0, 0, 10, 10], [25, 0, 35, 10], [60, 0, 70, 10]])
    side = Side(boxes, np.tile(np.float32([1, 0]), (3, 1)), np.zeros(3, np.float32))
    near = appearance_matters(side, side)
    assert near.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    np.testing.assert_array_equal(appearance_cost(side, side), np.where(near, 0, 1))
    unknown = Side(boxes, np.zeros((3, 2), np.float32), np.zeros(3, np.float32))
    assert (appearance_cost(side, unknown) == 1).all()


def test_what_is_out_of_sight_may_have_jerked_away() -> None:
    size, distance = 10.0, 20.0
    masklet = np.float32([[0, 0, size, size]])
    detection = Side.in_sight(masklet + distance * np.float32([1, 0, 1, 0]), np.float32([[1, 0]]))
    seen, unseen = (Side(masklet, np.float32([[1, 0]]), np.float32([reach])) for reach in (0.0, 1.0))
    assert AFFINITY.log_odds(seen, detection)[0, 0] < 0 < AFFINITY.log_odds(unseen, detection)[0, 0]
