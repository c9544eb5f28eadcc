"""Run trackers over a data set and score them: resumable, in parallel, with one cached detector pass for all."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import smotracker_ros
from smotracker_ros.core.code_version import TRACKING_CODE, code_checksum
from smotracker_ros.core.frames import Frame
from smotracker_ros.core.global_state import quiet, threads
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.detection import Detector, DetectorError
from smotracker_ros.detection.regions import RegionDetector
from smotracker_ros.evaluation.appearance import SharedAppearance
from smotracker_ros.evaluation.detection_cache import (
    FRAMES_CODE,
    CachedDetector,
    LiveDetector,
    cached_detections,
    content_checksum,
)
from smotracker_ros.evaluation.detection_failure import DetectionFailure
from smotracker_ros.evaluation.metrics import (
    SIMILARITIES,
    Score,
    TrackRows,
    combine,
    read_tracks,
    score_sequence,
    track_lines,
)
from smotracker_ros.evaluation.newcomers import newcomers, summarise
from smotracker_ros.evaluation.peer_environment import cpu_seconds
from smotracker_ros.evaluation.peers import PEERS, PeerUnavailableError, peer_detections, track_rows
from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.evaluation.shared_models import shared_appearances, shared_detector, shared_network
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.pending import pending_path
from smotracker_ros.io.stream import StreamRules
from smotracker_ros.models.hardware import choose_device
from smotracker_ros.presets import PRESETS, build_tracker, load_settings

if TYPE_CHECKING:
    pass

_logger = logging.getLogger(__name__)


class ComparisonError(ValueError):
    """A comparison that was asked for in a way that cannot be done."""


@dataclass(frozen=True)
class Plan:
    """What every run of a comparison shares.

    Attributes:
        output: folder of tracks, metrics and reports.
        cache: folder of cached detections.
        overrides: settings of this project's trackers that differ from their presets.
        arguments: arguments of peers that differ from their defaults, by row.
        class_aware: boxes of different classes never match.
        grounding_dino_weights: `detector_weights` of presets with Grounding DINO; empty: the default. Those of
            `overrides` are the YOLO's that all others share.
        variant: what else the tracks depend on, such as a part of the tracker that a script has replaced.
        failure: which of the detections all trackers have to do without; None: they have all.
    """

    output: Path
    cache: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    class_aware: bool = False
    grounding_dino_weights: str = ""
    variant: str = ""
    failure: DetectionFailure | None = None

    def overrides_of(self, name: str) -> dict[str, Any]:
        """What differs from the preset in the settings of a row.

        Args:
            name: of a preset, or of a peer, which gets the detections of y-smotracker.
        """
        overrides = dict(self.overrides)
        if PRESETS.get(name, {}).get("detector") == "grounding_dino" and "detector" not in overrides:
            overrides.pop("detector_weights", None)
            if self.grounding_dino_weights:
                overrides["detector_weights"] = self.grounding_dino_weights
        return overrides

    def settings_of(self, name: str) -> TrackerSettings:
        """Settings of a row.

        Raises:
            SettingsError: if an override is not allowed.
        """
        return load_settings(name if name in PRESETS else "y-smotracker", self.overrides_of(name))


@dataclass(frozen=True)
class Run:
    """What is known of a tracker's run over one sequence.

    Attributes:
        key: of everything that the tracks depend on.
        frames: frames tracked.
        seconds: CPU seconds, decoding left out, the detector passes that were used included.
        passes: detector passes used; one that saw a part of a frame counts by its share.
        error: why there are no tracks; empty: there are.
    """

    key: str
    frames: int = 0
    seconds: float = 0.0
    passes: float = 0.0
    error: str = ""


# End of the name of a peer's second row: with the thresholds of a sweep in place of its defaults
TUNED = " (tuned)"


def with_tuned(names: Sequence[str], best: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, Any]]:
    """Rows of a table in which tuned peers stand twice, and the arguments of the second ones.

    Args:
        names: of trackers.
        best: thresholds by peer, from a sweep.
    """
    arguments = {f"{name}{TUNED}": dict(best[name]) for name in names if name in PEERS and best.get(name)}
    rows = [row for name in names for row in (name, f"{name}{TUNED}") if row == name or row in arguments]
    return rows, arguments


def tracker_names(text: str) -> list[str]:
    """Names from `a,b,c` or `all`: presets of this project first, then peers.

    Raises:
        ComparisonError: if a name is unknown.
    """
    known = [*PRESETS, *PEERS]
    names = known if text.strip() == "all" else [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ComparisonError(f"unknown tracker {', '.join(unknown) or text!r}; there are: all, {', '.join(known)}")
    return list(dict.fromkeys(names))


def prepare_detections(
    plan: Plan, sequences: Iterable[EvaluationSequence], progress: Callable[[str, int, int], None]
) -> None:
    """Fill the cache.

    Args:
        plan: whose overrides name the detector.
        sequences: those to look at.
        progress: told the sequence's name, frames done, and frames in all.
    """
    settings = load_settings(overrides=plan.overrides)
    detector = shared_detector(settings)
    for sequence in sequences:
        size = settings.detector_image_size
        step = functools.partial(_report, progress, sequence)
        # a video that cannot be read is told by the trackers' rows
        with threads(1), contextlib.suppress(OSError, SourceError):
            cached_detections(sequence, detector, plan.cache, size, step, _variant(settings))
        progress(sequence.name, sequence.length, sequence.length)


def _report(progress: Callable[[str, int, int], None], sequence: EvaluationSequence, done: int) -> None:
    progress(sequence.name, done, sequence.length)


def run_tracker(plan: Plan, name: str, sequence: EvaluationSequence) -> Run:
    """Track a sequence, unless its tracks are there already, and write them with a record beside them.

    A tracker that fails leaves its error in the record, and the comparison goes on.

    Raises:
        SinkError: if the output cannot be written.
    """
    path = plan.output / "tracks" / name / f"{sequence.name}.txt"
    key = ""
    try:
        key = _run_key(plan, name, sequence)
        known = _read_run(path)
        if known is not None and known.key == key and not known.error and path.is_file():
            return known
        with threads(1), quiet("boxmot", logging.ERROR):
            run, rows = _track(plan, name, sequence, key)
    except Exception as error:
        run, rows = Run(key, error=_reason(error)), None
    if rows is not None:
        with pending_path(path) as temporary:
            temporary.write_text("".join(track_lines(rows)), encoding="ascii")
    with pending_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(run)))
    return run


def _reason(error: Exception) -> str:
    """Why a tracker has no row: what is meant for users as it is, anything else with its type."""
    meant = isinstance(error, PeerUnavailableError | DetectorError)
    return str(error) if meant else f"{type(error).__name__}: {error}"


def score_runs(
    plan: Plan, names: Sequence[str], sequences: Sequence[EvaluationSequence], runs: Mapping[tuple[str, str], Run]
) -> dict[str, Any]:
    """Metrics of all trackers, as metrics.json has them."""
    result: dict[str, Any] = {}
    for name in names:
        good = [sequence for sequence in sequences if not runs[name, sequence.name].error]
        bad = [sequence.name for sequence in sequences if runs[name, sequence.name].error]
        errors = sorted({runs[name, sequence].error for sequence in bad})
        if bad and good:
            errors.append(f"failed on {len(bad)} of {len(sequences)} sequences: {', '.join(bad)}")
        row: dict[str, Any] = {"note": "; ".join([_note(plan, name), *errors]).strip("; ")}
        row |= {"combined": None, "combined_small_target": None, "fps": None}
        for view, suffix in zip(SIMILARITIES, ("", "_small_target"), strict=True):
            scores = _scores(plan, name, good, view)
            row[f"sequences{suffix}"] = {key: score.metrics for key, score in scores.items()}
            # a sum over other sequences than those of the other trackers could not be compared
            if not bad:
                combined = combine(list(scores.values()))
                row[f"combined{suffix}"] = combined.metrics
                row[f"hota_over_alpha{suffix}"] = combined.hota_over_alpha
        if not bad:
            mine = [runs[name, sequence.name] for sequence in good]
            frames, seconds = sum(run.frames for run in mine), sum(run.seconds for run in mine)
            row["fps"] = frames / seconds if seconds > 0 else None
            row["cpu_ms_per_frame"] = 1e3 * seconds / max(frames, 1)
            row["detector_share"] = sum(run.passes for run in mine) / max(frames, 1)
            late = [item for sequence in good for item in newcomers(sequence, _tracks(plan, name, sequence))]
            row["newcomers"] = summarise(late)
        result[name] = row
    return result


def _scores(plan: Plan, name: str, sequences: Iterable[EvaluationSequence], view: str) -> dict[str, Score]:
    return {
        sequence.name: score_sequence(sequence, _tracks(plan, name, sequence), view, class_aware=plan.class_aware)
        for sequence in sequences
    }


def _tracks(plan: Plan, name: str, sequence: EvaluationSequence) -> TrackRows:
    return read_tracks(plan.output / "tracks" / name / f"{sequence.name}.txt")


def _note(plan: Plan, name: str) -> str:
    if name in PRESETS:
        return ", ".join(f"{key}={value}" for key, value in plan.overrides_of(name).items())
    arguments = ", ".join(f"{key}={value}" for key, value in plan.arguments.get(name, {}).items())
    return "; ".join(part for part in (PEERS[name.removesuffix(TUNED)].note, arguments) if part)


def _run_key(plan: Plan, name: str, sequence: EvaluationSequence) -> str:
    settings = plan.settings_of(name)
    detector = shared_detector(settings)
    network = shared_network(settings.masklet_weights, settings.masklet_image_size, choose_device(settings.device))
    own = dataclasses.asdict(settings) if name in PRESETS else dict(plan.arguments.get(name, {}))
    parts = [
        smotracker_ros.__version__,
        code_checksum(*(TRACKING_CODE if name in PRESETS else _PEERS_CODE), *FRAMES_CODE),
        "" if name in PRESETS else _boxmot_version(),
        name,
        own,
        detector.name,
        _variant(settings),
        settings.detector_image_size,
        network.checksum,
        [settings.masklet_mode, settings.masklet_image_size],
        content_checksum(sequence.video),
        sequence.length,
        sequence.cuts,
        plan.variant,
        *([] if plan.failure is None else [plan.failure.key(sequence)]),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


_PEERS_CODE = (
    *(f"evaluation/{name}.py" for name in ("peers", "peer_process", "appearance", "topictrack")),
    *(f"tracking/{name}.py" for name in ("association", "costs")),
    "detection/*.py",
    # what SAM2's features are made by
    *(f"masklets/{name}.py" for name in ("model", "views", "windows")),
)
"""The code that makes tracks."""


def _variant(settings: TrackerSettings) -> str:
    """What detections depend on besides the detector's weights."""
    return settings.prompt if settings.detector == "grounding_dino" else ""


def _boxmot_version() -> str:
    try:
        return importlib.metadata.version("boxmot")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _read_run(path: Path) -> Run | None:
    try:
        return Run(**json.loads(path.with_suffix(".json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _track(plan: Plan, name: str, sequence: EvaluationSequence, key: str) -> tuple[Run, TrackRows]:
    settings = plan.settings_of(name)
    device = choose_device(settings.device)
    real = shared_detector(settings)
    network = shared_network(settings.masklet_weights, settings.masklet_image_size, device)
    if settings.detector == "yolo" or name not in PRESETS or plan.failure is not None:
        size, variant = settings.detector_image_size, _variant(settings)
        cached = cached_detections(sequence, real, plan.cache, size, variant=variant)
        if plan.failure is not None:
            cached = plan.failure.thin(sequence, cached)
        detector: LiveDetector | CachedDetector = CachedDetector(
            cached, real.class_names, real.name, real.scale if isinstance(real, RegionDetector) else None
        )
        seconds_per_pass = cached.seconds_per_frame
    else:
        # too slow for every frame: it looks where its tracker wants it to, and its time is measured there
        detector, seconds_per_pass = LiveDetector(real), 0.0
    appearances = shared_appearances(network, settings.masklet_mode, content_checksum(sequence.video))
    saved = appearances.saved_seconds
    if name in PRESETS:
        track = _own(build_tracker(settings, detector))
    else:
        track = _peer(name, appearances, sequence.fps, plan.arguments.get(name, {}), detector)
    parts, seconds, shot = list[TrackRows](), 0.0, 0
    rules = StreamRules(functools.partial(_logger.warning, "%s, %s: %s", sequence.name, name))
    for frame in sequence.frames():
        before, shot = shot, int(sequence.shot_of(frame.index))  # a shot's first frame may be missing
        rules.admit(frame)
        started = cpu_seconds()
        parts.append(track(frame, shot != before or rules.broken))
        seconds += cpu_seconds() - started
    joined = TrackRows(
        *(np.concatenate([getattr(part, item.name) for part in parts]) for item in dataclasses.fields(TrackRows))
    )
    seconds += detector.passes * seconds_per_pass + appearances.saved_seconds - saved
    return Run(key, len(parts), seconds, detector.passes), joined


def _own(tracker: Any) -> Callable[[Frame, bool], TrackRows]:
    def track(frame: Frame, anew: bool) -> TrackRows:
        if anew:
            tracker.reset()
        shown = tracker.update(frame).reported
        boxes = np.array([item.box for item in shown], dtype=np.float32).reshape(-1, 4)
        ids, scores, classes = ([getattr(item, key) for item in shown] for key in ("id", "score", "class_id"))
        return track_rows(frame.index, np.array(ids), boxes, np.array(scores), np.array(classes))

    return track


def _peer(
    name: str, appearances: SharedAppearance, fps: float, arguments: Mapping[str, Any], detector: Detector
) -> Callable[[Frame, bool], TrackRows]:
    peer = PEERS[name.removesuffix(TUNED)]
    tracker = peer.build(appearances, fps, arguments)
    offset, largest = 1, 0  # some peers count from 0

    def track(frame: Frame, anew: bool) -> TrackRows:
        nonlocal tracker, offset, largest
        if anew:
            # a fresh tracker counts anew, and ids must not repeat
            tracker, offset = peer.build(appearances, fps, arguments), largest + 1
        rows = tracker.update(frame, peer_detections(detector, frame))
        rows = dataclasses.replace(rows, ids=rows.ids + offset)
        largest = max(largest, int(rows.ids.max(initial=0)))
        return rows

    return track
