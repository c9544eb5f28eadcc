"""Views of several cameras in the order of their stamps, though they come in any order."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable

from smotracker_ros.space.fusion.sightings import View

NANOSECONDS = 1_000_000_000
MOST_WAITING = 1000
"""Views that wait at most; beyond that the oldest is no longer held."""

_JUMP_NS = NANOSECONDS
"""A stamp further off than this is a clock that was set."""


class TimeOrder:
    """Holds views until those of the other cameras are there, or the time for that is up.

    Decides by stamps alone, so that a recording gives the same answers as the live stream.

    Args:
        cameras: names of all cameras.
        hold_seconds: how far a view may lie behind the newest one of all cameras.
        warn: gets words on clocks that are off.

    Attributes:
        late: views by camera that came too late or without order, and were left out.
        resets: how often time jumped back.
    """

    def __init__(self, cameras: tuple[str, ...], hold_seconds: float, warn: Callable[[str], None]) -> None:
        self._cameras, self._warn = cameras, warn
        self._hold = round(hold_seconds * NANOSECONDS)
        self.late: Counter[str] = Counter()
        self.resets = 0
        self.clear()

    def clear(self) -> None:
        """Forget what waits, and all times."""
        self._waiting: list[tuple[int, str, int, View]] = []
        self._count = itertools.count()
        self._newest: dict[str, int] = {}
        self._ahead: dict[str, tuple[int, int]] = {}
        self._released: int | None = None

    @property
    def newest_ns(self) -> int | None:
        """The newest stamp of all cameras; None before there is one."""
        return max(self._newest.values(), default=None)

    def add(self, view: View) -> tuple[list[View], bool]:
        """Take a view.

        Returns:
            The views whose turn it is now, by increasing stamps; and whether time has jumped back before them, so that
            all targets are to be forgotten.
        """
        jumped = self._jumped_back(view)
        if jumped:
            self.resets += 1
            self.clear()
        elif not self._may_enter(view):
            self.late[view.camera] += 1
            return [], False
        self._newest[view.camera] = view.timestamp_ns
        heapq.heappush(self._waiting, (view.timestamp_ns, view.camera, next(self._count), view))
        return self._release(), jumped

    def flush(self) -> list[View]:
        """All views that wait, at the end of a recording."""
        views = [heapq.heappop(self._waiting)[-1] for _ in range(len(self._waiting))]
        if views:
            self._released = views[-1].timestamp_ns
        return views

    def _jumped_back(self, view: View) -> bool:
        """Whether a camera's time has gone back, and not only to where the others are."""
        before, newest = self._newest.get(view.camera), self.newest_ns
        if before is None or newest is None or view.timestamp_ns >= before - _JUMP_NS:
            return False
        others = [stamp for camera, stamp in self._newest.items() if camera != view.camera]
        # a camera that was ahead of all others alone comes back to them
        return not others or view.timestamp_ns < max(others) - _JUMP_NS

    def _may_enter(self, view: View) -> bool:
        """Whether a view has its place in time."""
        before, newest = self._newest.get(view.camera), self.newest_ns
        if newest is None:
            return True
        if view.timestamp_ns > newest + _JUMP_NS:
            return self._accept_ahead(view)
        self._ahead.clear()  # as long as one camera goes on as before, nobody's jump is the new time
        if before is not None and view.timestamp_ns <= before:
            return False
        if self._released is not None and view.timestamp_ns < self._released:
            behind = (newest - view.timestamp_ns) / NANOSECONDS
            self._warn(
                f"{view.camera} is {behind:.2f} s behind the other cameras, more than hold_seconds: its images are "
                "left out; synchronise the clocks, or raise hold_seconds"
            )
            return False
        return True

    def _accept_ahead(self, view: View) -> bool:
        """Whether a jump forward is the new time: all cameras follow it, or no other one is left."""
        others = [item for camera, item in self._ahead.items() if camera != view.camera]
        first, passed = self._ahead.get(view.camera, (view.timestamp_ns, 0))
        passed = view.timestamp_ns - first
        if not 0 <= passed < 10 * _JUMP_NS:
            first, passed = view.timestamp_ns, 0
        self._ahead[view.camera] = first, passed
        followed = any(abs(start + done - view.timestamp_ns) <= _JUMP_NS for start, done in others)
        if followed or passed >= _JUMP_NS or len(self._cameras) == 1 or set(self._newest) == {view.camera}:
            self._ahead.clear()
            return True
        self._warn(
            f"{view.camera} is {(view.timestamp_ns - max(self._newest.values())) / NANOSECONDS:.1f} s ahead of the "
            "other cameras: its images are left out until these follow or fall silent; synchronise the clocks"
        )
        return False

    def _release(self) -> list[View]:
        """Views that no other camera can precede any more, or that have waited long enough."""
        newest = max(self._newest.values())
        slowest = min(self._newest.values()) if len(self._newest) == len(self._cameras) else 0
        until = max(slowest, newest - self._hold)
        views = []
        while self._waiting and (self._waiting[0][0] <= until or len(self._waiting) > MOST_WAITING):
            views.append(heapq.heappop(self._waiting)[-1])
        if views:
            self._released = views[-1].timestamp_ns
        return views
