"""What every source of frames has in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from smotracker_ros.core.frames import Frame

DEFAULT_FPS = 30.0
"""Frames per second of what does not state its own."""


class SourceError(ValueError):
    """A source that cannot be read; the message names it and what to do."""


class FrameSource(Protocol):
    """Frames in order of time. Iterating again starts from the beginning.

    Attributes:
        name: short name for titles and reports.
        fps: frames per second, positive; estimated where the source does not say.
        length: number of frames if the source knows it, which may be a little off for videos; else None.
        size: (height, width) in pixels if known before reading; else None.
        skipped: number of images left out in the last iteration because they are broken.
    """

    name: str
    fps: float
    length: int | None
    size: tuple[int, int] | None
    skipped: int

    def __iter__(self) -> Iterator[Frame]:
        """Frames by rising index: their place in the source. What is broken or missing leaves its place free."""
        ...
