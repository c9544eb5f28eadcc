"""Windows: what is cut out of a frame comes back to the same pixels."""

import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.masklets.windows import (
    Window,
    cut,
    paste,
    prefers_whole_frame,
    share_windows,
    whole_frame,
    window_around,
)


def _frame_with_square(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    image = np.zeros((120, 200, 3), dtype=np.uint8)
    image[y1:y2, x1:x2] = 255
    return image


@pytest.mark.parametrize(
    "window",
    [
        window_around((60, 50), 40),
        window_around((61.3, 48.7), 57.0),
        Window(0, 0, 200, 120),
        window_around((60, 50), 180),
    ],
)
def test_a_square_survives_the_way_there_and_back(window: Window) -> None:
    image = _frame_with_square(55, 45, 67, 54)
    seen = cut(image, window, 128)
    logits = seen[:, :, 0].astype(np.float32) - 127.5
    tight = MaskPatch.from_full(logits > 0).box()
    assert tight is not None
    patch = paste(logits, window, window.to_image(tight[None], 128)[0], 120, 200)
    box = patch.box()
    assert box is not None
    # half an input pixel on either side is what resampling may cost
    tolerance = 1.0 + max(window.width, window.height) / 128 / 2
    np.testing.assert_allclose(box, [55, 45, 67, 54], atol=tolerance)


def test_boxes_follow_the_pixels() -> None:
    window = window_around((60, 50), 40)
    seen = cut(_frame_with_square(55, 45, 67, 54), window, 128)
    rows, columns = np.nonzero(seen[:, :, 0] > 127)
    expected = window.to_input(np.float32([[55, 45, 67, 54]]), 128)[0]
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, expected, atol=1.5)
    np.testing.assert_allclose(window.to_image(expected[None], 128)[0], [55, 45, 67, 54], atol=1e-3)


def test_a_window_may_reach_over_the_border() -> None:
    image = _frame_with_square(0, 0, 10, 10)
    seen = cut(image, window_around((2, 2), 40), 64)
    assert seen.shape == (64, 64, 3)
    assert seen[0, 0, 0] == 255, "edge pixels are repeated beyond the border"


def test_a_tiny_mask_keeps_a_pixel() -> None:
    logits = np.full((128, 128), -5.0, dtype=np.float32)
    window = window_around((60, 50), 640)
    logits[64, 64] = 1.0
    box = window.to_image(np.float32([[64, 64, 65, 65]]), 128)[0]
    assert paste(logits, window, box, 120, 200).area == 1


def test_a_mask_outside_the_image_is_empty() -> None:
    logits = np.full((64, 64), -5.0, dtype=np.float32)
    logits[2:6, 2:6] = 3.0
    window = window_around((0, 0), 40)
    box = window.to_image(np.float32([[2, 2, 6, 6]]), 64)[0]
    assert paste(logits, window, box, 120, 200).area == 0


def test_small_targets_get_windows_and_large_ones_the_frame() -> None:
    image = np.zeros((512, 640, 3), dtype=np.uint8)
    small, large = np.float32([10, 10, 22, 20]), np.float32([100, 100, 400, 380])
    assert not prefers_whole_frame(small, image, 128, 3.6, "auto")
    assert prefers_whole_frame(large, image, 128, 3.6, "auto")
    assert prefers_whole_frame(small, image, 128, 3.6, "whole_frame")
    assert not prefers_whole_frame(large, image, 128, 3.6, "windows")


def test_near_windows_are_shared_and_far_ones_are_not() -> None:
    near, far = window_around((50.5, 50), 41), window_around((80, 50), 40)
    windows, indices = share_windows([window_around((50, 50), 40), near, far])
    assert indices == [0, 0, 1]
    assert len(windows) == 2
    same, one = share_windows([whole_frame(np.zeros((9, 9, 3), np.uint8))] * 3)
    assert len(same) == 1 and one == [0, 0, 0]
