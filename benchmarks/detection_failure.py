"""What trackers do when the detector fails: the same clips with detections taken away in bursts.

    smotracker tune-peers --data DATA/train --output runs/peers.json
    python benchmarks/detection_failure.py --data DATA/composed --tuned runs/peers.json --output runs/failure

In a burst of 0.3 to 3 s a labelled target has no detection at all, faint targets more often than clear ones; see
:mod:`smotracker_ros.evaluation.detection_failure`. All trackers have to do without the same detections. The tables hold
each tracker's figures at each share, what is left of its own figure without failure, and this project's lead over the
best peer with intervals of 95 % (paired bootstrap over the sequences). Writes detection_failure.md,
detection_failure.png and results.json; tracks of finished shares are kept and not computed again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.markdown import Markdown

from smotracker_ros.commands.evaluation import track_all, warnings_once
from smotracker_ros.evaluation.bootstrap import interval, resampled_metrics
from smotracker_ros.evaluation.comparison import TUNED, Plan, tracker_names, with_tuned
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.detection_cache import LEAST_CONFIDENCE, cached_detections, default_cache
from smotracker_ros.evaluation.detection_failure import COUNTED_SCORE, DetectionFailure, count_on_targets
from smotracker_ros.evaluation.metrics import read_tracks, score_sequence
from smotracker_ros.evaluation.peer_thresholds import THRESHOLDS
from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.presets import PRESETS, build_detector, load_settings

# Similarity of the metrics, by where a tracker's row has them
VIEWS = {"combined": "iou", "combined_small_target": "small_target"}
TITLES = {"combined": "Boxes (IoU)", "combined_small_target": "Small-target view"}
LED = ("HOTA", "IDF1")
COLUMNS = (*LED, "IDSW", "IDFN")
RESAMPLES = 500

Cell = dict[str, Any]


def rows_to_compare(trackers: str, tuned: Path | None) -> tuple[list[str], dict[str, Any]]:
    """Rows of the tables, ours first, and the arguments of tuned peers, whose defaults have no row.

    Raises:
        typer.BadParameter: if none of the trackers is of this project, or all are.
    """
    best = json.loads(tuned.read_text(encoding="utf-8")) if tuned else {}
    names, arguments = with_tuned(sorted(tracker_names(trackers), key=lambda name: name not in PRESETS), best)
    names = [name for name in names if f"{name}{TUNED}" not in arguments]
    if names[0] not in PRESETS or all(name in PRESETS for name in names):
        raise typer.BadParameter(f"name a tracker of this project ({', '.join(PRESETS)}) and a peer at least")
    return names, arguments


def removed(sequences: Sequence[EvaluationSequence], failure: DetectionFailure, cache: Path) -> dict[str, Any]:
    """Shares that are really gone, of the counted detections and of those of any score, and all bursts."""
    settings = load_settings()
    detector = build_detector(settings)
    totals, bursts = np.zeros((2, 2)), {}
    for sequence in sequences:
        cached = cached_detections(sequence, detector, cache, settings.detector_image_size)
        found = failure.bursts(sequence, cached)
        bursts[sequence.name] = [[burst.shot, burst.id, burst.start, burst.stop] for burst in found]
        left = failure.thin(sequence, cached)
        for row, detections in enumerate((cached, left)):
            for column, least in enumerate((COUNTED_SCORE, LEAST_CONFIDENCE)):
                totals[row, column] += count_on_targets(sequence, detections, least)
    counted, any_score = 1 - totals[1] / np.maximum(totals[0], 1)
    return {"counted": float(counted), "any_score": float(any_score), "bursts": bursts}


def leads(
    results: Mapping[float, Cell], view: str, draws: Mapping[tuple[float, str], Mapping[str, np.ndarray]]
) -> list[Cell]:
    """What is left of ours, and its lead over the best peer, by share and metric.

    Args:
        results: of all shares, the first one without failure.
        view: a key of :data:`VIEWS`.
        draws: resampled metrics by share and row, of ours and the best peers.
    """
    whole = min(results)
    rows = []
    for share, cell in results.items():
        ours = next(iter(cell["trackers"]))
        for metric in LED:
            best = best_peer(cell, view, metric)
            own, other = cell["trackers"][ours][view][metric], cell["trackers"][best][view][metric]
            first, second = draws[share, ours][metric], draws[share, best][metric]
            start = results[whole]["trackers"][ours][view][metric]
            rows.append(
                {
                    "share": share,
                    "metric": metric,
                    "best_peer": best,
                    "difference": own - other,
                    "difference_interval": interval(first - second),
                    "lead": own / max(other, 1e-9),
                    "lead_interval": interval(first / np.maximum(second, 1e-9)),
                    "kept": own / max(start, 1e-9),
                    "kept_interval": interval(first / np.maximum(draws[whole, ours][metric], 1e-9)),
                }
            )
    return rows


def best_peer(cell: Cell, view: str, metric: str) -> str:
    """The peer with the best figure at a share; other presets of this project are no peers."""
    peers = {name: row[view] for name, row in cell["trackers"].items() if name not in PRESETS and row[view]}
    return max(peers, key=lambda name: peers[name][metric])


def resampled(
    results: Mapping[float, Cell], view: str, sequences: Sequence[EvaluationSequence], output: Path, seed: int
) -> dict[tuple[float, str], dict[str, np.ndarray]]:
    """Resampled metrics of ours and of the best peers, by share and row."""
    result = {}
    for share, cell in results.items():
        ours = next(iter(cell["trackers"]))
        for name in dict.fromkeys([ours, *(best_peer(cell, view, metric) for metric in LED)]):
            folder = folder_of(output, share) / "tracks" / name
            scores = [
                score_sequence(sequence, read_tracks(folder / f"{sequence.name}.txt"), VIEWS[view])
                for sequence in sequences
            ]
            result[share, name] = resampled_metrics(scores, LED, RESAMPLES, seed)
    return result


def folder_of(output: Path, share: float) -> Path:
    return output / f"share_{100 * share:g}"


def table(results: Mapping[float, Cell], lead: Mapping[str, list[Cell]], title: str, count: int) -> str:
    """All figures as Markdown."""
    whole = min(results)
    lines = [f"Detections gone, as asked: {', '.join(f'{100 * share:g} %' for share in results)}; really: "]
    lines[-1] += "; ".join(
        f"{100 * cell['removed']['counted']:.1f} % of the detections from {COUNTED_SCORE:g} on labelled targets, "
        f"{100 * cell['removed']['any_score']:.1f} % of any score"
        for cell in results.values()
    )
    lines[-1] += "."
    lines += ["", "![HOTA and IDF1 by the share of detections taken away](detection_failure.png)"]
    for view in VIEWS:
        lines += ["", f"### {title}, detections missing: {TITLES[view]}, {count} sequences", ""]
        lines += ["| gone | tracker | " + " | ".join(COLUMNS) + " | left of HOTA | left of IDF1 |"]
        lines += ["|---|---|" + "---|" * (len(COLUMNS) + 2)]
        for share, cell in results.items():
            for name, row in cell["trackers"].items():
                start = results[whole]["trackers"][name][view]
                metrics = row[view]
                if not metrics or not start:
                    lines.append(f"| {100 * share:g} % | {name} |" + " |" * (len(COLUMNS) + 2))
                    continue
                cells = [f"{metrics[c]}" if isinstance(metrics[c], int) else f"{metrics[c]:.1f}" for c in COLUMNS]
                cells += [f"{100 * metrics[c] / max(start[c], 1e-9):.0f} %" for c in LED]
                lines.append(f"| {100 * share:g} % | {name} | " + " | ".join(cells) + " |")
        lines += [
            "",
            "| gone | | best peer | ours less that | ours by that | left of ours |",
            "|---|---|---|---|---|---|",
        ]
        for row in lead[view]:
            difference = _with_interval(row["difference"], row["difference_interval"], "+.1f")
            factor = _with_interval(row["lead"], row["lead_interval"], ".2f")
            kept = _with_interval(100 * row["kept"], [100 * end for end in row["kept_interval"]], ".0f")
            cells = [f"{100 * row['share']:g} %", row["metric"], row["best_peer"], difference, factor, f"{kept} %"]
            lines.append("| " + " | ".join(cells) + " |")
    notes = [f"{name}: {row['note']}" for name, row in results[whole]["trackers"].items() if row["note"]]
    return "\n".join([*lines, "", "; ".join(notes) + "." if notes else "", ""])


def _with_interval(value: float, ends: Sequence[float], form: str) -> str:
    return f"{value:{form}} ({ends[0]:{form}} to {ends[1]:{form}})"


def plot(results: Mapping[float, Cell], path: Path) -> None:
    """Draw each tracker's curves."""
    figure = Figure(figsize=(12, 7))
    colors = [matplotlib.colormaps["tab20"](number) for number in range(20)]
    shares = [100 * share for share in results]
    axes = figure.subplots(len(LED), len(VIEWS), sharex=True, squeeze=False)
    names = list(next(iter(results.values()))["trackers"])
    for column, (view, title) in enumerate(TITLES.items()):
        for line, metric in enumerate(LED):
            axis = axes[line][column]
            for number, name in enumerate(names):
                rows = [cell["trackers"][name][view] for cell in results.values()]
                values = [row[metric] if row else np.nan for row in rows]
                width = 2.5 if name in PRESETS else 1.2
                axis.plot(shares, values, "o-", markersize=4, linewidth=width, label=name, color=colors[number % 20])
            axis.set(ylabel=f"{metric} (%)", title=title if line == 0 else "")
            # from 0: what is left of a tracker is a share of its height
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
        axes[-1][column].set_xlabel("detections taken away (%)")
    axes[0][-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    figure.tight_layout()
    figure.savefig(path, dpi=80)


@warnings_once()
def main(
    data: Annotated[Path, typer.Option(help="Data set.", exists=True)],
    output: Annotated[Path, typer.Option(help="Folder for tables, curves, results.json and the tracks.")],
    trackers: Annotated[
        str, typer.Option(help="Names, separated by commas; empty: y-smotracker and all peers that can be tuned.")
    ] = "",
    tuned: Annotated[Path | None, typer.Option(help="File of `smotracker tune-peers`; without: defaults.")] = None,
    sequences: Annotated[str, typer.Option(help="Names, separated by commas; empty: all.")] = "",
    step: Annotated[int, typer.Option(help="Of these, every so many-th.", min=1)] = 1,
    shares: Annotated[str, typer.Option(help="Shares of detections to take away, besides 0.")] = "0,0.2,0.4,0.6",
    seed: Annotated[int, typer.Option(help="Of the bursts and the resamples.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached detections.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 1,
) -> None:
    """Take detections away, track, and compare."""
    rows, arguments = rows_to_compare(trackers or ",".join(["y-smotracker", *THRESHOLDS]), tuned)
    chosen = read_dataset(data, sequences=[name for name in sequences.split(",") if name] or None)[::step]
    cache = cache or default_cache()
    results: dict[float, Cell] = {}
    for share in sorted({0.0, *(float(text) for text in shares.split(","))}):
        failure = DetectionFailure(share, seed)
        plan = Plan(folder_of(output, share), cache, {}, arguments, failure=failure if share else None)
        results[share] = {"trackers": track_all(plan, rows, chosen, workers)}
        results[share]["removed"] = removed(chosen, failure, cache)
    for cell in results.values():
        ours, *others = cell["trackers"].values()
        if not ours["combined"] or not any(other["combined"] for other in others):
            reasons = [f"{name}: {row['note']}" for name, row in cell["trackers"].items() if not row["combined"]]
            raise typer.BadParameter(f"nothing to compare; {'; '.join(reasons)}")
    lead = {view: leads(results, view, resampled(results, view, chosen, output, seed)) for view in VIEWS}
    title = data.resolve().name
    text = table(results, lead, title, len(chosen))
    (output / "detection_failure.md").write_text(text, encoding="utf-8")
    plot(results, output / "detection_failure.png")
    content = {
        "dataset": title,
        "sequences": [sequence.name for sequence in chosen],
        "seed": seed,
        "peers": arguments,
        "shares": {f"{share:g}": cell for share, cell in results.items()},
        "lead": lead,
    }
    (output / "results.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    Console().print(Markdown(text))


if __name__ == "__main__":
    typer.run(main)
