"""Where a tracker's figures are lost: what became of the labelled boxes, and how far boxes are off.

    smotracker compare --data DATA --trackers y-smotracker,bytetrack --output runs/all
    python benchmarks/losses.py --data DATA runs/all
    python benchmarks/losses.py --data DATA runs/all --tracker y-smotracker --by sequence

A tracker cannot report what its detector has not found, nor have boxes whose size depends on who has drawn them. The
first table says how many labels were never reported, or not yet, in gaps, or under another id; the second how much
wider and higher boxes are than labels. A mean that differs from clip to clip is the labels' habit, not an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console
from rich.markdown import Markdown

from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.losses import FATES, Losses, joined, losses
from smotracker_ros.evaluation.metrics import read_tracks

SIZES = (0, 6, 10, 14, 20, 30, 60, np.inf)


def fates_table(found: Mapping[str, Losses]) -> str:
    """What became of the labelled boxes, in percent, as Markdown."""
    lines = [
        "| | labelled boxes | " + " | ".join(FATES) + " | boxes on no label |",
        "|---|" + "---|" * (len(FATES) + 2),
    ]
    for name, item in found.items():
        total = int(item.fates.sum())
        shares = [f"{100 * count / max(total, 1):.1f} %" for count in item.fates]
        lines.append(f"| {name} | {total} | " + " | ".join(shares) + f" | {item.false_boxes} |")
    return "\n".join(lines)


def boxes_table(found: Mapping[str, Losses]) -> str:
    """How far boxes are off, mean and standard deviation, as Markdown."""
    lines = [
        "| | boxes | longer side, median | width | height | centre x | centre y | IoU, mean | IoU of .5 and more |"
    ]
    lines += ["|---|" + "---|" * 8]
    for name, item in found.items():
        if not len(item.sizes):
            continue
        width, height = (_spread(100 * (np.exp(column) - 1), "%") for column in item.size_errors.T)
        centers = " | ".join(_spread(100 * column, "%") for column in item.center_errors.T)
        lines.append(
            f"| {name} | {len(item.sizes)} | {np.median(item.sizes):.0f} | {width} | {height} | {centers} "
            f"| {item.ious.mean():.3f} | {100 * (item.ious >= 0.5).mean():.0f} % |"
        )
    return "\n".join(lines)


def _spread(values: np.ndarray, unit: str) -> str:
    return f"{values.mean():+.0f} ± {values.std():.0f} {unit}"


def by_size(item: Losses) -> dict[str, Losses]:
    """Boxes only, by the longer side of their labels."""
    groups = {}
    for least, most in itertools.pairwise(SIZES):
        rows = (item.sizes >= least) & (item.sizes < most)
        columns = item.sizes, item.size_errors, item.center_errors, item.ious
        groups[f"{least:g} to {most:g} pixels"] = Losses(item.fates, 0, *(values[rows] for values in columns))
    return groups


def main(
    run: Annotated[Path, typer.Argument(help="Folder that `smotracker compare` or `evaluate` has written.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    tracker: Annotated[str, typer.Option(help="Name of a tracker; empty: all of the run.")] = "",
    by: Annotated[Literal["tracker", "sequence", "size"], typer.Option(help="What has a row.")] = "tracker",
    sequences: Annotated[str, typer.Option(help="Names separated by commas; empty: all.")] = "",
) -> None:
    """Print both tables as Markdown."""
    chosen = read_dataset(data, "auto", [name for name in sequences.split(",") if name] or None)
    folders = sorted(path for path in (run / "tracks").iterdir() if not tracker or path.name == tracker)
    if not folders:
        raise typer.BadParameter(f"{run}/tracks has no {tracker or 'tracker'}; finish that run first")
    rows: dict[str, Losses] = {}
    for folder in folders:
        missing = [sequence.name for sequence in chosen if not (folder / f"{sequence.name}.txt").is_file()]
        if missing:
            raise typer.BadParameter(f"{folder} has no tracks of {', '.join(missing)}; finish that run first")
        parts = {item.name: losses(item, read_tracks(folder / f"{item.name}.txt")) for item in chosen}
        if by == "sequence":
            rows |= {f"{folder.name}, {name}": part for name, part in parts.items()}
        elif by == "size":
            rows |= {f"{folder.name}, {name}": part for name, part in by_size(joined(list(parts.values()))).items()}
        else:
            rows[folder.name] = joined(list(parts.values()))
    texts = [boxes_table(rows)] if by == "size" else [fates_table(rows), boxes_table(rows)]
    console = Console()
    for text in texts:
        console.print(Markdown(text)) if console.is_terminal else typer.echo(text + "\n")


if __name__ == "__main__":
    typer.run(main)
