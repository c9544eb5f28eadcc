"""What limits the tracker: the same sequences with parts of it replaced by the truth.

    python benchmarks/upper_bounds.py --data DIR --output runs/upper_bounds

Writes upper_bounds.md. Needs labels in the layout `clips`; the row of true masks also needs `gt/gt.txt` beside
`gt/gt_label.txt`, as composed clips have them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from scipy.optimize import linear_sum_assignment

from smotracker_ros.core.geometry import FloatArray, box_centers, box_sizes
from smotracker_ros.detection import Detections
from smotracker_ros.detection.yolo_loading import load_yolo
from smotracker_ros.detection.yolo_model import YoloModel
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.detection_cache import (
    CachedDetections,
    CachedDetector,
    cached_detections,
    default_cache,
)
from smotracker_ros.evaluation.metrics import (
    SIMILARITIES,
    Score,
    TrackRows,
    combine,
    score_sequence,
    small_target_similarity,
)
from smotracker_ros.evaluation.peers import PEERS, peer_detections, track_rows
from smotracker_ros.evaluation.sequences import EvaluationSequence, GroundTruth
from smotracker_ros.masklets.checkpoints import load_network
from smotracker_ros.masklets.memory import POLICIES
from smotracker_ros.masklets.propagator import Propagator
from smotracker_ros.presets import build_tracker, load_settings

COLUMNS = ("HOTA", "DetA", "AssA", "LocA", "IDF1", "IDSW", "IDFN", "IDs")
# A detection belongs to the true object that it is as near to as this
LEAST_SIMILARITY = 0.4


class Room:
    """What all rows share for one sequence: the detector's boxes, the truth, and both matched."""

    def __init__(self, sequence: EvaluationSequence, detector: YoloModel) -> None:
        self.sequence = sequence
        self.detector = detector
        self.found = cached_detections(sequence, detector, default_cache())
        self.truth = sequence.truth

    def true_detections(self) -> CachedDetections:
        """The labels as detections of confidence 0.9."""
        order = np.argsort(self.truth.frames, kind="stable")
        rows = order[~self.truth.ignored[order]]
        scores = np.full(len(rows), 0.9, np.float32)
        boxes = Detections(self.truth.boxes[rows], scores, self.truth.class_ids[rows])
        return CachedDetections(self.truth.frames[rows], boxes, 0.0)

    def matches(self) -> Iterator[tuple[int, int]]:
        """Rows of the truth and of the detections that belong together, by the small-target similarity."""
        for frame in range(self.sequence.length):
            rows = np.flatnonzero((self.truth.frames == frame) & ~self.truth.ignored)
            columns = np.flatnonzero(self.found.frames == frame)
            likeness = small_target_similarity(self.truth.boxes[rows], self.found.detections.boxes[columns])
            for row, column in zip(*linear_sum_assignment(-likeness), strict=True):
                if likeness[row, column] >= LEAST_SIMILARITY:
                    yield int(rows[row]), int(columns[column])


def rows_of(truth: GroundTruth, rows: np.ndarray, boxes: FloatArray, shots: np.ndarray) -> TrackRows:
    """Tracks with true identities; ids of different shots differ."""
    ids = truth.ids[rows] + 10_000 * shots[rows]
    return TrackRows(truth.frames[rows], ids, boxes, np.ones(len(rows), np.float32), truth.class_ids[rows])


def detector_with_true_ids(room: Room) -> TrackRows:
    """The detector's own boxes on every frame, each with its true identity, and no false ones."""
    pairs = np.array(list(room.matches()), dtype=np.int64).reshape(-1, 2)
    shots = room.sequence.shot_of(room.truth.frames)
    return rows_of(room.truth, pairs[:, 0], room.found.detections.boxes[pairs[:, 1]], shots)


def true_masks(room: Room) -> TrackRows:
    """True tight boxes on every frame, made as loose as the detector's boxes of the same object are in the median."""
    path = room.sequence.directory / "gt" / "gt.txt"
    if not (path.parent / "gt_label.txt").is_file():
        raise typer.BadParameter(f"{path.parent} has no gt_label.txt: labels there are not known to be tight")
    table = np.loadtxt(path, delimiter=",", ndmin=2)
    tight = {(int(row[0]) - 1, int(row[1])): np.r_[row[2:4], row[2:4] + row[4:6]] for row in table}
    truth = room.truth
    keys = [(int(frame), int(identity)) for frame, identity in zip(truth.frames, truth.ids, strict=True)]
    margins: dict[int, list[FloatArray]] = {}
    for row, column in room.matches():
        if keys[row] in tight:
            margin = room.found.detections.boxes[column] - tight[keys[row]]
            margins.setdefault(keys[row][1], []).append(margin.astype(np.float32))
    everyone = np.median(np.concatenate(list(margins.values())), axis=0)
    typical = {identity: np.median(values, axis=0) for identity, values in margins.items()}
    rows = np.array([row for row, key in enumerate(keys) if key in tight], dtype=np.int64)
    boxes = np.array([tight[keys[row]] + typical.get(keys[row][1], everyone) for row in rows], dtype=np.float32)
    return rows_of(truth, rows, boxes.reshape(-1, 4), room.sequence.shot_of(truth.frames))


def tracked(name: str, true_detections: bool) -> Callable[[Room], TrackRows]:
    """Tracks of a tracker, on the detector's boxes or on the labels."""

    def run(room: Room) -> TrackRows:
        cached = room.true_detections() if true_detections else room.found
        detector = CachedDetector(cached, room.detector.class_names, room.detector.name)
        settings = load_settings()
        if name in PEERS:
            network = load_network(None, settings.masklet_image_size, "cpu")
            propagator = Propagator(network, POLICIES[settings.memory_policy])
        parts, shot = [], -1
        for frame in room.sequence.frames():
            before, shot = shot, int(room.sequence.shot_of(frame.index))
            if shot != before:
                if name in PEERS:
                    tracker = PEERS[name].build(propagator, room.sequence.fps, {})
                else:
                    tracker = build_tracker(settings, detector)
            if name in PEERS:
                rows = tracker.update(frame, peer_detections(detector, frame))
            else:
                shown = tracker.update(frame).reported
                boxes = np.array([item.box for item in shown], np.float32).reshape(-1, 4)
                ids = np.array([item.id for item in shown])
                rows = track_rows(frame.index, ids, boxes, np.ones(len(shown)), np.ones(len(shown)))
            parts.append((rows.frames, rows.ids + 10_000 * shot, rows.boxes, rows.scores, rows.class_ids))
        return TrackRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    return run


def with_true_sizes(rows: TrackRows, room: Room) -> TrackRows:
    """The same tracks with the label's size in place of the reported one wherever they are on a true object."""
    boxes = rows.boxes.copy()
    for frame in range(room.sequence.length):
        labels = np.flatnonzero((room.truth.frames == frame) & ~room.truth.ignored)
        columns = np.flatnonzero(rows.frames == frame)
        likeness = small_target_similarity(room.truth.boxes[labels], rows.boxes[columns])
        for row, column in zip(*linear_sum_assignment(-likeness), strict=True):
            if likeness[row, column] >= LEAST_SIMILARITY:
                half = box_sizes(room.truth.boxes[labels[row]])[0] / 2
                center = box_centers(rows.boxes[columns[column]])[0]
                boxes[columns[column]] = np.concatenate([center - half, center + half])
    return dataclasses.replace(rows, boxes=boxes)


def main(
    data: Annotated[Path, typer.Option(help="Data set.")],
    output: Annotated[Path, typer.Option(help="Folder for upper_bounds.md.")],
    sequences: Annotated[str, typer.Option(help="Names, separated by commas; empty: all.")] = "",
    peer: Annotated[str, typer.Option(help="Peer beside ours.")] = "hybridsort",
) -> None:
    """Track with the truth in the place of single parts."""
    torch.set_num_threads(1)
    chosen = read_dataset(data, sequences=[name for name in sequences.split(",") if name] or None)
    detector = load_yolo()
    variants: dict[str, Callable[[Room], TrackRows]] = {
        "y-smotracker": tracked("y-smotracker", False),
        "y-smotracker with true sizes": lambda room: with_true_sizes(tracked("y-smotracker", False)(room), room),
        "y-smotracker on true detections": tracked("y-smotracker", True),
        peer: tracked(peer, False),
        f"{peer} on true detections": tracked(peer, True),
        "the detector's boxes with true identities": detector_with_true_ids,
    }
    if all((sequence.directory / "gt" / "gt_label.txt").is_file() for sequence in chosen):
        variants["true masks, as loose as the detector's boxes"] = true_masks
    scores: dict[str, dict[str, list[Score]]] = {name: {view: [] for view in SIMILARITIES} for name in variants}
    for sequence in track(chosen, description="sequences"):
        room = Room(sequence, detector)
        for name, variant in variants.items():
            rows = variant(room)
            for view in SIMILARITIES:
                scores[name][view].append(score_sequence(sequence, rows, view))
    lines = []
    for view, title in zip(SIMILARITIES, ("Boxes (IoU)", "Small-target view"), strict=True):
        lines += [f"### {data.resolve().name}: {title}, {len(chosen)} sequences", ""]
        lines += ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
        for name in variants:
            metrics = combine(scores[name][view]).metrics
            cells = [f"{metrics[c]}" if isinstance(metrics[c], int) else f"{metrics[c]:.1f}" for c in COLUMNS]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    output.mkdir(parents=True, exist_ok=True)
    (output / "upper_bounds.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
