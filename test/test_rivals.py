"""Of two masklets that lie on the same pixels, one is right."""

from __future__ import annotations

import numpy as np

from smotracker_ros.geometry import FloatArray, MaskPatch
from smotracker_ros.masklets.propagator import Masklet
from smotracker_ros.motion import STILL
from smotracker_ros.rivals import Rivals, lies_on_any, show_several
from smotracker_ros.target import Target
from smotracker_ros.tracks import TrackState

STEP = 1 / 30
PIXEL = MaskPatch(0, 0, np.ones((1, 1), np.bool_))


def _box(x: float, y: float = 50, side: float = 12) -> FloatArray:
    return np.float32([x - side / 2, y - side / 2, x + side / 2, y + side / 2])


def _flown(identity: int, start: float, speed: float, frames: int = 10) -> Target:
    """A CONFIRMED target that has flown at a speed in pixels per frame, moved on to the next frame."""
    target = Target.born(identity, _box(start), np.float32([1, 0]))
    target.state = TrackState.CONFIRMED
    for frame in range(1, frames):
        target.predict(STILL, STEP)
        target.see(PIXEL, _box(start + speed * frame), 0.8, STEP)
    target.predict(STILL, STEP)
    return target


def _masklets(boxes: dict[int, FloatArray], **ratings: float) -> dict[int, Masklet]:
    return {key: Masklet(PIXEL, box, ratings.get(f"iou_{key}", 0.8), 5.0, True) for key, box in boxes.items()}


def test_masks_apart_are_nobodys_quarrel() -> None:
    targets = {1: _flown(1, 100, 1), 2: _flown(2, 140, -1)}
    rivals = Rivals()
    assert rivals.judge(targets, _masklets({1: _box(110), 2: _box(130)}), ()) == set()
    assert not rivals.slipped
    assert not rivals.wants_detector


def test_a_mask_belongs_to_the_one_who_flies_there() -> None:
    targets = {1: _flown(1, 100, 1), 2: _flown(2, 128, -1)}
    both = _masklets({1: _box(118), 2: _box(118)})
    assert Rivals().judge(targets, both, ()) == {1}, "the second was expected at 118, the first at 110"


def test_at_the_same_distance_the_rating_decides() -> None:
    targets = {1: _flown(1, 100, 0), 2: _flown(2, 112, 0)}
    boxes = {1: _box(106), 2: _box(106)}
    assert Rivals().judge(targets, _masklets(boxes, iou_1=0.4), ()) == {1}
    assert Rivals().judge(targets, _masklets(boxes, iou_2=0.4), ()) == {2}


def test_who_has_slipped_does_not_win_by_a_hair() -> None:
    targets = {1: _flown(1, 100, 0), 2: _flown(2, 112, 0)}
    rivals = Rivals()
    assert rivals.judge(targets, _masklets({1: _box(105), 2: _box(105)}), ()) == {2}
    assert rivals.judge(targets, _masklets({1: _box(107), 2: _box(107)}), ()) == {2}
    rivals.reset()
    assert rivals.judge(targets, _masklets({1: _box(107), 2: _box(107)}), ()) == {1}


def test_what_is_confirmed_goes_before_what_is_not() -> None:
    targets = {1: _flown(1, 100, 0), 2: _flown(2, 106, 0)}
    targets[2].state = TrackState.TENTATIVE
    assert Rivals().judge(targets, _masklets({1: _box(106), 2: _box(106)}), ()) == {2}


def test_a_gliding_mask_counts_too() -> None:
    targets = {1: _flown(1, 100, 0), 2: _flown(2, 112, 0)}
    targets[1].see(PIXEL, _box(100), 0.8, STEP)
    assert Rivals().judge(targets, _masklets({2: _box(100)}), {1}) == {2}


def test_the_detector_is_asked_after_some_frames_and_not_in_each() -> None:
    targets = {1: _flown(1, 100, 0), 2: _flown(2, 112, 0)}
    rivals = Rivals()
    asked = []
    for _ in range(12):
        rivals.judge(targets, _masklets({1: _box(100), 2: _box(100)}), ())
        asked.append(rivals.wants_detector)
    assert sum(asked) == 2
    assert not asked[0]
    rivals.judge(targets, _masklets({1: _box(100), 2: _box(112)}), ())
    assert not rivals.wants_detector


def test_one_box_round_two_targets() -> None:
    first, second = _flown(1, 100, 0), _flown(2, 114, 0)
    detections = np.stack([np.float32([94, 44, 120, 56]), _box(100), _box(180)])
    assert show_several(detections, [first, second]).tolist() == [False, False, False], "neither is seen in this frame"
    for target, x in ((first, 100), (second, 114)):
        target.see(PIXEL, _box(x), 0.8, STEP)
    assert show_several(detections, [first, second]).tolist() == [True, False, False]
    assert lies_on_any(detections, [first, second]).tolist() == [True, True, False]
    second.state = TrackState.TENTATIVE
    assert not show_several(detections, [first, second]).any()


def test_no_detections_and_no_targets() -> None:
    nothing = np.zeros((0, 4), np.float32)
    target = _flown(1, 100, 0)
    assert lies_on_any(nothing, [target]).shape == show_several(nothing, [target]).shape == (0,)
    assert not lies_on_any(_box(100)[None], []).any()
