"""A second process that starts the node again within moments when it is killed.

Most of a start's time goes into importing the networks' libraries. The outer process has imported them and does nothing
else: no ROS, no tensor, no thread. It forks the node, and again whenever a signal (kill -9, out of memory, a fault in
native code) ends it. A node that ends by itself, in order or with an error message, is not started again.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1
# A node that is killed sooner than this may be killed by its own start: the next one waits a little
_SHORT_LIFE_SECONDS = 5.0
_PAUSE_SECONDS = 1.0


def respawning(body: Callable[[], int]) -> int:
    """Run a body in a forked process, and again whenever a signal ends it that was not meant for us.

    SIGINT and SIGTERM are passed on and end both processes; if this process is killed, the other one ends, too.

    Args:
        body: returns the exit code. It is called in the forked process.

    Returns:
        The exit code of the last run.
    """
    stopping = False
    child: Any = None

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        if child is not None and child.is_alive():
            os.kill(child.pid, number)

    for number in _SIGNALS:
        signal.signal(number, stop)
    while True:
        started = time.monotonic()
        child = multiprocessing.get_context("fork").Process(target=_child, args=(body, os.getpid()))
        child.start()
        if stopping:  # the signal came before there was somebody to pass it on to
            os.kill(child.pid, signal.SIGTERM)
        child.join()
        if stopping or child.exitcode >= 0:
            return max(int(child.exitcode), 0)
        name = signal.Signals(-child.exitcode).name
        print(f"the node was ended by {name}; it is started again", file=sys.stderr, flush=True)
        if time.monotonic() - started < _SHORT_LIFE_SECONDS:
            time.sleep(_PAUSE_SECONDS)


def _child(body: Callable[[], int], parent: int) -> None:
    """The forked process: Python's own signal handlers, and an end with the parent's."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)
    sys.exit(body())
