"""What the cue models say of pairs."""

import numpy as np

from smotracker_ros.tracking.costs import Side, appearance_cost, appearance_matters


def test_appearance_says_nothing_where_it_does_not_matter() -> None:
    boxes = np.float32([[0, 0, 10, 10], [25, 0, 35, 10], [60, 0, 70, 10]])
    side = Side(boxes, np.tile(np.float32([1, 0]), (3, 1)), np.zeros(3, np.float32))
    near = appearance_matters(side, side)
    assert near.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    np.testing.assert_array_equal(appearance_cost(side, side), np.where(near, 0, 1))
    unknown = Side(boxes, np.zeros((3, 2), np.float32), np.zeros(3, np.float32))
    assert (appearance_cost(side, unknown) == 1).all()
