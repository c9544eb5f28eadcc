"""Masks as SAM2's decoder offers them: choosing one for each object, and cleaning it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from smotracker_ros.core.geometry import FloatArray, MaskPatch, as_boxes
from smotracker_ros.masklets.model import Decoded
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
    ious = candidates.predicted_iou.float().cpu().numpy()
    masks = (candidates.high > 0).cpu().numpy()
    size = masks.shape[-1]
    chosen: list[int] = []
    for identity, window, own_masks, own_ious in zip(ids, windows, masks, ious, strict=True):
        tight = [MaskPatch.from_full(mask).box() for mask in own_masks]
        boxes = [None if box is None else window.to_image(as_boxes(box), size)[0] for box in tight]
        chosen.append(choose(identity, boxes, np.asarray(own_ious, dtype=np.float32)))
    rows = torch.arange(len(ids), device=decoded.high.device)
    columns = torch.tensor(chosen, device=decoded.high.device)
    return dataclasses.replace(
        decoded,
        low=candidates.low[rows, columns][:, None],
        high=candidates.high[rows, columns][:, None],
        predicted_iou=candidates.predicted_iou[rows, columns],
        pointer=candidates.pointers[rows, columns],
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
    masks = (candidates.high[index] > 0).cpu().numpy()
    tight = [MaskPatch.from_full(mask).box() for number, mask in enumerate(masks) if number != int(taken)]
    return [box for box in tight if box is not None]


def keep_object(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Remove specks: keep the strongest connected piece and those at least a third as large.

    Args:
        logits: float32 (S, S).

    Returns:
        Logits with the removed pieces set below 0; the same array if there was one piece only.
    """
    mask = (logits > 0).astype(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count <= 2:
        return logits
    # only the rectangle of all pieces is weighed: masks are small
    pieces = statistics[1:]
    x1, y1 = pieces[:, cv2.CC_STAT_LEFT].min(), pieces[:, cv2.CC_STAT_TOP].min()
    x2 = (pieces[:, cv2.CC_STAT_LEFT] + pieces[:, cv2.CC_STAT_WIDTH]).max()
    y2 = (pieces[:, cv2.CC_STAT_TOP] + pieces[:, cv2.CC_STAT_HEIGHT]).max()
    labels, region = labels[y1:y2, x1:x2], logits[y1:y2, x1:x2]
    areas = pieces[:, cv2.CC_STAT_AREA]
    strength = np.bincount(labels.ravel(), weights=np.maximum(region, 0).ravel(), minlength=count)[1:]
    best = int(strength.argmax())
    kept = (areas >= areas[best] / 3) | (np.arange(count - 1) == best)
    result = np.minimum(logits, np.float32(-1.0))
    np.copyto(result[y1:y2, x1:x2], region, where=np.append(False, kept)[labels])
    return result
