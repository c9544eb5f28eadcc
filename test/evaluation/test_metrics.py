"""Metrics: equal to trackeval's own evaluation of files, and right in cases that can be counted by hand."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.evaluation.metrics import (
    Score,
    TrackRows,
    combine,
    read_tracks,
    score_sequence,
    small_target_similarity,
)
from smotracker_ros.evaluation.sequences import DatasetError, EvaluationSequence, GroundTruth

with contextlib.redirect_stdout(io.StringIO()):
    import trackeval


def _sequence(name: str, truth: GroundTruth, length: int, cuts: tuple[int, ...] = ()) -> EvaluationSequence:
    return EvaluationSequence(name, Path("."), Path("none.mp4"), (480, 640), 30.0, length, cuts, truth)


def _tracks(frames: list[int], ids: list[int], boxes: list[list[float]], classes: list[int] | None = None) -> TrackRows:
    count = len(frames)
    return TrackRows(
        np.array(frames, np.int64),
        np.array(ids, np.int64),
        as_boxes(boxes),
        np.ones(count, np.float32),
        np.array(classes or [1] * count, np.int64),
    )


def _box(x: float, y: float = 50, side: float = 20) -> list[float]:
    return [x, y, x + side, y + side]


def _noisy(seed: int) -> tuple[EvaluationSequence, TrackRows]:
    """Five flying objects; their tracks miss, jitter, switch ids, and there are false ones."""
    random = np.random.default_rng(seed)
    length = 60
    truth: list[tuple[int, int, list[float]]] = []
    rows: list[tuple[int, int, list[float]]] = []
    for number in range(5):
        start, speed = random.uniform(50, 400, 2), random.uniform(-3, 3, 2)
        identity = 10 * (number + 1)
        for frame in range(int(random.integers(0, 20)), length):
            x, y = start + speed * frame
            size = 8 + 3 * number
            truth.append((frame, number + 1, [x, y, x + size, y + size]))
            if random.random() < 0.03:
                identity += 1
            if random.random() < 0.8:
                dx, dy, dw = random.normal(0, 0.12 * size, 3)
                rows.append((frame, identity, [x + dx, y + dy, x + dx + size + dw, y + dy + size]))
    for frame in range(0, length, 7):
        rows.append((frame, 900, _box(500 + frame)))
    rounded = [(f, i, [round(v, 2) for v in b]) for f, i, b in rows]
    exact = [(f, i, [round(v, 2) for v in b]) for f, i, b in truth]
    labels = GroundTruth.of([f for f, _, _ in exact], [i for _, i, _ in exact], [b for _, _, b in exact])
    sequence = _sequence(f"noisy{seed}", labels, length)
    return sequence, _tracks([f for f, _, _ in rounded], [i for _, i, _ in rounded], [b for _, _, b in rounded])


def _lines(frames: np.ndarray, ids: np.ndarray, boxes: np.ndarray, tail: str) -> str:
    return "".join(
        f"{f + 1},{i},{b[0]!r},{b[1]!r},{b[2] - b[0]!r},{b[3] - b[1]!r},{tail}\n"
        for f, i, b in zip(frames.tolist(), ids.tolist(), boxes.astype(float).tolist(), strict=True)
    )


def _official(root: Path, cases: list[tuple[EvaluationSequence, TrackRows]]) -> dict[str, dict[str, dict[str, float]]]:
    """trackeval's evaluation of files in its own folder layout."""
    for sequence, tracks in cases:
        labels = root / "gt" / sequence.name / "gt"
        labels.mkdir(parents=True)
        truth = sequence.truth
        (labels / "gt.txt").write_text(_lines(truth.frames, truth.ids, truth.boxes, "1,1,1"))
        data = root / "trackers" / "ours" / "data"
        data.mkdir(parents=True, exist_ok=True)
        (data / f"{sequence.name}.txt").write_text(_lines(tracks.frames, tracks.ids, tracks.boxes, "1,-1,-1,-1"))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = trackeval.Evaluator(
            {"USE_PARALLEL": False, "BREAK_ON_ERROR": True, "PRINT_RESULTS": False, "PRINT_CONFIG": False}
            | {"OUTPUT_SUMMARY": False, "OUTPUT_DETAILED": False, "PLOT_CURVES": False, "TIME_PROGRESS": False}
        )
        dataset = trackeval.datasets.MotChallenge2DBox(
            {"GT_FOLDER": str(root / "gt"), "TRACKERS_FOLDER": str(root / "trackers"), "DO_PREPROC": False}
            | {"SEQ_INFO": {sequence.name: sequence.length for sequence, _ in cases}, "SKIP_SPLIT_FOL": True}
            | {"PRINT_CONFIG": False}
        )
        quiet = {"PRINT_CONFIG": False, "THRESHOLD": 0.5}
        metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet)]
        results, _ = evaluator.evaluate([dataset], metrics)
    return {
        key: {name: value for part in value["pedestrian"].values() for name, value in part.items()}
        for key, value in results["MotChallenge2DBox"]["ours"].items()
    }


def _same(ours: Score, official: dict[str, float]) -> None:
    for name in ("HOTA", "DetA", "AssA", "LocA"):
        assert ours.metrics[name] == 100 * float(np.mean(official[name])), name
    assert ours.metrics["MOTA"] == 100 * official["MOTA"]
    assert ours.metrics["IDF1"] == 100 * official["IDF1"]
    for name, theirs in (("IDSW", "IDSW"), ("IDFN", "IDFN"), ("IDFP", "IDFP"), ("Frag", "Frag"), ("FP", "CLR_FP")):
        assert ours.metrics[name] == official[theirs], name


def test_metrics_equal_trackeval_s_evaluation_of_files_to_the_last_digit(tmp_path: Path) -> None:
    cases = [_noisy(seed) for seed in range(3)]
    official = _official(tmp_path, cases)
    scores = [score_sequence(*case) for case in cases]
    for score, (sequence, _) in zip(scores, cases, strict=True):
        _same(score, official[sequence.name])
    _same(combine(scores), official["COMBINED_SEQ"])
    assert 20 < combine(scores).metrics["HOTA"] < 95
    assert combine(scores).metrics["IDSW"] > 0


def test_perfect_tracks_score_hundred() -> None:
    frames, boxes = list(range(10)), [_box(3 * i) for i in range(10)]
    truth = _sequence("s", GroundTruth.of(frames, [1] * 10, boxes), 10)
    score = score_sequence(truth, _tracks(frames, [7] * 10, boxes))
    assert score.metrics["HOTA"] == pytest.approx(100)
    assert score.metrics["IDF1"] == pytest.approx(100)
    assert score.metrics["IDs"] == score.metrics["GT_IDs"] == 1


def test_a_switch_is_counted_once() -> None:
    frames, boxes = list(range(10)), [_box(3 * i) for i in range(10)]
    truth = _sequence("s", GroundTruth.of(frames, [1] * 10, boxes), 10)
    score = score_sequence(truth, _tracks(frames, [7] * 6 + [8] * 4, boxes))
    assert score.metrics["IDSW"] == 1
    assert score.metrics["IDs"] == 2
    assert score.metrics["IDFN"] == 4


def test_ids_restart_at_a_cut() -> None:
    frames, boxes = list(range(10)), [_box(3 * i) for i in range(10)]
    truth = _sequence("s", GroundTruth.of(frames, [1] * 10, boxes), 10, cuts=(5,))
    score = score_sequence(truth, _tracks(frames, [7] * 5 + [8] * 5, boxes))
    assert score.metrics["IDSW"] == 0
    assert score.metrics["IDF1"] == pytest.approx(100)
    assert score.metrics["GT_IDs"] == 2


def test_ignored_and_tiny_boxes_are_neither_misses_nor_do_they_make_tracks_false() -> None:
    frames = [0, 0, 0]
    boxes = [_box(10), _box(100), _box(200, side=2.5)]
    truth = _sequence("s", GroundTruth.of(frames, [1, 2, 3], boxes, ignored=[False, True, False]), 1)
    both = score_sequence(truth, _tracks([0, 0], [1, 2], boxes[:2]))
    assert (both.metrics["FP"], both.metrics["FN"]) == (0, 0)
    elsewhere = score_sequence(truth, _tracks([0, 0], [1, 2], [boxes[0], _box(300)]))
    assert (elsewhere.metrics["FP"], elsewhere.metrics["FN"]) == (1, 0)


def test_classes_count_only_on_demand() -> None:
    truth = _sequence("s", GroundTruth.of([0], [1], [_box(10)], class_ids=[2]), 1)
    tracks = _tracks([0], [1], [_box(10)], classes=[1])
    assert score_sequence(truth, tracks).metrics["FN"] == 0
    assert score_sequence(truth, tracks, class_aware=True).metrics["FN"] == 1


def test_small_target_view_forgives_a_loose_label_but_not_a_wrong_place() -> None:
    tight = as_boxes([[100, 100, 108, 108]])
    loose = as_boxes([[97, 97, 111, 111]])
    beside = as_boxes([[106, 100, 114, 108]])
    assert small_target_similarity(tight, loose)[0, 0] > 0.5
    assert small_target_similarity(tight, beside)[0, 0] < 0.5
    assert small_target_similarity(tight, tight)[0, 0] == 1
    half = as_boxes([[100, 100, 120, 120], [109.7, 100, 129.7, 120]])
    assert small_target_similarity(half[:1], half[1:])[0, 0] == pytest.approx(0.5, abs=0.005)


def test_unknown_similarity_and_broken_tracks_are_refused(tmp_path: Path) -> None:
    truth = _sequence("s", GroundTruth.of([0], [1], [_box(10)]), 1)
    with pytest.raises(ValueError, match="small_target"):
        score_sequence(truth, _tracks([0], [1], [_box(10)]), "wrong")
    path = tmp_path / "broken.txt"
    path.write_text("1,2,three\n")
    with pytest.raises(DatasetError, match="broken"):
        read_tracks(path)
    path.write_text("")
    assert len(read_tracks(path).frames) == 0
