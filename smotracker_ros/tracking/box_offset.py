"""From a mask's tight box to the box that a detector, or a user's labels, would give to the same target."""

from __future__ import annotations

import numpy as np

from smotracker_ros.core.geometry import FloatArray, box_centers, box_sizes

# Largest distance of a detection's centre from its mask's, in sizes, that is taken for a habit of the detector
_LARGEST_SHIFT = 0.12
# What a mask's box may lose at each side, in sizes, to become a detection's
_LARGEST_INSET = 0.25


def box_margins(box: FloatArray, mask_box: FloatArray) -> FloatArray:
    """What a detection's box adds to the tight box of the same target, float32 (4,), xyxy pixels.

    Both are centred on the target, so a large shift between their centres is an error of this frame (a neighbour's
    detection, half a mask) and must not be carried on; a large difference in size means the same.

    Args:
        box: detection, float32 (4,).
        mask_box: tight box of the mask, float32 (4,).
    """
    size = np.maximum(box_sizes(box)[0], 4.0)
    shift = np.clip(box_centers(box)[0] - box_centers(mask_box)[0], -_LARGEST_SHIFT * size, _LARGEST_SHIFT * size)
    half = np.clip((box_sizes(box)[0] - box_sizes(mask_box)[0]) / 2, -size / 2, size / 2)
    return np.concatenate([shift - half, shift + half]).astype(np.float32)


def with_margins(mask_box: FloatArray, margins: FloatArray) -> FloatArray:
    """The box that a mask's tight box stands for, float32 (4,), xyxy pixels.

    Args:
        mask_box: float32 (4,), of this frame's mask.
        margins: of earlier masks, float32 (4,); of a smaller one they may take no more than a quarter from each side.
    """
    inset = np.tile(_LARGEST_INSET * (mask_box[2:] - mask_box[:2]), 2)
    return np.asarray(
        mask_box + np.concatenate([np.minimum(margins[:2], inset[:2]), np.maximum(margins[2:], -inset[2:])])
    )
