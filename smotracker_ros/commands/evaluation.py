"""The commands `smotracker evaluate` and `smotracker compare`."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import joblib
import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from smotracker_ros.commands.options import Json, Overrides, Workers
from smotracker_ros.core.overrides import parse_overrides
from smotracker_ros.evaluation.checks import remarks
from smotracker_ros.evaluation.comparison import (
    ComparisonError,
    Plan,
    Run,
    prepare_detections,
    run_tracker,
    score_runs,
    tracker_names,
    with_tuned,
)
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.detection_cache import default_cache
from smotracker_ros.evaluation.peer_thresholds import THRESHOLDS
from smotracker_ros.evaluation.report import write_report
from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.io.pending import pending_path

Data = Annotated[Path, typer.Option(help="Folder of the data set.")]
Output = Annotated[Path, typer.Option(help="Folder for tracks, metrics.json, table.md and report.html.")]
Layout = Annotated[str, typer.Option(help="auto, clips, motchallenge, doha, anti-uav, anti-uav410 or dut.")]
Names = Annotated[str, typer.Option(help="Names of sequences, separated by commas; empty: all.")]
Cache = Annotated[Path | None, typer.Option(help="Folder of cached detections; default: the user's cache folder.")]
Dask = Annotated[
    str, typer.Option(help="Address of a Dask scheduler whose workers compute in place of processes on this machine.")
]
GroundingDino = Annotated[
    str,
    typer.Option(
        "--grounding-dino-weights",
        help="Folder or hub name for presets with Grounding DINO, in place of `detector_weights`; empty: the default.",
    ),
]
ClassAware = Annotated[bool, typer.Option(help="Boxes of different classes never match.")]

_logger = logging.getLogger(__name__)

# As much as a terminal of 80 columns holds; table.md has all
_CONSOLE_COLUMNS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDs", "IDSW", "IDFN")

evaluate_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
compare_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
tune_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@contextlib.contextmanager
def warnings_once() -> Iterator[None]:
    """Warnings on stderr, each text once: every tracker reads the same frames."""
    seen: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        known, text = len(seen), record.getMessage()
        seen.add(text)
        return len(seen) > known

    handler = RichHandler(logging.WARNING, console=Console(stderr=True), show_time=False, show_path=False)
    handler.addFilter(is_new)
    logger = logging.getLogger("smotracker_ros")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@evaluate_app.command()
@warnings_once()
def evaluate(
    data: Data,
    output: Output,
    tracker: Annotated[str, typer.Option(help="A preset or a peer.")] = "y-smotracker",
    layout: Layout = "auto",
    sequences: Names = "",
    cache: Cache = None,
    override: Overrides = None,
    workers: Workers = 1,
    dask: Dask = "",
    class_aware: ClassAware = False,
    grounding_dino: GroundingDino = "",
    as_json: Json = False,
) -> None:
    """Track a data set with one tracker and score it."""
    plan = Plan(output, cache or default_cache(), parse_overrides(override), {}, class_aware, grounding_dino)
    chosen = read_dataset(data, layout, _split(sequences))
    with _engine(dask):
        run_comparison(plan, tracker_names(tracker), chosen, data, -1 if dask else workers, as_json)


@compare_app.command()
@warnings_once()
def compare(
    data: Data,
    output: Output,
    trackers: Annotated[str, typer.Option(help="Names, separated by commas, or all.")] = "all",
    layout: Layout = "auto",
    sequences: Names = "",
    cache: Cache = None,
    override: Overrides = None,
    tuned: Annotated[
        Path | None, typer.Option(help="File of `smotracker tune-peers`: a second row for each peer.")
    ] = None,
    workers: Workers = 1,
    dask: Dask = "",
    class_aware: ClassAware = False,
    grounding_dino: GroundingDino = "",
    as_json: Json = False,
) -> None:
    """Track a data set with several trackers on the same detections, and compare them in tables and a report."""
    names, arguments = with_tuned(tracker_names(trackers), _read_tuned(tuned) if tuned else {})
    plan = Plan(output, cache or default_cache(), parse_overrides(override), arguments, class_aware, grounding_dino)
    chosen = read_dataset(data, layout, _split(sequences))
    with _engine(dask):
        run_comparison(plan, names, chosen, data, -1 if dask else workers, as_json)


@tune_app.command()
@warnings_once()
def tune_peers(
    data: Data,
    output: Annotated[Path, typer.Option(help="JSON file for the best thresholds; runs are kept beside it.")],
    peers: Annotated[str, typer.Option(help="Names, separated by commas; empty: all with thresholds.")] = "",
    layout: Layout = "auto",
    sequences: Names = "",
    cache: Cache = None,
    workers: Workers = 1,
) -> None:
    """Sweep each peer's two most sensitive thresholds on training sequences, and keep the best by HOTA."""
    chosen = read_dataset(data, layout, _split(sequences))
    names = tracker_names(peers) if peers else list(THRESHOLDS)
    best: dict[str, dict[str, float]] = {}
    for name in names:
        thresholds = THRESHOLDS.get(name)
        if thresholds is None:
            raise ComparisonError(f"{name} has no thresholds to tune")
        results: list[tuple[float, dict[str, float]]] = []
        for values in itertools.product(*thresholds.values()):
            arguments = dict(zip(thresholds, values, strict=True))
            folder = output.parent / f"{output.stem}_runs" / "_".join([name, *(f"{value:g}" for value in values)])
            plan = Plan(folder, cache or default_cache(), {}, {name: arguments})
            metrics = track_all(plan, [name], chosen, workers)[name]["combined"]
            results.append((metrics["HOTA"] if metrics else -1.0, arguments))
        best[name] = max(results, key=lambda item: item[0])[1]
        Console().print(name, "best", best[name], [(round(score, 2), values) for score, values in results])
        with pending_path(output) as temporary:
            temporary.write_text(json.dumps(best, indent=1))


@contextlib.contextmanager
def _engine(address: str) -> Iterator[None]:
    """Let joblib hand its jobs to a Dask cluster; without an address, to processes of this machine."""
    if not address:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ComparisonError(f"--dask needs the package distributed ({error}); pip install distributed") from error
    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise ComparisonError(f"no Dask scheduler answers at {address} ({error}); start `dask scheduler`") from error
    with client, joblib.parallel_config(backend="dask"):
        yield


def track_all(
    plan: Plan, names: Sequence[str], sequences: Sequence[EvaluationSequence], workers: int
) -> dict[str, Any]:
    """Detect, track and score; finished sequences are not computed again.

    Returns:
        The trackers' part of metrics.json.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        told = {sequence.name: list(remarks(sequence)) for sequence in sequences}
        for sequence_name, texts in told.items():
            for text in texts:
                _logger.warning("%s: %s", sequence_name, text)
        total = sum(sequence.length for sequence in sequences)
        task = bars.add_task("detections (frames)", total=total)
        finished: dict[str, int] = {}

        def report(name: str, done: int, length: int) -> None:
            finished[name] = done
            bars.update(task, completed=sum(finished.values()))

        if workers == 1:
            prepare_detections(plan, sequences, report)
        else:
            parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
            passes = parallel(joblib.delayed(_prepare)(plan, sequence) for sequence in sequences)
            for sequence, _ in zip(sequences, passes, strict=True):
                report(sequence.name, sequence.length, sequence.length)
        # sequence by sequence: trackers share what they compute of its boxes
        jobs = [(name, sequence) for sequence in sequences for name in names]
        task = bars.add_task("tracks (sequences)", total=len(jobs))
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
        results = parallel(joblib.delayed(run_tracker)(plan, name, sequence) for name, sequence in jobs)
        runs: dict[tuple[str, str], Run] = {}
        for (name, sequence), run in zip(jobs, results, strict=True):
            runs[name, sequence.name] = run
            bars.advance(task)
            if run.frames < sequence.length and not run.error and not told[sequence.name]:
                told[sequence.name].append(f"{run.frames} of its {sequence.length} frames can be read")
                _logger.warning(
                    "%s: %s; the truth in the others counts as missed", sequence.name, told[sequence.name][0]
                )
    return score_runs(plan, names, sequences, runs)


def _prepare(plan: Plan, sequence: EvaluationSequence) -> None:
    """Detections of one sequence, in a worker, which has no progress bar."""
    prepare_detections(plan, [sequence], lambda name, done, length: None)


def run_comparison(
    plan: Plan,
    names: Sequence[str],
    sequences: Sequence[EvaluationSequence],
    data: Path,
    workers: int,
    as_json: bool = False,
) -> None:
    """Everything that `compare` does: tracks, metrics.json, table.md and report.html.

    Args:
        plan: what all runs share.
        names: of the trackers.
        sequences: to track.
        data: folder of the data set.
        workers: processes.
        as_json: print what metrics.json holds in place of tables.
    """
    metrics: dict[str, Any] = {
        "trackers": track_all(plan, names, sequences, workers),
        "dataset": data.resolve().name,
        "settings": {
            "overrides": dict(plan.overrides),
            "grounding_dino_weights": plan.grounding_dino_weights,
            "peers": dict(plan.arguments),
        },
    }
    with pending_path(plan.output / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=1))
    write_report(plan.output, metrics, list(sequences))
    if as_json:
        typer.echo(json.dumps(metrics, indent=1))
        return
    for view in ("combined", "combined_small_target"):
        Console().print(_table(metrics["trackers"], view))


def _table(trackers: dict[str, Any], view: str) -> Table:
    table = Table(title="IoU" if view == "combined" else "small-target view")
    table.add_column("tracker")
    for column in _CONSOLE_COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in trackers.items():
        metrics = row[view]
        table.add_row(name, *([_cell(metrics[column]) for column in _CONSOLE_COLUMNS] if metrics else ["-"]))
    reasons = [f"{name}: {row['note']}" for name, row in trackers.items() if not row[view]]
    table.caption = escape("\n".join(reasons)) or None  # extras in brackets are no markup
    return table


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value}" if isinstance(value, int) else f"{value:.1f}"


def _read_tuned(path: Path) -> dict[str, dict[str, Any]]:
    try:
        return {str(name): dict(values) for name, values in json.loads(path.read_text(encoding="utf-8-sig")).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ComparisonError(f"{path} is no file of `smotracker tune-peers` ({error}); run that command") from error


def _split(text: str) -> list[str] | None:
    return [name.strip() for name in text.split(",") if name.strip()] or None
