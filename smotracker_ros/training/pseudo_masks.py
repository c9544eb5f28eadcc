"""Tight masks from loose box labels.

Labels of small targets are several pixels wider than the visible target. A small flying target stands out from its
surroundings, though: what differs from the sky round the box by nearly half as much as the target's strongest pixels
is taken as the target (full width at half maximum, as astronomers measure sources).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.geometry import BoolArray, FloatArray


def pseudo_mask(grey: npt.NDArray[np.uint8], box: FloatArray, level: float = 0.42) -> tuple[BoolArray, bool]:
    """Threshold a target inside its loose box.

    Args:
        grey: uint8 (height, width).
        box: float32 (4,), xyxy pixels of that image.
        level: share of the target's contrast from which a pixel belongs to it.

    Returns:
        Mask, bool (height, width), and whether it can be trusted: False where contrast was too low or the target
        filled its box, and an ellipse in the middle of the box stands in.
    """
    height, width = grey.shape
    mask = np.zeros((height, width), dtype=np.bool_)
    x1, y1 = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
    x2, y2 = min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return mask, False
    border = max(3, round(0.25 * max(x2 - x1, y2 - y1)))
    rx1, ry1, rx2, ry2 = max(x1 - border, 0), max(y1 - border, 0), min(x2 + border, width), min(y2 + border, height)
    region = grey[ry1:ry2, rx1:rx2].astype(np.float32)
    ring = np.ones(region.shape, dtype=np.bool_)
    ring[y1 - ry1 : y2 - ry1, x1 - rx1 : x2 - rx1] = False
    sky = float(np.median(region[ring])) if ring.any() else float(np.median(region))
    noise = 1.4826 * float(np.median(np.abs(region[ring] - sky))) if ring.any() else 1.0
    contrast = np.abs(cv2.GaussianBlur(region, (0, 0), 0.6) - sky)[y1 - ry1 : y2 - ry1, x1 - rx1 : x2 - rx1]
    peak = float(np.percentile(contrast, 98))
    if peak > max(4.0 * noise, 4.0):
        inside = (contrast > max(level * peak, 2.5 * noise)).astype(np.uint8)
        count, components, statistics, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
        areas = statistics[1:, cv2.CC_STAT_AREA] if count > 1 else np.zeros(0)
        if areas.size and areas.max() >= 3:
            # rotors and wing tips may be separate pieces; specks of noise are not
            kept = np.isin(components, 1 + np.flatnonzero(areas >= 0.2 * areas.max()))
            if kept.mean() < 0.85:
                mask[y1:y2, x1:x2] = kept
                return mask, True
    ellipse = np.zeros((height, width), dtype=np.uint8)
    center = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    axes = (0.6 * float(box[2] - box[0]), 0.55 * float(box[3] - box[1]))
    cv2.ellipse(ellipse, (center, axes, 0.0), 255, -1)
    return ellipse > 0, False
