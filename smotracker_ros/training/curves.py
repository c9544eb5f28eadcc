"""Calibration: a logistic curve from a cost, or a score, to a probability (Platt 1999)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from smotracker_ros.core.geometry import FloatArray

_BINS = 10


@dataclass(frozen=True)
class Curve:
    """A fitted curve: probability = expit(offset - slope * cost).

    Attributes:
        offset: log-odds at cost 0.
        slope: log-odds lost per unit of cost.
        samples: number of costs fitted.
        positive: share of them that are true.
        error: calibration error of the curve on what it was fitted to, see :func:`calibration_error`.
    """

    offset: float
    slope: float
    samples: int
    positive: float
    error: float


def fit_curve(costs: FloatArray, true: npt.NDArray[np.bool_]) -> Curve:
    """The logistic curve of greatest likelihood.

    Args:
        costs: float32 (N,).
        true: bool (N,), what the probability is of.

    Raises:
        ValueError: if all are true, or none is.
    """
    if true.all() or not true.any():
        raise ValueError(f"of {len(true)} samples {int(true.sum())} are true: a curve needs true and false ones")
    values, truth = costs.astype(np.float64), true.astype(np.float64)

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        odds = parameters[0] - parameters[1] * values
        return float(np.mean(np.logaddexp(0, odds) - truth * odds))

    offset, slope = minimize(loss, np.array([2.0, 4.0]), method="BFGS").x
    error = calibration_error(expit(offset - slope * values), true)
    return Curve(float(offset), float(slope), len(true), float(truth.mean()), error)


def calibration_error(probabilities: npt.ArrayLike, true: npt.NDArray[np.bool_]) -> float:
    """Mean absolute difference of mean probability and share of true ones, over ten bins of equally many samples."""
    values = np.asarray(probabilities, dtype=np.float64)
    bins = [part for part in np.array_split(np.argsort(values, kind="stable"), _BINS) if len(part)]
    return float(np.mean([abs(values[part].mean() - true[part].mean()) for part in bins]))
