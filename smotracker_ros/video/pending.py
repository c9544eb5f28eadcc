"""Outputs that appear under their final name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


class SinkError(RuntimeError):
    """An output that cannot be written; the message names it and the remedy."""


@contextlib.contextmanager
def pending_path(path: str | Path, keeps_broken: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to, which takes the final name when the block ends without an error.

    The temporary path lies in a hidden folder beside the final one and has the same name, so that formats that put
    their own name into their files (rosbag2) stay right. It may become a file or a folder; an older output of the same
    name is replaced at the end only. When the block fails, whatever was written is deleted, unless it is to be kept.

    Args:
        path: final name; missing parent folders are made.
        keeps_broken: leave what was written in the hidden folder when the block fails: it cannot be made again.

    Raises:
        SinkError: if the folder cannot be written, or the disk is full.
    """
    path = Path(path).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror or error}; choose another --output") from error
    temporary = folder / path.name
    keeps = False
    try:
        yield temporary
        if not temporary.exists():
            raise SinkError(f"{path} was not written: nothing arrived that could be stored")
        if path.is_dir():
            # A folder cannot be replaced in one step: the old one moves aside first, and goes with the temporary one.
            os.replace(path, folder / f"{path.name}.old")
        os.replace(temporary, path)
    except Exception as error:
        keeps = keeps_broken and temporary.exists()
        if _is_full(error):
            raise SinkError(f"no space is left on the disk of {path}; free some, or choose another --output") from error
        raise
    finally:
        if not keeps:
            shutil.rmtree(folder, ignore_errors=True)


def _is_full(error: BaseException) -> bool:
    """Whether an error, of Python, FFmpeg or SQLite, means a full disk."""
    return getattr(error, "errno", None) in _FULL or "disk is full" in str(error)
