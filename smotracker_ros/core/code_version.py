"""This package's code, as a part of keys: an older version's results are not taken for this one's."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import smotracker_ros

TRACKING_CODE = ("*.py", *(f"{room}/*.py" for room in ("core", "models", "detection", "masklets", "tracking")))
"""Patterns of the code that makes tracks of frames."""


@functools.lru_cache(maxsize=8)
def code_checksum(*patterns: str) -> str:
    """Of the files that patterns of paths in this package name; each is read once in a process."""
    root = Path(smotracker_ros.__file__).parent
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
        digest.update(path.read_bytes())
    return digest.hexdigest()
