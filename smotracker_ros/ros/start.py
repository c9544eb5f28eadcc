"""The start of a node's process. Imports nothing that takes long to load."""

from __future__ import annotations

import os
import signal
from importlib import import_module


def run_main(module: str) -> int:
    """Load a module, which takes seconds, and run its `main`; an interrupt meanwhile is an orderly end.

    Args:
        module: full name, such as "smotracker_ros.ros.recorder".

    Returns:
        What `main` returns; 0 if the process was interrupted.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    main = import_module(module).main
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        return int(main())
    except KeyboardInterrupt:
        return 0
