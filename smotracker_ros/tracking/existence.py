"""Existence: how probable it is that a target is there and is one, from all that has been seen of it.

The logarithm of the odds is a weighted sum of terms, as in a Bernoulli filter whose likelihood ratios were fitted
instead of assumed (logistic regression, `smotracker train existence`). The weights lie in existence.yaml. Detections
count by the time between them, not by their number, so that a faster camera or an idle machine makes nothing surer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from scipy.special import expit, logit

from smotracker_ros.core.settings import SettingsError

FITTED = Path(__file__).with_name("existence.yaml")
"""The weights that are shipped."""

# Detector passes within so many seconds look at the same picture: together they count as one
_SAME_SECONDS = 0.05
# What was detected, or missed, so many seconds ago has lost two thirds of its weight
_MEMORY_SECONDS = 2.0
# Probability follows the evidence of single frames within about so many seconds
_SETTLING_SECONDS = 0.5
# Confidences beyond these say no more
_SUREST = 0.95
# Misses in a row beyond so many say no more
MOST_MISSED = 8.0

TERMS = (
    "bias",
    "score",
    "missed",
    "displacement",
    "displacement_lately",
    "place_unchanged",
    "fixed",
    "rides",
    "unseen",
    "mask_quality",
    "mask_change",
    "size_change",
    "unsupported",
)
"""Names of the terms, in the order of their values."""


_STATES = ("tentative", "confirmed")


class ExistenceError(SettingsError):
    """Weights that cannot be used; the message names the file and the remedy."""


@dataclass
class DetectionRecord:
    """What detector passes have said of a target.

    Attributes:
        hits: weight of the passes that found it, fading.
        missed: weight of the passes since the last of them.
    """

    hits: float = 0.0
    missed: float = 0.0
    _log_odds: float = 0.0
    _since: float = float("inf")

    def predict(self, seconds: float) -> None:
        """Move on in time."""
        kept = float(np.exp(-seconds / _MEMORY_SECONDS))
        self.hits, self._log_odds = self.hits * kept, self._log_odds * kept
        self._since += seconds

    @property
    def score(self) -> float:
        """Mean log-odds of the confidences of its latest hits."""
        return self._log_odds / max(self.hits, 1e-6)

    def hit(self, score: float) -> None:
        """A pass has found it with that confidence."""
        weight = self._weight()
        self.hits += weight
        self._log_odds += weight * float(logit(np.clip(score, 1 - _SUREST, _SUREST)))
        self.missed = 0.0

    def miss(self) -> None:
        """A pass has not found it."""
        self.missed += self._weight()

    def forgive(self) -> None:
        """Forget the misses: somebody knows better."""
        self.missed = 0.0

    def _weight(self) -> float:
        since, self._since = self._since, 0.0
        return float(1 - np.exp(-since / _SAME_SECONDS))


@dataclass
class Belief:
    """A probability that follows the evidence of single frames slowly."""

    _log_odds: float = 0.0
    _settled_at: float = 0.0
    _new: bool = True

    def renew(self) -> None:
        """Forget what was thought so far: of what is found again after it was lost, only new evidence counts."""
        self._new = True

    def follow(self, log_odds: float, age: float) -> float:
        """Take a frame's evidence of a target that is so many seconds old; returns the probability in [0, 1]."""
        since = age - self._settled_at
        # what is young is known by its latest evidence alone
        gain = max(1 - float(np.exp(-since / _SETTLING_SECONDS)), since / max(age, 1e-6))
        known = age > 0 and not self._new
        self._log_odds += (gain if known else 1.0) * (log_odds - self._log_odds)
        self._settled_at, self._new = age, False
        return float(expit(self._log_odds))


class ExistenceModel:
    """Weights of the terms, for targets that are still to be CONFIRMED and for those that are.

    The first asks whether something is a target, the second whether the masklet of a target is still on it.

    Args:
        tentative: by the names of :data:`TERMS`; what is missing weighs nothing.
        confirmed: the same; None: as `tentative`.

    Raises:
        ExistenceError: if a name is unknown.
    """

    def __init__(self, tentative: Mapping[str, float], confirmed: Mapping[str, float] | None = None) -> None:
        self.tentative = _vector(tentative)
        self.confirmed = self.tentative if confirmed is None else _vector(confirmed)

    @staticmethod
    def load(path: Path = FITTED, masklets: str = "") -> ExistenceModel:
        """Read weights.

        Args:
            path: YAML file as `smotracker train existence` writes it.
            masklets: name of the SAM2 model. Each network rates its masks in its own way, so that the term of their
                quality counts only with the one that it was fitted to.

        Raises:
            ExistenceError: if the file cannot be used.
        """
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
            parts = [{str(name): float(value) for name, value in read["weights"][state].items()} for state in _STATES]
            fitted_to = str(read.get("masklets", ""))
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ExistenceError(
                f"{path} holds no weights ({error}); make them with `smotracker train existence`"
            ) from error
        if masklets != fitted_to:
            for weights in parts:
                weights.pop("mask_quality", None)
        return ExistenceModel(*parts)

    def log_odds(self, terms: npt.NDArray[np.float64], confirmed: bool = False) -> float:
        """Logarithm of the odds of a target with these terms, float64 (len(TERMS),)."""
        return float((self.confirmed if confirmed else self.tentative) @ terms)


def _vector(weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
    unknown = sorted(set(weights) - set(TERMS))
    if unknown:
        raise ExistenceError(f"unknown term {unknown[0]!r}; there are: {', '.join(TERMS)}")
    return np.array([weights.get(name, 0.0) for name in TERMS])
