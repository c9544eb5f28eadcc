"""Association: one global assignment of masklets and detections by calibrated log-odds.

SMOTracker (AAAI 2026) lets three cues - overlap, appearance, shape - propose matches in parallel and settles their
conflicts. Here the three are terms of one sum, the log-odds of a pair being the same object; a pair that is likelier
not to be is left unmatched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.tracking.costs import AFFINITY, Affinity, Side


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


def assign(cost: FloatArray, gate: float) -> list[tuple[int, int]]:
    """One-to-one assignment of least total cost, where leaving a pair unmatched costs as much as the gate.

    Args:
        cost: float32 (N, M).
        gate: pairs above are not matched.
    """
    if cost.size == 0:
        return []
    # what lies above the gate is as good as unmatched, so that it displaces no good pair
    rows, columns = linear_sum_assignment(np.minimum(cost - gate, 0))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] < gate]


def associate(masklets: Side, detections: Side, affinity: Affinity = AFFINITY, lost: bool = False) -> Association:
    """Match masklets with detections so that the sum of log-odds is greatest.

    Args:
        masklets: N of them.
        detections: M of them.
        affinity: log-odds of pairs.
        lost: the masklets are of LOST targets.

    Returns:
        At most one match per masklet and per detection, each likelier than not.
    """
    matches = assign(-affinity.log_odds(masklets, detections, lost), 0.0)
    rows, columns = {row for row, _ in matches}, {column for _, column in matches}
    return Association(
        tuple(sorted(matches)),
        tuple(i for i in range(len(masklets)) if i not in rows),
        tuple(i for i in range(len(detections)) if i not in columns),
    )
