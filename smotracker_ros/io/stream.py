"""The order of a stream's images: what comes too late is refused, and a break in time starts anew."""

from __future__ import annotations

from collections.abc import Callable

from smotracker_ros.core.frames import Frame, FrameError

_LARGEST_STEP_BACK = 1_000_000_000
"""Nanoseconds. An image that is older than the one before by more belongs to a recording that was begun anew."""


class OutOfOrderError(FrameError):
    """An image that is not later than the one before."""


class FrameOrder:
    """Numbers the images of a stream.

    - Time stamps that go back by up to a second mean an image that was overtaken or sent twice: it is refused. Those
      that go back further mean a recording that starts anew, and so does another image size: tracking starts anew, too.
    - Time stamps that jump forward are a gap: tracks live on if it is no longer than `lost_seconds`.

    Attributes:
        reason: why tracking has to start anew with the last image; empty: it goes on.
    """

    def __init__(self) -> None:
        self._index = 0
        self._previous: int | None = None
        self._size: tuple[int, int] | None = None
        self.reason = ""

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
        self.reason = self._break(timestamp_ns, size)
        if self.reason:
            self.restart()
        index = self._index
        self._index, self._previous, self._size = index + 1, timestamp_ns, size
        return index, bool(self.reason)

    def _break(self, timestamp_ns: int, size: tuple[int, int]) -> str:
        """Why an image does not go on from the one before."""
        if self._previous is None or self._size is None:
            return ""
        if timestamp_ns < self._previous:
            return f"time jumped back by {(self._previous - timestamp_ns) / 1e9:.3f} s"
        if size != self._size:
            return f"the image size changed from {self._size[1]}x{self._size[0]} to {size[1]}x{size[0]}"
        return ""


class StreamRules:
    """The rules of :class:`FrameOrder` for the frames of a recording, which keep their numbers.

    Attributes:
        broken: tracking has to start anew with the last frame.
        restarts: number of times that it had to.
        out_of_order: number of frames that were refused.

    Args:
        warn: gets a line at the first time of each.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.broken = False
        self.out_of_order = self.restarts = 0
        self._order = FrameOrder()
        self._warn = warn

    def admit(self, frame: Frame) -> bool:
        """Whether the next frame is to be tracked; `broken` says how."""
        try:
            _, self.broken = self._order.place(frame.timestamp_ns, (frame.height, frame.width))
        except OutOfOrderError as error:
            self.out_of_order += 1
            if self.out_of_order == 1:
                self._warn(f"frame {frame.index + 1} is left out, and others like it: {error}")
            return False
        self.restarts += self.broken
        if self.broken and self.restarts == 1:
            self._warn(f"frame {frame.index + 1}: {self._order.reason}; here and at every such frame all tracks end")
        return True
