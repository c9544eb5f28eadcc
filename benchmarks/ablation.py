"""What each part of the tracker does for it: the same sequences with single parts switched off or changed.

    python benchmarks/ablation.py --data DIR --output runs/ablation

Writes ablation.md: figures of all variants, and their differences to the tracker as shipped with 95 % intervals of a
paired bootstrap over the sequences. A term of the evidence is left out by a new fit of all others to the samples that
the shipped weights were fitted to. Tracks of finished variants are kept under the variant's name and not computed
again, unless its settings, the part that it replaces or the tracker have changed.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import CodeType, FunctionType
from typing import Annotated, Any

import numpy as np
import typer

from smotracker_ros.commands.evaluation import track_all
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.evaluation.bootstrap import interval, resampled_metrics
from smotracker_ros.evaluation.comparison import ComparisonError, Plan
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.detection_cache import default_cache
from smotracker_ros.evaluation.metrics import SIMILARITIES, combine, read_tracks, score_sequence
from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.tracking import costs, detector_pass, occlusion
from smotracker_ros.tracking.association import Association, associate
from smotracker_ros.tracking.background import Background
from smotracker_ros.tracking.camera_motion import STILL, CameraMotion
from smotracker_ros.tracking.clutter import ClutterMap
from smotracker_ros.tracking.costs import AFFINITY, Affinity, Side
from smotracker_ros.tracking.detector_schedule import DetectorSchedule
from smotracker_ros.tracking.existence import TERMS, ExistenceModel
from smotracker_ros.tracking.occlusion import Occlusions
from smotracker_ros.tracking.target import Target
from smotracker_ros.training.existence import fit, read_samples

# About the cost of a pair of which nothing is known
_TYPICAL_COST = 0.4
# As it is before a variant takes its place
_load_shipped = ExistenceModel.load
_SAMPLES = sorted((Path(__file__).resolve().parents[1] / "docs" / "training").glob("existence_samples_*.npz"))
_RESAMPLES = 500
TRACKER = "y-smotracker"
SHIPPED = "as shipped"
LED = ("HOTA", "IDF1")
COLUMNS = ("HOTA", "DetA", "AssA", "IDF1", "IDs", "IDSW", "IDFN", "IDFP")
SETTINGS: dict[str, dict[str, Any]] = {
    SHIPPED: {},
    "SAM2 on every frame for every target": {"masklet_seconds": 0.0},
    "SAM2 every 0.13 s for calm targets": {"masklet_seconds": 0.133},
    "memory: fifo": {"memory_policy": "fifo"},
    "memory: distractor_aware": {"memory_policy": "distractor_aware"},
    "clips of 0.2 s": {"clip_seconds": 0.2},
    "clips of 0.8 s": {"clip_seconds": 0.8},
    "no early detector passes": {"adaptive_clips": False},
    "detector on at most 5 % of the frames": {"max_detector_share": 0.05},
    "confirmed at once": {"confirm_probability": 0.0},
    "confirmed from a probability of 0.8, lost below 0.4": {"confirm_probability": 0.8},
    "confirmed from a probability of 0.3, lost below 0.15": {"confirm_probability": 0.3},
    "reported boxes tight round the mask": {"box_convention": "mask"},
}


@contextmanager
def _without(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Replace a part for a while."""
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _associate_without(left_out: str) -> Callable[..., Association]:
    """An association that looks at one cost less; what that says on the average goes into the bias."""
    weights = {name: weight for name, weight in AFFINITY.weights.items() if name != left_out}
    without = Affinity(AFFINITY.bias + _TYPICAL_COST * AFFINITY.weights[left_out], weights, AFFINITY.lost)

    def run(masklets: Side, detections: Side, affinity: Affinity = without, lost: bool = False) -> Association:
        return associate(masklets, detections, affinity, lost)

    return run


@functools.cache
def _existence_without(left_out: str) -> ExistenceModel:
    """Weights of the terms that are shipped but one, fitted anew."""
    samples, shipped = read_samples(_SAMPLES), _load_shipped(masklets="sam2-nano")
    fitted = [
        fit(
            samples.select(rows),
            [name for name, weight in zip(TERMS, used, strict=True) if weight and name != left_out],
        )
        for rows, used in ((~samples.confirmed, shipped.tentative), (samples.confirmed, shipped.confirmed))
    ]
    return ExistenceModel(*fitted)


def _load_without(left_out: str) -> Callable[..., ExistenceModel]:
    """In place of :meth:`ExistenceModel.load`."""

    def load(path: Path | None = None, masklets: str = "") -> ExistenceModel:
        return _existence_without(left_out)

    return load


# Parts that no setting switches off
PARTS: dict[str, tuple[Any, str, Any]] = {
    "no camera motion": (CameraMotion, "update", lambda self, image, seconds, known: STILL),
    "crossings left to the masks": (Occlusions, "settle", lambda self, targets, detections, seen: {}),
    "what is not CONFIRMED may have another's mask": (
        occlusion,
        "without_claim",
        lambda targets, same: set(),
    ),
    "masks taken however poorly rated": (Target, "owns", lambda self, box, predicted_iou: self.agrees(box) > 0),
    "distances from what is out of sight count in full": (costs, "_JERKS", 1.0),
    "places of clutter are forgotten": (ClutterMap, "add", lambda self, box: None),
    "what is burnt in may start targets": (
        Background,
        "burnt_in",
        lambda self, boxes: np.zeros(len(as_boxes(boxes)), dtype=np.bool_),
    ),
    "two masklets on one object stay": (Occlusions, "merge", lambda self, targets, seen: None),
    "lost targets fly on beyond the border": (Target, "wait_inside", lambda self, width, height: None),
    "nobody has waited too long": (Target, "has_waited", lambda self, settings: False),
    "detector never asked about doubtful targets": (
        DetectorSchedule,
        "doubtful",
        lambda self, targets, settings, asked: [],
    ),
    "boxes round several targets taken for one": (
        detector_pass,
        "show_several",
        lambda detections, targets: np.zeros(len(detections), dtype=np.bool_),
    ),
    **{
        f"association without {name}": (detector_pass, "associate", _associate_without(name))
        for name in AFFINITY.weights
    },
    **{f"existence without {name}": (ExistenceModel, "load", _load_without(name)) for name in TERMS if name != "bias"},
}


def main(
    data: Annotated[Path, typer.Option(help="Data set.")],
    output: Annotated[Path, typer.Option(help="Folder for ablation.md and the tracks.")],
    sequences: Annotated[str, typer.Option(help="Names, separated by commas; empty: all.")] = "",
    only: Annotated[str, typer.Option(help="Beginnings of variants' names, separated by commas; empty: all.")] = "",
) -> None:
    """Compare variants of the tracker."""
    chosen = read_dataset(data, sequences=[name for name in sequences.split(",") if name] or None)
    begins = tuple(only.split(","))
    names = [name for name in [*SETTINGS, *PARTS] if name.startswith(begins) or name == SHIPPED]
    if len(names) == 1 and only:
        raise typer.BadParameter(f"no variant begins with {only!r}; there are: {', '.join([*SETTINGS, *PARTS])}")
    rows: dict[str, Any] = {}
    draws: dict[str, dict[str, Any]] = {}
    for name in names:
        plan = plan_for(name, output)
        with _without(*PARTS[name]) if name in PARTS else nullcontext():
            rows[name] = track_all(plan, [TRACKER], chosen, 1)[TRACKER]
        if rows[name]["combined"] is None:
            raise ComparisonError(f"{name}: {rows[name]['note']}")
        draws[name] = _drawn(plan, chosen)
        text = (
            table(rows, data.resolve().name, len(chosen)) + "\n" + differences(draws, data.resolve().name, len(chosen))
        )
        (output / "ablation.md").write_text(text, encoding="utf-8")
    print((output / "ablation.md").read_text(encoding="utf-8"))


def _drawn(plan: Plan, sequences: Sequence[EvaluationSequence]) -> dict[str, Any]:
    """Metrics of a finished variant by view: as they are, and resampled."""
    found = {}
    for view in SIMILARITIES:
        tracks = [read_tracks(plan.output / "tracks" / TRACKER / f"{sequence.name}.txt") for sequence in sequences]
        scores = [score_sequence(sequence, rows, view) for sequence, rows in zip(sequences, tracks, strict=True)]
        found[view] = combine(scores).metrics, resampled_metrics(scores, LED, _RESAMPLES)
    return found


def differences(draws: Mapping[str, Mapping[str, Any]], dataset: str, count: int) -> str:
    """What each variant has more than the tracker as shipped, with intervals, as Markdown."""
    columns = [(view, metric) for view in SIMILARITIES for metric in LED]
    lines = [f"### {dataset}: variant less as shipped, {count} sequences", ""]
    lines += ["| | " + " | ".join(f"{metric}, {view.replace('_', '-')}" for view, metric in columns) + " |"]
    lines += ["|---|" + "---|" * len(columns)]
    for name, found in draws.items():
        if name == SHIPPED:
            continue
        cells = []
        for view, metric in columns:
            (own, drawn), (base, drawn_base) = found[view], draws[SHIPPED][view]
            low, high = interval(drawn[metric] - drawn_base[metric])
            cells.append(f"{own[metric] - base[metric]:+.1f} ({low:+.1f} to {high:+.1f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def plan_for(name: str, output: Path) -> Plan:
    """Where a variant's tracks lie, and what they depend on: its settings, or the part that it replaces."""
    folder = output / re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    variant = ""
    if name in PARTS:
        owner, attribute, replacement = PARTS[name]
        content = f"{name} {owner.__name__}.{attribute} {_content(replacement)}"
        variant = hashlib.sha256(content.encode()).hexdigest()
    return Plan(folder, default_cache(), SETTINGS.get(name, {}), variant=variant)


def _content(value: Any) -> str:
    """A replacement in words that change with what it does: its code, and what it has been given."""
    if isinstance(value, FunctionType):
        given = [cell.cell_contents for cell in value.__closure__ or ()]
        helpers = [value.__globals__.get(name) for name in value.__code__.co_names]
        own = [item for item in helpers if isinstance(item, FunctionType) and item.__module__ == value.__module__]
        return f"function({', '.join(map(_content, [value.__code__, value.__defaults__, *given, *own]))})"
    if isinstance(value, CodeType):
        constants = [_content(item) for item in value.co_consts]
        return f"code({value.co_code.hex()}, {value.co_names}, {constants})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}({[_content(getattr(value, item.name)) for item in dataclasses.fields(value)]})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_content, value))}]"
    return repr(value)


def table(rows: dict[str, Any], dataset: str, count: int) -> str:
    """Both views as Markdown."""
    lines = []
    for view, title in (("combined", "Boxes (IoU)"), ("combined_small_target", "Small-target view")):
        lines += [f"### {dataset}: {title}, {count} sequences", ""]
        lines += ["| | " + " | ".join(COLUMNS) + " | CPU ms/frame | detector on |", "|---|" + "---|" * 10]
        for name, row in rows.items():
            metrics = row[view]
            cells = [f"{metrics[c]}" if isinstance(metrics[c], int) else f"{metrics[c]:.1f}" for c in COLUMNS]
            cells += [f"{row['cpu_ms_per_frame']:.1f}", f"{100 * row['detector_share']:.0f} %"]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
