"""Places and times of a video's frames, by the packets that were sent to its decoder.

Attributes of both kinds: `lost`, the number of places whose frame could not be decoded.
"""

from __future__ import annotations

import heapq
from collections import deque

import av


class PresentedFrames:
    """Frames of a container whose packets state when they are shown.

    Frames come out in order of presentation. So a packet that is to be shown before the present frame and has not come
    out by now never will: its place stays free.

    Args:
        period: of the frames, in units of the stream's time base.
    """

    def __init__(self, period: float) -> None:
        self.lost = 0
        self._count = 0
        self._period = period
        self._waiting: list[tuple[int, int]] = []
        # time starts anew where streams were joined: times are compared within a part of the stream only
        self._sent_part = self._taken_part = 0
        self._last_dts: int | None = None
        self._last_pts: int | None = None

    def send(self, packet: av.Packet) -> None:
        """Note a packet before it is decoded."""
        if not packet.size or packet.pts is None or packet.is_discard:
            return
        if packet.dts is not None:
            if self._last_dts is not None and packet.dts < self._last_dts:
                self._sent_part += 1
            self._last_dts = packet.dts
        heapq.heappush(self._waiting, (self._sent_part, packet.pts))

    def fail(self) -> None:
        """Note that the last packet cannot be decoded: the next frame's time tells."""

    def take(self, frame: av.VideoFrame) -> tuple[int, float | None]:
        """Place and time in seconds of the next decoded frame."""
        if frame.pts is not None:
            before = self._last_pts
            if before is not None and frame.pts < before and (self._taken_part + 1, frame.pts) in self._waiting:
                self._taken_part, before = self._taken_part + 1, None
            missing = self._drop_before((self._taken_part, frame.pts))
            if before is not None and missing:
                # packets without a picture of their own (hidden frames) leave no gap in time
                missing = min(missing, max(round((frame.pts - before) / self._period) - 1, 0))
            self.lost += missing
            self._count += missing
            self._last_pts = frame.pts
        self._count += 1
        return self._count - 1, frame.time

    def end(self) -> None:
        """Count what has not come out at the end of the stream."""
        self.lost += len(self._waiting)

    def _drop_before(self, time: tuple[int, int]) -> int:
        """Forget the packets up to a frame's time; returns the number of those before it."""
        missing = 0
        while self._waiting and self._waiting[0] < time:
            heapq.heappop(self._waiting)
            missing += 1
        if self._waiting and self._waiting[0] == time:
            heapq.heappop(self._waiting)
        return missing


class StoredFrames:
    """Frames of a container that states no times of presentation (AVI), or no times at all (a bare stream).

    The first frame that comes out has the place and the time of the first packet that was sent, and so on.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._count = 0
        self._waiting: deque[tuple[int, float | None]] = deque()

    def send(self, packet: av.Packet) -> None:
        """Note a packet before it is decoded."""
        if packet.size:
            seconds = None if packet.dts is None else float(packet.dts * packet.time_base)
            self._waiting.append((self._count, seconds))
            self._count += 1

    def fail(self) -> None:
        """Note that the last packet cannot be decoded."""
        if self._waiting:
            self._waiting.pop()
            self.lost += 1

    def take(self, frame: av.VideoFrame) -> tuple[int, float | None]:
        """Place and time in seconds of the next decoded frame; None: there is no time."""
        if self._waiting:
            return self._waiting.popleft()
        self._count += 1
        return self._count - 1, None

    def end(self) -> None:
        """The end of the stream: what still waits shows nothing of its own."""
