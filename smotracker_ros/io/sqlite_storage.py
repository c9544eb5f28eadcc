"""rosbag2's SQLite files, also of a killed recorder. Only what is asked for is interpreted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import ReaderMetadata
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from smotracker_ros.io.raw_topics import DIGEST, QUALITY, RawTopic


def settle_database(path: Path) -> None:
    """Let SQLite finish what a killed recorder left beside its file: undo half a transaction, take in the log.

    Raises:
        OSError: if the folder cannot be written; it must be, once.
    """
    if not any(Path(f"{path}{suffix}").is_file() for suffix in ("-journal", "-wal")):
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise OSError(f"{path} was cut off and cannot be completed here ({error}); copy it to a writable folder") from (
            error
        )


class SqliteStorage(Sqlite3Reader):
    """Reads the messages of a SQLite file in order of time.

    Attributes:
        topics: what is stored of the topics, by number of the connection.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.topics: dict[int, RawTopic] = {}

    def open(self) -> None:
        """Open the file.

        Raises:
            ReaderError: if it cannot be read.
        """
        try:
            # in a URL, since a path may hold characters that mean something in one
            self.dbconn = sqlite3.connect(f"{Path(self.path).absolute().as_uri()}?immutable=1&mode=ro", uri=True)
            self.dbconn.text_factory = lambda data: data.decode("utf-8", "replace")
            self._read(self.dbconn)
        except sqlite3.Error as error:
            if self.dbconn is not None:
                self.dbconn.close()
            raise ReaderError(str(error)) from error

    def _read(self, database: sqlite3.Connection) -> None:
        definitions: dict[str, tuple[str, bytes]] = {}
        if _columns(database, "message_definitions"):
            query = "SELECT topic_type, encoding, CAST(encoded_message_definition AS BLOB) FROM message_definitions"
            definitions = {name: (encoding, text) for name, encoding, text in database.execute(query)}
        columns = _columns(database, "topics")
        optional = [name if name in columns else "''" for name in ("offered_qos_profiles", "type_description_hash")]
        counts = dict(database.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))
        query = f"SELECT id, name, type, serialization_format, {', '.join(optional)} FROM topics ORDER BY id"
        self.connections = []
        for number, topic, kind, serialization, quality, digest in database.execute(query):
            metadata = {QUALITY: quality or "", DIGEST: digest or ""}
            self.topics[number] = RawTopic(*definitions.get(kind, ("", b"")), metadata)
            count = counts.get(number, 0)
            self.connections.append(self.topics[number].connection(number, topic, kind, serialization, count, self))
        start, last, total = database.execute(
            "SELECT min(timestamp), max(timestamp), count(*) FROM messages"
        ).fetchone()
        if total:
            self.metadata = ReaderMetadata(last + 1 - start, start, last + 1, total, None, None, None, None)


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    """Names of a table's columns; none if it does not exist."""
    return {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
