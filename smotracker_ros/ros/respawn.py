"""A second process that starts the node again within moments when it is killed.

Most of a start's time goes into imports. The outer process has made those that every node needs and does nothing else:
no ROS, no tensor, no thread. It forks the node, and again whenever a signal (kill -9, out of memory, a fault in native
code) or an error of the program ends it, up to a limit. A node that ends in order, or because it was started
wrongly, is not started again.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import psutil  # type: ignore[import-untyped]

from smotracker_ros.ros.respawn_limit import CRASH_CODE, DEATHS, RespawnLimit
from smotracker_ros.ros.start import end_at_once, handle_endings

_PR_SET_PDEATHSIG = 1
# A node killed more than twice in a row sooner than this may be killed by its own start: then the next one waits
_SHORT_LIFE_SECONDS = 5.0
_MOST_SHORT_LIVES = 2
_PAUSE_SECONDS = 1.0
# The ports of a participant begin at 7400; a domain has 250, the first ten of them for multicast (RTPS 2.2, 9.6.1)
_FIRST_PORT, _PORTS_PER_DOMAIN, _MULTICAST_PORTS = 7400, 250, 10
_LAST_PORT = 32767
_WATCH_SECONDS = 1.0
# Killed nodes whose ports are kept occupied
_KEPT_LIVES = 4


def respawning(body: Callable[[], int], deaths: int = DEATHS) -> int:
    """Run a body in a forked process, and again whenever it crashes or a signal ends it that was not meant for us.

    SIGINT, SIGTERM and SIGHUP are passed on and end both processes; if this process is killed, the other one ends, too.

    Args:
        body: returns the exit code. It is called in the forked process.
        deaths: so many within ten minutes are too many (:class:`RespawnLimit`); 0: never.

    Returns:
        The exit code of the last run; 1 if it died too often.
    """
    limit = RespawnLimit(deaths)
    stopping = False
    child: Any = None
    short_lives = 0
    ports = _Ports()

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True
        if child is not None and child.is_alive():
            os.kill(child.pid, number)

    handle_endings(stop)
    while True:
        started = time.monotonic()
        child = multiprocessing.get_context("fork").Process(target=_child, args=(body, os.getpid(), ports))
        child.start()
        if stopping:  # the signal came before there was somebody to pass it on to
            os.kill(child.pid, signal.SIGTERM)
        while child.is_alive():
            child.join(_WATCH_SECONDS)
            ports.note(child.pid)
        if stopping or (child.exitcode >= 0 and child.exitcode != CRASH_CODE):
            return max(int(child.exitcode), 0)
        cause = "an error of its own" if child.exitcode > 0 else signal.Signals(-child.exitcode).name
        if limit.reached():
            print(f"the node was ended by {cause}; {limit}, and is not started again", file=sys.stderr, flush=True)
            return 1
        print(f"the node was ended by {cause}; it is started again", file=sys.stderr, flush=True)
        short_lives = short_lives + 1 if time.monotonic() - started < _SHORT_LIFE_SECONDS else 0
        ports.occupy()
        if short_lives > _MOST_SHORT_LIVES:
            time.sleep(_PAUSE_SECONDS)


class _Ports:
    """The UDP ports of killed nodes, occupied so that the next node takes others.

    A participant of DDS takes the lowest free pair of ports. If that is the pair of one that was killed a moment ago,
    its neighbours go on for seconds to write into the dead one's shared memory, and the new node waits for that long.
    """

    def __init__(self) -> None:
        self._noted: set[int] = set()
        self._kept: deque[list[socket.socket]] = deque(maxlen=_KEPT_LIVES)

    def note(self, pid: int) -> None:
        """Take down which ports a process has; what was known stays if it has ended."""
        try:
            addresses = [item.laddr for item in psutil.Process(pid).net_connections("udp4")]
        except psutil.Error:
            return
        found = {
            address.port
            for address in addresses
            if address
            and _FIRST_PORT <= address.port <= _LAST_PORT
            and (address.port - _FIRST_PORT) % _PORTS_PER_DOMAIN >= _MULTICAST_PORTS
        }
        self._noted = found or self._noted

    def occupy(self) -> None:
        """Hold the ports of the process that was noted last."""
        taken = []
        for port in sorted(self._noted):
            item = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                item.bind(("", port))
            except OSError:  # somebody was faster: then the new node cannot get it either
                item.close()
                continue
            taken.append(item)
        if len(self._kept) == _KEPT_LIVES:
            self._close(self._kept[0])
        self._kept.append(taken)
        self._noted = set()

    def release(self) -> None:
        """Give all ports back."""
        for sockets in self._kept:
            self._close(sockets)
        self._kept.clear()

    @staticmethod
    def _close(sockets: list[socket.socket]) -> None:
        for item in sockets:
            item.close()


def _child(body: Callable[[], int], parent: int, ports: _Ports) -> None:
    """The forked process: signal handlers of its own, and an end with the parent's."""
    ports.release()  # this process's copies
    end_at_once()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(1)
    sys.exit(body())
