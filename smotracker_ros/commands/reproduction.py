"""The command `smotracker reproduce`: a published table, computed here, with the published figures beside ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markdown import Markdown

from smotracker_ros.commands.evaluation import run_comparison, warnings_once
from smotracker_ros.commands.options import Overrides, Workers
from smotracker_ros.core.overrides import parse_overrides
from smotracker_ros.evaluation.comparison import ComparisonError, Plan, tracker_names
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.detection_cache import default_cache
from smotracker_ros.io.pending import pending_path

_PUBLISHED = Path(__file__).with_name("published.yaml")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
@warnings_once()
def reproduce(
    table: Annotated[str, typer.Argument(help="doha, anti-uav or dut.")],
    data: Annotated[Path, typer.Option(help="Folder of the data set's test sequences.")],
    output: Annotated[Path, typer.Option(help="Folder for reproduction.md and all that `compare` writes.")],
    trackers: Annotated[str, typer.Option(help="Names, separated by commas, or all of the table.")] = "all",
    detector_weights: Annotated[str, typer.Option(help="YOLOv10-x trained for the data; empty: embedded.")] = "",
    masklet_weights: Annotated[str, typer.Option(help="SAM 2.1 checkpoint; empty: the embedded nano model.")] = "",
    grounding_dino_weights: Annotated[str, typer.Option(help="Folder or hub name; empty: the default.")] = "",
    prompt: Annotated[str, typer.Option(help="What Grounding DINO looks for.")] = "drone .",
    override: Overrides = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached detections.")] = None,
    workers: Workers = 1,
) -> None:
    """Compute a published table on its data set, and put the published figures beside ours."""
    published = read_published(table)
    rows = [*published["rows"], "topictrack"]
    names = rows if trackers.strip() == "all" else tracker_names(trackers)
    named = {
        "detector_weights": detector_weights,
        "masklet_weights": masklet_weights,
        "prompt": prompt,
    }
    overrides = {key: value for key, value in named.items() if value}
    overrides |= parse_overrides(override)
    plan = Plan(output, cache or default_cache(), overrides, grounding_dino_weights=grounding_dino_weights)
    run_comparison(plan, names, read_dataset(data, table), data, workers)
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    text = reproduction_table(metrics["trackers"], published)
    with pending_path(output / "reproduction.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    Console().print(Markdown(text))


def read_published(table: str) -> dict[str, Any]:
    """One published table: `title`, `columns`, and `rows` by tracker.

    Raises:
        ComparisonError: if there is no table of that name.
    """
    content = yaml.safe_load(_PUBLISHED.read_text(encoding="utf-8"))
    columns = content.pop("columns")
    if table not in content:
        raise ComparisonError(f"unknown table {table!r}; there are: {', '.join(content)}")
    return {**content[table], "columns": columns}


def reproduction_table(trackers: Mapping[str, Mapping[str, Any]], published: Mapping[str, Any]) -> str:
    """Markdown with ours and the published figure in each cell.

    Args:
        trackers: that part of metrics.json.
        published: of :func:`read_published`.
    """
    columns = published["columns"]
    lines = [f"### {published['title']}: ours / published", ""]
    lines += ["| tracker | " + " | ".join(columns) + " | note |", "|---|" + "---|" * (len(columns) + 1)]
    for name, row in trackers.items():
        theirs = published["rows"].get(name)
        cells = []
        for index, column in enumerate(columns):
            ours = "-" if row["combined"] is None else _figure(row["combined"][column])
            cells.append(f"{ours} / {'-' if theirs is None else _figure(theirs[index])}")
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {row['note']} |")
    return "\n".join(lines) + "\n"


def _figure(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.1f}"
