"""Directions of pixels: against projection by OpenCV, and calibrations that are none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smotracker_ros.io.calibration import Calibration, CalibrationError, read_camera_info, rectification_doubt

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


@pytest.mark.parametrize("model", MODELS)
def test_projections_are_those_of_opencv(model: str) -> None:
    camera = Calibration((480, 640), MATRIX, np.array(MODELS[model]), model)
    assert np.abs(camera.project(7 * _rays()) - _pixels(_rays(), model)).max() < 1e-6
    part = Calibration((100, 120), MATRIX, np.array(MODELS[model]), model, (200, 40), (2, 2))
    assert np.allclose(part.project(_rays()), (_pixels(_rays(), model) - (200, 40)) / 2)
    assert camera.project(np.zeros((0, 3))).shape == (0, 2)


def test_what_a_lens_cannot_see_has_no_place_in_the_image() -> None:
    behind = [[0, 0, -1], [1, 0, -0.1], [1, 0, 0], [0, 0, 0]]
    for model in ("", "plumb_bob"):
        assert np.isnan(Calibration((480, 640), MATRIX, np.array(MODELS[model]), model).project(behind)).all()
    fisheye = Calibration((480, 640), MATRIX, np.zeros(4), "equidistant")
    found = fisheye.project([[1, 0, -0.1], [0, 0, 1], [0, 0, 0]])
    assert np.allclose(fisheye.bearings(found[:2]), np.array([[1, 0, -0.1], [0, 0, 1]]) / [[np.sqrt(1.01)], [1]])
    assert np.isnan(found[2]).all()
    strong = Calibration((480, 640), MATRIX, np.array([-0.8, 0.0, 0.0, 0.0, 0.0]), "plumb_bob")
    near, far = strong.project([[0.1, 0, 1], [3.0, 0, 1]])
    assert np.isfinite(near).all() and np.isnan(far).all()


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


@pytest.mark.parametrize("count", [0, 3, 4, 5, 7])
@pytest.mark.parametrize("model", ["", "pinhole", "none", "plumb_bob", "radtan", "rational_polynomial"])
def test_zeros_are_no_distortion_whatever_their_number(model: str, count: int) -> None:
    camera = Calibration((480, 640), MATRIX, np.zeros(count), model)
    assert np.allclose(camera.bearings(_pixels(_rays(), "")), _rays())


def _off_axis(camera: Calibration, radius: float) -> float:
    """Degrees off the axis at a distance from the image's centre, in focal lengths, downwards."""
    x, y = MATRIX[0, 2] + 0.5, MATRIX[1, 2] + 0.5 + radius * MATRIX[1, 1]
    bearing = camera.bearings(np.array([[x, y]]))[0]
    assert abs(bearing[0]) < 1e-9
    return float(np.degrees(np.arctan2(bearing[1], bearing[2])))


@pytest.mark.parametrize("model", ["equidistant", "fisheye", "Equidistant", "kannala_brandt", "opencv-fisheye"])
@pytest.mark.parametrize("count", [0, 4, 5])
def test_an_ideal_equidistant_lens_is_no_pinhole(model: str, count: int) -> None:
    """Half the circumference of a focal length is 90 degrees; such a lens also sees what is beside and behind it."""
    camera = Calibration((480, 640), MATRIX, np.zeros(count), model)
    for degrees in (1.0, 30.0, 57.3, 89.0, 90.0, 110.0, 170.0):
        assert _off_axis(camera, np.radians(degrees)) == pytest.approx(degrees, abs=1e-6)
    assert not camera.bearings(np.array([[MATRIX[0, 2] + np.radians(181) * MATRIX[0, 0], MATRIX[1, 2]]])).any()


def test_the_lens_model_decides_not_the_size_of_its_coefficients() -> None:
    """Coefficients that go to zero lead to the ideal lens of the model."""
    for model, count in (("equidistant", 4), ("plumb_bob", 5), ("rational_polynomial", 8)):
        ideal = Calibration((480, 640), MATRIX, np.zeros(count), model)
        almost = Calibration((480, 640), MATRIX, np.full(count, 1e-9), model)
        assert _off_axis(almost, 0.8) == pytest.approx(_off_axis(ideal, 0.8), abs=1e-4)


def test_a_distorted_fisheye_beyond_90_degrees() -> None:
    coefficients = np.array(MODELS["equidistant"])
    camera = Calibration((480, 640), MATRIX, coefficients, "equidistant")
    for degrees in (20.0, 60.0, 95.0):
        theta = np.radians(degrees)
        radius = theta * (1 + coefficients @ theta ** np.array([2, 4, 6, 8]))
        assert _off_axis(camera, radius) == pytest.approx(degrees, abs=1e-6)


@pytest.mark.parametrize("count", [12, 14])
def test_thin_prism_and_tilted_lenses(count: int) -> None:
    extra = [0.002, -0.001, 0.001, 0.0005, 0.02, -0.01][: count - 8]
    distortion = np.array([*MODELS["rational_polynomial"], *extra])
    pixels = cv2.projectPoints(_rays()[:, None], np.zeros(3), np.zeros(3), MATRIX, distortion)[0][:, 0] + 0.5
    for model in ("rational_polynomial", "thin_prism"):
        assert np.abs(Calibration((480, 640), MATRIX, distortion, model).bearings(pixels) - _rays()).max() < 1e-4


def _message(**change: Any) -> Any:
    """A CameraInfo of a sensor of 640x480 pixels."""
    projection = np.column_stack([MATRIX * [[2], [2], [1]], [-80.0, 0, 0]])
    region = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    fields = {
        "width": 640, "height": 480, "distortion_model": "equidistant", "d": MODELS["equidistant"],
        "k": MATRIX.ravel(), "p": projection.ravel(), "binning_x": 0, "binning_y": 0, "roi": region,
    }  # fmt: skip
    return SimpleNamespace(**(fields | change))


def test_rectified_images_have_the_projection_matrix_and_no_lens() -> None:
    """Whatever the lens was; the baseline of a stereo pair in the fourth column is no part of a direction."""
    for model in ("equidistant", "plumb_bob", "lens of a maker"):
        camera = read_camera_info(_message(distortion_model=model), rectified=True)
        pixel = np.array([[2 * (MATRIX[0, 2] + 300) + 0.5, 2 * MATRIX[1, 2] + 0.5]])
        assert np.allclose(camera.bearings(pixel), np.array([[1, 0, 2]]) / np.sqrt(5))
    with pytest.raises(CalibrationError, match="unknown distortion model 'lens of a maker'"):
        read_camera_info(_message(distortion_model="lens of a maker", d=np.zeros(4)))


def test_topics_of_rectified_images_are_doubted() -> None:
    """Not where it makes no difference, as with a driver that states the rectified camera."""
    message = _message()
    for topic in ("/camera/image_rect", "/camera/image_rect_color/compressed", "/infra1/image_rect_raw"):
        assert "set it if" in str(rectification_doubt(message, topic, False))
        assert rectification_doubt(message, topic, True) is None
    assert rectification_doubt(message, "/camera/image_raw", False) is None
    same = _message(p=np.column_stack([MATRIX, [-80.0, 0, 0]]).ravel(), d=np.zeros(5))
    assert rectification_doubt(same, "/infra1/image_rect_raw", False) is None


def test_region_of_interest_and_binning_of_a_message() -> None:
    region = SimpleNamespace(x_offset=320, y_offset=200, width=320, height=240, do_rectify=False)
    part = read_camera_info(_message(roi=region, binning_x=2, binning_y=2))
    assert part.size == (120, 160)
    full = read_camera_info(_message())
    assert np.allclose(part.bearings(np.array([[40.0, 30.0]])), full.bearings(np.array([[400.0, 260.0]])))
    region.width = 400
    with pytest.raises(CalibrationError, match="reaches beyond the full 640x480"):
        read_camera_info(_message(roi=region))
    region.width = region.height = 0
    with pytest.raises(CalibrationError, match="reaches beyond"):
        read_camera_info(_message(roi=region))


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
        ({"matrix": MATRIX.T}, "transposed"),
        ({"distortion": np.ones(4), "model": "nonsense"}, "unknown distortion model 'nonsense'"),
        ({"distortion": np.zeros(4), "model": "nonsense"}, "unknown distortion model 'nonsense'"),
        ({"distortion": np.zeros(0), "model": "double_sphere"}, "unknown distortion model 'double_sphere'"),
        ({"distortion": np.ones(4)}, "4 distortion coefficients of no distortion model"),
        ({"distortion": np.ones(4), "model": "pinhole"}, "no distortion model"),
        ({"distortion": np.ones(5), "model": "fisheye"}, "5 coefficients; the distortion model equidistant has 4"),
        ({"size": (0, 640)}, "makes no sense"),
        ({"binning": (0, 1)}, "makes no sense"),
    ],
)
def test_bad_calibrations_say_why(change: dict[str, object], text: str) -> None:
    with pytest.raises(CalibrationError, match=text):
        Calibration(**{"size": (480, 640), "matrix": MATRIX, **change})  # type: ignore[arg-type]
