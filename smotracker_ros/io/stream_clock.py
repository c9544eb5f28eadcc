"""Time of a video's frames, where the file's own starts anew or stands still."""

from __future__ import annotations

from collections import deque
from statistics import median

# Steps of time from which the present period is taken
_STEPS = 15
_LARGEST_GAP = 10.0
"""Seconds. A larger step forward is worth a word."""

_HALF_ROUND = 2**33 / 90_000 / 2
"""Seconds, half of what a transport stream counts before it begins at zero again.

FFmpeg takes a step back by more for such a round, and makes a step forward of it."""


class StreamClock:
    """Turns the times of a file into time stamps that rise.

    - Time that starts below zero starts at zero.
    - Time that starts anew, as where recordings were joined, goes on by one period of the frames.
    - A time that is repeated, or goes back by less than a period, is put half a period after the one before.
    - Steps forward are kept: they are gaps.

    Args:
        fps: frames per second, where the steps so far do not tell.
    """

    def __init__(self, fps: float) -> None:
        self._steps: deque[int] = deque([round(1e9 / fps)], maxlen=_STEPS)
        self._offset = 0
        self._previous: int | None = None
        self._index = 0
        self._restarts = self._gaps = 0

    def stamp(self, index: int, seconds: float | None) -> tuple[int, str]:
        """The time stamp of the next frame.

        Args:
            index: number of the frame.
            seconds: its time in the file; None: it has none.

        Returns:
            Nanoseconds, later than the one before, and a remark for the user, once of each kind; else empty.
        """
        period = round(median(self._steps))
        previous, frames = self._previous, max(index - self._index, 1)
        expected = index * period if previous is None else previous + frames * period
        stamp = expected if seconds is None else round(seconds * 1e9) + self._offset
        remark = ""
        if previous is None and stamp < 0:
            self._offset, stamp = -stamp, 0
        if previous is not None:
            step = stamp - previous
            if step <= -period or step > _HALF_ROUND * 1e9:
                self._offset += expected - stamp
                stamp = expected
                self._restarts += 1
                if self._restarts == 1:
                    remark = (
                        f"time starts anew at frame {index} (by {step / 1e9:.3f} s); there, and where it does so "
                        "again, it goes on by one period of the frames"
                    )
            elif step <= 0:
                stamp = previous + max(period // 2, 1)
            elif step > _LARGEST_GAP * 1e9:
                self._gaps += 1
                if self._gaps == 1:
                    remark = f"{step / 1e9:.1f} s are missing before frame {index}; time keeps gaps"
            else:
                self._steps.append(step // frames)
        self._previous, self._index = stamp, index
        return stamp, remark
