"""Signals that end a process: its half-written outputs go with it, unless what it does is stopped in order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: by an exception, so that everything is cleaned up.

    The exit code is 128 plus the signal's number, as shells have it. A signal that is ignored (by `nohup`) stays so.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


@contextlib.contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Within the block, let the first Ctrl-C, SIGTERM or SIGHUP call a function; the second does what it did before.

    Signals that are ignored stay so. In threads other than the main one nothing is changed.

    Args:
        stop: called in the signal's handler, so it must not wait for a lock.
    """
    handlers: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        restore()
        stop()

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    if threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGINT, *_SIGNALS)
        handlers = {number: signal.getsignal(number) for number in numbers}
        handlers = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
        for number in handlers:
            signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


def _end(number: int, frame: FrameType | None) -> None:
    # A closed terminal sends more than one; the second must not break the clean-up.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
