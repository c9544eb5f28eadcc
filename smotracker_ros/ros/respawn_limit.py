"""How often a process may die before it is given up; needs nothing, since launch files use it, too."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

CRASH_CODE = 70
"""Exit code after an error that is the program's own fault (`EX_SOFTWARE` of sysexits.h): worth another start.

A node that ends with 1 was started wrongly, which another start does not change.
"""

DEATHS = 5
"""Deaths within :data:`WITHIN_SECONDS` after which a process is not started again."""
WITHIN_SECONDS = 600.0


class RespawnLimit:
    """Counts the deaths of a process that is started again each time.

    Args:
        deaths: so many within `seconds` are too many; 0: never.
        seconds: older deaths are forgotten.
        clock: seconds that only grow.
    """

    def __init__(
        self, deaths: int = DEATHS, seconds: float = WITHIN_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._seconds, self._clock = deaths, seconds, clock
        self._times: deque[float] = deque(maxlen=max(deaths, 1))

    def reached(self) -> bool:
        """Note a death; whether there were too many."""
        now = self._clock()
        self._times.append(now)
        return 0 < self._most <= len(self._times) and now - self._times[0] <= self._seconds

    def __str__(self) -> str:
        return f"it died {self._most} times within {self._seconds / 60:g} minutes"
