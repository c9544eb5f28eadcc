"""Track labelled sequences and score the tracks: HOTA and IDF1, by IoU and in the small-target view.

    smotracker synthesize --output scenes/one --seed 1
    python examples/evaluate.py scenes

Needs `pip install 'smotracker_ros[evaluation]'`. `smotracker evaluate` does this with caches and a report;
`score_sequence` alone scores the tracks of any other program.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from smotracker_ros import build_tracker, load_settings
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.metrics import Score, TrackRows, combine, score_sequence

if len(sys.argv) != 2:
    sys.exit(__doc__)
tracker = build_tracker(load_settings())
scores: dict[str, list[Score]] = {"iou": [], "small_target": []}
for sequence in read_dataset(Path(sys.argv[1])):
    frames, ids, boxes, confidences, classes = [], [], [], [], []
    tracker.reset()
    for frame in sequence.frames():
        if frame.index in sequence.cuts:  # a new shot: ids of the labels begin anew
            tracker.reset()
        for track in tracker.update(frame).reported:
            frames.append(frame.index)
            ids.append(track.id)
            boxes.append(track.box)
            confidences.append(track.score)
            classes.append(track.class_id)
    rows = TrackRows(
        np.array(frames, np.int64),
        np.array(ids, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(confidences, np.float32),
        np.array(classes, np.int64),
    )
    for view, scored in scores.items():
        scored.append(score_sequence(sequence, rows, view))

for view, scored in scores.items():
    metrics = combine(scored).metrics
    print(f"{view}: HOTA {metrics['HOTA']:.1f}, IDF1 {metrics['IDF1']:.1f}, ids {metrics['IDs']:.0f}")
