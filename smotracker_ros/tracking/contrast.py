"""Contrast: how far a mask's pixels stand out from what is round them.

A masklet that slips off its target onto the background keeps its good ratings, but not the target's contrast.
"""

from __future__ import annotations

import cv2
import numpy as np

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import MaskPatch

# Pixels of surroundings on each side, and of blurred rim that belongs to neither
_RING, _RIM = 4, 1
# Grey levels of noise below which surroundings are taken to be plain
_LEAST_NOISE = 2.0


def mask_contrast(image: UInt8Image, mask: MaskPatch) -> float:
    """Difference of a mask's mean grey level from its surroundings', in standard deviations of these.

    Args:
        image: uint8 RGB (height, width, 3).
        mask: pixels of the target.
    """
    pad = _RING + _RIM
    height, width = mask.pixels.shape
    left, top = max(mask.x - pad, 0), max(mask.y - pad, 0)
    part = image[top : mask.y + height + pad, left : mask.x + width + pad]
    if not part.size:
        return 0.0
    grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY)
    inside = np.zeros(grey.shape, dtype=np.uint8)
    MaskPatch(mask.x - left, mask.y - top, mask.pixels).paint(inside, 1)
    rim = cv2.dilate(inside, np.ones((2 * _RIM + 1,) * 2, dtype=np.uint8))
    ring = (cv2.dilate(rim, np.ones((2 * _RING + 1,) * 2, dtype=np.uint8)) > 0) & (rim == 0)
    if not inside.any() or not ring.any():
        return 0.0
    around = grey[ring].astype(np.float32)
    difference = abs(float(grey[inside > 0].mean()) - float(np.median(around)))
    return difference / max(float(around.std()), _LEAST_NOISE)
