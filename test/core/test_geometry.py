"""Boxes and mask patches."""

from __future__ import annotations

import numpy as np
import pytest

from smotracker_ros.core.geometry import (
    MaskPatch,
    as_boxes,
    box_areas,
    box_centers,
    box_sizes,
    clip_boxes,
    lie_on,
    pairwise_iou,
    pairwise_overlap,
    pairwise_wasserstein,
)


def test_patch_round_trip() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[4:7, 10:15] = 255
    mask[5, 12] = 0
    patch = MaskPatch.from_full(mask)
    assert (patch.x, patch.y, patch.pixels.shape, patch.area) == (10, 4, (3, 5), 14)
    np.testing.assert_array_equal(patch.full(20, 30), mask != 0)
    box = patch.box()
    assert box is not None
    np.testing.assert_array_equal(box, [10, 4, 15, 7])
    assert box.dtype == np.float32


def test_box_is_tight_even_if_the_patch_is_not() -> None:
    pixels = np.zeros((6, 8), np.bool_)
    pixels[2, 3] = True
    box = MaskPatch(10, 20, pixels).box()
    assert box is not None
    assert box.tolist() == [13, 22, 14, 23]


def test_empty_patch() -> None:
    patch = MaskPatch.from_full(np.zeros((5, 5), np.bool_))
    assert patch.area == 0
    assert patch.box() is None
    assert not patch.full(5, 5).any()


@pytest.mark.parametrize(("x", "y"), [(8, 8), (9, 0), (50, 2), (2, 50)])
def test_painting_across_the_border(x: int, y: int) -> None:
    patch = MaskPatch(x, y, np.ones((4, 4), np.bool_))
    image = np.zeros((10, 10), np.int32)
    patch.paint(image, 7)
    expected = np.zeros((10, 10), np.int32)
    expected[y : y + 4, x : x + 4] = 7
    np.testing.assert_array_equal(image, expected)


def test_painting_colour() -> None:
    image = np.zeros((6, 6, 3), np.uint8)
    MaskPatch(1, 2, np.array([[True, False]])).paint(image, 9)
    assert image[2, 1].tolist() == [9, 9, 9]
    assert image.sum() == 27


def test_centres_sizes_areas() -> None:
    boxes = [[0, 0, 4, 2], [10, 10, 8, 12]]
    np.testing.assert_array_equal(box_centers(boxes), [[2, 1], [9, 11]])
    np.testing.assert_array_equal(box_sizes(boxes), [[4, 2], [-2, 2]])
    np.testing.assert_array_equal(box_areas(boxes), [8, 0])


def test_no_boxes() -> None:
    assert as_boxes([]).shape == (0, 4)
    assert pairwise_iou([], [[0, 0, 1, 1]]).shape == (0, 1)
    assert pairwise_wasserstein([[0, 0, 1, 1]], []).shape == (1, 0)
    assert box_areas([]).shape == (0,)
    for function in (as_boxes, box_centers, box_sizes, box_areas):
        assert function([[0, 0, 1, 1]]).dtype == np.float32


def test_clipping_leaves_the_input_alone() -> None:
    boxes = np.array([[-5, -5, 5, 5], [90, 10, 130, 20], [200, 200, 210, 210]], np.float32)
    before = boxes.copy()
    clipped = clip_boxes(boxes, 50, 100)
    np.testing.assert_array_equal(clipped, [[0, 0, 5, 5], [90, 10, 100, 20], [100, 50, 100, 50]])
    np.testing.assert_array_equal(boxes, before)


def test_iou_of_known_pairs() -> None:
    iou = pairwise_iou([[0, 0, 2, 2], [5, 5, 5, 5]], [[0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [0, 0, 1, 1]])
    np.testing.assert_allclose(iou, [[1, 1 / 3, 0, 0.25], [0, 0, 0, 0]], atol=1e-6)


def test_iou_equals_that_of_painted_pixels() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 20, (12, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=1)
    masks = []
    for x1, y1, x2, y2 in boxes:
        mask = np.zeros((24, 24), bool)
        mask[y1:y2, x1:x2] = True
        masks.append(mask)
    expected = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
    np.testing.assert_allclose(pairwise_iou(boxes, boxes), expected, atol=1e-6)


def test_wasserstein_grades_where_iou_is_blind() -> None:
    small = [[10, 10, 16, 16]]
    near, far = [[17, 10, 23, 16]], [[30, 10, 36, 16]]
    assert pairwise_iou(small, near)[0, 0] == pairwise_iou(small, far)[0, 0] == 0
    assert pairwise_wasserstein(small, small)[0, 0] == pytest.approx(1)
    assert 1 > pairwise_wasserstein(small, near)[0, 0] > 2 * pairwise_wasserstein(small, far)[0, 0] > 0


def test_wasserstein_is_symmetric_and_independent_of_scale() -> None:
    rng = np.random.default_rng(1)
    start = rng.uniform(0, 50, (8, 2))
    boxes = np.concatenate([start, start + rng.uniform(4, 20, (8, 2))], axis=1)
    value = pairwise_wasserstein(boxes, boxes)
    np.testing.assert_allclose(value, value.T, atol=1e-6)
    np.testing.assert_allclose(pairwise_wasserstein(3 * boxes, 3 * boxes), value, atol=1e-5)
    # A difference of size alone counts too.
    assert pairwise_wasserstein([[0, 0, 8, 8]], [[2, 2, 6, 6]])[0, 0] < 0.8


def test_overlap_is_the_share_of_the_smaller_box() -> None:
    large, inside, half = [0, 0, 20, 20], [5, 5, 10, 10], [15, 0, 25, 10]
    np.testing.assert_allclose(pairwise_overlap([large], [inside, half]), [[1.0, 0.5]], atol=1e-6)
    np.testing.assert_allclose(pairwise_overlap([large], [[30, 30, 40, 40]]), [[0.0]])


def test_what_lies_on_a_place() -> None:
    boxes = np.float32([[0, 0, 10, 10], [4, 0, 6, 2], [40, 0, 50, 10]])
    assert lie_on(boxes, [[5, 0, 25, 20]], 0.5).tolist() == [True, True, False]
    assert lie_on(boxes, [[5, 0, 25, 20]], 0.6).tolist() == [False, False, False]
    assert lie_on(boxes, [], 0.5).tolist() == [False] * 3
    assert lie_on([], boxes, 0.5).shape == (0,)
