"""The start of a node's process. Imports nothing that takes long to load."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib import import_module
from types import FrameType

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a process to end in order."""


def handle_endings(handler: Callable[[int, FrameType | None], object]) -> None:
    """Call a function when a signal asks the process to end; SIGHUP is left alone where `nohup` has it ignored."""
    for number in ENDINGS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_at_once() -> None:
    """Let signals end the process with code 0, as long as there is nothing to tidy up."""
    handle_endings(lambda number, frame: os._exit(0))


def run_main(module: str) -> int:
    """Load a module, which takes seconds, and run its `main`.

    Signals end the process in order meanwhile, and until `main` handles them itself.

    Args:
        module: full name, such as "smotracker_ros.ros.recorder".

    Returns:
        What `main` returns; 0 if the process was interrupted.
    """
    end_at_once()
    try:
        return int(import_module(module).main())
    except KeyboardInterrupt:
        return 0
