"""Who is who: which tracks of different cameras are one target, and which are not after all.

Two sets of tracks are compared by evidence: how well one filter explains both over the recent past, against two. It
holds epipolar distance, time and motion in one number, errors of poses and clocks included. Rays of two targets that
cross by chance (a ghost) fit at one moment, and cease to as the targets move; as long as two partners are about as
likely, none is chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smotracker_ros.space.fusion.hypotheses import PLACE, VELOCITY, Float64Array, Hypotheses
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.fusion.target import Target
from smotracker_ros.space.fusion.window import STEP_SECONDS, Strand, Window

# Log-odds, before anything is seen, that a track of one camera is a given one of another camera
PRIOR = -2.0
# A merger is undone only if that is so much more likely
_SPLIT_MARGIN = 6.0
# Both must have been watched for so long before they are merged; and anew after they were parted
_OVERLAP_SECONDS, _PARTED_SECONDS = 0.4, 2.0
# Candidates whose present directions are less likely than this, against any direction, are not looked at
_GATE = -3.0
_MOST_PAIRS = 48
_SPLITS_EACH = 5
_MOST_PARTED = 20


class Reviewer:
    """Merges and parts targets; called a few times per second.

    Args:
        settings: of the fusion.
        window: the recent past.
    """

    def __init__(self, settings: FusionSettings, window: Window) -> None:
        self._settings, self._window = settings, window
        self._threshold = float(np.log(settings.merge_probability / (1 - settings.merge_probability)))
        self._turn = 0

    def review(self, targets: list[Target], seconds: float) -> None:
        """Change the list of targets in place.

        Args:
            targets: all; their filters stand at `seconds`.
            seconds: the time.
        """
        self._turn += 1
        self._merge(targets, seconds)
        if self._turn % _SPLITS_EACH == 0:
            self._split(targets, seconds)

    def _merge(self, targets: list[Target], seconds: float) -> None:
        pairs = self._candidates(targets, seconds)
        for target in targets:
            target.doubt = -np.inf
        if not pairs:
            return
        alone = sorted({index for pair in pairs for index in pair})
        sets = [frozenset(targets[index].strands) for index in alone]
        joint = [frozenset(targets[i].strands + targets[j].strands) for i, j in pairs]
        filters = self._window.explain(sets + joint, seconds)
        own = dict(zip(alone, filters.evidence, strict=False))
        odds = {
            pair: float(PRIOR + filters.evidence[len(sets) + row] - own[pair[0]] - own[pair[1]])
            for row, pair in enumerate(pairs)
            if len(sets) + row < len(filters.evidence)
        }
        gone: set[int] = set()
        for pair, value in sorted(odds.items(), key=lambda item: -item[1]):
            first, second = pair
            for index in pair:
                targets[index].doubt = max(targets[index].doubt, value)
            if gone & set(pair) or value - self._rivals(pair, odds) < self._threshold:
                continue
            if not self._watched(targets[first], targets[second], seconds):
                continue
            row = len(sets) + pairs.index(pair)
            self._unite(targets[first], targets[second])
            targets[first].replace_filter(filters.take(row), seconds)
            targets[first].doubt = -np.inf
            gone |= {first, second}
            targets[second].strands = []
        targets[:] = [target for target in targets if target.strands]

    def _candidates(self, targets: Sequence[Target], seconds: float) -> list[tuple[int, int]]:
        """Pairs that may be one target by what is seen now; the likeliest ones, if there are too many."""
        fits = self._fits(targets, seconds)
        fits = np.minimum(fits, fits.T)
        likely = np.argwhere(np.triu(fits > _GATE, 1))
        ordered = sorted(likely.tolist(), key=lambda pair: -fits[pair[0], pair[1]])
        fitting = ((i, j) for i, j in ordered if targets[i].may_be(targets[j]))
        return list(itertools.islice(fitting, _MOST_PAIRS))

    def _fits(self, targets: Sequence[Target], seconds: float) -> Float64Array:
        """Log-density (N, N) of the present directions of each target (column) as those of each other one (row).

        Roughly: what is not seen yet of the errors of clocks and poses must not shut the gate.
        """
        fits = np.zeros((len(targets), len(targets)))
        parts = [target.filter for target in targets]
        owners = np.repeat(np.arange(len(targets)), [part.mean.shape[1] for part in parts])
        starts = np.searchsorted(owners, np.arange(len(targets)))
        if not len(owners):
            return fits
        mean = np.concatenate([part.mean[0, :, :6] for part in parts])
        covariance = np.concatenate([part.covariance[0, :, PLACE, PLACE] for part in parts])
        weights = np.concatenate([part.log_weights[0] for part in parts])
        clock = self._settings.clock_deviation * np.sqrt((mean[:, VELOCITY] ** 2).sum(axis=1))
        for column, target in enumerate(targets):
            for strand in target.strands:
                if seconds - strand.last >= 2 * STEP_SECONDS:
                    continue
                offset = mean[:, PLACE] - strand.position
                ranges = np.maximum(offset @ strand.direction, 1.0)
                across = np.linalg.svd(strand.direction[None])[2][1:]
                miss = offset @ across.T
                spread = across @ covariance @ across.T
                deviation = 2 * strand.deviation + 2 * np.radians(self._settings.pose_deviation) + 0.001
                spread[:, [0, 1], [0, 1]] += ((deviation * ranges) ** 2 + clock**2)[:, None]
                squared = np.einsum("ki,ki->k", miss, np.linalg.solve(spread, miss[..., None])[..., 0])
                density = weights - 0.5 * (squared + np.log(np.linalg.det(spread))) + 2 * np.log(ranges)
                best = np.maximum.reduceat(density, starts) - np.log(2 * np.pi)
                fits[:, column] = np.minimum(fits[:, column], best)
        return fits

    @staticmethod
    def _rivals(pair: tuple[int, int], odds: dict[tuple[int, int], float]) -> float:
        """Log-odds of what else could be, of all partners that cannot be one target with those of the pair.

        Each partner of either stands against the pair, unless it goes well with the other one, too: in three cameras
        three tracks may be one target.
        """
        values = [0.0]
        for other, value in odds.items():
            shared = set(pair) & set(other)
            if len(shared) != 1:
                continue
            (third,), (fourth,) = set(other) - shared, set(pair) - shared
            if odds.get((min(third, fourth), max(third, fourth)), -1.0) <= 0.0:
                values.append(value)
        return float(np.logaddexp.reduce(values))

    @staticmethod
    def _watched(one: Target, two: Target, seconds: float) -> bool:
        """Whether both have been seen for long enough to tell."""
        newer = max(
            min(strand.first for strand in target.strands if strand.last > seconds - 2 * STEP_SECONDS)
            if any(strand.last > seconds - 2 * STEP_SECONDS for strand in target.strands)
            else target.born
            for target in (one, two)
        )
        parted = max(one.parted.get(two.serial, -np.inf), two.parted.get(one.serial, -np.inf))
        return seconds - newer >= _OVERLAP_SECONDS and seconds - parted >= _PARTED_SECONDS

    @staticmethod
    def _unite(one: Target, two: Target) -> None:
        """The first takes over the second; the older id stays."""
        known = [target.id for target in (one, two) if target.id]
        one.id = min(known, default=0)
        one.strands = sorted(one.strands + two.strands, key=lambda strand: (strand.camera, strand.first))
        one.born = min(one.born, two.born)
        one.classes += two.classes
        one.parted = dict(sorted({**one.parted, **two.parted}.items())[-_MOST_PARTED:])

    def _split(self, targets: list[Target], seconds: float) -> None:
        """Part from targets the tracks that go better alone."""
        several = [target for target in targets if len(self._recent(target, seconds)) > 1]
        sets: list[frozenset[Strand]] = []
        for target in several:
            for strand in self._recent(target, seconds):
                sets += [frozenset(target.strands) - {strand}, frozenset({strand})]
            sets.append(frozenset(target.strands))
        if not sets:
            return
        filters = self._window.explain(sets, seconds)
        row = 0
        for target in several:
            recent = self._recent(target, seconds)
            whole = row + 2 * len(recent)
            if whole >= len(filters.evidence):
                return  # too many for one turn
            gains = [filters.evidence[row + 2 * n] + filters.evidence[row + 2 * n + 1] for n in range(len(recent))]
            best = int(np.argmax(gains))
            if gains[best] - PRIOR - filters.evidence[whole] > _SPLIT_MARGIN:
                strand = recent[best]
                rest, own = filters.take(row + 2 * best), filters.take(row + 2 * best + 1)
                targets.append(part(target, strand, own, seconds))
                target.replace_filter(rest, seconds)
            row = whole + 1

    @staticmethod
    def _recent(target: Target, seconds: float) -> list[Strand]:
        return [strand for strand in target.strands if seconds - strand.last < 2 * STEP_SECONDS]


def part(target: Target, strand: Strand, own: Hypotheses, seconds: float) -> Target:
    """Take a track from a target and make a target of it, which has no id yet.

    Args:
        target: loses it.
        strand: the track. What was before belongs to the target; it begins anew.
        own: filter of the new target.
        seconds: the time.
    """
    target.strands.remove(strand)
    other = Target([replace(strand, first=seconds, missed_since=None)], own, seconds, seconds)
    target.parted = {number: then for number, then in target.parted.items() if seconds - then < _PARTED_SECONDS}
    other.parted[target.serial] = target.parted[other.serial] = seconds
    return other
