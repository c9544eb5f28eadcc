"""Of two masklets on one object, the one with the better claim stays."""

import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.camera_motion import STILL
from smotracker_ros.tracking.duplicates import Duplicates
from smotracker_ros.tracking.target import Target

STEP = 1 / 30
BOX = np.float32([100, 100, 112, 110])
APPEARANCE = np.float32([1, 0])
CONFIRMED, TENTATIVE = TrackState.CONFIRMED, TrackState.TENTATIVE


def _after_a_pass(
    states: dict[int, TrackState], detected: set[int], frames: int = 30, apart: float = 0.0, misses: int = 1
) -> dict[int, Target]:
    """Targets whose masks have lain `apart` pixels from each other; the last frame's detector pass is merged."""
    targets = {identity: Target.born(identity, BOX, APPEARANCE) for identity in states}
    duplicates = Duplicates()
    for target in targets.values():
        target.detected(BOX, 0.5, 1, APPEARANCE)
        target.state = states[target.id]
    for _ in range(frames):
        for place, target in enumerate(targets.values()):
            target.predict(STILL, STEP)
            shift = np.float32([apart * place, 0, apart * place, 0])
            target.see(MaskPatch(100, 100, np.ones((10, 12), np.bool_)), BOX + shift, 0.9, STEP)
        duplicates.count(targets.values(), STEP)
    for target in targets.values():
        if target.id in detected:
            target.detected(BOX, 0.5, 1, APPEARANCE)
        else:
            target.misses = misses
    duplicates.merge(targets, ())
    return targets


def _left(targets: dict[int, Target]) -> list[int]:
    return [target.id for target in targets.values() if target.state is not TrackState.REMOVED]


@pytest.mark.parametrize(
    ("states", "detected", "stays"),
    [
        ({1: CONFIRMED, 2: CONFIRMED}, {1}, 1),
        ({1: CONFIRMED, 2: CONFIRMED}, {2}, 2),
        ({1: CONFIRMED, 2: CONFIRMED}, set(), 1),
        ({1: TENTATIVE, 2: CONFIRMED}, {1}, 2),
        ({1: TENTATIVE, 2: CONFIRMED}, {2}, 2),
        ({1: TENTATIVE, 2: CONFIRMED}, set(), 2),
        ({1: CONFIRMED, 2: TENTATIVE}, {1}, 1),
        ({1: CONFIRMED, 2: TENTATIVE}, {2}, 1),
        ({1: TENTATIVE, 2: TENTATIVE}, {1}, 1),
        ({1: TENTATIVE, 2: TENTATIVE}, {2}, 2),
    ],
)
def test_confirmed_goes_before_detected_and_that_before_older(
    states: dict[int, TrackState], detected: set[int], stays: int
) -> None:
    targets = _after_a_pass(states, detected)
    assert _left(targets) == [stays]
    assert targets[stays].state is states[stays]
    assert (targets[stays].misses == 0) is bool(detected), "whichever was detected, it was this object"


def test_what_an_external_box_vouches_for_stays() -> None:
    targets = {identity: Target.born(identity, BOX, APPEARANCE) for identity in (1, 2)}
    duplicates = Duplicates()
    for _ in range(30):
        for target in targets.values():
            target.state = CONFIRMED
            target.predict(STILL, STEP)
            target.see(MaskPatch(100, 100, np.ones((10, 12), np.bool_)), BOX, 0.9, STEP)
        duplicates.count(targets.values(), STEP)
    targets[1].missed()
    targets[2].vouched = True
    targets[2].missed()
    duplicates.merge(targets, ())
    assert _left(targets) == [2]


def test_two_that_are_both_detected_are_two_objects() -> None:
    assert _left(_after_a_pass({1: CONFIRMED, 2: CONFIRMED}, {1, 2})) == [1, 2]


def test_what_lies_apart_or_has_just_met_is_left_alone() -> None:
    assert _left(_after_a_pass({1: CONFIRMED, 2: CONFIRMED}, {1}, apart=9)) == [1, 2]
    assert _left(_after_a_pass({1: CONFIRMED, 2: CONFIRMED}, {1}, frames=5)) == [1, 2]


def test_a_crossing_under_way_is_not_a_duplicate() -> None:
    targets = {identity: Target.born(identity, BOX, APPEARANCE) for identity in (1, 2)}
    duplicates = Duplicates()
    for _ in range(30):
        for target in targets.values():
            target.predict(STILL, STEP)
            target.see(MaskPatch(100, 100, np.ones((10, 12), np.bool_)), BOX, 0.9, STEP)
        duplicates.count(targets.values(), STEP)
    duplicates.merge(targets, {1, 2})
    assert _left(targets) == [1, 2]
