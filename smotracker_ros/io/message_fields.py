"""Tracks and masks as messages and bags carry them: plain fields, and COCO run lengths. No ROS is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.tracks import Track

LARGEST_MASK = 64_000_000
"""Pixels of the largest image whose masks are decoded."""

LONGEST_COUNTS = 1_000_000
"""Characters of the longest mask that is decoded."""


def encode_mask(mask: MaskPatch, height: int, width: int) -> str:
    """COCO's compressed run-length encoding of a mask in an image of the given size (the `counts` string).

    Only the columns that the mask touches are looked at, so that a small mask in a large image is cheap.
    """
    if mask.area == 0:
        counts = [height * width]
    else:
        columns = slice(min(mask.x, width), min(mask.x + mask.pixels.shape[1], width))
        strip = np.zeros((height, columns.stop - columns.start), dtype=np.bool_)
        MaskPatch(0, mask.y, mask.pixels).paint(strip, True)
        runs = strip.ravel(order="F")
        before, after = columns.start * height, (width - columns.stop) * height
        edges = np.flatnonzero(np.diff(runs, prepend=False, append=False)) + before
        # Runs alternate, beginning with unset pixels; the last one reaches to the image's end.
        lengths = np.diff(edges, prepend=0, append=before + runs.size + after)
        counts = lengths.tolist()
        if counts[-1] == 0:
            counts.pop()
    encoded = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return str(encoded["counts"].decode("ascii"))


def decode_mask(counts: str, height: int, width: int) -> MaskPatch:
    """The mask of a COCO `counts` string; the inverse of :func:`encode_mask`.

    The string may come from anywhere. pycocotools writes beyond its memory if the runs are longer than the image, so it
    is not used here.

    Raises:
        ValueError: if the string is no mask of that size, or the image is too large.
    """
    if len(counts) > LONGEST_COUNTS or not 0 < height * width <= LARGEST_MASK:
        raise ValueError(f"a mask of {len(counts)} characters for {width}x{height} pixels is refused")
    runs: list[int] = []
    value = shift = 0
    for character in counts.encode("ascii", "replace"):
        digit = character - 48
        if not 0 <= digit < 64 or shift > 30:
            raise ValueError("the mask is no COCO run-length encoding")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:
            continue
        if digit & 0x10:
            value -= 1 << shift
        # from the fourth on, runs are written as differences from the one before the last
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift or not runs or min(runs) < 0 or sum(runs) != height * width:
        raise ValueError(f"the mask's runs do not make {width}x{height} pixels")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return MaskPatch.from_full(pixels.reshape(width, height).T)


def track_fields(
    track: Track, height: int, width: int, bearing: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> dict[str, Any]:
    """The fields of `smotracker_ros/msg/Track` by name, except `box`, whose type belongs to the message library.

    Args:
        track: the track.
        height: height of its image in pixels.
        width: width of its image in pixels.
        bearing: direction of its box's centre, a unit vector in the camera's optical frame; zero: not known.
    """
    return {
        "id": track.id,
        "state": int(track.state),
        "score": float(track.score),
        "probability": float(track.probability),
        "class_id": int(track.class_id),
        "class_name": track.class_name,
        "velocity_x": float(track.velocity[0]),
        "velocity_y": float(track.velocity[1]),
        **dict(zip(("bearing_x", "bearing_y", "bearing_z"), map(float, bearing), strict=True)),
        "age": track.age,
        "frames_since_detection": track.frames_since_detection,
        "frames_since_seen": track.frames_since_seen,
        "mask_height": height,
        "mask_width": width,
        "mask_counts": "" if track.mask is None else encode_mask(track.mask, height, width),
        "friendly": track.friendly,
    }
