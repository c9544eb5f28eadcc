"""Tracking metrics. Every number comes from trackeval (Luiten et al. 2020); this module only prepares its input.

Two views of the same tracks:

- "iou": similarity is the IoU of the boxes, as everywhere in the literature.
- "small_target": similarity is the normalised Wasserstein similarity of the boxes, scaled so that its threshold of 0.5
  means "centres closer than half the target's size" instead of "boxes of the same size": a label that is two pixels
  too wide on each side halves the IoU of a 10-pixel target, and says nothing about the tracker.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from smotracker_ros.core.geometry import FloatArray, as_boxes, small_target_similarity
from smotracker_ros.evaluation.sequences import DatasetError, EvaluationSequence
from smotracker_ros.io.mot_text import MotTextError, read_rows

with contextlib.redirect_stdout(io.StringIO()):
    from trackeval.datasets._base_dataset import _BaseDataset
    from trackeval.metrics import CLEAR, HOTA, Identity

SIMILARITIES = ("iou", "small_target")
# In percent, of trackeval's fields; the others are counts
PERCENT = ("HOTA", "DetA", "AssA", "LocA", "DetRe", "DetPr", "AssRe", "AssPr", "MOTA", "IDF1")
COUNTS = ("IDs", "GT_IDs", "IDSW", "IDFN", "IDFP", "Frag", "FP", "FN")
# A track on an ignored box is neither right nor wrong from this similarity on, as in MOTChallenge
_IGNORED_SIMILARITY = 0.5

Raw = dict[str, Any]


@dataclass(frozen=True)
class TrackRows:
    """Tracks of one sequence, one row per box.

    Attributes:
        frames: int64 (K,), 0-based.
        ids: int64 (K,).
        boxes: float32 (K, 4), xyxy pixels.
        scores: float32 (K,).
        class_ids: int64 (K,).
    """

    frames: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    boxes: FloatArray
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]


def read_tracks(path: Path) -> TrackRows:
    """Read the MOT text that this project writes: frames 1-based, x and y 0-based pixels.

    Raises:
        DatasetError: if the file is missing or broken.
    """
    try:
        rows = read_rows(Path(path), 6)
    except MotTextError as error:
        raise DatasetError(str(error)) from error
    rows = np.hstack([rows, np.ones((len(rows), max(8 - rows.shape[1], 0)))])
    boxes = np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])
    return TrackRows(
        rows[:, 0].astype(np.int64) - 1,
        rows[:, 1].astype(np.int64),
        as_boxes(boxes),
        rows[:, 6].astype(np.float32),
        rows[:, 7].astype(np.int64),
    )


def track_lines(rows: TrackRows) -> Iterator[str]:
    """The MOT text of :class:`smotracker_ros.io.sinks.MotWriter`."""
    for frame, identity, box, score, class_id in zip(
        rows.frames, rows.ids, rows.boxes, rows.scores, rows.class_ids, strict=True
    ):
        x1, y1, x2, y2 = (float(value) for value in box)
        yield f"{frame + 1},{identity},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{score:.2f},{class_id},-1\n"


@dataclass(frozen=True)
class Score:
    """Metrics of a sequence, or of several.

    Attributes:
        metrics: HOTA, DetA, AssA, LocA, DetRe, DetPr, AssRe, AssPr, MOTA and IDF1 in percent; IDs (distinct predicted
            ids), GT_IDs, IDSW, IDFN, IDFP, Frag, FP and FN as counts.
        hota_over_alpha: HOTA in percent at localisation thresholds 0.05, 0.10, ..., 0.95.
        raw: trackeval's results by shot, for combining.
    """

    metrics: dict[str, float]
    hota_over_alpha: list[float]
    raw: dict[str, Raw]


def score_sequence(
    sequence: EvaluationSequence, tracks: TrackRows, similarity: str = "iou", class_aware: bool = False
) -> Score:
    """Score the tracks of one sequence; its shots are scored as sequences of their own and combined.

    Args:
        sequence: with its ground truth.
        tracks: in the same pixels and frames.
        similarity: one of :data:`SIMILARITIES`.
        class_aware: boxes of different classes never match.

    Raises:
        ValueError: if the similarity is unknown.
    """
    if similarity not in SIMILARITIES:
        raise ValueError(f"unknown similarity {similarity!r}; there are: {', '.join(SIMILARITIES)}")
    edges = [0, *sequence.cuts, sequence.length]
    raw = {
        f"{sequence.name}#{shot}": _evaluate(
            _trackeval_data(sequence, tracks, range(start, stop), similarity, class_aware)
        )
        for shot, (start, stop) in enumerate(itertools.pairwise(edges))
        if stop > start
    }
    return _summary(raw)


def combine(scores: Sequence[Score]) -> Score:
    """Metrics of several sequences together, as trackeval combines them (sums of counts, not means of metrics)."""
    return _summary({key: raw for score in scores for key, raw in score.raw.items()})


def _metrics() -> dict[str, Any]:
    quiet = {"PRINT_CONFIG": False}
    return {"HOTA": HOTA(), "CLEAR": CLEAR(quiet), "Identity": Identity(quiet)}


def _evaluate(data: Raw) -> Raw:
    result = {name: metric.eval_sequence(data) for name, metric in _metrics().items()}
    result["IDs"], result["GT_IDs"] = data["num_tracker_ids"], data["num_gt_ids"]
    return result


def _summary(raw: dict[str, Raw]) -> Score:
    combined = next(iter(raw.values()))  # combining one alone would round anew
    if len(raw) > 1:
        combined = {
            name: metric.combine_sequences({key: value[name] for key, value in raw.items()})
            for name, metric in _metrics().items()
        }
    hota, clear, identity = combined["HOTA"], combined["CLEAR"], combined["Identity"]
    values = {name: float(np.mean(hota[name])) for name in PERCENT if name in hota}
    values |= {"MOTA": float(clear["MOTA"]), "IDF1": float(identity["IDF1"])}
    metrics = {name: 100 * values[name] for name in PERCENT}
    counts = {
        "IDs": sum(value["IDs"] for value in raw.values()),
        "GT_IDs": sum(value["GT_IDs"] for value in raw.values()),
        "IDSW": clear["IDSW"],
        "IDFN": identity["IDFN"],
        "IDFP": identity["IDFP"],
        "Frag": clear["Frag"],
        "FP": clear["CLR_FP"],
        "FN": clear["CLR_FN"],
    }
    metrics |= {name: int(counts[name]) for name in COUNTS}
    return Score(metrics, [100 * float(value) for value in hota["HOTA"]], raw)


def _trackeval_data(
    sequence: EvaluationSequence, tracks: TrackRows, frames: range, similarity: str, class_aware: bool
) -> Raw:
    """One shot as trackeval's metrics take it: ids from 0 without gaps, ignored boxes and what lies on them removed."""
    truth = sequence.truth
    gt, found, similarities = [], [], []
    truth_rows = _rows_by_frame(truth.frames)
    track_rows = _rows_by_frame(tracks.frames)
    nothing = np.zeros(0, dtype=np.int64)
    for frame in frames:
        rows, columns = truth_rows.get(frame, nothing), track_rows.get(frame, nothing)
        matrix = _similarity(truth.boxes[rows], tracks.boxes[columns], similarity)
        if class_aware:
            matrix = matrix * (truth.class_ids[rows][:, None] == tracks.class_ids[columns][None])
        ignored = truth.ignored[rows]
        if ignored.any() and len(columns):
            on_truth, on_tracks = linear_sum_assignment(-np.where(matrix >= _IGNORED_SIMILARITY, matrix, 0))
            excused = on_tracks[ignored[on_truth] & (matrix[on_truth, on_tracks] >= _IGNORED_SIMILARITY)]
            kept = ~np.isin(np.arange(len(columns)), excused)
            columns, matrix = columns[kept], matrix[:, kept]
        rows, matrix = rows[~ignored], matrix[~ignored]
        gt.append(truth.ids[rows])
        found.append(tracks.ids[columns])
        similarities.append(matrix)
    # numbered in rising order, as trackeval does: sums then round the same way
    truth_ids, track_ids = np.unique(np.concatenate([*gt, nothing])), np.unique(np.concatenate([*found, nothing]))
    return {
        "num_timesteps": len(gt),
        "num_gt_ids": len(truth_ids),
        "num_tracker_ids": len(track_ids),
        "num_gt_dets": sum(map(len, gt)),
        "num_tracker_dets": sum(map(len, found)),
        "gt_ids": [np.searchsorted(truth_ids, ids) for ids in gt],
        "tracker_ids": [np.searchsorted(track_ids, ids) for ids in found],
        "similarity_scores": similarities,
    }


def _rows_by_frame(frames: npt.NDArray[np.int64]) -> dict[int, npt.NDArray[np.int64]]:
    order = np.argsort(frames, kind="stable")
    values, starts = np.unique(frames[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=True)) if len(frames) else {}


def _similarity(first: FloatArray, second: FloatArray, similarity: str) -> npt.NDArray[np.float64]:
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    if similarity == "small_target":
        return small_target_similarity(first, second)
    # trackeval's own, in double precision: figures agree with its command line to the last digit
    return np.asarray(
        _BaseDataset._calculate_box_ious(first.astype(np.float64), second.astype(np.float64), box_format="x0y0x1y1")
    )
