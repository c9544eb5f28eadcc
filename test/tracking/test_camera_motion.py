"""Camera motion and target motion."""

import cv2
import numpy as np
import pytest

from smotracker_ros.tracking.camera_motion import STILL, CameraMotion, CameraShift, shrink


def _texture() -> np.ndarray:
    generator = np.random.default_rng(0)
    noise = cv2.GaussianBlur(generator.integers(0, 255, (600, 800)).astype(np.uint8), (0, 0), 3)
    stretched = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
    return np.repeat(stretched[..., None], 3, axis=2)


def _view(world: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(world, matrix, (640, 480), flags=cv2.INTER_LINEAR)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.4, -1.2), (20.0, 0.0), (-14.0, 20.0)])
def test_a_pan_is_measured(shift: tuple[float, float]) -> None:
    camera = CameraMotion()
    world = _texture()
    first = np.float64([[1, 0, -60], [0, 1, -50]])
    second = first + np.float64([[0, 0, shift[0]], [0, 0, shift[1]]])
    assert not camera.update(_view(world, first), 1 / 30).measured
    found = camera.update(_view(world, second), 1 / 30)
    assert found.measured
    np.testing.assert_allclose(found.move([[100, 100]])[0], np.float32([100, 100]) + shift, atol=0.5)


def test_a_zoom_is_measured() -> None:
    camera = CameraMotion()
    world = _texture()
    camera.update(_view(world, np.float64([[1, 0, -60], [0, 1, -50]])), 1 / 30)
    found = camera.update(_view(world, np.float64([[1.05, 0, -60], [0, 1.05, -50]])), 1 / 30)
    assert found.zoom == pytest.approx(1.05, abs=0.01)


def test_a_plain_sky_gives_no_hold() -> None:
    camera = CameraMotion()
    sky = np.full((480, 640, 3), 120, dtype=np.uint8)
    camera.update(sky, 1 / 30)
    shift = camera.update(sky, 1 / 30)
    assert not shift.measured and shift.error == 0
    np.testing.assert_array_equal(shift.matrix, STILL.matrix)


def test_a_camera_that_moved_is_unsure_where_the_picture_gives_no_hold() -> None:
    camera, generator = CameraMotion(), np.random.default_rng(0)
    ground = cv2.GaussianBlur(generator.integers(0, 255, (480, 1600)).astype(np.uint8), (0, 0), 3)
    errors = []
    for index in range(40):
        view = ground[:, 4 * index : 4 * index + 640] if index < 30 else np.full((480, 640), 120, dtype=np.uint8)
        errors.append(camera.update(np.repeat(view[..., None], 3, axis=2), 1 / 30))
    assert errors[29].measured and not errors[31].measured
    assert 1 < errors[31].error < 4, "it went on by 4 pixels per frame, as far as anybody knows"
    assert errors[39].error < errors[31].error


def test_video_noise_in_a_plain_sky_gives_no_hold() -> None:
    camera, generator = CameraMotion(), np.random.default_rng(3)
    noise = generator.normal(0, 1.0, (30, 40, 8, 8))
    measured = []
    for _ in range(12):
        # a codec sends some blocks anew and keeps the others, noise and all
        renewed = generator.random((30, 40)) < 0.3
        noise[renewed] = generator.normal(0, 1.0, (int(renewed.sum()), 8, 8))
        sky = 120 + noise.transpose(0, 2, 1, 3).reshape(240, 320)
        image = np.repeat(np.clip(np.round(sky), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        measured.append(camera.update(image, 1 / 30).measured)
    assert not any(measured)


def test_a_moving_target_is_not_camera_motion() -> None:
    camera = CameraMotion()
    sky = np.full((480, 640, 3), 120, dtype=np.uint8)
    texture = _texture()[:80, :80]
    for step in range(3):
        image = sky.copy()
        image[100:180, 100 + 9 * step : 180 + 9 * step] = texture
        assert not camera.update(image, 1 / 30).measured
        camera.exclude([[95 + 9 * step, 95, 185 + 9 * step, 185]])


@pytest.mark.parametrize("noise", [0.0, 6.0])
def test_the_stated_errors_of_a_shake_add_up_to_about_the_real_one(noise: float) -> None:
    camera, world, generator = CameraMotion(), _texture(), np.random.default_rng(1)
    errors, stated = [], []
    point, start, variance = np.float32([[320, 240]]), np.zeros(2), 0.0
    for index in range(50):
        offset = generator.uniform(-10, 10, 2)
        view = _view(world, np.float64([[1, 0, -60 + offset[0]], [0, 1, -50 + offset[1]]]))
        view = np.clip(view + generator.normal(0, noise, view.shape), 0, 255).astype(np.uint8)
        found = camera.update(view, 1 / 30)
        if not index:
            start = offset
            continue
        assert found.measured
        point = found.move(point)
        variance += found.error**2
        errors.append(point[0] - (np.array([320, 240]) + offset - start))
        stated.append(np.sqrt(variance))
    real = float(np.sqrt(np.mean(np.square(errors))))
    assert real / 3 < np.mean(stated) < 8 * real + 0.05


@pytest.mark.parametrize("zoom", [0.0, 0.001])
def test_errors_do_not_add_up_from_frame_to_frame(zoom: float) -> None:
    camera, world, generator = CameraMotion(), _texture(), np.random.default_rng(2)
    point = np.float32([[100, 80]])
    for index in range(60):
        scale = 1 + zoom * index
        step = np.array([-60.0 + 0.3 * index, -50.0])
        view = _view(world, np.float64([[scale, 0, step[0]], [0, scale, step[1]]]))
        view = np.clip(view + generator.normal(0, 3, view.shape), 0, 255).astype(np.uint8)
        found = camera.update(view, 1 / 30)
        if index:
            point = found.move(point)
    expected = np.array([160.0, 130.0]) * scale + step
    # compared from frame to frame only, it is about a pixel off by then
    np.testing.assert_allclose(point[0], expected, atol=0.35)


def test_a_frame_that_shows_something_else_starts_anew() -> None:
    camera, world = CameraMotion(), _texture()
    views = [_view(world, np.float64([[1, 0, -60 - 4 * index], [0, 1, -50]])) for index in range(6)]
    for view in views[:3]:
        camera.update(view, 1 / 30)
    assert not camera.update(np.ascontiguousarray(views[0][::-1, ::-1]), 1 / 30).measured
    camera.update(views[3], 1 / 30)
    for view in views[4:]:
        found = camera.update(view, 1 / 30)
        assert found.measured
        np.testing.assert_allclose(found.move([[100, 100]])[0], [96, 100], atol=0.3)


@pytest.mark.parametrize("shape", [(1, 4000), (3, 40_000), (4000, 1), (1, 1)])
def test_strips_say_nothing_of_the_camera(shape: tuple[int, int]) -> None:
    motion = CameraMotion()
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    for _ in range(2):
        np.testing.assert_array_equal(motion.update(image, 1 / 30).matrix, STILL.matrix)


@pytest.mark.parametrize("shape", [(720, 1280), (1080, 1920), (513, 641), (512, 640), (100, 5000), (2, 900)])
def test_smaller_pictures_are_means(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    scale = 320 / shape[1]
    size = (320, max(1, round(scale * shape[0])))
    exact = cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    shrunk = shrink(picture, scale)
    assert shrunk.shape == exact.shape and shrunk.dtype == np.uint8
    assert float(np.abs(shrunk - exact).max()) < 1.3


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (90.0, 0.0), (-60.0, 80.0)])
def test_the_picture_counts_for_more_than_a_pose_that_is_wrong(wrong: tuple[float, float]) -> None:
    camera, world = CameraMotion(), _texture()
    first = np.float64([[1, 0, -60], [0, 1, -50]])
    camera.update(_view(world, first), 1 / 30)
    known = CameraShift(np.array([[1.0, 0, wrong[0]], [0, 1.0, wrong[1]]]), False, 1.0)
    found = camera.update(_view(world, first + np.float64([[0, 0, 12], [0, 0, -5]])), 1 / 30, known)
    assert found.measured
    np.testing.assert_allclose(found.move([[100, 100]])[0], [112, 95], atol=0.5)


def test_a_jump_that_is_too_wide_for_the_search_is_measured_from_where_the_pose_leads() -> None:
    world, first = _texture(), np.float64([[1, 0, -5], [0, 1, -60]])
    found = {}
    for told in (False, True):
        camera = CameraMotion()
        camera.update(_view(world, first), 1 / 30)
        known = CameraShift(np.array([[1.0, 0, -148.0], [0, 1.0, 2.0]]), False, 3.0) if told else None
        found[told] = camera.update(_view(world, first + np.float64([[0, 0, -150], [0, 0, 0]])), 1 / 30, known)
    assert found[True].measured and not found[False].measured
    np.testing.assert_allclose(found[True].move([[300, 100]])[0], [150, 100], atol=0.5)
