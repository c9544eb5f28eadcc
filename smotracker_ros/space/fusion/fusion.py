"""The fusion: views of several cameras in, targets in space out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from smotracker_ros.core.notices import Notices
from smotracker_ros.space.fusion.hypotheses import Hypotheses, MotionModel
from smotracker_ros.space.fusion.review import Reviewer, part
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.fusion.sightings import FusedTargets, Sighting, View
from smotracker_ros.space.fusion.target import Target
from smotracker_ros.space.fusion.time_order import NANOSECONDS, TimeOrder
from smotracker_ros.space.fusion.window import STEP_SECONDS, Strand, Window

# A track that disagrees with its target for so long has gone over to another one
_MISSED_SECONDS = 0.3
# A target that may well be one that is there already waits for so long before it gets an id of its own
_DOUBT_SECONDS = 2.0
_MOST_STRANDS = 16
_MOST_CLASSES = 20

_logger = logging.getLogger(__name__)


class Fusion:
    """Gives the tracks of several cameras one id and a place in space.

    The same views in the same order give the same answers; no clock is read.

    Args:
        cameras: names of all cameras.
        settings: see :class:`FusionSettings`.
        warn: gets words on views that cannot be used.

    Attributes:
        order: what puts the views in order of time.
        next_id: the next target's; ids go on after a reset.
        refused: tracks for which there was no room.

    Raises:
        ValueError: if two cameras have the same name, or there is none.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        settings: FusionSettings | None = None,
        warn: Callable[[str], None] = _logger.warning,
    ) -> None:
        self.cameras = tuple(cameras)
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise ValueError(f"the cameras need names that differ, not {', '.join(self.cameras) or 'none at all'}")
        self.settings = settings or FusionSettings()
        self._numbers = {name: number for number, name in enumerate(self.cameras)}
        self._model, self._warn = MotionModel.of(self.settings), Notices(warn).warn
        self.order = TimeOrder(self.cameras, self.settings.hold_seconds, self._warn)
        self.next_id, self.refused = 1, 0
        self.reset()

    def reset(self) -> None:
        """Forget all targets and all that waits; ids go on."""
        self.order.clear()
        self._forget()

    @property
    def counts(self) -> Counter[str]:
        """Targets by what is known of them: "placed", "directions", "unconfirmed"."""
        return Counter(
            "unconfirmed" if not target.id else "placed" if len(target.cameras) > 1 else "directions"
            for target in self._targets
        )

    def add(self, view: View) -> list[FusedTargets]:
        """Take a view.

        Returns:
            Targets for each view whose turn it is now: this one's, if no other camera is waited for.

        Raises:
            KeyError: if there is no such camera.
        """
        if view.camera not in self._numbers:
            raise KeyError(f"there is no camera {view.camera}; there are {', '.join(self.cameras)}")
        views, jumped = self.order.add(view)
        if jumped:
            self._warn("time jumped back: all targets are forgotten")
            self._forget()
        return [self._fuse(item) for item in views]

    def flush(self) -> list[FusedTargets]:
        """Targets for the views that still wait, at the end of a recording."""
        return [self._fuse(view) for view in self.order.flush()]

    def _forget(self) -> None:
        self._targets: list[Target] = []
        self._by_track: dict[tuple[int, int], tuple[Strand, Target]] = {}
        self._start_ns: int | None = None
        self._window = Window(self._model, self.settings.window_seconds, len(self.cameras))
        self._reviewer = Reviewer(self.settings, self._window)
        self._next_review = 0.0

    def _fuse(self, view: View) -> FusedTargets:
        if self._start_ns is None:
            self._start_ns = view.timestamp_ns
        seconds = (view.timestamp_ns - self._start_ns) / NANOSECONDS
        camera = self._numbers[view.camera]
        for target in self._targets:
            target.predict(seconds)
        strands = [
            strand
            for sighting in sorted(view.sightings, key=lambda item: item.track)
            if _is_usable(sighting, self.settings.min_probability)
            and (strand := self._take(camera, view, sighting, seconds)) is not None
        ]
        self._window.add(seconds, camera, view.position, strands)
        if seconds >= self._next_review:
            self._next_review = (np.floor(seconds / STEP_SECONDS + 1e-6) + 1) * STEP_SECONDS
            self._tidy(seconds)
            self._reviewer.review(self._targets, seconds)
            self._index()
            for target in self._targets:
                target.settle()
        return self._answer(view, seconds)

    def _take(self, camera: int, view: View, sighting: Sighting, seconds: float) -> Strand | None:
        """Hand a sighting to the target of its track, or begin one; None if there is no room."""
        key = camera, sighting.track
        known = self._by_track.get(key)
        if known is None and len(self._targets) >= self.settings.max_targets:
            self.refused += 1
            self._warn(
                f"there are {self.settings.max_targets} targets already: further tracks are left out; raise "
                "max_targets, or min_probability"
            )
            return None
        strand = known[0] if known else Strand(
            camera, sighting.track, seconds, seconds, sighting.direction, sighting.deviation, view.position
        )  # fmt: skip
        strand.widen(sighting.size, seconds - strand.last)
        strand.last, strand.direction, strand.deviation = seconds, sighting.direction, sighting.deviation
        strand.position, strand.class_name = view.position, sighting.class_name
        strand.probability, strand.size, strand.friendly = sighting.probability, sighting.size, sighting.friendly
        target = known[1] if known else self._begin(strand, seconds)
        if sighting.class_name and (sighting.class_name in target.classes or len(target.classes) < _MOST_CLASSES):
            target.classes[sighting.class_name] += 1
        if target.measure(strand):
            strand.missed_since = None
        elif strand.missed_since is None:
            strand.missed_since = seconds
        elif seconds - strand.missed_since >= _MISSED_SECONDS:
            strand, target = self._part(strand, target, seconds)
        self._by_track[key] = strand, target
        return strand

    def _begin(self, strand: Strand, seconds: float) -> Target:
        target = Target([strand], Hypotheses(self._model, 1, len(self.cameras)), seconds, seconds)
        self._targets.append(target)
        return target

    def _part(self, strand: Strand, target: Target, seconds: float) -> tuple[Strand, Target]:
        """A track has left its target: it becomes one of its own, or the target begins anew if it has no other."""
        fresh = part(target, strand, Hypotheses(self._model, 1, len(self.cameras)), seconds)
        fresh.measure(fresh.strands[0])
        if target.strands:
            self._targets.append(fresh)
            return fresh.strands[0], fresh
        target.strands = fresh.strands
        target.replace_filter(fresh.filter, seconds)
        return target.strands[0], target

    def _tidy(self, seconds: float) -> None:
        """Forget tracks and targets that have not been seen for long."""
        oldest = seconds - self.settings.window_seconds
        for target in self._targets:
            last = target.last
            kept = [strand for strand in target.strands if strand.last >= oldest]
            target.strands = sorted(kept, key=lambda strand: strand.last)[-_MOST_STRANDS:]
            if not target.strands and last >= oldest:
                target.strands = kept
        self._targets[:] = [target for target in self._targets if target.strands]

    def _index(self) -> None:
        """Where each track belongs now."""
        self._by_track = {
            (strand.camera, strand.track): (strand, target) for target in self._targets for strand in target.strands
        }

    def _answer(self, view: View, seconds: float) -> FusedTargets:
        found = []
        for target in self._targets:
            age = seconds - target.born
            if not target.id and age >= self.settings.confirm_seconds and self._is_own(target, age):
                target.id, self.next_id = self.next_id, self.next_id + 1
            if target.id and seconds - target.last <= self.settings.coast_seconds:
                seen_ns = view.timestamp_ns - round((seconds - target.last) * NANOSECONDS)
                found.append(target.estimate(self.cameras, seconds, seen_ns))
        return FusedTargets(view.timestamp_ns, view.camera, tuple(sorted(found, key=lambda item: item.id)))

    @staticmethod
    def _is_own(target: Target, age: float) -> bool:
        """Whether a target is no other one that has its id already."""
        return target.doubt < 0.0 or age >= _DOUBT_SECONDS


def _is_usable(sighting: Sighting, least: float) -> bool:
    numbers = np.append(sighting.direction, sighting.deviation)
    return bool(
        sighting.probability >= least
        and np.isfinite(numbers).all()
        and sighting.deviation > 0
        and abs(float(sighting.direction @ sighting.direction) - 1.0) < 1e-3
    )
