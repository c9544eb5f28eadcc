"""What a run over a bag has done so far, in one SQLite file: its results, and the tracker's state to go on from."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from smotracker_ros.io.pending import SinkError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS job (description TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (next_number INTEGER NOT NULL, facts TEXT NOT NULL, snapshot BLOB);
CREATE TABLE IF NOT EXISTS results (
    number INTEGER NOT NULL, received_ns INTEGER NOT NULL, topic TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (number, topic)
) WITHOUT ROWID;
"""


class Journal:
    """The journal of one run; use it as a context manager. SQLite undoes half a step when the process is killed.

    Attributes:
        next_number: number of the first image message that is not done.
        snapshot: the tracker's state before that message; None: the beginning, or the end (then `finished` is set).
        facts: what the run has counted so far.
        finished: whether all messages are done.
    """

    def __init__(self, path: Path, job: Mapping[str, Any]) -> None:
        """Open the journal of an earlier run, or begin a new one where `job` is another than that run's.

        Args:
            path: the file.
            job: everything that the results depend on, as JSON can hold it.

        Raises:
            SinkError: if the file cannot be written, or another process works with it.
        """
        self.path = path
        description = json.dumps(job, sort_keys=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # a journal that SQLite cannot read is of no use; what it described is computed again
            self._connection = self._open(path)
            if self._one("SELECT description FROM job") not in (None, (description,)):
                for table in ("job", "state", "results"):
                    self._connection.execute(f"DELETE FROM {table}")
            if self._one("SELECT description FROM job") is None:
                self._connection.execute("INSERT INTO job VALUES (?)", (description,))
            self._connection.commit()
        except (sqlite3.Error, OSError) as error:
            busy = "another run writes the same output" if "locked" in str(error) else "choose another --output"
            raise SinkError(f"{path} cannot be written ({error}); {busy}") from error
        next_number, facts, snapshot = self._one("SELECT * FROM state") or (0, "{}", None)
        self.next_number: int = next_number
        self.snapshot: bytes | None = snapshot
        self.facts: dict[str, Any] = json.loads(facts)
        self.finished = next_number > 0 and self.snapshot is None

    @classmethod
    def _open(cls, path: Path) -> sqlite3.Connection:
        found = path.stat().st_ino if path.exists() else None
        try:
            return cls._lock(path)
        except sqlite3.DatabaseError as error:
            # another run may have made it anew meanwhile, which must not be taken from it
            if isinstance(error, sqlite3.OperationalError) or path.stat().st_ino != found:
                raise
        for suffix in ("", "-journal"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        return cls._lock(path)

    @staticmethod
    def _lock(path: Path) -> sqlite3.Connection:
        """Open the file for this process alone, until the connection is closed."""
        connection = sqlite3.connect(path, timeout=1.0)
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            # Readers of a file share it, whatever the mode: only a write takes it.
            connection.execute("BEGIN EXCLUSIVE")
            connection.commit()
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _one(self, query: str) -> Any:
        return self._connection.execute(query).fetchone()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def add(self, number: int, received_ns: int, results: Mapping[str, bytes]) -> None:
        """Add the result messages of one image; they count from the next :meth:`commit` on.

        Raises:
            SinkError: if the disk is full.
        """
        rows = [(number, received_ns, topic, zlib.compress(data, 1)) for topic, data in results.items()]
        self._write("INSERT INTO results VALUES (?, ?, ?, ?)", rows)

    def commit(self, next_number: int, facts: Mapping[str, Any], snapshot: bytes | None) -> None:
        """Make everything so far last, together with the state to go on from; None: nothing is left to do.

        Raises:
            SinkError: if the disk is full.
        """
        self._write("DELETE FROM state", [()])
        self._write("INSERT INTO state VALUES (?, ?, ?)", [(next_number, json.dumps(facts), snapshot)])
        try:
            self._connection.commit()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        self.next_number, self.facts, self.snapshot = next_number, dict(facts), snapshot
        self.finished = snapshot is None

    def _write(self, query: str, rows: list[tuple[Any, ...]]) -> None:
        try:
            self._connection.executemany(query, rows)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> SinkError:
        return SinkError(
            f"{self.path} cannot be written ({error}); free some space, and run the command again to go on"
        )

    def restart(self) -> None:
        """Forget what was done: the snapshot is of no use."""
        for table in ("state", "results"):
            self._write(f"DELETE FROM {table}", [()])
        self._connection.commit()
        self.next_number, self.facts, self.snapshot, self.finished = 0, {}, None, False

    def results(self) -> Iterator[tuple[int, int, dict[str, bytes]]]:
        """Number, time of recording in nanoseconds, and result messages by topic, of all images that have some."""
        query = "SELECT number, received_ns, topic, data FROM results ORDER BY number"
        current: tuple[int, int, dict[str, bytes]] | None = None
        for number, received, topic, data in self._connection.execute(query):
            if current is None or current[0] != number:
                if current is not None:
                    yield current
                current = number, received, {}
            current[2][topic] = zlib.decompress(data)
        if current is not None:
            yield current

    def remove(self) -> None:
        """Delete the journal; the output is there."""
        self._connection.close()
        self.path.unlink(missing_ok=True)
