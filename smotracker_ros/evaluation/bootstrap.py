"""Intervals of metrics by bootstrap over sequences (Efron 1979)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from smotracker_ros.evaluation.metrics import Score, combine

FloatValues = npt.NDArray[np.float64]


def resampled_metrics(
    scores: Sequence[Score], names: Sequence[str], resamples: int = 500, seed: int = 0
) -> dict[str, FloatValues]:
    """Combined metrics of sequences that are drawn with replacement.

    The same number of sequences and the same seed give the same draws, so that the results of two trackers, in the
    same order of sequences, are paired: the interval of their difference is that of the difference of the arrays.

    Args:
        scores: one per sequence.
        names: of :attr:`Score.metrics`.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        float64 (resamples,) by name.

    Raises:
        ValueError: if there is no score.
    """
    if not scores:
        raise ValueError("nothing can be drawn from no sequences")
    generator = np.random.default_rng(seed)
    values = np.empty((resamples, len(names)))
    for number in range(resamples):
        drawn = generator.integers(len(scores), size=len(scores))
        # a sequence that is drawn twice counts twice, under two names
        copies = [
            replace(scores[index], raw={f"{place}:{name}": raw for name, raw in scores[index].raw.items()})
            for place, index in enumerate(drawn)
        ]
        metrics = combine(copies).metrics
        values[number] = [metrics[name] for name in names]
    return {name: values[:, column] for column, name in enumerate(names)}


def interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The percentiles between which so much of the values lies."""
    low, high = np.percentile(np.asarray(values, dtype=np.float64), [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
