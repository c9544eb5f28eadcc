"""Where a tracker's figures are lost: what became of each labelled box, and how far the boxes on them are off."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from smotracker_ros.core.geometry import FloatArray, box_centers, box_sizes, pairwise_iou, small_target_similarity
from smotracker_ros.evaluation.metrics import TrackRows
from smotracker_ros.evaluation.sequences import EvaluationSequence

FATES = ("right id", "another id", "before the first report", "in gaps", "after the last report", "never reported")
"""What became of a labelled box. A target's right id is the one that the assignment of IDF1 gives to it."""

# Threshold of the small-target view, from which a box lies on a label
_LEAST_SIMILARITY = 0.5
# A size below one pixel has no logarithm that tells anything
_LEAST_SIDE = 1.0


@dataclass(frozen=True)
class Losses:
    """What became of the labelled boxes of one sequence or several.

    Attributes:
        fates: number of labelled boxes by each of :data:`FATES`, int64 (6,).
        false_boxes: reported boxes that lie on no label.
        sizes: longer sides of the labels that a box lies on, pixels, float32 (N,).
        size_errors: logarithm of reported to labelled width and height, float32 (N, 2).
        center_errors: reported less labelled centre, in longer sides of the label, float32 (N, 2).
        ious: of both boxes, float32 (N,).
    """

    fates: npt.NDArray[np.int64]
    false_boxes: int
    sizes: FloatArray
    size_errors: FloatArray
    center_errors: FloatArray
    ious: FloatArray


def losses(sequence: EvaluationSequence, tracks: TrackRows) -> Losses:
    """Compare the tracks of a sequence with its labels; flagged labels are left out, and so is what lies on them.

    Args:
        sequence: with its labels.
        tracks: in the same pixels and frames.
    """
    edges = [0, *sequence.cuts, sequence.length]
    return joined(
        [_of_shot(sequence, tracks, start, stop) for start, stop in itertools.pairwise(edges) if stop > start]
    )


def joined(parts: Sequence[Losses]) -> Losses:
    """Those of several sequences together."""
    return Losses(
        np.sum([part.fates for part in parts], axis=0, dtype=np.int64),
        sum(part.false_boxes for part in parts),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.size_errors for part in parts]),
        np.concatenate([part.center_errors for part in parts]),
        np.concatenate([part.ious for part in parts]),
    )


def _of_shot(sequence: EvaluationSequence, tracks: TrackRows, start: int, stop: int) -> Losses:
    truth = sequence.truth
    labels = np.flatnonzero((truth.frames >= start) & (truth.frames < stop))
    reported = np.flatnonzero((tracks.frames >= start) & (tracks.frames < stop))
    partner = np.full(len(truth.frames), -1)
    for frame in np.intersect1d(truth.frames[labels], tracks.frames[reported]):
        rows, columns = labels[truth.frames[labels] == frame], reported[tracks.frames[reported] == frame]
        similarity = small_target_similarity(truth.boxes[rows], tracks.boxes[columns])
        first, second = linear_sum_assignment(-similarity)
        on = similarity[first, second] >= _LEAST_SIMILARITY
        partner[rows[first[on]]] = columns[second[on]]
    counted = labels[~truth.ignored[labels]]
    pairs = counted[partner[counted] >= 0]
    ids = np.where(partner >= 0, tracks.ids[partner] if len(tracks.ids) else -1, -1)
    fates = np.zeros(len(FATES), dtype=np.int64)
    right = _right_ids(truth.ids[pairs], ids[pairs])
    for target in np.unique(truth.ids[counted]):
        own = counted[truth.ids[counted] == target]
        fates += _fates(ids[own[np.argsort(truth.frames[own], kind="stable")]], right.get(int(target), -1))
    labelled, found = truth.boxes[pairs], tracks.boxes[partner[pairs]] if len(pairs) else truth.boxes[:0]
    sizes = box_sizes(labelled).max(axis=1, initial=0)
    ratio = np.maximum(box_sizes(found), _LEAST_SIDE) / np.maximum(box_sizes(labelled), _LEAST_SIDE)
    shift = (box_centers(found) - box_centers(labelled)) / np.maximum(sizes, _LEAST_SIDE)[:, None]
    ious = np.array([pairwise_iou(a[None], b[None])[0, 0] for a, b in zip(labelled, found, strict=True)], np.float32)
    false_boxes = len(reported) - int((partner[labels] >= 0).sum())
    return Losses(fates, false_boxes, sizes, np.log(ratio).astype(np.float32), shift.astype(np.float32), ious)


def _right_ids(targets: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]) -> dict[int, int]:
    """The id of each target that makes most boxes right, one for one."""
    names, rows = np.unique(targets, return_inverse=True)
    numbers, columns = np.unique(ids, return_inverse=True)
    counts = np.zeros((len(names), len(numbers)))
    np.add.at(counts, (rows, columns), 1)
    first, second = linear_sum_assignment(-counts)
    return {
        int(names[row]): int(numbers[column]) for row, column in zip(first, second, strict=True) if counts[row, column]
    }


def _fates(ids: npt.NDArray[np.int64], right: int) -> npt.NDArray[np.int64]:
    """Counts of :data:`FATES` of a target, from the ids on its labels in the order of time, -1: none."""
    seen = np.flatnonzero(ids >= 0)
    if not len(seen):
        return np.array([0, 0, 0, 0, 0, len(ids)], dtype=np.int64)
    between = ids[seen[0] : seen[-1] + 1]
    good, gaps = int((between == right).sum()), int((between < 0).sum())
    return np.array([good, len(between) - good - gaps, seen[0], gaps, len(ids) - 1 - seen[-1], 0], dtype=np.int64)
