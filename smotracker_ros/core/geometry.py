"""Boxes and masks in pixel coordinates, pure numpy.

Boxes are `xyxy` float32 with x to the right and y down; x2 and y2 are exclusive, so that a single pixel at (3, 4) is
the box (3, 4, 4, 5). Functions take (N, 4) arrays unless they say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MaskPatch:
    """A binary mask stored as the smallest useful cut-out of its image.

    A 10-pixel target in a 1920x1080 image needs 100 bytes this way instead of 2 MB.

    Attributes:
        x: column of the patch's left edge in the image; may not be negative.
        y: row of the patch's top edge in the image; may not be negative.
        pixels: bool, shape (patch height, patch width).
    """

    x: int
    y: int
    pixels: BoolArray

    @property
    def area(self) -> int:
        """Number of set pixels."""
        return int(np.count_nonzero(self.pixels))

    def box(self) -> FloatArray | None:
        """Tight box round the set pixels, float32 (4,), or None if no pixel is set."""
        columns = np.flatnonzero(self.pixels.any(axis=0))
        if columns.size == 0:
            return None
        rows = np.flatnonzero(self.pixels.any(axis=1))
        return np.array(
            [self.x + columns[0], self.y + rows[0], self.x + columns[-1] + 1, self.y + rows[-1] + 1], dtype=np.float32
        )

    def full(self, height: int, width: int) -> BoolArray:
        """The mask in an image of the given size, bool (height, width)."""
        image = np.zeros((height, width), dtype=np.bool_)
        self.paint(image, True)
        return image

    def paint(self, image: npt.NDArray[np.generic], value: float | bool) -> None:
        """Set the mask's pixels of `image` (height, width[, channels]) to `value`, in place."""
        rows = slice(self.y, min(self.y + self.pixels.shape[0], image.shape[0]))
        columns = slice(self.x, min(self.x + self.pixels.shape[1], image.shape[1]))
        pixels = self.pixels[: max(rows.stop - rows.start, 0), : max(columns.stop - columns.start, 0)]
        image[rows, columns][pixels] = value

    @staticmethod
    def from_full(mask: npt.NDArray[np.generic]) -> MaskPatch:
        """Cut the tight patch out of a whole-image mask (height, width); non-zero is set."""
        pixels = np.asarray(mask) != 0
        columns, rows = np.flatnonzero(pixels.any(axis=0)), np.flatnonzero(pixels.any(axis=1))
        if columns.size == 0:
            return MaskPatch(0, 0, np.zeros((0, 0), dtype=np.bool_))
        x1, x2, y1, y2 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
        return MaskPatch(int(x1), int(y1), np.ascontiguousarray(pixels[y1:y2, x1:x2]))


def as_boxes(boxes: npt.ArrayLike) -> FloatArray:
    """Any box-like input as a float32 (N, 4) array; an empty input gives shape (0, 4)."""
    return np.asarray(boxes, dtype=np.float32).reshape(-1, 4)


def box_centers(boxes: npt.ArrayLike) -> FloatArray:
    """Centres (x, y) in pixels, float32 (N, 2)."""
    array = as_boxes(boxes)
    return np.asarray((array[:, :2] + array[:, 2:]) / 2, dtype=np.float32)


def scaled_boxes(boxes: FloatArray, factor: float) -> FloatArray:
    """Boxes with so many times their width and height about the same centres, of the same shape, float32.

    Args:
        boxes: float32 (N, 4) or (4,), xyxy.
        factor: of the sides, > 0; 1 leaves the boxes as they are to the bit.
    """
    if factor == 1:
        return boxes.astype(np.float32)
    grown = (factor - 1) / 2 * (boxes[..., 2:] - boxes[..., :2])
    return np.concatenate([boxes[..., :2] - grown, boxes[..., 2:] + grown], axis=-1).astype(np.float32)


def box_sizes(boxes: npt.ArrayLike) -> FloatArray:
    """Widths and heights in pixels, float32 (N, 2)."""
    array = as_boxes(boxes)
    return array[:, 2:] - array[:, :2]


def box_areas(boxes: npt.ArrayLike) -> FloatArray:
    """Areas in square pixels, float32 (N,); inverted boxes have area 0."""
    return np.prod(np.maximum(box_sizes(boxes), 0), axis=1, dtype=np.float32)


def clip_boxes(boxes: npt.ArrayLike, height: int, width: int) -> FloatArray:
    """Boxes cut to the image, float32 (N, 4); a box outside becomes empty at the border."""
    array = as_boxes(boxes).copy()
    array[:, 0::2] = np.clip(array[:, 0::2], 0, width)
    array[:, 1::2] = np.clip(array[:, 1::2], 0, height)
    return array


def _intersections(a: FloatArray, b: FloatArray) -> FloatArray:
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.prod(np.maximum(bottom_right - top_left, 0), axis=2), dtype=np.float32)


def pairwise_iou(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Intersection over union of every pair, float32 (N, M) in [0, 1]."""
    a, b = as_boxes(first), as_boxes(second)
    intersection = _intersections(a, b)
    union = box_areas(a)[:, None] + box_areas(b)[None, :] - intersection
    return (intersection / np.maximum(union, 1e-9)).astype(np.float32)


def pairwise_overlap(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Intersection over the smaller area of every pair, float32 (N, M) in [0, 1]."""
    a, b = as_boxes(first), as_boxes(second)
    smaller = np.minimum(box_areas(a)[:, None], box_areas(b)[None, :])
    return (_intersections(a, b) / np.maximum(smaller, 1e-9)).astype(np.float32)


def lie_on(boxes: npt.ArrayLike, places: npt.ArrayLike, least_overlap: float) -> npt.NDArray[np.bool_]:
    """Which boxes (N, 4) share at least that much of the smaller box with any of the places (M, 4), bool (N,)."""
    overlap = pairwise_overlap(boxes, places).max(axis=1, initial=0.0)
    return np.asarray(overlap >= least_overlap, dtype=np.bool_)


def pairwise_wasserstein(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    """Normalised Gaussian Wasserstein similarity of every pair, float32 (N, M) in (0, 1].

    Boxes are taken as 2-D Gaussians, so that two 6 px boxes 4 px apart still have a graded similarity where IoU is 0.
    The distance is scaled by the mean size of the pair instead of a data set's constant, which makes the value
    independent of the image's resolution. Idea: Wang et al., "A Normalized Gaussian Wasserstein Distance for Tiny
    Object Detection", 2021.
    """
    a, b = as_boxes(first), as_boxes(second)
    centers = ((box_centers(a)[:, None] - box_centers(b)[None]) ** 2).sum(axis=2)
    size_a, size_b = np.maximum(box_sizes(a), 1e-3), np.maximum(box_sizes(b), 1e-3)
    shapes = ((size_a[:, None] - size_b[None]) ** 2).sum(axis=2) / 4
    scale = np.sqrt(np.sqrt(size_a.prod(axis=1))[:, None] * np.sqrt(size_b.prod(axis=1))[None])
    return np.exp(-np.sqrt(centers + shapes) / np.maximum(scale, 1.0)).astype(np.float32)


def small_target_similarity(first: FloatArray, second: FloatArray) -> npt.NDArray[np.float64]:
    """Similarity for tiny boxes in [0, 1]: exp(-d / s), where d is the Wasserstein distance of the boxes' Gaussians.

    After Wang et al. 2021 (normalised Gaussian Wasserstein distance), with their constant replaced by the size of the
    pair, so that the measure does not depend on resolution: s = 0.7 times the mean of the geometric mean sides, at
    least 4 pixels. It is 0.5 where equal boxes are off by half their size, or where concentric boxes differ by a
    factor of about 2 in size.

    Args:
        first: float32 (N, 4), xyxy pixels.
        second: float32 (M, 4), xyxy pixels.

    Returns:
        float64 (N, M).
    """
    sizes_a, sizes_b = box_sizes(first).astype(np.float64), box_sizes(second).astype(np.float64)
    shift = box_centers(first)[:, None].astype(np.float64) - box_centers(second)[None]
    spread = (sizes_a[:, None] - sizes_b[None]) / 2
    distance = np.sqrt((shift**2).sum(axis=2) + (spread**2).sum(axis=2))
    side_a, side_b = np.sqrt(sizes_a.prod(axis=1)), np.sqrt(sizes_b.prod(axis=1))
    scale = 0.7 * np.maximum((side_a[:, None] + side_b[None]) / 2, 4.0)
    return np.exp(-distance / scale)
