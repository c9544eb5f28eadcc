"""Masks as SAM2's decoder offers them: choosing one for each object, and cleaning it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import FloatArray, MaskPatch, as_boxes
from smotracker_ros.masklets.network import Decoded
from smotracker_ros.masklets.windows import Window

# Number of the mask to take, from the object's id, each mask's tight box in image pixels (None: empty), float32 (4,),
# and each mask's predicted IoU, float32 (M,)
MaskChoice = Callable[[int, Sequence[FloatArray | None], FloatArray], int]


def choose_masks(decoded: Decoded, ids: Sequence[int], windows: Sequence[Window], choose: MaskChoice) -> Decoded:
    """Replace each object's best-rated mask by the one that `choose` prefers.

    Args:
        decoded: with its candidates; without, it is returned as it is.
        ids: of the objects of the batch.
        windows: of the same objects.
        choose: asked once for each object.
    """
    candidates = decoded.candidates
    if candidates is None:
        return decoded
    ious = candidates.predicted_iou
    masks = candidates.high > 0
    size = masks.shape[-1]
    chosen: list[int] = []
    for identity, window, own_masks, own_ious in zip(ids, windows, masks, ious, strict=True):
        tight = [MaskPatch.from_full(mask).box() for mask in own_masks]
        boxes = [None if box is None else window.to_image(as_boxes(box), size)[0] for box in tight]
        chosen.append(choose(identity, boxes, np.asarray(own_ious, dtype=np.float32)))
    rows, columns = np.arange(len(ids)), np.array(chosen, dtype=np.int64)
    return dataclasses.replace(
        decoded,
        low=candidates.low[rows, columns],
        high=candidates.high[rows, columns],
        predicted_iou=candidates.predicted_iou[rows, columns],
        chosen=columns,
    )


def other_boxes(decoded: Decoded, index: int) -> list[FloatArray]:
    """Tight boxes of the masks of one object that were not taken, each float32 (4,), xyxy input pixels.

    Args:
        decoded: of a call with every mask.
        index: of the object in the batch.
    """
    candidates = decoded.candidates
    if candidates is None:
        return []
    taken = candidates.predicted_iou[index].argmax() if decoded.chosen is None else decoded.chosen[index]
    masks = candidates.high[index] > 0
    tight = [MaskPatch.from_full(mask).box() for number, mask in enumerate(masks) if number != int(taken)]
    return [box for box in tight if box is not None]


@dataclass(frozen=True)
class CleanMask:
    """A mask without specks.

    Attributes:
        logits: float32 (S, S), below 0 where pieces were removed.
        box: tight box, float32 (4,), xyxy input pixels; None: nothing is set.
    """

    logits: FloatArray
    box: FloatArray | None


def clean_masks(logits: FloatArray) -> list[CleanMask]:
    """Remove specks: keep the strongest connected piece of each mask and those at least a third as large.

    Args:
        logits: float32 (B, S, S); above 0 is the object.
    """
    masks = np.asarray(logits > 0)
    rows, columns = np.asarray(masks.any(axis=2)), np.asarray(masks.any(axis=1))
    size = masks.shape[-1]
    # first and last row and column that anything is set in, of all masks at once
    first = np.stack([columns.argmax(axis=1), rows.argmax(axis=1)], axis=1)
    end = size - np.stack([columns[:, ::-1].argmax(axis=1), rows[:, ::-1].argmax(axis=1)], axis=1)
    return [
        _clean(own, mask, *corners) if present else CleanMask(own, None)
        for own, mask, corners, present in zip(
            logits, masks, np.hstack([first, end]).tolist(), np.asarray(rows.any(axis=1)).tolist(), strict=True
        )
    ]


def _clean(logits: FloatArray, mask: npt.NDArray[np.bool_], x1: int, y1: int, x2: int, y2: int) -> CleanMask:
    """Remove the specks of one mask, bool (S, S), of which all lies between these columns and rows."""
    within = mask[y1:y2, x1:x2].view(np.uint8)
    count, labels, pieces, _ = cv2.connectedComponentsWithStats(within, connectivity=8)
    if count <= 2:
        return CleanMask(logits, np.array([x1, y1, x2, y2], dtype=np.float32))
    region, pieces = logits[y1:y2, x1:x2], pieces[1:]
    areas = pieces[:, cv2.CC_STAT_AREA]
    strength = np.bincount(labels.ravel(), weights=np.maximum(region, 0).ravel(), minlength=count)[1:]
    best = int(strength.argmax())
    kept = (areas >= areas[best] / 3) | (np.arange(count - 1) == best)
    result = np.minimum(logits, np.float32(-1.0))
    np.copyto(result[y1:y2, x1:x2], region, where=np.append(False, kept)[labels])
    corners = pieces[kept][:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]] + [x1, y1]
    ends = corners + pieces[kept][:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    return CleanMask(result, np.concatenate([corners.min(axis=0), ends.max(axis=0)]).astype(np.float32))
