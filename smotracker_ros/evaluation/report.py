"""Results for people: a Markdown table, and one self-contained HTML page with plots and pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import pairwise_iou
from smotracker_ros.evaluation.metrics import TrackRows, read_tracks
from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.io.overlay import track_color
from smotracker_ros.io.pending import pending_path

TABLE_COLUMNS = (
    "HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1", "IDs", "IDSW", "IDFN", "IDFP", "Frag", "cpu_ms_per_frame",
    "detector_share",
)  # fmt: skip
_LOWER_IS_BETTER = {"IDSW", "IDFN", "IDFP", "Frag", "cpu_ms_per_frame", "detector_share"}
_VIEWS = (("combined", "Boxes (IoU)"), ("combined_small_target", "Small-target view"))
_TITLES = {"cpu_ms_per_frame": "CPU ms/frame", "detector_share": "detector on"}
# Trackers in the plots besides the first: of more, names cover each other
_MOST_LINES = 9
# Pictures of the worst sequences
_WORST = 4
# Frames in which trackers wait for proof of what is there from the start
_BIRTHS = 30
# Sequences with a timeline
_MOST_TIMELINES = 40
# A predicted box covers a true one from this IoU on, in timelines and pictures: labels are loose
_COVERS = 0.2
# On a small screen tables and plots keep their size, so that their captions can be read, and move sideways
_STYLE = (
    "body{font-family:sans-serif;max-width:1200px;margin:2em auto;padding:0 8px;overflow-wrap:anywhere}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;overflow-wrap:normal}"
    "td,th{border:1px solid #ccc;padding:2px 8px;text-align:right}td:first-child{text-align:left}"
    "td:first-child,th:first-child{position:sticky;left:0;background:#fff}"
    "b{color:#060}img{max-width:100%;height:auto}"
    "@media(max-width:700px){body{margin:1em auto}img{max-width:none}h1{font-size:1.5em}h2{font-size:1.25em}}"
)

Trackers = Mapping[str, Mapping[str, Any]]


def write_report(output: Path, metrics: Mapping[str, Any], sequences: Sequence[EvaluationSequence]) -> None:
    """Write table.md and report.html beside metrics.json.

    Args:
        output: folder with `tracks/TRACKER/SEQUENCE.txt`.
        metrics: content of metrics.json.
        sequences: those that were tracked.

    Raises:
        SinkError: if the folder cannot be written.
    """
    trackers: Trackers = metrics["trackers"]
    with pending_path(output / "table.md") as temporary:
        temporary.write_text(markdown_table(trackers, len(sequences), str(metrics["dataset"])))
    with pending_path(output / "report.html") as temporary:
        temporary.write_text(_page(output, metrics, sequences), encoding="utf-8")


def markdown_table(trackers: Trackers, count: int, dataset: str) -> str:
    """Both views as Markdown, the best value of each column in bold."""
    lines = []
    for view, title in _VIEWS:
        lines += [f"### {dataset}: {title}, {count} sequences", ""]
        lines += ["| tracker | " + " | ".join(_TITLES.get(c, c) for c in TABLE_COLUMNS) + " | note |"]
        lines += ["|---|" + "---|" * (len(TABLE_COLUMNS) + 1)]
        for name, cells in _rows(trackers, view):
            text = [f"**{cell}**" if best else cell for cell, best in cells]
            lines.append(f"| {name} | " + " | ".join(text) + f" | {trackers[name]['note']} |")
        true_ids = next((row[view]["GT_IDs"] for row in trackers.values() if row[view]), None)
        lines += ["", f"True number of ids: {true_ids}.", ""]
    return "\n".join([*lines, *_newcomer_lines(trackers)])


def _newcomer_lines(trackers: Trackers) -> list[str]:
    """What becomes of targets that enter late, as Markdown; nothing where there are none."""
    rows = {name: row["newcomers"] for name, row in trackers.items() if row.get("newcomers", {}).get("targets")}
    if not rows:
        return []
    lines = ["### Targets that enter late", "", "| tracker | found | covered |", "|---|---|---|"]
    for name, row in rows.items():
        share = 100 * row["covered"] / max(row["frames"], 1)
        lines.append(f"| {name} | {row['found']} of {row['targets']} | {share:.0f} % of their frames |")
    return [*lines, ""]


def _rows(trackers: Trackers, view: str) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Cells of each tracker with whether they are the best of their column."""
    values = {name: [_value(row, view, column) for column in TABLE_COLUMNS] for name, row in trackers.items()}
    best: list[float | None] = []
    for index, column in enumerate(TABLE_COLUMNS):
        known = [row[index] for row in values.values() if row[index] is not None]
        if column == "IDs":
            true_ids = next((row[view]["GT_IDs"] for row in trackers.values() if row[view]), 0)
            best.append(min((float(v) for v in known if v is not None), key=lambda v: abs(v - true_ids), default=None))
        else:
            choose = min if column in _LOWER_IS_BETTER else max
            best.append(choose((float(v) for v in known if v is not None), default=None))
    rows = []
    for name, row in values.items():
        cells = [(_format(v, c), v is not None and v == b) for v, c, b in zip(row, TABLE_COLUMNS, best, strict=True)]
        rows.append((name, cells))
    return rows


def _value(row: Mapping[str, Any], view: str, column: str) -> float | None:
    if not row[view]:
        return None
    value = row[view].get(column, row.get(column))
    return None if value is None else float(value)


def _format(value: float | None, column: str) -> str:
    if value is None:
        return ""
    if column == "detector_share":
        return f"{100 * value:.0f} %"
    return f"{value:.0f}" if column in ("IDs", "IDSW", "IDFN", "IDFP", "Frag") else f"{value:.1f}"


def _page(output: Path, metrics: Mapping[str, Any], sequences: Sequence[EvaluationSequence]) -> str:
    trackers: Trackers = metrics["trackers"]
    good = [name for name, row in trackers.items() if row["combined"]]
    heading = f"Trackers on {html.escape(str(metrics['dataset']))}"
    parts = [f"<h1>{heading}</h1>"]
    for view, title in _VIEWS:
        parts += [f"<h2>{title}</h2>", _html_table(trackers, view)]
    if good:
        first = good[0]
        others = sorted(good[1:], key=lambda name: -float(trackers[name]["combined"]["HOTA"]))
        best = [first, *others[:_MOST_LINES]]
        title = "HOTA over localisation thresholds" + (", the best" if len(best) < len(good) else "")
        parts += [f"<h2>{title}</h2>", _image(_alpha_plot(trackers, best), title)]
        title = "Speed against accuracy"
        parts += [f"<h2>{title}</h2>", _image(_speed_plot(trackers, best), title)]
        ranked = sorted(
            (sequence for sequence in sequences if sequence.name in trackers[first]["sequences"]),
            key=lambda sequence: float(trackers[first]["sequences"][sequence.name]["HOTA"]),
        )
        parts.append(f"<h2>Worst sequences of {html.escape(first)}</h2>")
        for sequence in ranked[:_WORST]:
            tracks = read_tracks(output / "tracks" / first / f"{sequence.name}.txt")
            frame, image = _worst_frame(sequence, tracks)
            hota = trackers[first]["sequences"][sequence.name]["HOTA"]
            title = f"{html.escape(sequence.name)} (HOTA {hota:.1f}), frame {frame}: truth white"
            parts += [f"<h3>{title}</h3>", _picture(image, title)]
        parts.append("<h2>Ids over time</h2><p>A row per true object; colours are predicted ids, grey: none.</p>")
        for sequence in ranked[:_MOST_TIMELINES]:
            title = f"Ids over time: {html.escape(sequence.name)}"
            parts.append(_image(_timelines(output, sequence, [first, *others[:3]]), title))
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
    body = "\n".join(parts)
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}<title>{heading}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _html_table(trackers: Trackers, view: str) -> str:
    head = "".join(f"<th>{_TITLES.get(column, column)}</th>" for column in TABLE_COLUMNS)
    rows = []
    for name, cells in _rows(trackers, view):
        text = "".join(f"<td>{f'<b>{cell}</b>' if best else cell}</td>" for cell, best in cells)
        note = html.escape(str(trackers[name]["note"]))
        rows.append(f"<tr><td>{html.escape(name)}</td>{text}<td style='text-align:left'>{note}</td></tr>")
    table = f"<table><tr><th>tracker</th>{head}<th>note</th></tr>{''.join(rows)}</table>"
    return f"<div class='wide'>{table}</div>"


def _alpha_plot(trackers: Trackers, names: Sequence[str]) -> Figure:
    figure = Figure(figsize=(12.5, 4))
    axes = figure.subplots(1, 2, sharey=True)
    alphas = np.arange(0.05, 0.99, 0.05)
    colors = [matplotlib.colormaps["tab20"](number) for number in range(20)]
    for axis, (view, title) in zip(axes, _VIEWS, strict=True):
        for number, name in enumerate(names):
            values = trackers[name][view.replace("combined", "hota_over_alpha")]
            width = 2.5 if name == names[0] else 1.2
            axis.plot(alphas, values, label=name, linewidth=width, color=colors[number % len(colors)])
        axis.set(xlabel="localisation threshold", title=title)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("HOTA (%)")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def _speed_plot(trackers: Trackers, names: Sequence[str]) -> Figure:
    figure = Figure(figsize=(7, 4))
    axis = figure.subplots()
    for name in names:
        x, y = trackers[name]["cpu_ms_per_frame"], trackers[name]["combined"]["HOTA"]
        axis.scatter([x], [y], s=60)
        axis.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axis.set(xlabel="CPU milliseconds per frame, detector included", ylabel="HOTA (%)", xscale="log")
    # on a logarithmic axis of less than a decade the usual labels run into each other
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.margins(x=0.2)
    axis.grid(alpha=0.3)
    return figure


def _timelines(output: Path, sequence: EvaluationSequence, names: Sequence[str]) -> Figure:
    """Which predicted id covers each true object in each frame, one panel per tracker."""
    truth = sequence.truth
    objects = sorted({(int(s), int(i)) for s, i in zip(sequence.shot_of(truth.frames), truth.ids, strict=True)})
    height = 0.5 + 0.16 * max(len(objects), 1)
    figure = Figure(figsize=(3.2 * len(names), height + 0.6))
    axes = figure.subplots(1, len(names), squeeze=False, sharey=True)
    shots = sequence.shot_of(truth.frames)
    for axis, name in zip(axes[0], names, strict=True):
        tracks = read_tracks(output / "tracks" / name / f"{sequence.name}.txt")
        canvas = np.full((max(len(objects), 1), sequence.length, 3), 255, dtype=np.uint8)
        for frame in range(sequence.length):
            rows = np.flatnonzero((truth.frames == frame) & ~truth.ignored)
            columns = np.flatnonzero(tracks.frames == frame)
            iou = pairwise_iou(truth.boxes[rows], tracks.boxes[columns]) if len(rows) and len(columns) else None
            for number, row in enumerate(rows):
                place = objects.index((int(shots[row]), int(truth.ids[row])))
                covered = iou is not None and iou[number].max() >= _COVERS
                identity = int(tracks.ids[columns[iou[number].argmax()]]) if covered and iou is not None else None
                canvas[place, frame] = (215, 215, 215) if identity is None else track_color(identity)
        axis.imshow(canvas, aspect="auto", interpolation="nearest")
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("frame", fontsize=8)
    axes[0][0].set_yticks(range(len(objects)), [str(identity) for _, identity in objects], fontsize=6)
    axes[0][0].set_ylabel("true object", fontsize=8)
    figure.suptitle(sequence.name, fontsize=10)
    return figure


def _worst_frame(sequence: EvaluationSequence, tracks: TrackRows) -> tuple[int, UInt8Image]:
    """Number and picture of the frame with most misses and false tracks, after those in which all are born."""
    truth = sequence.truth
    errors = np.zeros(sequence.length)
    for frame in range(sequence.length):
        rows = np.flatnonzero((truth.frames == frame) & ~truth.ignored)
        columns = np.flatnonzero(tracks.frames == frame)
        matched = 0
        if len(rows) and len(columns):
            iou = pairwise_iou(truth.boxes[rows], tracks.boxes[columns])
            matched = min(int((iou.max(axis=1) >= _COVERS).sum()), int((iou.max(axis=0) >= _COVERS).sum()))
        errors[frame] = len(rows) + len(columns) - 2 * matched
    # the worst of the frames that there are: some may be missing
    begun = min(_BIRTHS, sequence.length - 1)
    shown = max(sequence.frames(), key=lambda frame: (frame.index >= begun, errors[frame.index]))
    worst, image = shown.index, shown.image
    scale = max(1, round(900 / image.shape[1]))
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for row in np.flatnonzero(truth.frames == worst):
        _draw(large, truth.boxes[row] * scale, (255, 255, 255), str(int(truth.ids[row])), below=True)
    for column in np.flatnonzero(tracks.frames == worst):
        identity = int(tracks.ids[column])
        _draw(large, tracks.boxes[column] * scale, track_color(identity), str(identity), below=False)
    return worst, np.asarray(large, dtype=np.uint8)


def _draw(image: np.ndarray, box: np.ndarray, color: tuple[int, int, int], text: str, below: bool) -> None:
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), color, 1)
    place = (x1, y2 + 13) if below else (x1, y1 - 4)
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)


def _image(figure: Figure, title: str) -> str:
    buffer = io.BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=90)
    return _embedded(buffer.getvalue(), "png", title)


def _picture(image: UInt8Image, title: str) -> str:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return _embedded(data.tobytes(), "jpeg", title)


def _embedded(data: bytes, kind: str, title: str) -> str:
    """A picture within the page; the title is escaped already."""
    text = base64.b64encode(data).decode()
    return f"<div class='wide'><img alt='{title}' src='data:image/{kind};base64,{text}'></div>"
