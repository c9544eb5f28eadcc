"""How commands show that they work: a bar on stderr, with warnings above it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on stderr, with warnings printed above it."""
    console = Console(stderr=True)
    handler = RichHandler(logging.WARNING, console=console, show_time=False, show_path=False)
    logger = logging.getLogger("smotracker_ros")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    logger.addHandler(handler)
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            yield progress
    finally:
        logger.removeHandler(handler)
