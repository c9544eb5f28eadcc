"""`smotracker benchmark`: ratios of cost, measured side by side, kept in a folder and never measured twice."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from smotracker_ros.evaluation.benchmarks.measuring import (
    BenchmarkError,
    PartUnavailableError,
    Result,
    Say,
    describe_machine,
    use_threads,
)
from smotracker_ros.io.pending import pending_path

PARTS = {
    "stock": ("windows_vs_stock", "whole_frame_vs_stock"),
    "pipeline": ("pipeline_vs_yolo_bytetrack",),
    "share": ("non_network_share",),
    "growth": ("growth",),
    "ros": ("ros",),
    "start": ("start",),
}
"""Parts in the order in which they run, and the keys of `benchmark.json` that each gives."""

app = typer.Typer(add_completion=False, help="Measure speed.")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a part is measured: its settings, and the function that takes them."""

    settings: Any
    run: Callable[[Any, Say], Result]

    def described(self, threads: int) -> dict[str, Any]:
        """The settings as they are kept beside the figures, in the types of JSON."""
        described = {**dataclasses.asdict(self.settings), "threads": threads}
        return dict(json.loads(json.dumps(described)))


def make_plan(part: str, quick: bool, threads: int, frames: int, repetitions: int) -> Plan:
    """The plan of a part.

    Args:
        part: one of `PARTS`.
        quick: small images and few frames; the figures say little, but show that everything runs.
        threads: CPU threads of each side.
        frames: length of the long stream of `growth`; 0: the default.
        repetitions: timed frames per side and number of objects of `stock`; 0: the default.
    """
    changes: dict[str, Any]
    small: dict[str, Any]
    if part == "stock":
        from smotracker_ros.evaluation.benchmarks import stock

        changes = {"image_size": 256, "window_size": 96, "width": 640, "height": 360, "repetitions": 2} if quick else {}
        changes |= {"repetitions": repetitions} if repetitions else {}
        return Plan(stock.StockSettings(**changes), stock.run)
    if part == "pipeline":
        from smotracker_ros.evaluation.benchmarks import pipeline

        changes = {"width": 640, "height": 360, "scenes": 1, "blocks": 2} if quick else {}
        return Plan(pipeline.PipelineSettings(**changes), pipeline.run)
    if part == "share":
        from smotracker_ros.evaluation.benchmarks import breakdown

        small = {"targets": (1, 3), "width": 640, "height": 360, "scenes": 1, "frames": 12, "warm_up": 3}
        changes = small if quick else {}
        return Plan(breakdown.BreakdownSettings(**changes), breakdown.run)
    if part == "growth":
        from smotracker_ros.evaluation.benchmarks import growth

        small = {"frames": 300, "scene_frames": 15, "short_frames": 12, "targets": (1, 4), "sizes": ((320, 256),)}
        changes = small if quick else {}
        changes |= {"frames": frames} if frames else {}
        return Plan(growth.GrowthSettings(**changes), growth.run)
    if part == "start":
        from smotracker_ros.evaluation.benchmarks import start

        return Plan(start.StartSettings(repetitions=1 if quick else 5, threads=threads), start.run)
    from smotracker_ros.evaluation.benchmarks import node

    changes = {"frames": 30, "live_frames": 30, "single_frames": 12, "width": 640, "height": 360} if quick else {}
    return Plan(node.NodeSettings(threads=threads, **changes), node.run)


@app.command()
def benchmark(
    output: Annotated[Path, typer.Option(help="Folder for benchmark.json, benchmark.md and benchmark.png.")],
    parts: Annotated[str, typer.Option(help=f"What to measure, separated by commas: {', '.join(PARTS)}.")] = "all",
    quick: Annotated[bool, typer.Option("--quick", help="Small images, few frames: shows that it runs.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what is finished.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each side.")] = 1,
    frames: Annotated[int, typer.Option(min=0, help="Length of the long stream of `growth`; 0: 10,000.")] = 0,
    repetitions: Annotated[int, typer.Option(min=0, help="Timed frames of each side of `stock`; 0: 3.")] = 0,
) -> None:
    """Measure the speed against other programs, side by side on this machine.

    Finished parts stay in the output folder and are not measured again, unless the settings change.
    """
    chosen = list(PARTS) if parts == "all" else [part.strip() for part in parts.split(",")]
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        raise BenchmarkError(f"there is no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    # libraries read this when they are loaded: threads that wait should not burn the time that is measured
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    output.mkdir(parents=True, exist_ok=True)
    path = output / "benchmark.json"
    machine = describe_machine(threads)
    state = read_figures(path, machine)
    use_threads(threads)
    for part in chosen:
        plan = make_plan(part, quick, threads, frames, repetitions)
        described = plan.described(threads)
        kept = state["spreads"].get(part)
        if kept is not None and kept.get("settings") == described and not fresh:
            _tell(f"{part}: finished before, kept (--fresh measures it again)")
            continue
        started, cpu = time.perf_counter(), _cpu_seconds()
        _forget(state, part)
        try:
            result = plan.run(plan.settings, partial(_tell_part, part))
        except PartUnavailableError as error:
            _tell(f"{part}: left out: {error}")
            state.update({key: {"left_out": str(error)} for key in PARTS[part]})
        else:
            seconds = {"wall": round(time.perf_counter() - started, 1), "cpu": round(_cpu_seconds() - cpu, 1)}
            state.update(result.medians)
            state["spreads"][part] = {"settings": described, "seconds": seconds, **result.details}
        state["machine"] = machine
        write_figures(path, state)
    from smotracker_ros.evaluation.benchmarks.report import write_report

    write_figures(path, state)
    written = write_report(output, state)
    typer.echo(f"see {', '.join(str(item) for item in [path, *written])}")


def read_figures(path: Path, machine: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of an earlier run, or none.

    Raises:
        BenchmarkError: if the file is none of ours, or comes from another machine.
    """
    if not path.exists():
        return {"spreads": {}, "machine": dict(machine)}
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        before = state["machine"]["cpu"]
        state["spreads"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchmarkError(
            f"{path} is not a result of this command ({type(error).__name__}); name another folder or remove the file"
        ) from error
    if before != machine["cpu"]:
        raise BenchmarkError(
            f"{path} was measured on another machine ({before}, this is {machine['cpu']}); name another folder"
        )
    return dict(state)


def write_figures(path: Path, state: Mapping[str, Any]) -> None:
    """Write the figures in one step, so that an interruption leaves the last complete file."""
    with pending_path(path) as pending:
        pending.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")


def _cpu_seconds() -> float:
    """CPU time so far of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _forget(state: dict[str, Any], part: str) -> None:
    """Remove a part's old figures."""
    state["spreads"].pop(part, None)
    for key in PARTS[part]:
        state.pop(key, None)


def _tell_part(part: str, text: str) -> None:
    _tell(f"{part}: {text}")


def _tell(text: str) -> None:
    typer.echo(text, err=True)
