"""Trackers with tight boxes on clips whose labels are loose: boxes are made loose by a margin measured on other clips.

    smotracker compare --data DATA/train --trackers y-smotracker --sequences SOME --output runs/margins
    smotracker compare --data DATA/val --trackers y-smotracker,bytetrack --output runs/val
    python benchmarks/loose_labels.py --measured DATA/train runs/margins --data DATA/val runs/val

The margin is the median over clips of half of what labels are wider and higher than the boxes of y-smotracker that lie
on them, in pixels, apart for thermal and visible clips (the beginning of their names says which: IR_ or V_). All
trackers get the same margins.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from smotracker_ros.core.geometry import FloatArray, box_centers, box_sizes
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.metrics import SIMILARITIES, combine, read_tracks, score_sequence
from smotracker_ros.evaluation.sequences import EvaluationSequence

METRICS = ("HOTA", "DetA", "AssA", "IDF1", "IDSW", "IDFN", "IDFP")
MEASURED_BY = "y-smotracker"


def _is_thermal(sequence: EvaluationSequence) -> bool:
    return sequence.name.startswith("IR_")


def _excess(sequence: EvaluationSequence, tracks: Path) -> list[FloatArray]:
    """By how much labels are wider and higher than the nearest box, where its centre lies in the label."""
    rows, truth = read_tracks(tracks), sequence.truth
    found = []
    for frame in np.unique(truth.frames):
        labels, boxes = truth.boxes[truth.frames == frame], rows.boxes[rows.frames == frame]
        if not len(boxes):
            continue
        apart = np.linalg.norm(box_centers(labels)[:, None] - box_centers(boxes)[None], axis=2)
        for label, nearest, distance in zip(box_sizes(labels), apart.argmin(axis=1), apart.min(axis=1), strict=True):
            if distance < label.max() / 2:
                found.append(label - box_sizes(boxes)[nearest])
    return found


def _margins(data: Path, run: Path) -> dict[bool, FloatArray]:
    """Of thermal (True) and visible clips: what is to be added on each side, float32 (x, y)."""
    by_kind: dict[bool, list[FloatArray]] = {True: [], False: []}
    files = {path.stem: path for path in (run / "tracks" / MEASURED_BY).glob("*.txt")}
    for sequence in read_dataset(data, "auto", sorted(files)):
        if excess := _excess(sequence, files[sequence.name]):
            by_kind[_is_thermal(sequence)].append(np.median(excess, axis=0))
    if not all(by_kind.values()):
        raise typer.BadParameter(f"{run} needs tracks of thermal and of visible clips", param_hint="--measured")
    return {kind: np.float32(np.median(values, axis=0) / 2) for kind, values in by_kind.items()}


def main(
    run: Annotated[Path, typer.Argument(help="Folder that `smotracker compare` has written.")],
    data: Annotated[Path, typer.Option(help="Folder of its data set.")],
    measured: Annotated[
        tuple[Path, Path], typer.Option(help="Data set and folder of `smotracker compare` for the margins.")
    ],
) -> None:
    """Print each tracker's figures with looser boxes, in both views."""
    margins = _margins(*measured)
    console = Console()
    for kind, name in ((True, "thermal"), (False, "visible")):
        console.print(
            f"{name}: {margins[kind][0]:.1f} pixels on the left and right, {margins[kind][1]:.1f} above and below"
        )
    sequences = read_dataset(data, "auto", None)
    for view in SIMILARITIES:
        table = Table("tracker", *METRICS, title=f"{view}, {len(sequences)} sequences")
        for folder in sorted(path for path in (run / "tracks").iterdir() if path.is_dir()):
            scores = []
            for sequence in sequences:
                rows, margin = read_tracks(folder / f"{sequence.name}.txt"), margins[_is_thermal(sequence)]
                loose = rows.boxes + np.concatenate([-margin, margin])
                scores.append(score_sequence(sequence, replace(rows, boxes=loose.astype(np.float32)), view))
            metrics = combine(scores).metrics
            cells = (
                f"{metrics[name]:.0f}" if name.startswith("ID") and name != "IDF1" else f"{metrics[name]:.1f}"
                for name in METRICS
            )
            table.add_row(folder.name, *cells)
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
