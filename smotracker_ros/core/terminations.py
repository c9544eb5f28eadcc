"""Signals that end a process: its half-written outputs go with it."""

from __future__ import annotations

import signal
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def end_in_order() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: by an exception, so that everything is cleaned up.

    The exit code is 128 plus the signal's number, as shells have it. A signal that is ignored (by `nohup`) stays so.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    # A closed terminal sends more than one; the second must not break the clean-up.
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
