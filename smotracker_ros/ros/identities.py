"""Ids that are not used again when the node is started anew, within one run of the launch."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

from smotracker_ros.core.settings import SettingsError
from smotracker_ros.ros.node_parameters import NodeParameter

RUN_ID = NodeParameter(
    "run_id",
    "",
    "Name of the run, in which no id is used twice, even if the node is killed and started anew; empty: ids begin "
    "at 1 with each start. Kept below $ROS_HOME/smotracker.",
)
"""The parameter of nodes that give ids."""

BLOCK = 100
"""Ids that are reserved at once: so many are passed over when the node is killed."""

_HIGHEST_ID = 2**32 - 1 - BLOCK
# What track.launch.py calls a run that nobody has named: run_HOST_PROCESS_NUMBER
_UNNAMED = re.compile(r"run_.+_\d+_\d+")
_UNNAMED_SECONDS = 90 * 24 * 3600.0
_ALLOWED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


def identity_file(run_id: str, node_name: str) -> Path | None:
    """Where a node keeps its ids of a run: `smotracker/RUN/NODE.next_id` in $ROS_HOME or ~/.ros; None without a run.

    Args:
        run_id: name of the run, empty: none.
        node_name: fully qualified name of the node.

    Raises:
        SettingsError: if the name could lead elsewhere.
    """
    if not run_id:
        return None
    if not _ALLOWED.fullmatch(run_id):
        raise SettingsError(f"run_id must be letters, digits, dots, dashes and underscores, not {run_id!r}")
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    return home / "smotracker" / run_id / (node_name.strip("/").replace("/", "__") + ".next_id")


class Identities:
    """The next free id, in memory and, if there is a file, there, too.

    The file always holds a number above every id that has been published: ids are reserved in blocks, before the first
    of a block is used. So not even `kill -9` leads to an id that is used twice.

    Args:
        path: the file; None: ids are remembered by this process alone.

    Attributes:
        path: as given.
        next_id: the next id that is free.

    Raises:
        SettingsError: if the file cannot be read or written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.next_id = 1
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _forget_old_runs(path.parent)
            self.next_id = int(path.read_text(encoding="ascii")) if path.exists() else 1
            if not 1 <= self.next_id <= _HIGHEST_ID:
                raise ValueError(f"{self.next_id} is no id")
            self._reserved = self.next_id
            self._write(self.next_id)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"the ids of this run cannot be kept in {path}: {error}; delete the file, or choose another run_id"
            ) from error

    def cover(self, next_id: int) -> None:
        """See that ids below `next_id` will not be given again. Call it before they are published.

        Raises:
            OSError: if the file cannot be written; ids are then remembered by this process alone until it can.
        """
        self.next_id = max(self.next_id, next_id)
        if self.path is not None and self.next_id > self._reserved:
            self._write(self.next_id + BLOCK)

    def of_run(self, run_id: str, node_name: str) -> Identities:
        """The identities of another run, or these if it is the same; ids go on in any case.

        Args:
            run_id: as for :func:`identity_file`.
            node_name: as there.

        Raises:
            SettingsError: if its file cannot be used.
        """
        path = identity_file(run_id, node_name)
        if path == self.path:
            return self
        self.close()
        other = Identities(path)
        other.cover(self.next_id)
        return other

    def close(self) -> None:
        """Give back what has been reserved but not used."""
        if self.path is not None:
            self._write(self.next_id)

    def _write(self, number: int) -> None:
        """Put a number into the file, or leave the file as it is: never half of it."""
        assert self.path is not None
        draft = self.path.with_suffix(".new")
        with draft.open("w", encoding="ascii") as file:
            file.write(str(number))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        self._reserved = number


def _forget_old_runs(folder: Path) -> None:
    """Delete the files of runs beside `folder` that were never named and not used for months."""
    for other in folder.parent.iterdir():
        if other == folder or not _UNNAMED.fullmatch(other.name) or other.is_symlink() or not other.is_dir():
            continue
        used = max((file.stat().st_mtime for file in other.glob("*.next_id")), default=other.stat().st_mtime)
        if time.time() - used > _UNNAMED_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
