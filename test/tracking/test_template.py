"""Masks of calm targets follow their pictures."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch, box_centers
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.camera_motion import STILL
from smotracker_ros.tracking.looks import LookQueue
from smotracker_ros.tracking.population import predict_all
from smotracker_ros.tracking.target import Target
from smotracker_ros.tracking.template import Gliding

HEIGHT, WIDTH = 120, 160
SECONDS = 1 / 30


def picture(*centers: tuple[float, float]) -> np.ndarray:
    """Soft bright discs of 8 pixels on a noisy sky, uint8 RGB."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    grey = 60 + np.random.default_rng(0).normal(0, 2, (HEIGHT, WIDTH)).astype(np.float32)
    for cx, cy in centers:
        grey += 120 * np.exp(-(((x - cx) ** 2 + 1.5 * (y - cy) ** 2) / 10))
    return cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def seen(identity: int, x: int, y: int, velocity: tuple[float, float] = (60.0, 0.0)) -> Target:
    """A confirmed target whose mask of 9x7 pixels is centred on (x, y)."""
    box = np.array([x - 4, y - 3, x + 5, y + 4], dtype=np.float32)
    target = Target.born(identity, box, np.ones(4, dtype=np.float32) / 2)
    target.state = TrackState.CONFIRMED
    target.motion.velocity = np.array(velocity, dtype=np.float32)
    target.see(MaskPatch(x - 4, y - 3, np.ones((7, 9), dtype=np.bool_)), box, 0.9, 0.0)
    return target


def turn_of(number: int) -> Callable[[float], bool]:
    """Whether SAM2 looks, on the frame of that number of a stream with 30 per second, at what it sees so often."""

    def looks(interval: float) -> bool:
        return number % max(round(interval * 30), 1) == 0

    return looks


def every(seconds: float) -> TrackerSettings:
    """SAM2 looks at calm targets once in so many seconds."""
    return TrackerSettings(masklet_seconds=seconds)


def next_frame(target: Target) -> None:
    predict_all([target], STILL, SECONDS)


@pytest.fixture
def gliding() -> Gliding:
    return Gliding()


def test_a_calm_target_is_put_where_its_picture_is(gliding: Gliding) -> None:
    target = seen(1, 50, 60)
    gliding.remember(target, picture((50, 60)))
    next_frame(target)
    # expected 2 pixels to the right; it is 2.5 to the right and 1 down
    assert gliding.carry({1: target}, picture((52.5, 61)), SECONDS, turn_of(1), every(2 / 30), (), LookQueue()) == {1}
    assert target.mask is not None and target.mask_box is not None
    assert target.frames_since_seen == 0
    np.testing.assert_allclose(box_centers(target.mask_box)[0], [53, 61.5], atol=0.25)
    assert (target.mask.x, target.mask.y) in {(48, 58), (49, 58)}
    assert target.mask.area == 63


def test_sam2_looks_when_it_is_the_targets_turn(gliding: Gliding) -> None:
    target = seen(3, 50, 60)
    gliding.remember(target, picture((50, 60)))
    next_frame(target)
    image = picture((52, 60))
    assert gliding.carry({3: target}, image, SECONDS, turn_of(4), every(2 / 30), (), LookQueue()) == set()
    assert target.mask is None
    assert gliding.carry({3: target}, image, SECONDS, turn_of(3), every(1 / 30), (), LookQueue()) == set()
    assert gliding.carry({3: target}, image, SECONDS, turn_of(3), every(2 / 30), (), LookQueue()) == {3}


def test_all_calm_targets_are_looked_at_in_the_same_frames(gliding: Gliding) -> None:
    image = picture((30, 60), (80, 60), (130, 60))
    looks = []
    targets = {number: seen(number, 30 + 50 * (number - 1), 60, (0.0, 0.0)) for number in (1, 2, 3)}
    for turn in range(1, 10):
        for target in targets.values():
            gliding.remember(target, image)
            next_frame(target)
        carried = gliding.carry(targets, image, SECONDS, turn_of(turn), every(0.1), (), LookQueue())
        looks.append(3 - len(carried))
        for number in targets.keys() - carried:
            box = np.float32([50 * number - 24, 57, 50 * number - 15, 64])
            targets[number].see(MaskPatch(50 * number - 24, 57, np.ones((7, 9), dtype=np.bool_)), box, 0.9, 0.0)
    assert looks == [0, 0, 3] * 3


def test_a_target_that_looks_different_is_left_to_sam2(gliding: Gliding) -> None:
    target = seen(1, 50, 60)
    gliding.remember(target, picture((50, 60)))
    next_frame(target)
    assert gliding.carry({1: target}, picture(), SECONDS, turn_of(1), every(2 / 30), (), LookQueue()) == set()
    # far from where it is expected
    assert gliding.carry({1: target}, picture((62, 60)), SECONDS, turn_of(1), every(2 / 30), (), LookQueue()) == set()
    assert target.mask is None


def test_what_long_waits_to_be_confirmed_rests_even_beside_a_neighbour(gliding: Gliding) -> None:
    image = picture((50, 60), (60, 60))
    targets = {1: seen(1, 50, 60, (0.0, 0.0)), 2: seen(2, 60, 60, (0.0, 0.0))}
    looks = {waited: 0 for waited in (0.1, 1.0)}
    for waited in looks:
        for turn in range(12):
            targets[1].state, targets[1].seconds_alive = TrackState.TENTATIVE, waited
            for target in targets.values():
                gliding.remember(target, image)
                next_frame(target)
            looks[waited] += 1 not in gliding.carry(targets, image, SECONDS, turn_of(turn), every(0.1), (), LookQueue())
            targets[2].see(MaskPatch(56, 57, np.ones((7, 9), dtype=np.bool_)), np.float32([56, 57, 65, 64]), 0.9, 0.0)
            if targets[1].mask is None:
                box = np.float32([46, 57, 55, 64])
                targets[1].see(MaskPatch(46, 57, np.ones((7, 9), dtype=np.bool_)), box, 0.9, 0.0)
    assert looks == {0.1: 12, 1.0: 1}, "once in a clip of .4 s"


def test_neighbours_and_crossings_are_left_to_sam2(gliding: Gliding) -> None:
    image, later = picture((50, 60), (60, 60)), picture((52, 60), (62, 60))
    pair = {1: seen(1, 50, 60), 2: seen(2, 60, 60)}
    for target in pair.values():
        gliding.remember(target, image)
        next_frame(target)
    assert gliding.carry(pair, later, SECONDS, turn_of(1), every(0.1), (), LookQueue()) == set()
    pair[2].state = TrackState.LOST
    assert gliding.carry(pair, later, SECONDS, turn_of(1), every(0.1), (1,), LookQueue()) == set()
    assert gliding.carry(pair, later, SECONDS, turn_of(1), every(0.1), (), LookQueue()) == {1}


def test_neighbours_are_those_whose_masks_are_near(gliding: Gliding) -> None:
    """Boxes in the detector's convention are wider than the targets."""
    image, later = picture((50, 60), (70, 60)), picture((52, 60), (72, 60))
    for margin in (0, 6):
        pair = {1: seen(1, 50, 60), 2: seen(2, 70, 60)}
        for target in pair.values():
            target.margins = np.float32([-margin, -margin, margin, margin])
            target.size = np.float32([9 + 2 * margin, 7 + 2 * margin])
            gliding.remember(target, image)
            next_frame(target)
        assert gliding.carry(pair, later, SECONDS, turn_of(1), every(0.1), (), LookQueue()) == {1, 2}, margin


def test_what_rests_disturbs_where_it_touches_only(gliding: Gliding) -> None:
    for distance, carried in ((11, {1, 2}), (7, {2})):
        image = picture((50, 60), (50 + distance, 60))
        pair = {1: seen(1, 50, 60, (0.0, 0.0)), 2: seen(2, 50 + distance, 60, (0.0, 0.0))}
        pair[2].state, pair[2].seconds_alive = TrackState.TENTATIVE, 1.0
        for target in pair.values():
            gliding.remember(target, image)
            next_frame(target)
        assert gliding.carry(pair, image, SECONDS, turn_of(1), every(0.1), (), LookQueue()) == carried


@pytest.mark.parametrize("trouble", ["tentative", "missed", "doubtful"])
def test_what_is_not_calm_is_looked_at_in_every_second_frame(gliding: Gliding, trouble: str) -> None:
    target = seen(1, 50, 60, (0.0, 0.0))
    image = picture((50, 60))
    gliding.remember(target, image)
    next_frame(target)
    assert gliding.carry({1: target}, image, SECONDS, turn_of(1), every(4 / 30), (), LookQueue()) == {1}, (
        "calm: three frames of four"
    )
    next_frame(target)
    if trouble == "tentative":
        target.state = TrackState.TENTATIVE
    elif trouble == "missed":
        target.misses = 1
        for _ in range(60):  # it has stood for long where the detector does not see it
            target.displacement.predict(STILL, SECONDS)
            target.displacement.measure(np.float32([50.5, 60.5]))
    else:
        target.quality = 0.3
    assert gliding.carry({1: target}, image, SECONDS, turn_of(3), every(4 / 30), (), LookQueue()) == {1}
    next_frame(target)
    assert gliding.carry({1: target}, image, SECONDS, turn_of(2), every(4 / 30), (), LookQueue()) == set()


@pytest.mark.parametrize("trouble", ["unseen", "at the border"])
def test_what_cannot_be_followed_is_left_to_sam2(gliding: Gliding, trouble: str) -> None:
    x = 7 if trouble == "at the border" else 50
    target = seen(1, x, 60, (0.0, 0.0))
    image = picture((x, 60))
    gliding.remember(target, image)
    next_frame(target)
    if trouble == "unseen":
        next_frame(target)
    assert gliding.carry({1: target}, image, SECONDS, turn_of(2), every(2 / 30), (), LookQueue()) == set()


def test_pictures_of_targets_that_are_gone_are_forgotten(gliding: Gliding) -> None:
    target = seen(1, 50, 60, (0.0, 0.0))
    image = picture((50, 60))
    gliding.remember(target, image)
    gliding.carry({}, image, SECONDS, turn_of(1), every(2 / 30), (), LookQueue())
    next_frame(target)
    assert gliding.carry({1: target}, image, SECONDS, turn_of(1), every(2 / 30), (), LookQueue()) == set()
