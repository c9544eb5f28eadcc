"""Recordings that were cut off: by `kill -9`, a power cut, a full disk. What they hold is read to the last second."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import Connection
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import ReaderMetadata
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, decompress

# The mcap format (https://mcap.dev/spec): a record is an opcode, its length as uint64, and its content
_MAGIC = b"\x89MCAP0\r\n"
_HEAD = 9
_HEADER, _FOOTER, _MESSAGE, _CHUNK, _DATA_END = 0x01, 0x02, 0x05, 0x06, 0x0F
_FOOTER_LENGTH = 37


@dataclass(frozen=True)
class _Record:
    opcode: int
    start: int
    end: int


def is_cut_mcap(path: Path) -> bool:
    """Whether a file begins as mcap but lacks the end that a recorder writes when it closes the file."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
        size = file.seek(0, os.SEEK_END)
        if size < _FOOTER_LENGTH + len(_MAGIC):
            return True
        file.seek(-_FOOTER_LENGTH, os.SEEK_END)
        end = file.read()
    return not (end[0] == _FOOTER and end.endswith(_MAGIC))


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


class CutMcapReader(McapReader):
    """Reads an mcap file without its end: all records that were written completely, in order of time."""

    connections: list[Connection]

    def _open(self) -> None:
        """Find the complete records, and index the chunks among them."""
        file = self.bio
        assert file is not None
        started = 0
        for record in _records(file):
            if record.opcode == _HEADER:
                self.data_start = started = record.end
            if record.opcode == _CHUNK:
                try:
                    self.chunks.append(_chunk_info(file, record))
                except Exception:  # after a power cut: a chunk whose length is on the disk, but not its content
                    break
            self.data_end = record.end
        if not started:
            raise ReaderError("the file ends before its first record; nothing was recorded")
        self.meta_scan()
        assert self.statistics is not None
        counts, total = self.statistics.channel_message_counts, self.statistics.message_count
        self.connections = [item._replace(msgcount=counts.get(item.id, 0)) for item in self.connections]
        start, end = self.statistics.start_time, self.statistics.end_time + 1
        if total:
            self.metadata = ReaderMetadata(end - start, start, end, total, None, None, None, None)


def _records(file: BinaryIO) -> Iterator[_Record]:
    """The complete records of the data section."""
    size = file.seek(0, os.SEEK_END)
    position = len(_MAGIC)
    while position + _HEAD <= size:
        file.seek(position)
        head = file.read(_HEAD)
        end = position + _HEAD + int.from_bytes(head[1:], "little")
        # an opcode of 0 does not exist: after a power cut, a file may end with zeros
        if end > size or head[0] in (0, _FOOTER, _DATA_END):
            return
        yield _Record(head[0], position, end)
        position = end


def _chunk_info(file: BinaryIO, chunk: _Record) -> ChunkInfo:
    """What the file's index would have said of a chunk; its messages are counted, as its own index may be missing."""
    file.seek(chunk.start + _HEAD)
    content = BytesIO(file.read(chunk.end - chunk.start - _HEAD))

    def number(length: int) -> int:
        return int.from_bytes(content.read(length), "little")

    start_time, end_time, size, checksum = number(8), number(8), number(8), number(4)
    compression = content.read(number(4)).decode("ascii")
    compressed = content.read(number(8))
    counts: Counter[int] = Counter()
    messages = decompress(compressed, compression, size, checksum)
    position = 0
    while position + _HEAD <= size:
        length = int.from_bytes(messages[position + 1 : position + _HEAD], "little")
        position += _HEAD
        if messages[position - _HEAD] == _MESSAGE:
            counts[int.from_bytes(messages[position : position + 2], "little")] += 1
        position += length
    return ChunkInfo(
        start_time, end_time, chunk.start, chunk.end - chunk.start, {}, 0, compression, len(compressed), size, counts
    )
