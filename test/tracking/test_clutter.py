"""Places of stationary clutter."""

import numpy as np
import pytest

from smotracker_ros.tracking.camera_motion import STILL, CameraShift
from smotracker_ros.tracking.clutter import ClutterMap

BOX = np.float32([100, 80, 112, 90])
SEEN = np.array([True])


def _pan(x: float, y: float) -> CameraShift:
    return CameraShift(np.float64([[1, 0, x], [0, 1, y]]), True)


def test_clutter_is_claimed_where_it_stands_even_if_the_camera_pans() -> None:
    clutter = ClutterMap()
    clutter.add(BOX)
    clutter.predict(_pan(10, 0))
    moved = BOX + np.float32([10.5, 0, 10.5, 0])
    still, travelled = clutter.claim(np.stack([moved, BOX + 100]), SEEN)
    assert still.tolist() == [True, False]
    assert travelled.tolist() == [0, 0]


def test_what_leaves_a_place_of_clutter_is_no_clutter() -> None:
    clutter = ClutterMap()
    clutter.add(BOX)
    left = BOX + np.float32([4, 0, 4, 0])
    still, travelled = clutter.claim(left[None], SEEN)
    assert still.tolist() == [False]
    assert travelled[0] == pytest.approx(4)
    assert len(clutter.boxes) == 0


def test_a_place_where_nothing_is_detected_any_more_is_forgotten() -> None:
    clutter = ClutterMap()
    clutter.add(BOX)
    for _ in range(14):
        clutter.predict(STILL)
        clutter.claim(np.zeros((0, 4), np.float32), SEEN)
    assert len(clutter.boxes) == 1
    clutter.claim(np.zeros((0, 4), np.float32), SEEN)
    assert len(clutter.boxes) == 0


def test_a_place_at_which_nobody_has_looked_is_kept() -> None:
    clutter = ClutterMap()
    clutter.add(BOX)
    for _ in range(30):
        clutter.claim(np.zeros((0, 4), np.float32), ~SEEN)
    assert len(clutter.boxes) == 1
