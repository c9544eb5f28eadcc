"""Masks of the visible extent, thresholded inside loose boxes."""

import cv2
import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.training.pseudo_masks import pseudo_mask

BOX = np.float32([46, 40, 74, 60])


def _image(contrast: float, noise: float = 1.0, blur: float = 0.0, ramp: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """A picture and where its target can be seen: up to a twelfth of its contrast, its halo included."""
    generator = np.random.default_rng(0)
    target = np.zeros((100, 120), dtype=np.float32)
    cv2.ellipse(target, (60, 50), (8, 4), 0, 0, 360, 1, -1)
    if blur:
        target = cv2.GaussianBlur(target, (0, 0), blur)
    grey = 90 + np.linspace(-ramp, ramp, 120)[None] + generator.normal(0, noise, target.shape) + contrast * target
    return np.clip(grey, 0, 255).astype(np.uint8), target > 1 / 12


@pytest.mark.parametrize("blur", [0.8, 1.2])
@pytest.mark.parametrize("contrast", [25.0, 120.0, -60.0])
def test_the_box_of_the_visible_extent_is_found_to_about_a_pixel(contrast: float, blur: float) -> None:
    grey, truth = _image(contrast, blur=blur)
    mask, trusted = pseudo_mask(grey, BOX)
    assert trusted
    np.testing.assert_allclose(MaskPatch.from_full(mask).box(), MaskPatch.from_full(truth).box(), atol=1.1)


def test_a_gradient_of_the_sky_is_no_target() -> None:
    grey, truth = _image(40.0, ramp=60.0, blur=0.8)
    mask, trusted = pseudo_mask(grey, BOX)
    assert trusted
    np.testing.assert_allclose(MaskPatch.from_full(mask).box(), MaskPatch.from_full(truth).box(), atol=1.1)


def test_low_contrast_gives_a_doubtful_ellipse_inside_the_box() -> None:
    grey, _ = _image(2.0, noise=3.0)
    mask, trusted = pseudo_mask(grey, BOX)
    assert not trusted
    rows, columns = np.nonzero(mask)
    assert columns.min() >= 46 and columns.max() < 74 and rows.min() >= 40 and rows.max() < 60


def test_a_roof_that_runs_through_the_box_is_not_trusted() -> None:
    grey, _ = _image(0.0)
    grey[50:] = 220
    assert not pseudo_mask(grey, BOX)[1]


def test_a_box_at_the_border_or_without_area() -> None:
    grey, _ = _image(50.0)
    assert pseudo_mask(grey, np.float32([-5, -5, 8, 8]))[0].shape == grey.shape
    assert not pseudo_mask(grey, np.float32([10, 10, 11, 11]))[0].any()
    assert not pseudo_mask(grey, np.float32([200, 200, 220, 220]))[0].any()
