"""Time of a live stream's frames."""

from __future__ import annotations

_LARGEST_STEP = 10_000_000_000
"""Nanoseconds. Where a stream's own time makes a larger step, or goes back, it was set."""

_LARGEST_DELAY = 10_000_000_000
"""Nanoseconds. Frames that seem to be on their way for longer were taken later: the sender had paused."""

_DRIFT = 1e-3
"""Share of the time that passed by which a camera's clock may be slow; one that is fast shows by itself."""


class LiveClock:
    """Turns the times of a live stream into times at which its frames were taken.

    The stream's own times say best how much time passed from frame to frame, and nothing of when that was. The arrival
    of the frames does: none was taken after it arrived. The least delayed frame therefore ties the two together.
    Frames without a time were taken when they arrived.
    """

    def __init__(self) -> None:
        self._offset: int | None = None
        self._own: int | None = None
        self._previous: int | None = None

    def connect(self) -> None:
        """Begin with a new connection, whose time may be another one."""
        self._offset = self._own = None

    def stamp(self, seconds: float | None, arrived_ns: int) -> int:
        """When the next frame was taken.

        Args:
            seconds: its time in the stream; None: it has none.
            arrived_ns: when it arrived, in nanoseconds since 1970.

        Returns:
            Nanoseconds since 1970, later than the frame before.
        """
        taken = arrived_ns if seconds is None else round(seconds * 1e9) + self._tie(round(seconds * 1e9), arrived_ns)
        if self._previous is not None:
            taken = max(taken, self._previous + 1)
        self._previous = taken
        return taken

    def _tie(self, own: int, arrived: int) -> int:
        """Nanoseconds from the stream's time to ours."""
        apart = arrived - own
        offset, before = self._offset, self._own
        if offset is None or before is None or not 0 < own - before <= _LARGEST_STEP:
            offset = apart
        offset = min(offset + round(_DRIFT * max(own - (before if before is not None else own), 0)), apart)
        if apart - offset > _LARGEST_DELAY:
            offset = apart
        self._offset, self._own = offset, own
        return offset
