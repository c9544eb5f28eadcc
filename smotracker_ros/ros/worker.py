"""The thread that tracks, and what services may ask of it without waiting for an image."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from smotracker_ros.ros.frame_queue import FrameQueue
from smotracker_ros.tracking.tracker import SmoTracker

PATIENCE = 2.0
"""Seconds that services and transitions wait for the image in work: frames take a tenth of it, clients wait longer."""

_THREAD = "tracker"

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """A thread that handles the items of a queue one after the other.

    Args:
        queue: is closed when the worker is stopped.
        handle: called in the thread with each item; returns whether to go on.

    Attributes:
        abandoned: nobody waits any more for what is made of the item in work.
    """

    def __init__(self, queue: FrameQueue[Item], handle: Callable[[Item], bool]) -> None:
        self.abandoned = False
        self._queue, self._handle = queue, handle
        self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None and self._handle(item):
            pass

    def stop(self, patience: float) -> bool:
        """Handle no further item; may be called again.

        Args:
            patience: seconds to wait for the one in work.

        Returns:
            Whether the thread has ended. If not, the item in work is abandoned.
        """
        self._queue.close()
        self._thread.join(patience)
        self.abandoned = self._thread.is_alive()
        return not self.abandoned


def end_without_waiting(code: int) -> int:
    """The exit code of the process; if an image is still in work, the process ends here and now.

    A thread in the middle of native code must not meet the end of the interpreter, which would abort the process.
    """
    if any(thread.name == _THREAD for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    return code


class TrackerAccess:
    """A tracker that the worker uses, and that others may have reset.

    Attributes:
        tracker: None while the node is not configured.
    """

    def __init__(self) -> None:
        self.tracker: SmoTracker | None = None
        self._lock = threading.Lock()
        self._reset_wanted = False

    def replace(self, tracker: SmoTracker | None) -> None:
        """Take another tracker, or none; the one before may be in use until its frame is done."""
        self.tracker, self._reset_wanted = tracker, False

    @contextmanager
    def use(self, on_reset: Callable[[], None]) -> Iterator[SmoTracker | None]:
        """The tracker, for one thread at a time, once a reset that was asked for is done.

        Args:
            on_reset: called after a reset.
        """
        with self._lock:
            self._reset_if_wanted(on_reset)
            yield self.tracker

    def reset(self, on_reset: Callable[[], None]) -> bool:
        """Reset the tracker: at once, or before its next frame if the present one takes long.

        Args:
            on_reset: as for :meth:`use`.

        Returns:
            Whether it is done.
        """
        self._reset_wanted = True
        if not self._lock.acquire(timeout=PATIENCE):
            return False
        try:
            self._reset_if_wanted(on_reset)
        finally:
            self._lock.release()
        return True

    def _reset_if_wanted(self, on_reset: Callable[[], None]) -> None:
        if self._reset_wanted and self.tracker is not None:
            self.tracker.reset()
            on_reset()
        self._reset_wanted = False
