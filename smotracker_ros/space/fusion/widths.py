"""Widths as evidence of who is who: one target is as wide from every camera, two seldom are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from smotracker_ros.space.fusion.hypotheses import Float64Array
from smotracker_ros.space.fusion.window import Strand

# Standard deviations of logarithms: of one target's width from different sides, and of the widths of all that flies
_FROM_OTHER_SIDES, _OF_ALL = 0.4, 1.0
# A box's width errs by so many times the error of its centre: programs and people do not agree where a target ends
_ERROR_RATIO = 4.0


def width_log_odds(one: Iterable[Strand], two: Iterable[Strand], place: Float64Array) -> float:
    """How much likelier the widths of two sets of tracks are if they are one target at a place than if they are two.

    Widths are taken as log-normal; a set's is the mean over its tracks, weighed by how well each is known. Of targets
    of a few pixels they say next to nothing.

    Args:
        one: tracks of one target.
        two: of what may be another.
        place: float64 (3,), where both are if they are one, metres.

    Returns:
        Logarithm of the ratio of both densities; 0 where a width is not known.
    """
    first, second = _width(one, place), _width(two, place)
    if first is None or second is None:
        return 0.0
    squared = (first[0] - second[0]) ** 2
    same = first[1] + second[1] + 2 * _FROM_OTHER_SIDES**2
    apart = same + 2 * _OF_ALL**2
    return float(0.5 * (np.log(apart / same) + squared * (1 / apart - 1 / same)))


def _width(strands: Iterable[Strand], place: Float64Array) -> tuple[float, float] | None:
    """Logarithm of the width in metres of what is at a place, and the variance of the boxes' errors in it."""
    values = [
        (
            np.log(strand.width * max(float(np.linalg.norm(place - strand.position)), 1e-6)),
            (_ERROR_RATIO * strand.deviation / strand.width) ** 2,
        )
        for strand in strands
        if strand.width > 0
    ]
    if not values:
        return None
    widths, variances = np.array(values).T
    weights = 1 / variances
    # boxes of one detector err alike: more tracks do not make the mean surer than the best of them
    return float(weights @ widths / weights.sum()), float(variances.min())
