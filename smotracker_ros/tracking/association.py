"""Parallel proposals, their union, and conflict resolution, as SMOTracker (AAAI 2026) associates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.tracking.costs import CUES, Cue, Side


@dataclass(frozen=True)
class Association:
    """Result of an association.

    Attributes:
        matches: (masklet index, detection index) pairs.
        unmatched_masklets: indices of masklets without a detection.
        unmatched_detections: indices of detections without a masklet.
    """

    matches: tuple[tuple[int, int], ...]
    unmatched_masklets: tuple[int, ...]
    unmatched_detections: tuple[int, ...]


def propose(cost: FloatArray, gate: float) -> list[tuple[int, int]]:
    """One-to-one assignment of least total cost among the pairs that pass the gate.

    Args:
        cost: float32 (N, M) in [0, 1].
        gate: pairs above are not proposed.
    """
    if cost.size == 0:
        return []
    # a large constant keeps gated pairs from displacing good ones; they are filtered out afterwards
    rows, columns = linear_sum_assignment(np.where(cost <= gate, cost, 1e3))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] <= gate]


def associate(masklets: Side, detections: Side, cues: Sequence[Cue] = CUES, least_cues: int = 1) -> Association:
    """Match masklets with detections.

    Every cue proposes an assignment by itself. The union of the proposals is taken; where two proposals claim the same
    masklet or detection, the one with more votes wins, then the likelier one: that whose cues' calibrated log-odds have
    the higher sum.

    Args:
        masklets: N of them.
        detections: M of them.
        cues: cue models.
        least_cues: cues that must propose a pair.

    Returns:
        At most one match per masklet and per detection.
    """
    if not len(masklets) or not len(detections):
        return Association((), tuple(range(len(masklets))), tuple(range(len(detections))))
    costs = [cue.function(masklets, detections) for cue in cues]
    votes: Counter[tuple[int, int]] = Counter()
    agreeing: Counter[tuple[int, int]] = Counter()
    for cue, cost in zip(cues, costs, strict=True):
        for pair in propose(cost, cue.gate):
            votes[pair] += cue.votes
            agreeing[pair] += 1
    odds = np.sum([cue.log_odds(cost) for cue, cost in zip(cues, costs, strict=True)], axis=0)
    # the pair itself is the last key, so that ties fall the same way on every run
    agreed = [pair for pair, count in agreeing.items() if count >= least_cues]
    order = sorted(agreed, key=lambda pair: (-votes[pair], -float(odds[pair]), pair))
    used_masklets: set[int] = set()
    used_detections: set[int] = set()
    matches = []
    for masklet, detection in order:
        if masklet not in used_masklets and detection not in used_detections:
            matches.append((masklet, detection))
            used_masklets.add(masklet)
            used_detections.add(detection)
    return Association(
        tuple(sorted(matches)),
        tuple(i for i in range(len(masklets)) if i not in used_masklets),
        tuple(i for i in range(len(detections)) if i not in used_detections),
    )
