"""Who is who: which tracks of different cameras are one target, and which are not after all.

Two sets of tracks are compared by evidence: how well one filter explains both over the recent past, against two. It
holds epipolar distance, time and motion in one number, errors of poses and clocks included. Rays of two targets that
cross by chance (a ghost) fit at one moment, and cease to as the targets move; as long as two partners are about as
likely, none is chosen. Widths have their say, too (:mod:`smotracker_ros.space.fusion.widths`): at the place of a ghost
one target would be wider from one camera than from the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smotracker_ros.space.fusion.hypotheses import PLACE, VELOCITY, Float64Array, Hypotheses
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.fusion.target import Target
from smotracker_ros.space.fusion.widths import width_log_odds
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
        places = {index: row for row, index in enumerate(alone)}
        odds = {
            pair: self._odds(
                filters, len(sets) + row, [places[index] for index in pair], [targets[index].strands for index in pair]
            )
            for row, pair in enumerate(pairs)
            if len(sets) + row < len(filters.together)
        }
        gone: set[int] = set()
        for pair, value in sorted(odds.items(), key=lambda item: -item[1]):
            first, second = pair
            for index, other in (pair, pair[::-1]):
                if targets[other].id or len(targets[index].cameras) < 2:
                    targets[index].doubt = max(targets[index].doubt, value)
            if gone & set(pair) or value - self._rivals(pair, odds) < self._threshold:
                continue
            if not self._watched(targets[first], targets[second], seconds):
                continue
            row = len(sets) + pairs.index(pair)
            self._unite(targets[first], targets[second])
            targets[first].replace_filter(filters.take(row), seconds)
            known = (
                v for key, v in odds.items() for i in key if i not in pair and set(key) & set(pair) and targets[i].id
            )
            targets[first].doubt = max(known, default=-np.inf)
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
        three tracks may be one target. What stands against the pair counts with what each choice leaves to those that
        it leaves alone: where two rays of each camera cross in four places, the two pairs together are compared.
        """

        def best(target: int, taken: set[int]) -> float:
            """What a target may still be one with."""
            return max((v for key, v in odds.items() if target in key and not (set(key) - {target}) & taken), default=0)

        values = [0.0]
        for other, value in odds.items():
            shared = set(pair) & set(other)
            if len(shared) != 1:
                continue
            (third,), (fourth,) = set(other) - shared, set(pair) - shared
            if odds.get((min(third, fourth), max(third, fourth)), -1.0) <= 0.0:
                taken = {*pair, third}
                values.append(value + max(best(fourth, taken), 0.0) - max(best(third, taken), 0.0))
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
            if whole >= len(filters.together):
                return  # too many for one turn
            odds = [
                self._odds(
                    filters,
                    whole,
                    [row + 2 * n, row + 2 * n + 1],
                    [[item for item in target.strands if item is not strand], [strand]],
                )
                for n, strand in enumerate(recent)
            ]
            worst = int(np.argmin(odds))
            if odds[worst] < -_SPLIT_MARGIN:
                strand = recent[worst]
                rest, own = filters.take(row + 2 * worst), filters.take(row + 2 * worst + 1)
                targets.append(part(target, strand, own, seconds))
                target.replace_filter(rest, seconds)
            row = whole + 1

    def _odds(
        self, filters: Hypotheses, joint: int, apart: Sequence[int], strands: Sequence[Sequence[Strand]]
    ) -> float:
        """Log-odds that two sets of tracks are one target.

        Two that are apart are judged at the distance at which they would be one: that something flies smoothly, or
        hardly at all, must not speak for its being far away. That one target would fly too fast there does speak
        against it.

        Args:
            filters: of the sets and of their union.
            joint: row of the union.
            apart: rows of both sets.
            strands: tracks of both sets.
        """
        state = filters.likeliest(joint)
        gained = filters.evidence(joint) - sum(filters.evidence(row, state[PLACE]) for row in apart)
        swift = 0.5 * float(state[VELOCITY] @ state[VELOCITY]) / self._settings.speed**2
        one, two = strands
        return PRIOR + gained - swift + width_log_odds(one, two, state[PLACE])

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
