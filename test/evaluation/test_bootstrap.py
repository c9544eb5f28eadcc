"""Intervals by bootstrap: paired draws, and sequences that count as often as they are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.evaluation.bootstrap import interval, resampled_metrics
from smotracker_ros.evaluation.metrics import Score, TrackRows, combine, score_sequence
from smotracker_ros.evaluation.sequences import EvaluationSequence, GroundTruth

LENGTHS = (30, 60, 20, 40)


def _scores(missed: float) -> list[Score]:
    """Of one target in each of four sequences; that share of its frames, more in later sequences, has no track."""
    result = []
    for number, length in enumerate(LENGTHS):
        frames = np.arange(length)
        boxes = np.column_stack([frames, frames, frames + 10, frames + 10]).astype(np.float32)
        truth = GroundTruth.of(frames, np.ones(length), boxes)
        sequence = EvaluationSequence(f"s{number}", Path(), Path(), (99, 99), 30.0, length, (), truth)
        kept = frames >= round(missed * (number + 1) / len(LENGTHS) * length)
        count = int(kept.sum())
        ones = np.ones(count)
        tracks = TrackRows(frames[kept], ones.astype(np.int64), boxes[kept], ones.astype(np.float32), truth.ids[kept])
        result.append(score_sequence(sequence, tracks))
    return result


def test_draws_are_paired() -> None:
    good, same, worse = (resampled_metrics(_scores(missed), ["HOTA", "IDFN"]) for missed in (0.2, 0.2, 0.6))
    assert len(good["HOTA"]) == 500
    np.testing.assert_array_equal(good["HOTA"], same["HOTA"])
    difference = good["HOTA"] - worse["HOTA"]
    assert (difference > 0).all()
    # what is common to both trackers, such as a hard sequence, does not widen the interval of their difference
    assert np.ptp(interval(difference)) < np.ptp(interval(worse["HOTA"]))


def test_the_interval_holds_the_value_of_all_sequences() -> None:
    scores = _scores(0.5)
    low, high = interval(resampled_metrics(scores, ["IDF1"])["IDF1"])
    assert low < combine(scores).metrics["IDF1"] < high


def test_a_sequence_that_is_drawn_twice_counts_twice() -> None:
    scores = _scores(0.5)
    missed = [score.metrics["IDFN"] for score in scores]
    sums = {sum(missed[index] for index in np.random.default_rng(7).integers(4, size=4))}
    assert set(resampled_metrics(scores, ["IDFN"], resamples=1, seed=7)["IDFN"]) == sums


def test_one_sequence_has_no_spread_and_none_no_value() -> None:
    scores = _scores(0.5)[:1]
    values = resampled_metrics(scores, ["HOTA"], resamples=5)["HOTA"]
    np.testing.assert_allclose(values, scores[0].metrics["HOTA"])
    with pytest.raises(ValueError, match="no sequences"):
        resampled_metrics([], ["HOTA"])


def test_the_interval_is_between_percentiles() -> None:
    assert interval(np.arange(101), 0.9) == pytest.approx((5, 95))
