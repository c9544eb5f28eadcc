"""The difference between two runs over the same sequences, with 95 % intervals of a paired bootstrap.

smotracker compare --data DATA --trackers y-smotracker --output runs/before
smotracker compare --data DATA --trackers y-smotracker --output runs/after
python benchmarks/paired_difference.py --data DATA runs/before runs/after
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from smotracker_ros.evaluation.bootstrap import interval, resampled_metrics
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.metrics import SIMILARITIES, Score, combine, read_tracks, score_sequence
from smotracker_ros.evaluation.sequences import EvaluationSequence

METRICS = ("HOTA", "DetA", "AssA", "IDF1", "IDSW", "IDFN", "IDFP")


def _scores(run: Path, tracker: str, sequences: list[EvaluationSequence], view: str) -> list[Score]:
    folder = run / "tracks" / tracker
    missing = [sequence.name for sequence in sequences if not (folder / f"{sequence.name}.txt").is_file()]
    if missing:
        raise typer.BadParameter(f"{folder} has no tracks of {', '.join(missing)}; finish that run first")
    return [score_sequence(sequence, read_tracks(folder / f"{sequence.name}.txt"), view) for sequence in sequences]


def main(
    before: Annotated[Path, typer.Argument(help="Folder that `smotracker compare` or `evaluate` has written.")],
    after: Annotated[Path, typer.Argument(help="Another one, over the same data.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    tracker: Annotated[str, typer.Option(help="Name of the tracker in both.")] = "y-smotracker",
    sequences: Annotated[str, typer.Option(help="Names separated by commas; empty: all.")] = "",
    resamples: Annotated[int, typer.Option(min=10, help="Draws of the sequences.")] = 500,
) -> None:
    """Print each metric before and after, and the difference with its interval, in both views."""
    chosen = read_dataset(data, "auto", [name for name in sequences.split(",") if name] or None)
    for view in SIMILARITIES:
        table = Table(
            "metric", "before", "after", "difference", "95 % interval", title=f"{view}, {len(chosen)} sequences"
        )
        runs = [_scores(run, tracker, chosen, view) for run in (before, after)]
        old, new = (combine(scores).metrics for scores in runs)
        drawn_old, drawn_new = (resampled_metrics(scores, METRICS, resamples) for scores in runs)
        for name in METRICS:
            low, high = interval(drawn_new[name] - drawn_old[name])
            cells = f"{old[name]:.1f}", f"{new[name]:.1f}", f"{new[name] - old[name]:+.1f}"
            table.add_row(name, *cells, f"{low:+.1f} to {high:+.1f}" if len(chosen) > 1 else "-")
        Console().print(table)
    if len(chosen) == 1:
        typer.echo("One sequence says nothing about chance: an interval needs several, better ten and more.", err=True)


if __name__ == "__main__":
    typer.run(main)
