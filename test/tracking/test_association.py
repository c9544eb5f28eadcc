"""Parallel cues, union of proposals, conflicts."""

from dataclasses import replace

import numpy as np

from smotracker_ros.tracking.association import associate, propose
from smotracker_ros.tracking.costs import CUES, Cue, Side, overlap_cost


def _side(boxes: list[list[float]], appearance: list[list[float]] | None = None, reach: float = 0.0) -> Side:
    vectors = np.float32(appearance if appearance is not None else [[1, 0]] * len(boxes))
    return Side(
        np.float32(boxes).reshape(-1, 4), vectors.reshape(len(boxes), -1), np.full(len(boxes), reach, np.float32)
    )


def _cue(name: str, cost: list[list[float]], gate: float = 0.5) -> Cue:
    return Cue(name, lambda first, second: np.float32(cost), gate)


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


def test_the_proposal_with_more_agreeing_cues_wins() -> None:
    masklets, detections = _side([[0, 0, 9, 9]] * 2), _side([[0, 0, 9, 9]])
    cues = [
        _cue("a", [[0.1], [0.4]]),
        _cue("b", [[0.4], [0.3]]),
        _cue("c", [[0.4], [0.3]]),
    ]
    assert associate(masklets, detections, cues).matches == ((1, 0),)


def test_lower_cost_decides_between_equal_votes() -> None:
    masklets, detections = _side([[0, 0, 9, 9]] * 2), _side([[0, 0, 9, 9]])
    cues = [_cue("a", [[0.1], [0.4]]), _cue("b", [[0.45], [0.4]])]
    assert associate(masklets, detections, cues).matches == ((0, 0),)


def test_the_union_keeps_what_only_one_cue_proposes() -> None:
    masklets, detections = _side([[0, 0, 9, 9]] * 2), _side([[0, 0, 9, 9]] * 2)
    cues = [_cue("a", [[0.1, 0.9], [0.9, 0.9]]), _cue("b", [[0.9, 0.9], [0.9, 0.2]])]
    assert associate(masklets, detections, cues).matches == ((0, 0), (1, 1))


def test_gated_pairs_do_not_displace_good_ones() -> None:
    assert propose(np.float32([[0.1, 0.2], [0.15, 0.9]]), 0.5) == [(0, 1), (1, 0)]
    assert propose(np.float32([[0.9]]), 0.5) == []


def test_empty_sides() -> None:
    nothing = Side(np.zeros((0, 4), np.float32), np.zeros((0, 2), np.float32), np.zeros(0, np.float32))
    assert associate(nothing, _side([[0, 0, 5, 5]])).unmatched_detections == (0,)
    assert associate(_side([[0, 0, 5, 5]]), nothing).unmatched_masklets == (0,)


def test_crossing_look_alikes_are_told_apart_by_appearance_and_place() -> None:
    masklets = _side([[10, 10, 20, 20], [14, 10, 24, 20]], [[1, 0], [0, 1]])
    detections = _side([[14.5, 10, 24.5, 20], [9.5, 10, 19.5, 20]], [[0, 1], [1, 0]])
    assert associate(masklets, detections, CUES).matches == ((0, 1), (1, 0))


def test_a_pair_may_need_more_than_one_cue() -> None:
    masklets, detections = _side([[0, 0, 9, 9]]), _side([[0, 0, 9, 9]])
    cues = [_cue("a", [[0.1]]), _cue("b", [[0.9]])]
    assert associate(masklets, detections, cues, least_cues=1).matches == ((0, 0),)
    assert associate(masklets, detections, cues, least_cues=2).matches == ()


def test_the_votes_of_a_cue_weigh() -> None:
    masklets, detections = _side([[0, 0, 9, 9], [9, 0, 18, 9]]), _side([[0, 0, 9, 9], [9, 0, 18, 9]])
    place = Cue("place", lambda first, second: np.float32([[0.1, 0.6], [0.6, 0.1]]), 0.5, votes=2)
    looks = [_cue("a", [[0.3, 0.2], [0.2, 0.3]]), _cue("b", [[0.4, 0.2], [0.2, 0.4]])]
    assert associate(masklets, detections, [place, *looks]).matches == ((0, 0), (1, 1)), (
        "even, and cheaper on the whole"
    )
    place = Cue("place", place.function, 0.5, votes=1)
    assert associate(masklets, detections, [place, *looks]).matches == ((0, 1), (1, 0))


def test_calibrated_odds_decide_between_equal_votes() -> None:
    """A cue that tells more, having the steeper curve, counts for more than the same cost of another one."""
    masklets, detections = _side([[0, 0, 9, 9]] * 2), _side([[0, 0, 9, 9]])
    place, looks = _cue("place", [[0.3], [0.2]]), _cue("looks", [[0.1], [0.25]])
    assert associate(masklets, detections, [place, looks]).matches == ((0, 0),)
    steep = replace(place, offset=6.0, slope=20.0)
    assert associate(masklets, detections, [steep, looks]).matches == ((1, 0),)
