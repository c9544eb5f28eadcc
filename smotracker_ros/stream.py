"""The order of a stream's images: what comes too late is refused, and a break in time starts anew."""

from __future__ import annotations

from smotracker_ros.frames import FrameError

_LARGEST_STEP_BACK = 1_000_000_000
"""Nanoseconds. An image that is older than the one before by more belongs to a recording that was begun anew."""


class OutOfOrderError(FrameError):
    """An image that is not later than the one before."""


class FrameOrder:
    """Numbers the images of a stream.

    - Time stamps that go back by up to a second mean an image that was overtaken or sent twice: it is refused. Those
      that go back further mean a recording that starts anew, and so does another image size: tracking starts anew, too.
    - Time stamps that jump forward are a gap: tracks live on if it is no longer than `lost_seconds`.
    """

    def __init__(self) -> None:
        self._index = 0
        self._previous: int | None = None
        self._size: tuple[int, int] | None = None

    def restart(self) -> None:
        """Forget the past: the next image is the first one."""
        self._index, self._previous, self._size = 0, None, None

    def check(self, timestamp_ns: int) -> None:
        """Refuse an image by its time stamp, before it is decoded.

        Raises:
            OutOfOrderError: if it is not later than the one before.
        """
        previous = self._previous
        if previous is not None and previous - _LARGEST_STEP_BACK <= timestamp_ns <= previous:
            raise OutOfOrderError("its time stamp is not later than the previous one's")

    def place(self, timestamp_ns: int, size: tuple[int, int]) -> tuple[int, bool]:
        """Take the next image.

        Args:
            timestamp_ns: its time stamp.
            size: its height and width in pixels.

        Returns:
            Its number, and whether tracking has to start anew with it.

        Raises:
            OutOfOrderError: if it is not later than the one before.
        """
        self.check(timestamp_ns)
        anew = self._previous is not None and (timestamp_ns < self._previous or size != self._size)
        if anew:
            self.restart()
        index = self._index
        self._index, self._previous, self._size = index + 1, timestamp_ns, size
        return index, anew
