"""One target of the fusion: the tracks that are taken for it, and its filter."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from smotracker_ros.space.fusion.hypotheses import PLACE, Hypotheses
from smotracker_ros.space.fusion.sightings import RANGE_SHARE, TargetEstimate
from smotracker_ros.space.fusion.window import Strand

# Standard deviation of a distance, as a share of it, from which on the cameras' errors can be learned
_SETTLED_SHARE = 0.1


@dataclass(eq=False)
class Target:
    """A target, or what may turn out to be one.

    Attributes:
        strands: the tracks of cameras that are taken for it; of one camera one at a time.
        filter: its one filter, at time `seconds`.
        seconds: of the filter.
        born: time of its first view.
        id: 0 until it is confirmed.
        doubt: log-odds that it is the same as another target, which will be known soon; if several cameras see it,
            as one that has an id.
        classes: how often it was called what.
        parted: serial numbers of targets from which tracks of this one were parted, and when.
        settled: whether its filter has begun anew at a known place.
        serial: number that no other target has.
    """

    strands: list[Strand]
    filter: Hypotheses
    seconds: float
    born: float
    id: int = 0
    doubt: float = -np.inf
    classes: Counter[str] = field(default_factory=Counter)
    parted: dict[int, float] = field(default_factory=dict)
    settled: bool = False
    serial: int = field(default_factory=itertools.count().__next__)

    @property
    def last(self) -> float:
        """Time of its last view."""
        return max(strand.last for strand in self.strands)

    @property
    def cameras(self) -> set[int]:
        """The cameras that have seen it."""
        return {strand.camera for strand in self.strands}

    def predict(self, seconds: float) -> None:
        """Move the filter on."""
        self.filter.predict(seconds - self.seconds)
        self.seconds = max(self.seconds, seconds)

    def measure(self, strand: Strand) -> bool:
        """Take a track's last direction; returns whether it is believed."""
        rows = np.zeros(1, dtype=np.intp)
        believed = self.filter.measure(
            rows, strand.camera, strand.position, strand.direction[None], np.array([strand.deviation])
        )
        self.filter.forget_small()
        return bool(believed[0])

    def replace_filter(self, new: Hypotheses, seconds: float) -> None:
        """Take a filter that explains other tracks; it stands at `seconds`."""
        self.filter, self.seconds, self.settled = new, seconds, False

    def settle(self) -> None:
        """Begin the filter anew, once, when several cameras have told the distance."""
        if self.settled or len(self.cameras) < 2:
            return
        distance, share = self._distance()
        if share <= _SETTLED_SHARE:
            self.filter.settle(distance)
            self.settled = True

    def _distance(self) -> tuple[float, float]:
        """From the camera that saw it last, in metres, and its standard deviation as a share of it."""
        mean, covariance = self.filter.moments()
        newest = max(self.strands, key=lambda strand: strand.last)
        offset = mean[PLACE] - newest.position
        distance = max(float(np.linalg.norm(offset)), 1e-6)
        along = offset / distance
        variance = float(along @ covariance[PLACE, PLACE] @ along)
        return distance, math.sqrt(max(variance, 0.0)) / distance

    def may_be(self, other: Target) -> bool:
        """Whether no camera has seen both at the same time."""
        return not any(mine.overlaps(theirs) for mine in self.strands for theirs in other.strands)

    def estimate(self, names: tuple[str, ...], seconds: float, seen_ns: int) -> TargetEstimate:
        """What is known of it.

        Args:
            names: of the cameras.
            seconds: the time; the filter must have been moved there.
            seen_ns: stamp of its last view.
        """
        mean, covariance = self.filter.moments()
        live = sorted((s for s in self.strands if seconds - s.last < 0.5), key=lambda strand: strand.camera)
        newest = max(self.strands, key=lambda strand: strand.last)
        distance, share = self._distance()
        return TargetEstimate(
            id=self.id,
            position=mean[PLACE].copy(),
            velocity=mean[3:6].copy(),
            covariance=covariance,
            cameras=tuple((names[strand.camera], strand.track) for strand in live),
            class_name=max(self.classes, key=lambda name: (self.classes[name], name), default=""),
            probability=max((strand.probability for strand in live), default=newest.probability),
            seen_ns=seen_ns,
            range_known=share <= RANGE_SHARE,
            friendly=max((strand.friendly for strand in live), default=""),
            size=newest.size * distance if share <= RANGE_SHARE else 0.0,
        )
