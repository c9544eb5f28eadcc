"""Masks of a target's visible extent, from loose box labels.

Labels of small targets are several pixels wider than the visible target. A small flying target stands out from its
surroundings, though: pixels that differ strongly from the background mark it, and what is joined to them and still
differs clearly belongs to it (hysteresis thresholding, after Canny 1986). The blur halo of infrared is part of what
people see as the target, so the mask ends a pixel outside.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import BoolArray, FloatArray

# Shares of the target's contrast: what marks it, and what belongs to it if joined to that
_MARK, _EXTENT = 0.42, 0.15
# The same in standard deviations of the background's noise; below, noise would pass for a target
_MARK_NOISE, _EXTENT_NOISE, _LEAST_NOISE = 2.5, 3.0, 4.0
# Grey levels: a fainter target is not trusted, and a fainter rim not seen
_LEAST_CONTRAST, _LEAST_RIM = 4.0, 2.0
# Pixels by which a target may reach over its label
_REACH = 2
# Share of the label's area, and of one of its edges, from which the "target" is rather the background's structure
_FULL, _FULL_EDGE = 0.8, 0.3
# A part of the target has so much of the largest part's area: rotors and wing tips do, specks of noise do not
_LEAST_PART = 0.2


def pseudo_mask(grey: npt.NDArray[np.uint8], box: FloatArray) -> tuple[BoolArray, bool]:
    """Find the visible extent of a target in its loose box.

    Args:
        grey: uint8 (height, width).
        box: float32 (4,), xyxy pixels of that image.

    Returns:
        Mask, bool (height, width), and whether it can be trusted: False where contrast was too low, or where what was
        found fills the box or runs out of it, and an ellipse in the middle of the box stands in.
    """
    height, width = grey.shape
    mask = np.zeros((height, width), dtype=np.bool_)
    x1, y1 = max(int(np.floor(box[0])) - _REACH, 0), max(int(np.floor(box[1])) - _REACH, 0)
    x2, y2 = min(int(np.ceil(box[2])) + _REACH, width), min(int(np.ceil(box[3])) + _REACH, height)
    if x2 - x1 <= 2 * _REACH + 1 or y2 - y1 <= 2 * _REACH + 1:
        return mask, False
    contrast, noise = _contrast(grey, (x1, y1, x2, y2))
    # not the very strongest pixels, one of which may be dead
    peak = float(np.sort(contrast, axis=None)[-max(3, round(0.02 * contrast.size))])
    if peak > max(_LEAST_NOISE * noise, _LEAST_CONTRAST):
        found = _joined(contrast, peak, noise)
        edges = (found[0].mean(), found[-1].mean(), found[:, 0].mean(), found[:, -1].mean())
        if found.any() and found.mean() < _FULL and max(edges) <= _FULL_EDGE:
            mask[y1:y2, x1:x2] = found
            return mask, True
    ellipse = np.zeros((height, width), dtype=np.uint8)
    center = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    axes = (0.6 * float(box[2] - box[0]), 0.55 * float(box[3] - box[1]))
    cv2.ellipse(ellipse, (center, axes, 0.0), 255, -1)
    return ellipse > 0, False


def _contrast(grey: npt.NDArray[np.uint8], place: tuple[int, int, int, int]) -> tuple[FloatArray, float]:
    """Difference from the background in a place, float32, and the background's noise, both in grey levels.

    The background is a plane fitted to a ring round the place, so that the sky's gradient is no contrast.
    """
    height, width = grey.shape
    x1, y1, x2, y2 = place
    border = max(3, round(0.25 * max(x2 - x1, y2 - y1)))
    left, top = max(x1 - border, 0), max(y1 - border, 0)
    region = grey[top : min(y2 + border, height), left : min(x2 + border, width)].astype(np.float32)
    inside = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    ring = np.ones(region.shape, dtype=np.bool_)
    ring[inside] = False
    if not ring.any():
        ring[:] = True
    rows, columns = np.indices(region.shape, dtype=np.float32)
    terms = np.stack([np.ones_like(rows), columns - columns.mean(), rows - rows.mean()], axis=-1)
    sky = np.full(region.shape, np.median(region[ring]), dtype=np.float32)
    for _ in range(3):  # what lies far off the plane, such as a roof, has no say in the next fit
        away = np.abs(region - sky)
        used = ring & (away <= max(3 * 1.4826 * float(np.median(away[ring])), 1.5))
        if np.count_nonzero(used) < 12:
            break
        sky = terms @ np.linalg.lstsq(terms[used], region[used], rcond=None)[0]
    noise = 1.4826 * float(np.median(np.abs(region - sky)[ring]))
    smooth = cv2.GaussianBlur(region - sky, (0, 0), 0.6)
    return np.abs(smooth[inside]).astype(np.float32), noise


def _joined(contrast: FloatArray, peak: float, noise: float) -> BoolArray:
    """Pixels joined to the target's marks, and their rim."""
    marks = contrast > max(_MARK * peak, _MARK_NOISE * noise)
    extent = contrast > max(_EXTENT * peak, _EXTENT_NOISE * noise, _LEAST_RIM)
    count, components, _, _ = cv2.connectedComponentsWithStats(extent.astype(np.uint8), connectivity=8)
    areas = np.bincount(components[marks & extent], minlength=count)[1:]
    if areas.max(initial=0) < 2:
        return np.zeros(contrast.shape, dtype=np.bool_)
    kept = np.isin(components, 1 + np.flatnonzero(areas >= max(_LEAST_PART * areas.max(), 1)))
    return np.asarray(cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), dtype=np.uint8)) > 0)
