"""Tight labels from loose ones: boxes round the targets' visible extent, which is what pictures can tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import BoolArray, FloatArray, MaskPatch, as_boxes
from smotracker_ros.training.clips import Clip
from smotracker_ros.training.pseudo_masks import pseudo_mask

# So many trusted masks of an object tell how its labels differ from it
_LEAST_TRUSTED = 3


@dataclass(frozen=True)
class TightLabels:
    """Labels of one frame.

    Attributes:
        boxes: float32 (N, 4), xyxy pixels; where the mask cannot be trusted, what is usual for the object.
        ids: int64 (N,), as in the labels.
        class_ids: int64 (N,).
        masks: one per label, None where it cannot be trusted.
        unknown: float32 (M, 4), loose boxes of objects whose visible extent nobody knows.
    """

    boxes: FloatArray
    ids: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.int64]
    masks: tuple[BoolArray | None, ...]
    unknown: FloatArray


def tighten(clip: Clip, pictures: dict[int, UInt8Image]) -> dict[int, TightLabels]:
    """Tight labels of some frames of a clip.

    Args:
        clip: labelled clip.
        pictures: grey uint8 (height, width), by 0-based index of the frame.

    Returns:
        By index of the frame.
    """
    found: dict[int, list[BoolArray | None]] = {}
    insets: dict[tuple[int, int], list[FloatArray]] = {}
    for index, picture in pictures.items():
        labels = clip.labels[index]
        found[index] = []
        for identity, box in zip(labels.ids.tolist(), labels.boxes, strict=True):
            mask, trusted = pseudo_mask(picture, box)
            tight = MaskPatch.from_full(mask).box() if trusted else None
            found[index].append(mask if tight is not None else None)
            if tight is not None:
                size = np.maximum(np.tile(box[2:] - box[:2], 2), 1.0)
                insets.setdefault((clip.shot_of(index), identity), []).append((tight - box) / size)
    usual = {key: np.median(rows, axis=0) for key, rows in insets.items() if len(rows) >= _LEAST_TRUSTED}
    result = {}
    for index, masks in found.items():
        labels = clip.labels[index]
        boxes, ids, class_ids, kept, unknown = [], [], [], [], []
        rows = zip(labels.ids.tolist(), labels.class_ids.tolist(), labels.boxes, masks, strict=True)
        for identity, class_id, box, outline in rows:
            tight = None if outline is None else MaskPatch.from_full(outline).box()
            inset = usual.get((clip.shot_of(index), identity))
            if tight is None and inset is not None:
                tight = (box + inset * np.tile(box[2:] - box[:2], 2)).astype(np.float32)
            if tight is None:
                unknown.append(box)
                continue
            boxes.append(tight)
            ids.append(identity)
            class_ids.append(class_id)
            kept.append(outline)
        result[index] = TightLabels(
            as_boxes(boxes),
            np.array(ids, dtype=np.int64),
            np.array(class_ids, dtype=np.int64),
            tuple(kept),
            as_boxes(unknown),
        )
    return result
