"""Fitting of the association's log-odds: what tells pairs of the same object from others.

The tracker runs on labelled clips, and tells both sides of every association. A pair is the same object if masklet and
detection lie on the same label. Logistic regression makes the weights of the costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.progress import track as progress
from scipy.optimize import minimize
from scipy.special import expit

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.tracking.costs import COSTS, Affinity, Side
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.clips import Clip, owners

# Weight of the squared weights
_RIDGE = 1e-4


@dataclass(frozen=True)
class Pairs:
    """Masklets and detections that may be the same object.

    Attributes:
        costs: float64 (N, number of costs).
        lost: bool (N,), whether the masklet was of a LOST target.
        same: bool (N,), whether both were the same object.
    """

    costs: npt.NDArray[np.float64]
    lost: npt.NDArray[np.bool_]
    same: npt.NDArray[np.bool_]


def collect_pairs(clips: Sequence[Clip], tracker: SmoTracker) -> Pairs:
    """Pairs of which at least one cost is not the highest.

    Args:
        clips: labelled.
        tracker: any; it is reset before each shot.
    """
    costs: list[npt.NDArray[np.float64]] = []
    lost: list[npt.NDArray[np.bool_]] = []
    same: list[npt.NDArray[np.bool_]] = []
    for clip in progress(clips, description="pairs"):
        for index, image in clip.images():
            if index == 0 or index in clip.cuts:
                tracker.reset()

            def note(
                masklets: Side, detections: Side, of_lost: bool, labels: FloatArray = clip.labels[index].boxes
            ) -> None:
                first, second = owners(masklets.boxes, labels), owners(detections.boxes, labels)
                # of what lies on no label, on both sides, nobody knows
                known = (first[:, None] >= 0) | (second[None] >= 0)
                values = np.stack([cost(masklets, detections) for cost in COSTS.values()], axis=2)
                chosen = known & (values < 1).any(axis=2)
                costs.append(values[chosen].astype(np.float64))
                same.append((first[:, None] == second[None])[chosen])
                lost.append(np.full(int(chosen.sum()), of_lost))

            tracker.observe = note
            tracker.update(Frame(image, round(index / clip.fps * 1e9), index))
    tracker.observe = None
    return Pairs(
        np.concatenate([np.zeros((0, len(COSTS))), *costs]),
        np.concatenate([np.zeros(0, np.bool_), *lost]),
        np.concatenate([np.zeros(0, np.bool_), *same]),
    )


def fit_affinity(pairs: Pairs) -> tuple[Affinity, float]:
    """The log-odds of greatest likelihood, and the mean negative log-likelihood in nats.

    Raises:
        ValueError: if all pairs are the same object, or none is.
    """
    if pairs.same.all() or not pairs.same.any():
        raise ValueError(f"of {len(pairs.same)} pairs {int(pairs.same.sum())} are the same: a fit needs both kinds")
    values = np.column_stack([np.ones(len(pairs.same)), pairs.costs, pairs.lost])
    truth = pairs.same.astype(np.float64)

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        odds = values @ weights
        value = float(np.mean(np.logaddexp(0, odds) - truth * odds)) + _RIDGE * float(weights @ weights)
        return value, values.T @ (expit(odds) - truth) / len(truth) + 2 * _RIDGE * weights

    found = minimize(loss, np.zeros(values.shape[1]), jac=True, method="L-BFGS-B")
    bias, *weights, lost = (round(float(weight), 3) for weight in found.x)
    return Affinity(bias, dict(zip(COSTS, weights, strict=True)), lost), float(found.fun)
