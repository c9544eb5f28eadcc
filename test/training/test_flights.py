"""Rendered flights: pictures, masks and boxes agree."""

from __future__ import annotations

import numpy as np
import pytest

from smotracker_ros.training.flights import fly
from smotracker_ros.training.grounds import draw_ground


@pytest.mark.parametrize("seed", range(4))
def test_masks_lie_in_their_boxes_and_on_what_differs(seed: int) -> None:
    seen = 0
    for frame in fly(240, 192, 12, [], np.random.default_rng(seed)):
        assert frame.grey.shape == (192, 240) and frame.grey.dtype == np.uint8
        assert set(frame.masks) == set(frame.boxes)
        for number, mask in frame.masks.items():
            rows, columns = np.nonzero(mask)
            x1, y1, x2, y2 = frame.boxes[number]
            assert x1 <= columns.min() and columns.max() < x2 and y1 <= rows.min() and rows.max() < y2
            seen += 1
        masks = list(frame.masks.values())
        assert sum(mask.astype(int) for mask in masks).max() <= 1 if masks else True, "a pixel shows one target"  # type: ignore[union-attr]
    assert seen > 0


def test_scenes_differ_and_can_be_made_again() -> None:
    first, again, other = (next(iter(fly(160, 128, 2, [], np.random.default_rng(seed)))).grey for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_grounds_have_texture() -> None:
    for seed in range(5):
        ground = draw_ground(160, 128, np.random.default_rng(seed))
        assert ground.shape == (128, 160) and ground.dtype == np.uint8
        assert ground.std() > 3
