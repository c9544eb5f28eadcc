"""Outputs that appear under their final name only when they are complete, and never at the cost of what was there."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType

_FULL = (errno.ENOSPC, errno.EDQUOT)

_logger = logging.getLogger(__name__)


class SinkError(RuntimeError):
    """An output that cannot be written; the message names it and the remedy."""


@contextlib.contextmanager
def pending_path(path: str | Path, keeps_broken: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to, which takes the final name when the block ends without an error.

    The temporary path lies in a hidden folder beside the final one and has the same name, so that formats that put
    their own name into their files (rosbag2) stay right. It may become a file or a folder. An older file of the same
    name is replaced in one step at the end; a folder is never replaced, since nobody knows what is in it. When the
    block fails, whatever was written is deleted, unless it is to be kept.

    Args:
        path: final name; missing parent folders are made, and removed again if nothing comes into them.
        keeps_broken: leave what was written in the hidden folder when the block fails: it cannot be made again.

    Raises:
        SinkError: if the folder cannot be written, the path is a folder with something in it, or the disk is full.
    """
    path = Path(path).absolute()
    _refuse_folder(path)
    with _hidden_folder(path.parent, path.name, keeps_broken) as folder:
        temporary = folder / path.name
        yield temporary
        if not temporary.exists():
            raise SinkError(f"{path} was not written: nothing arrived that could be stored")
        _refuse_folder(path)
        try:
            os.replace(temporary, path)
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror or error}; choose another --output") from error


@contextlib.contextmanager
def pending_outputs(folder: str | Path, names: Collection[str]) -> Iterator[Path]:
    """Give a temporary folder for the outputs of one run, which come into their places together when the block ends.

    Whatever lies in these places - outputs of an earlier run, or somebody's own - is moved to `earlier/1`, `earlier/2`
    and so on, also where this run writes nothing of that name: what stands there afterwards is of one run. When the
    block fails, or a file cannot be moved, everything is as before.

    Args:
        folder: of the outputs; it is made if it is missing, and removed again if nothing comes into it.
        names: of all outputs that a run may have.

    Raises:
        SinkError: if the folder cannot be written, or the disk is full.
    """
    folder = Path(folder).absolute()
    with _hidden_folder(folder, folder.name) as temporary:
        yield temporary
        with _Moves() as moves:
            aside = _put_aside(folder, names, moves)
            for item in sorted(temporary.iterdir()):
                moves.add(item, folder / item.name)
        if aside is not None:
            _logger.warning("%s held outputs of an earlier run; they are in %s now", folder, aside)


def put_aside(folder: Path, names: Collection[str]) -> Path | None:
    """Move what has one of these names out of the way, to `earlier/1`, `earlier/2` and so on.

    Args:
        folder: in which to look.
        names: of files and folders.

    Returns:
        The folder to which they were moved; None: there was nothing.

    Raises:
        SinkError: if one cannot be moved; then none is.
    """
    with _Moves() as moves:
        return _put_aside(folder, names, moves)


def _put_aside(folder: Path, names: Collection[str], moves: _Moves) -> Path | None:
    found = [folder / name for name in names if os.path.lexists(folder / name)]
    if not found:
        return None
    number = 1
    while (aside := folder / "earlier" / str(number)).exists():
        number += 1
    moves.make(aside.parent)
    moves.make(aside)
    for path in found:
        moves.add(path, aside / path.name)
    return aside


class _Moves(contextlib.AbstractContextManager["_Moves"]):
    """Moves of files that are all taken back if the block does not come to its end.

    Raises:
        SinkError: if the system refuses one.
    """

    def __init__(self) -> None:
        self._done: list[tuple[Path, Path]] = []
        self._made: list[Path] = []

    def make(self, folder: Path) -> None:
        """Make a folder, unless it is there."""
        if not folder.exists():
            folder.mkdir()
            self._made.append(folder)

    def add(self, source: Path, target: Path) -> None:
        """Move a file or a folder to a place that is free."""
        os.replace(source, target)
        self._done.append((source, target))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        for source, target in reversed(self._done):
            os.replace(target, source)
        for folder in reversed(self._made):
            folder.rmdir()
        if isinstance(error, OSError):
            where = error.filename or "the output"
            raise SinkError(f"{where} cannot be moved: {error.strerror or error}; choose another --output") from error


@contextlib.contextmanager
def _hidden_folder(parent: Path, name: str, keeps_broken: bool = False) -> Iterator[Path]:
    """A new hidden folder, which is deleted in the end with all that is still in it.

    Raises:
        SinkError: if it cannot be made, or the disk is full.
    """
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    folder: Path | None = None
    keeps = False
    try:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent))
        except OSError as error:
            place = parent / name
            raise SinkError(f"{place} cannot be written: {error.strerror or error}; choose another --output") from error
        yield folder
    except Exception as error:
        keeps = keeps_broken and folder is not None and any(folder.iterdir())
        if _is_full(error):
            place = parent / name
            raise SinkError(
                f"no space is left on the disk of {place}; free some, or choose another --output"
            ) from error
        raise
    finally:
        if folder is not None and not keeps:
            shutil.rmtree(folder, ignore_errors=True)
        for empty in made:
            with contextlib.suppress(OSError):
                empty.rmdir()


def _refuse_folder(path: Path) -> None:
    """Raise unless a path is free, a file, or an empty folder."""
    if path.is_dir() and (path.is_symlink() or any(path.iterdir())):
        raise SinkError(f"{path} exists already; remove it, or choose another --output")


def _is_full(error: BaseException) -> bool:
    """Whether an error, of Python, FFmpeg or SQLite, means a full disk."""
    return getattr(error, "errno", None) in _FULL or "disk is full" in str(error)
