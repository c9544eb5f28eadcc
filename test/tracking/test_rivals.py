"""Of two masklets that lie on the same pixels, what is not CONFIRMED yields."""

from __future__ import annotations

import numpy as np
import pytest

from smotracker_ros.core.geometry import FloatArray, MaskPatch
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.masklets.propagator import Masklet
from smotracker_ros.tracking.camera_motion import STILL
from smotracker_ros.tracking.rivals import Rivals, lies_on_any, show_several
from smotracker_ros.tracking.target import Target

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


def _waiting(identity: int, start: float) -> Target:
    """A target that hovers and is not CONFIRMED yet."""
    target = _flown(identity, start, 0)
    target.state = TrackState.TENTATIVE
    return target


def test_masks_apart_are_nobodys_quarrel() -> None:
    targets = {1: _flown(1, 110, 0), 2: _waiting(2, 130)}
    assert Rivals().judge(targets, _masklets({1: _box(110), 2: _box(130)}), (), 1 / 30) == set()


def test_confirmed_targets_may_lie_over_each_other() -> None:
    targets = {1: _flown(1, 100, 1), 2: _flown(2, 128, -1)}
    assert Rivals().judge(targets, _masklets({1: _box(114), 2: _box(115)}), (), 1 / 30) == set()


@pytest.mark.parametrize("waiting", [1, 2])
def test_what_is_confirmed_goes_before_what_is_not(waiting: int) -> None:
    targets = {1: _flown(1, 100, 0), 2: _flown(2, 106, 0)}
    targets[waiting].state = TrackState.TENTATIVE
    assert Rivals().judge(targets, _masklets({1: _box(103), 2: _box(103)}), (), 1 / 30) == {waiting}


def test_of_what_waits_the_older_keeps_the_mask() -> None:
    targets = {key: _waiting(key, 100) for key in (1, 2, 3)}
    boxes = {1: _box(97), 2: _box(100), 3: _box(103)}
    assert Rivals().judge(targets, _masklets(boxes), (), 1 / 30) == {2}, (
        "3 overlaps enough with 2 only, which has lost its mask"
    )


def test_a_gliding_mask_counts_too() -> None:
    targets = {1: _flown(1, 100, 0), 2: _waiting(2, 103)}
    targets[1].see(PIXEL, _box(100), 0.8, STEP)
    assert Rivals().judge(targets, _masklets({2: _box(100)}), {1}, 1 / 30) == {2}


def test_a_mask_that_is_not_its_own_is_no_claim() -> None:
    targets = {1: _flown(1, 100, 0), 2: _waiting(2, 200)}
    assert Rivals().judge(targets, _masklets({1: _box(100), 2: _box(100)}), (), 1 / 30) == set(), (
        "2 was expected far away"
    )


def test_the_detector_is_asked_after_some_frames_and_not_in_each() -> None:
    targets = {1: _flown(1, 100, 0), 2: _waiting(2, 103)}
    rivals = Rivals()
    asked = []
    for _ in range(12):
        rivals.judge(targets, _masklets({1: _box(101), 2: _box(101)}), (), 1 / 30)
        asked.append(rivals.wants_detector)
    assert rivals.slipped == {2}
    first, second = (frame for frame, wanted in enumerate(asked, 1) if wanted)
    assert first == 3 and second in (9, 10), "after a tenth of a second, and again after two more"
    rivals.judge(targets, _masklets({1: _box(101), 2: _box(115)}), (), 1 / 30)
    assert not rivals.wants_detector
    assert not rivals.slipped


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
