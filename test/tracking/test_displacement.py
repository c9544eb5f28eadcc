"""How far targets have moved, and whether their first place looks as it did."""

import cv2
import numpy as np
import pytest

from smotracker_ros.tracking.camera_motion import STILL, CameraShift
from smotracker_ros.tracking.displacement import BackgroundTemplate, Displacement

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


def _fly(step: float, shift: CameraShift, frames: int, rate: float = 30) -> Displacement:
    """What is known of a target that moves so many pixels per second against a background."""
    way, place = Displacement(), np.float32([100, 100])
    for index in range(frames):
        way.predict(shift, 1 / rate)
        place = shift.move(place)[0]
        way.measure(place + np.float32([step / rate, 0]) * index)
    return way


def test_displacement_is_measured_against_the_background() -> None:
    standing, flying = _fly(0, _pan(5, -2), 20), _fly(24, _pan(5, -2), 20)
    assert standing.farthest == pytest.approx(0, abs=1e-3)
    # means of the last positions are a little behind
    assert 24 * 19 / 30 - 3 < flying.farthest < 24 * 19 / 30
    assert flying.deviations(10) > 10 > 1 > standing.deviations(10)


@pytest.mark.parametrize("rate", [8, 15, 30, 60, 90])
def test_displacement_does_not_depend_on_the_frame_rate(rate: int) -> None:
    way = _fly(24, STILL, 2 * rate, rate)
    assert way.farthest == pytest.approx(46, abs=3)
    assert way.lately == pytest.approx(19.2, abs=3.5)
    assert (_fly(24, STILL, rate // 2, rate).deviations_lately(10) is None) and way.deviations_lately(10) is not None


def test_a_way_there_and_back_counts_but_not_lately() -> None:
    way = Displacement()
    for x in [*range(10), *range(10, 0, -1), *[0] * 40]:
        way.predict(STILL, 1 / 30)
        way.measure(np.float32([x, 0]))
    assert way.farthest == pytest.approx(8.5, abs=1)
    assert way.lately < 0.1


def test_errors_of_the_camera_s_motion_explain_displacement() -> None:
    sure, unsure = (_fly(6, CameraShift(STILL.matrix, True, error), 20) for error in (0.0, 1.0))
    assert unsure.deviations(10) < 1 < sure.deviations(10)


def test_what_is_burnt_in_stays_in_the_image_while_the_camera_moves() -> None:
    burnt, real = Displacement(), Displacement()
    pan, place = _pan(3, 0), np.float32([100, 100])
    for index in range(30):
        for way in (burnt, real):
            way.predict(pan, 1 / 30)
        place = pan.move(place)[0] if index else place
        burnt.measure(np.float32([100 + 0.3 * (index % 2), 100]))
        real.measure(place)
    assert burnt.camera_path == pytest.approx(87, abs=8) and burnt.image_reach < 0.5
    assert real.image_reach == pytest.approx(87, abs=1)


def test_a_template_is_recognised_when_the_camera_pans() -> None:
    template = BackgroundTemplate.take(_scene(), BOX)
    assert template is not None
    template.predict(_pan(7, 3))
    assert template.is_unchanged(_scene(shift=(7, 3)))


def test_a_template_changes_when_its_drone_has_left() -> None:
    template = BackgroundTemplate.take(_scene(drone=(106, 85)), BOX)
    assert template is not None
    assert template.is_unchanged(_scene(drone=(106, 85)))
    assert not template.is_unchanged(_scene(drone=(110, 85)))
    assert not template.is_unchanged(_scene())


def test_a_template_at_the_border_is_what_the_image_shows_of_it() -> None:
    template = BackgroundTemplate.take(_scene(), np.float32([0, 10, 8, 18]))
    assert template is not None
    assert template.patch.shape == (14, 11)
    assert template.is_unchanged(_scene())
    assert not template.is_unchanged(_scene(shift=(4, 0)))
    assert BackgroundTemplate.take(_scene(), np.float32([-8, 10, 0, 18])) is None


def test_a_place_that_a_pan_carries_out_of_view_has_not_moved() -> None:
    template = BackgroundTemplate.take(_scene(), BOX)
    assert template is not None
    for shift in (-97.0, -100.0, -104.0, -107.0):  # less and less of it is left
        template.center = np.float32([106 + shift, 85])
        assert template.is_unchanged(_scene(shift=(shift, 0))) is True, shift
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
        template.center = np.float32(center)
        assert template.is_unchanged(_scene()) is None, "nobody can tell"
    for x in range(-20, 345, 5):
        for y in range(-20, 265, 5):
            template.center = np.float32([x, y])
            template.is_unchanged(_scene()[: 8 if x % 4 else 240])


@pytest.mark.parametrize("zoom", [0.7, 1.35, 1.8])
def test_a_template_is_recognised_when_the_camera_zooms(zoom: float) -> None:
    scene = _scene()
    matrix = np.float64([[zoom, 0, 106 * (1 - zoom)], [0, zoom, 85 * (1 - zoom)]])
    zoomed = cv2.warpAffine(scene, matrix, (320, 240), flags=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    template = BackgroundTemplate.take(scene, BOX)
    assert template is not None
    step = CameraShift(np.float64([[zoom ** (1 / 20), 0, 106 * (1 - zoom ** (1 / 20))], [0, 1, 0]]), True)
    step.matrix[1] = [0, zoom ** (1 / 20), 85 * (1 - zoom ** (1 / 20))]
    for _ in range(20):
        template.predict(step)
    assert template.is_unchanged(zoomed)
    assert not template.is_unchanged(_scene(shift=(6, 0)))
