"""Masks thresholded inside loose boxes."""

import cv2
import numpy as np
import pytest

from smotracker_ros.training.pseudo_masks import pseudo_mask


def _image(contrast: float, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    truth = np.zeros((100, 120), dtype=np.uint8)
    cv2.ellipse(truth, (60, 50), (8, 4), 0, 0, 360, 1, -1)
    grey = 90 + np.linspace(-6, 6, 120)[None] + generator.normal(0, noise, truth.shape) + contrast * truth
    return np.clip(grey, 0, 255).astype(np.uint8), truth > 0


@pytest.mark.parametrize("contrast", [25.0, 120.0, -60.0])
def test_the_visible_target_is_found_in_a_loose_box(contrast: float) -> None:
    grey, truth = _image(contrast)
    mask, trusted = pseudo_mask(grey, np.float32([46, 40, 74, 60]))
    assert trusted
    assert (mask & truth).sum() / (mask | truth).sum() > 0.75


def test_low_contrast_gives_a_doubtful_ellipse_inside_the_box() -> None:
    grey, _ = _image(2.0, noise=3.0)
    mask, trusted = pseudo_mask(grey, np.float32([46, 40, 74, 60]))
    assert not trusted
    rows, columns = np.nonzero(mask)
    assert columns.min() >= 46 and columns.max() < 74 and rows.min() >= 40 and rows.max() < 60


def test_a_box_at_the_border_or_without_area() -> None:
    grey, _ = _image(50.0)
    assert pseudo_mask(grey, np.float32([-5, -5, 8, 8]))[0].shape == grey.shape
    assert not pseudo_mask(grey, np.float32([10, 10, 11, 11]))[0].any()
    assert not pseudo_mask(grey, np.float32([200, 200, 220, 220]))[0].any()
