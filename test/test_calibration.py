"""Directions of pixels: against projection by OpenCV, and calibrations that are none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotracker_ros.calibration import Calibration, CalibrationError

MATRIX = np.array([[600.0, 0, 319.5], [0, 610.0, 239.5], [0, 0, 1]])
MODELS = {
    "": [],
    "plumb_bob": [-0.32, 0.11, 0.0012, -0.0007, -0.012],
    "rational_polynomial": [0.6, 0.02, 0.001, -0.001, 0.003, 0.9, 0.09, 0.01],
    "equidistant": [0.03, -0.012, 0.004, -0.001],
}


def _rays() -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-0.45, 0.45, 7), np.linspace(-0.34, 0.34, 5))
    rays = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _pixels(rays: np.ndarray, model: str) -> np.ndarray:
    """Where rays meet the image; its first pixel's outer corner is (0, 0), half a pixel from OpenCV's origin."""
    nowhere, distortion = np.zeros(3), np.array(MODELS[model])
    if model == "equidistant":
        points, _ = cv2.fisheye.projectPoints(rays[:, None], nowhere, nowhere, MATRIX, distortion)
    else:
        points, _ = cv2.projectPoints(rays[:, None], nowhere, nowhere, MATRIX, distortion)
    return points[:, 0] + 0.5


@pytest.mark.parametrize("model", MODELS)
def test_bearings_undo_the_projection(model: str) -> None:
    camera = Calibration((480, 640), MATRIX, np.array(MODELS[model]), model)
    found = camera.bearings(_pixels(_rays(), model))
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.abs(found - _rays()).max() < 1e-4


def test_the_axis_points_forward() -> None:
    camera = Calibration((480, 640), MATRIX)
    assert np.allclose(camera.bearings(np.array([[320.0, 240.0]])), [[0, 0, 1]])
    right, below = camera.bearings(np.array([[420.0, 240.0], [320.0, 340.0]]))
    assert right[0] > 0 and below[1] > 0


def test_a_region_of_interest_and_binning_do_not_change_directions() -> None:
    full = Calibration((480, 640), MATRIX, np.array(MODELS["plumb_bob"]), "plumb_bob")
    part = Calibration((100, 120), MATRIX, np.array(MODELS["plumb_bob"]), "plumb_bob", (200, 40), (2, 2))
    sensor = np.array([[200.0, 40.0], [260.0, 100.0], [430.0, 230.0]])
    assert np.allclose(part.bearings((sensor - (200, 40)) / 2), full.bearings(sensor))


def test_where_the_lens_model_does_not_reach_there_is_no_direction() -> None:
    strong = Calibration((480, 640), MATRIX, np.array([-0.8, 0.0, 0.0, 0.0, 0.0]), "plumb_bob")
    near, far = strong.bearings(np.array([[330.0, 250.0], [3000.0, 2500.0]]))
    assert np.linalg.norm(near) == pytest.approx(1)
    assert not far.any()


def test_no_points() -> None:
    assert Calibration((480, 640), MATRIX).bearings(np.zeros((0, 2))).shape == (0, 3)


def test_zeros_are_no_distortion_whatever_their_number() -> None:
    for count in (0, 3, 5, 7):
        camera = Calibration((480, 640), MATRIX, np.zeros(count), "nonsense")
        assert np.allclose(camera.bearings(np.array([[320.0, 240.0]])), [[0, 0, 1]])


@given(
    st.lists(st.floats(1e-3, 1e7), min_size=4, max_size=4),
    st.sampled_from([("plumb_bob", 5), ("rational_polynomial", 8), ("rational_polynomial", 14), ("equidistant", 4)]),
    st.data(),
)
def test_a_wild_calibration_gives_unit_vectors_or_none(
    numbers: list[float], model: tuple[str, int], data: st.DataObject
) -> None:
    matrix = np.array([[numbers[0], 0, numbers[1]], [0, numbers[2], numbers[3]], [0, 0, 1]])
    # without subnormal numbers: a tracker in this process switches them off for speed
    wild = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
    distortion = np.array(data.draw(st.lists(wild, min_size=model[1], max_size=model[1])))
    found = Calibration((480, 640), matrix, distortion, model[0]).bearings(np.array([[1.0, 2.0], [600.0, 400.0]]))
    for length in np.linalg.norm(found, axis=1):
        assert length == 0 or length == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"matrix": np.zeros((3, 3))}, "not calibrated"),
        ({"matrix": MATRIX * np.nan}, "not calibrated"),
        ({"matrix": MATRIX * 1e9}, "10 million"),
        ({"distortion": np.full(5, np.inf), "model": "plumb_bob"}, "not finite"),
        ({"distortion": np.ones(7), "model": "plumb_bob"}, "7 coefficients"),
        ({"distortion": np.ones(4), "model": "nonsense"}, "unknown distortion model 'nonsense'"),
        ({"size": (0, 640)}, "makes no sense"),
        ({"binning": (0, 1)}, "makes no sense"),
    ],
)
def test_bad_calibrations_say_why(change: dict[str, object], text: str) -> None:
    with pytest.raises(CalibrationError, match=text):
        Calibration(**{"size": (480, 640), "matrix": MATRIX, **change})  # type: ignore[arg-type]
