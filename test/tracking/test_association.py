"""One global assignment by log-odds."""

import itertools

import numpy as np

from smotracker_ros.tracking.association import assign, associate
from smotracker_ros.tracking.costs import AFFINITY, Side, overlap_cost


def _side(boxes: list[list[float]], appearance: list[list[float]] | None = None, reach: float = 0.0) -> Side:
    vectors = np.float32(appearance if appearance is not None else [[1, 0]] * len(boxes))
    return Side(
        np.float32(boxes).reshape(-1, 4), vectors.reshape(len(boxes), -1), np.full(len(boxes), reach, np.float32)
    )


def test_tiny_boxes_match_where_plain_iou_is_blind() -> None:
    masklet, detection = _side([[10, 10, 15, 15]]), _side([[15.5, 10, 20.5, 15]])
    assert overlap_cost(masklet, detection)[0, 0] < 0.75
    assert associate(masklet, detection).matches == ((0, 0),)


def test_far_boxes_do_not_match_however_alike_they_look() -> None:
    result = associate(_side([[10, 10, 20, 20]]), _side([[200, 10, 210, 20]]))
    assert result.matches == ()
    assert result.unmatched_masklets == (0,)
    assert result.unmatched_detections == (0,)


def test_a_masklet_out_of_sight_reaches_further() -> None:
    detection = _side([[60, 10, 70, 20]])
    assert associate(_side([[10, 10, 20, 20]]), detection).matches == ()
    assert associate(_side([[10, 10, 20, 20]], reach=45.0), detection).matches == ((0, 0),)


def test_empty_sides() -> None:
    nothing = Side(np.zeros((0, 4), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
    assert associate(nothing, _side([[0, 0, 5, 5]])).unmatched_detections == (0,)
    assert associate(_side([[0, 0, 5, 5]]), nothing).unmatched_masklets == (0,)


def test_crossing_look_alikes_are_told_apart_by_appearance_and_place() -> None:
    masklets = _side([[10, 10, 20, 20], [14, 10, 24, 20]], [[1, 0], [0, 1]])
    detections = _side([[14.5, 10, 24.5, 20], [9.5, 10, 19.5, 20]], [[0, 1], [1, 0]])
    assert associate(masklets, detections).matches == ((0, 1), (1, 0))


def test_another_size_is_another_object_however_alike_it_looks() -> None:
    masklet = _side([[320, 270, 336, 280]])
    for large in ([286, 249, 369, 301], [290, 245, 373, 297]):
        assert associate(masklet, _side([large])).matches == ()


def test_the_sum_over_all_pairs_is_greatest() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        corners = generator.uniform(0, 25, (3, 2))
        masklets = _side(np.hstack([corners, corners + 12]).tolist())
        moved = corners + generator.normal(0, 5, (3, 2))
        detections = _side(np.hstack([moved, moved + 12]).tolist())
        odds = np.maximum(AFFINITY.log_odds(masklets, detections), 0)
        best = max(sum(odds[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(3)))
        found = associate(masklets, detections).matches
        assert sum(odds[pair] for pair in found) == np.float32(best).item() or np.isclose(
            sum(odds[pair] for pair in found), best
        )


def test_the_place_of_a_lost_target_says_less() -> None:
    masklet, near = _side([[10, 10, 20, 20]], [[1, 0]]), _side([[17, 10, 27, 20]], [[0.6, 0.8]])
    certain, unsure = (AFFINITY.log_odds(masklet, near, lost)[0, 0] for lost in (False, True))
    assert unsure < certain


def test_pairs_above_the_gate_do_not_displace_good_ones() -> None:
    assert assign(np.float32([[0.1, 0.2], [0.15, 0.9]]), 0.5) == [(0, 1), (1, 0)]
    assert assign(np.float32([[0.9]]), 0.5) == []
