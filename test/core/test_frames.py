"""Frames and the way of any image to uint8 RGB."""

from __future__ import annotations

import numpy as np
import pytest

from smotracker_ros.core.frames import AutomaticGain, Frame, FrameError, to_rgb8, value_limits


def test_frame_sizes() -> None:
    frame = Frame(np.zeros((20, 30, 3), np.uint8), 5)
    assert (frame.height, frame.width, frame.index, frame.frame_id) == (20, 30, 0, "")


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 30), np.uint8),
        np.zeros((20, 30, 4), np.uint8),
        np.zeros((20, 30, 3), np.float32),
        np.zeros((3, 20, 30), np.uint8),
    ],
)
def test_frame_refuses_other_layouts(image: np.ndarray) -> None:
    with pytest.raises(FrameError, match="to_rgb8"):
        Frame(image, 0)


@pytest.mark.parametrize("shape", [(7, 30, 3), (30, 7, 3), (0, 0, 3)])
def test_frame_refuses_tiny_images(shape: tuple[int, int, int]) -> None:
    with pytest.raises(FrameError, match="at least 8x8"):
        Frame(np.zeros(shape, np.uint8), 0)


def test_eight_bit_colour_and_grey_keep_their_values() -> None:
    rng = np.random.default_rng(0)
    color = rng.integers(0, 255, (9, 10, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_rgb8(color), color)
    np.testing.assert_array_equal(to_rgb8(np.dstack([color, color[:, :, :1]])), color)
    for grey in (color[:, :, 0], color[:, :, :1]):
        np.testing.assert_array_equal(to_rgb8(grey)[:, :, 1], color[:, :, 0])


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64, np.int32])
def test_deeper_images_are_stretched(dtype: type) -> None:
    image = np.linspace(1000, 1200, 40 * 50).reshape(40, 50).astype(dtype)
    image[0, 0] = 30000  # one hot pixel must not take the whole range
    rgb = to_rgb8(image)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (40, 50, 3)
    assert rgb[0, 0, 0] == 255
    assert int(rgb[20, 25, 0]) == pytest.approx(128, abs=6)
    assert rgb[39, 49, 0] == 255
    assert rgb[0, 1, 0] == 0


def test_large_images_are_stretched_as_small_ones_are() -> None:
    image = np.random.default_rng(0).integers(0, 2**16, (300, 300)).astype(np.uint16)
    large = to_rgb8(image, limits=(7000.3, 42000.9))
    parts = [to_rgb8(rows, limits=(7000.3, 42000.9)) for rows in np.split(image, 30)]
    np.testing.assert_array_equal(large, np.concatenate(parts))


@pytest.mark.parametrize("height", [300, 302, 304, 306, 1500])
def test_the_sample_of_a_large_image_sees_all_colours_and_columns(height: int) -> None:
    image = np.full((height, 320, 3), 1000, dtype=np.uint16)
    image[:, :, 2] = 3000
    assert value_limits(image) == (1000, 3000)
    image[:] = 1000
    image[:, ::2] = 3000
    assert value_limits(image) == (1000, 3000)


def test_percentiles_can_be_chosen() -> None:
    image = np.linspace(0, 1000, 10000).reshape(100, 100).astype(np.float32)
    assert np.count_nonzero(to_rgb8(image, (25, 75))[:, :, 0] == 0) == pytest.approx(2500, abs=60)


def test_missing_values() -> None:
    image = np.linspace(0, 1, 400).reshape(20, 20).astype(np.float32)
    image[0, 0], image[0, 1], image[0, 2] = np.nan, np.inf, -np.inf
    rgb = to_rgb8(image)[:, :, 0]
    assert rgb[0, [0, 2]].tolist() == [0, 0]
    assert rgb[0, 1] == 255


def test_constant_deep_image() -> None:
    assert np.ptp(to_rgb8(np.full((9, 9), 7000, np.uint16))) == 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5, 2), np.uint8), "neither grey nor"),
        (np.zeros(9, np.uint8), "neither grey nor"),
        (np.zeros((0, 5), np.uint8), "neither grey nor"),
        (np.zeros((4, 5), np.complex64), "dtype complex64"),
        (np.zeros((4, 5), np.bool_), "dtype bool"),
        (np.full((4, 5), np.nan, np.float32), "no finite value"),
    ],
)
def test_what_is_no_image(image: np.ndarray, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        to_rgb8(image)


def test_result_is_contiguous() -> None:
    assert to_rgb8(np.zeros((12, 12, 4), np.uint8)[::2, ::2]).flags.c_contiguous


def _sky(level: float, hot: float = 0.0) -> np.ndarray:
    image = np.random.default_rng(0).normal(level, 20, (120, 160))
    image[40:100, 40:120] += hot
    return image.astype(np.uint16)


def test_gain_follows_slowly_and_does_not_flicker() -> None:
    gain = AutomaticGain(seconds=1.0)
    calm = gain.limits(_sky(30000), 0)
    alone = AutomaticGain(seconds=0).limits(_sky(30000, hot=3000), 0)
    assert alone[1] > calm[1] + 2000, "something hot and large widens the range of one image taken alone"
    first = gain.limits(_sky(30000, hot=3000), 33_000_000)
    assert calm[1] < first[1] < calm[1] + 0.2 * (calm[1] - calm[0])
    settled = [gain.limits(_sky(30000, hot=3000), 33_000_000 * step)[1] for step in range(2, 300)][-1]
    assert settled == pytest.approx(alone[1], abs=10)
    cooled = [gain.limits(_sky(30000), 33_000_000 * step)[1] for step in range(300, 600)][-1]
    assert cooled == pytest.approx(calm[1], abs=10)


@pytest.mark.parametrize("share", [0.001, 0.015, 0.04])
@pytest.mark.parametrize("value", [0, 16000, 65535])
def test_a_spot_of_any_heat_leaves_the_rest_as_it_is(share: float, value: int) -> None:
    scene = (7100 + 600 * np.random.default_rng(1).random((200, 300))).astype(np.uint16)
    rows = round(200 * share**0.5), round(300 * share**0.5)
    spot = scene.copy()
    spot[-rows[0] :, -rows[1] :] = value
    calm, disturbed = to_rgb8(scene)[:, :, 0].astype(int), to_rgb8(spot)[:, :, 0].astype(int)
    assert np.abs(calm - disturbed)[: -rows[0]].max() <= 3
    assert disturbed[-1, -1] == (255 if value > 7700 else 0)
    gain = AutomaticGain()
    gain.limits(scene, 0)
    with_spot = to_rgb8(spot, limits=gain.limits(spot, 33_000_000))[:, :, 0].astype(int)
    assert np.abs(calm - with_spot)[: -rows[0]].max() <= 1


def test_something_large_and_hot_in_one_image_hardly_dims_it() -> None:
    scene = (7100 + 600 * np.random.default_rng(1).random((200, 300))).astype(np.uint16)
    flash = scene.copy()
    flash[:40] = 60000
    gain = AutomaticGain()
    calm = gain.limits(scene, 0)
    flashed = gain.limits(flash, 33_000_000)
    assert flashed[1] - flashed[0] < 1.2 * (calm[1] - calm[0])
    after = gain.limits(scene, 66_000_000)
    assert after[1] - after[0] < flashed[1] - flashed[0]


def test_a_scene_in_two_halves_keeps_both() -> None:
    scene = np.full((100, 100), 7000.0)
    scene[:10] = 9000  # a tenth is ground, warmer than the sky
    scene += np.random.default_rng(0).normal(0, 20, scene.shape)
    rgb = to_rgb8(scene)[:, :, 0]
    assert np.ptp(rgb[:10].astype(int)) > 5
    assert rgb[:10].min() > rgb[10:].max() + 100


def test_a_flat_image_does_not_bind_the_range() -> None:
    gain = AutomaticGain()
    gain.limits(np.full((90, 90), 7300), 0)  # a closed shutter
    low, high = gain.limits(7100 + 600 * np.random.default_rng(1).random((90, 90)), 33_000_000)
    assert low < 7150 and high > 7650


def test_an_image_that_was_overtaken_leaves_no_trace() -> None:
    in_order, disordered = AutomaticGain(), AutomaticGain()
    for gain in (in_order, disordered):
        gain.limits(_sky(30000), 10**9)
    assert disordered.limits(_sky(9000), 900_000_000) == in_order.limits(_sky(30000), 10**9)
    assert disordered.limits(_sky(30100), 1_033_000_000) == in_order.limits(_sky(30100), 1_033_000_000)


def test_gain_does_not_depend_on_the_frame_rate() -> None:
    results = []
    for steps in (10, 100):
        gain = AutomaticGain(seconds=1.0)
        gain.limits(_sky(30000), 0)
        results += [gain.limits(_sky(30000, hot=3000), 10**9 * step // steps) for step in range(1, steps + 1)][-1:]
    np.testing.assert_allclose(results[0], results[1], atol=1.0)


def test_gain_jumps_to_another_scene_and_starts_anew_when_time_goes_back() -> None:
    gain = AutomaticGain(seconds=10.0)
    gain.limits(_sky(30000), 2 * 10**9)
    assert gain.limits(_sky(9000), 2 * 10**9 + 1)[1] < 10000
    gain.limits(_sky(9000, hot=500), 2 * 10**9 + 2)
    assert gain.limits(_sky(9030), 0) == AutomaticGain().limits(_sky(9030), 0)
    with pytest.raises(FrameError, match="no finite value"):
        gain.limits(np.full((4, 4), np.nan), 1)
