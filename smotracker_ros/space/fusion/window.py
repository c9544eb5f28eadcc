"""The recent past: which camera saw which track where, and how well hypotheses explain it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from smotracker_ros.space.fusion.hypotheses import Float64Array, Hypotheses, MotionModel

STEP_SECONDS = 0.2
"""Views are kept so far apart: nearer ones err alike, and tell nothing new of who is who."""

# Seconds over which a target's width is averaged: wings beat, and drones turn
_WIDTH_SECONDS = 1.0

LARGEST_BATCH = 96
"""Hypotheses that are compared at a time."""


@dataclass(eq=False)
class Strand:
    """The track of one camera, as long as its tracker and the fusion hold it to be one target.

    Attributes:
        camera: number of the camera.
        track: id of the camera's track.
        first: time of its first view, seconds.
        last: of its last view.
        missed_since: time since when its target is not where it says; None: it agrees.
        direction: float64 (3,), the last one, in the world.
        deviation: of that direction, radians.
        position: float64 (3,), of the camera then, metres.
        class_name: as last called.
        probability: as last said.
        size: angle in radians, as last seen.
        width: that angle, averaged over the last second or so, radians; 0: not known.
        friendly: name of the friendly target, as last called.
    """

    camera: int
    track: int
    first: float
    last: float
    direction: Float64Array
    deviation: float
    position: Float64Array
    class_name: str = ""
    probability: float = 1.0
    size: float = 0.0
    width: float = 0.0
    friendly: str = ""
    missed_since: float | None = None

    def widen(self, size: float, seconds: float) -> None:
        """Take the angle of a view, so many seconds after the one before, into the average; 0: it is not known."""
        if size > 0:
            share = 1 - math.exp(-seconds / _WIDTH_SECONDS) if self.width > 0 else 1.0
            self.width += share * (size - self.width)

    def overlaps(self, other: Strand) -> bool:
        """Whether both were seen by the same camera at the same time: then they are two targets."""
        return self.camera == other.camera and self.first <= other.last and other.first <= self.last


@dataclass
class _Sample:
    """A view that is kept."""

    seconds: float
    camera: int
    position: Float64Array
    seen: dict[Strand, tuple[Float64Array, float]] = field(default_factory=dict)


class Window:
    """Views of the last seconds, some of each camera.

    Args:
        model: of motion and errors.
        seconds: how far it reaches back.
        cameras: their number.
    """

    def __init__(self, model: MotionModel, seconds: float, cameras: int) -> None:
        self._model, self._seconds, self._cameras = model, seconds, cameras
        self._samples: deque[_Sample] = deque()
        self._next: dict[int, float] = {}

    def add(self, seconds: float, camera: int, position: Float64Array, strands: Sequence[Strand]) -> None:
        """Keep a view, if the last one of its camera lies long enough back, and drop what is too old."""
        while self._samples and self._samples[0].seconds < seconds - self._seconds:
            self._samples.popleft()
        if seconds < self._next.get(camera, -np.inf):
            return
        # the grid is the same for all cameras
        self._next[camera] = (np.floor(seconds / STEP_SECONDS + 1e-6) + 1) * STEP_SECONDS
        seen = {strand: (strand.direction, strand.deviation) for strand in strands}
        self._samples.append(_Sample(seconds, camera, position, seen))

    def explain(self, hypotheses: Sequence[frozenset[Strand]], until: float) -> Hypotheses:
        """Filters that take each set of strands for one target; :meth:`Hypotheses.evidence` says how well they do.

        Args:
            hypotheses: the sets; only the first :data:`LARGEST_BATCH` are looked at.
            until: time to which the filters are moved on.
        """
        wanted = hypotheses[:LARGEST_BATCH]
        filters = Hypotheses(self._model, len(wanted), self._cameras)
        if not self._samples:
            return filters
        now = self._samples[0].seconds
        for sample in self._samples:
            filters.predict(sample.seconds - now)
            now = sample.seconds
            pairs = [
                (row, *measured)
                for row, strands in enumerate(wanted)
                for strand, measured in sample.seen.items()
                if strand in strands
            ]
            if pairs:
                rows, directions, deviations = zip(*pairs, strict=True)
                filters.measure(
                    np.array(rows), sample.camera, sample.position, np.array(directions), np.array(deviations)
                )
        filters.predict(until - now)
        return filters
