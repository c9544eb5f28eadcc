"""Telling what flies from what stands still."""

import cv2
import numpy as np
import pytest

from smotracker_ros.tracking.camera_motion import STILL, CameraShift
from smotracker_ros.tracking.clutter import ClutterMap, Landmark, Travel

BOX = np.float32([100, 80, 112, 90])


def _pan(x: float, y: float) -> CameraShift:
    return CameraShift(np.float64([[1, 0, x], [0, 1, y]]), True)


def _scene(shift: tuple[float, float] = (0, 0), drone: tuple[int, int] | None = None) -> np.ndarray:
    """A textured hillside with, perhaps, a bright drone before it."""
    noise = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 255, (240, 320)).astype(np.uint8), (0, 0), 2)
    matrix = np.float64([[1, 0, shift[0]], [0, 1, shift[1]]])
    grey = cv2.warpAffine(noise, matrix, (320, 240), borderMode=cv2.BORDER_REFLECT)
    if drone is not None:
        cv2.circle(grey, drone, 4, 255, -1)
    return np.repeat(grey[..., None], 3, axis=2)


def test_travel_is_measured_against_the_background() -> None:
    standing, flying = Travel(), Travel()
    pan = _pan(5, -2)
    place = np.float32([100, 100])
    for step in range(10):
        for travel in (standing, flying):
            travel.predict(pan)
        place = pan.move(place)[0]
        standing.measure(place)
        flying.measure(place + np.float32([0.8, 0]) * step)
    assert standing.longest == pytest.approx(0, abs=1e-3)
    assert flying.longest == pytest.approx(0.8 * 7, abs=0.01)  # between the means of the first and last three


def test_travel_there_and_back_counts_but_not_lately() -> None:
    travel = Travel()
    for x in [*range(10), *range(10, 0, -1), *[0] * 40]:
        travel.measure(np.float32([x, 0]))
    assert travel.longest == pytest.approx(9 + 1 / 3 - 1)  # from the mean of 0..2 to that of 9, 10, 9
    assert travel.lately == 0


def test_a_landmark_is_recognised_when_the_camera_pans() -> None:
    landmark = Landmark.take(_scene(), BOX)
    assert landmark is not None
    landmark.predict(_pan(7, 3))
    assert landmark.is_unchanged(_scene(shift=(7, 3)))


def test_a_landmark_changes_when_its_drone_has_left() -> None:
    landmark = Landmark.take(_scene(drone=(106, 85)), BOX)
    assert landmark is not None
    assert landmark.is_unchanged(_scene(drone=(106, 85)))
    assert not landmark.is_unchanged(_scene(drone=(110, 85)))
    assert not landmark.is_unchanged(_scene())


def test_a_landmark_at_the_border_is_what_the_image_shows_of_it() -> None:
    landmark = Landmark.take(_scene(), np.float32([0, 10, 8, 18]))
    assert landmark is not None
    assert landmark.patch.shape == (14, 11)
    assert landmark.is_unchanged(_scene())
    assert not landmark.is_unchanged(_scene(shift=(4, 0)))
    assert Landmark.take(_scene(), np.float32([-8, 10, 0, 18])) is None


def test_clutter_is_claimed_where_it_stands_even_if_the_camera_pans() -> None:
    clutter = ClutterMap()
    clutter.add(BOX)
    clutter.predict(_pan(10, 0))
    moved = BOX + np.float32([10.5, 0, 10.5, 0])
    still, travelled = clutter.claim(np.stack([moved, BOX + 100]))
    assert still.tolist() == [True, False]
    assert travelled.tolist() == [0, 0]


def test_what_leaves_a_place_of_clutter_is_no_clutter() -> None:
    clutter = ClutterMap()
    clutter.add(BOX)
    left = BOX + np.float32([4, 0, 4, 0])
    still, travelled = clutter.claim(left[None])
    assert still.tolist() == [False]
    assert travelled[0] == pytest.approx(4)
    assert len(clutter.boxes) == 0


def test_a_place_where_nothing_is_detected_any_more_is_forgotten() -> None:
    clutter = ClutterMap()
    clutter.add(BOX)
    for _ in range(14):
        clutter.predict(STILL)
        clutter.claim(np.zeros((0, 4), np.float32))
    assert len(clutter.boxes) == 1
    clutter.claim(np.zeros((0, 4), np.float32))
    assert len(clutter.boxes) == 0


def test_a_place_that_a_pan_carries_out_of_view_has_not_moved() -> None:
    landmark = Landmark.take(_scene(), BOX)
    assert landmark is not None
    for shift in (-97.0, -100.0, -104.0, -107.0):  # less and less of it is left
        landmark.center = np.float32([106 + shift, 85])
        assert landmark.is_unchanged(_scene(shift=(shift, 0))) is True, shift
    for center in [
        (-6, 85),
        (-24, 85),
        (326, 85),
        (331, 85),
        (400, 85),
        (106, -20),
        (106, 245),
        (106, 250),
        (900, 900),
    ]:
        landmark.center = np.float32(center)
        assert landmark.is_unchanged(_scene()) is None, "nobody can tell"
    for x in range(-20, 345, 5):
        for y in range(-20, 265, 5):
            landmark.center = np.float32([x, y])
            landmark.is_unchanged(_scene()[: 8 if x % 4 else 240])


@pytest.mark.parametrize("zoom", [0.7, 1.35, 1.8])
def test_a_landmark_is_recognised_when_the_camera_zooms(zoom: float) -> None:
    scene = _scene()
    matrix = np.float64([[zoom, 0, 106 * (1 - zoom)], [0, zoom, 85 * (1 - zoom)]])
    zoomed = cv2.warpAffine(scene, matrix, (320, 240), flags=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    landmark = Landmark.take(scene, BOX)
    assert landmark is not None
    step = CameraShift(np.float64([[zoom ** (1 / 20), 0, 106 * (1 - zoom ** (1 / 20))], [0, 1, 0]]), True)
    step.matrix[1] = [0, zoom ** (1 / 20), 85 * (1 - zoom ** (1 / 20))]
    for _ in range(20):
        landmark.predict(step)
    assert landmark.is_unchanged(zoomed)
    assert not landmark.is_unchanged(_scene(shift=(6, 0)))


def test_errors_of_the_camera_s_motion_add_up() -> None:
    still, moving = Travel(), Travel()
    for _ in range(100):
        still.predict(STILL)
        moving.predict(CameraShift(STILL.matrix, True, 0.05))
    assert still.drift == 0
    assert moving.drift == pytest.approx(3 * 0.05 * 10)
