"""Frame rates from time stamps, which need not be good."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RATE_FRAMES = 61
"""So many time stamps say enough."""

_LONGEST_STEP = 4
_HIGHEST_RATE = 1000.0


def frame_rate(timestamps_ns: Sequence[int]) -> float | None:
    """Frames per second: one through the median of the time steps.

    Steps over a few frames are taken where there are enough, since some drivers hand out their images in pairs. A few
    bad stamps - images that a driver had buffered, one of long ago, a clock that is set - do not change it.

    Args:
        timestamps_ns: times of successive images in nanoseconds.

    Returns:
        The rate, at most 1000; None if no time passes.
    """
    times = np.asarray(timestamps_ns, dtype=np.int64)
    over = min(max((len(times) - 1) // 4, 1), _LONGEST_STEP)
    steps = (times[over:] - times[:-over]) / over
    steps = steps[steps > 0]
    return min(1e9 / float(np.median(steps)), _HIGHEST_RATE) if len(steps) else None
