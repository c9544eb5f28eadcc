"""mcap files: whole ones, ones without an index, and ones that were cut off. Only what is asked for is interpreted.

rosbags reads the messages. Its own reader of a file's index refuses the whole file for one channel that is not ROS 2's,
or whose definition cannot be read, and leaves out messages that stand in no index.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import ReaderMetadata
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, decompress

from smotracker_ros.io.bag_files import warn_once
from smotracker_ros.io.raw_topics import RawTopic

# The mcap format (https://mcap.dev/spec): a record is an opcode, its length as uint64, and its content
_MAGIC = b"\x89MCAP0\r\n"
_HEAD = 9
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
_CHUNK_INDEX, _ATTACHMENT, _STATISTICS, _DATA_END = 0x08, 0x09, 0x0B, 0x0F
_FOOTER_LENGTH = 37


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


@dataclass(frozen=True)
class _Record:
    opcode: int
    start: int
    end: int


class _Fields(BytesIO):
    """The content of a record, field by field."""

    def number(self, length: int) -> int:
        return int.from_bytes(self._exactly(length), "little")

    def block(self, length: int = 4) -> bytes:
        """Bytes behind their number, which has `length` bytes."""
        return self._exactly(self.number(length))

    def text(self) -> str:
        return self.block().decode("utf-8", "replace")

    def pairs(self) -> _Fields:
        return _Fields(self.block())

    @property
    def rest(self) -> int:
        """Number of bytes that are left."""
        return len(self.getbuffer()) - self.tell()

    def _exactly(self, length: int) -> bytes:
        data = self.read(length)
        if len(data) != length:
            raise ReaderError("a record ends too early")
        return data


@dataclass
class _Contents:
    """What the records of a file, or of its summary, say of it."""

    schemas: dict[int, tuple[str, str, bytes]] = field(default_factory=dict)
    channels: dict[int, tuple[int, str, str, dict[str, str]]] = field(default_factory=dict)
    chunks: list[ChunkInfo] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    attachments: int = 0
    expected_chunks: int | None = None
    start: int = 2**63 - 1
    end: int = 0

    def take(self, opcode: int, content: _Fields) -> None:
        """Note a record other than a chunk."""
        if opcode == _SCHEMA:
            number = content.number(2)
            self.schemas[number] = content.text(), content.text(), content.block()
        elif opcode == _CHANNEL:
            number, schema, topic, encoding = content.number(2), content.number(2), content.text(), content.text()
            pairs, metadata = content.pairs(), {}
            while pairs.rest:
                key = pairs.text()
                metadata[key] = pairs.text()
            self.channels[number] = schema, topic, encoding, metadata
        elif opcode == _MESSAGE:
            channel, _, time = content.number(2), content.number(4), content.number(8)
            self.counts[channel] += 1
            self.start, self.end = min(self.start, time), max(self.end, time)
        elif opcode == _CHUNK_INDEX:
            self.chunks.append(_indexed_chunk(content))
        elif opcode == _STATISTICS:
            content.number(8), content.number(2), content.number(4)
            self.attachments, _, self.expected_chunks = content.number(4), content.number(4), content.number(4)
            self.start, self.end = content.number(8), content.number(8)
            pairs = content.pairs()
            while pairs.rest:
                channel = pairs.number(2)
                self.counts[channel] = pairs.number(8)

    @property
    def is_complete_summary(self) -> bool:
        """Whether a summary says all that is needed: messages that stand in no index would not be found."""
        return (
            self.expected_chunks is not None
            and self.expected_chunks == len(self.chunks)
            and all(chunk.message_index_offsets for chunk in self.chunks)
            and all(number in self.channels for number, count in self.counts.items() if count)
        )


class McapStorage(McapReader):
    """Reads the messages of an mcap file in order of time; of one without its end, all that were written completely.

    Attributes:
        topics: what is stored of the topics, by number of the connection.
        attachments: number of files that somebody has put into this one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.topics: dict[int, RawTopic] = {}
        self.attachments = 0

    def _open(self) -> None:
        file = self.bio
        assert file is not None
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ReaderError("it is empty" if not size else "it does not begin as mcap does")
        header = next(_records(file, len(_MAGIC), size), None)
        if header is None or header.opcode != _HEADER:
            raise ReaderError("the file ends before its first record; nothing was recorded")
        self.data_start = header.end
        contents = self._summary(file, size)
        if contents is None:
            contents = self._scan(file, size)
        self.chunks, self.attachments = contents.chunks, contents.attachments
        total = contents.counts.total()
        self.connections = []
        for number, (schema, topic, encoding, metadata) in sorted(contents.channels.items()):
            name, definition_encoding, definition = contents.schemas.get(schema, ("", "", b""))
            self.topics[number] = RawTopic(definition_encoding, definition, metadata)
            count = contents.counts[number]
            self.connections.append(self.topics[number].connection(number, topic, name, encoding, count, self))
        if total:
            start, end = contents.start, contents.end + 1
            self.metadata = ReaderMetadata(end - start, start, end, total, None, None, None, None)

    def _summary(self, file: BinaryIO, size: int) -> _Contents | None:
        """What the file's end says of it; None if that is missing or not enough."""
        if size < len(_MAGIC) + _FOOTER_LENGTH or is_cut_mcap(Path(self.path)):
            return None
        file.seek(size - _FOOTER_LENGTH + _HEAD)
        start = int.from_bytes(file.read(8), "little")
        if not self.data_start <= start < size - _FOOTER_LENGTH:
            return None
        self.data_end = start
        contents = _Contents()
        for record in _records(file, start, size - _FOOTER_LENGTH):
            contents.take(record.opcode, _content(file, record))
        return contents if contents.is_complete_summary else None

    def _scan(self, file: BinaryIO, size: int) -> _Contents:
        """What all complete records say of the file."""
        contents = _Contents()
        self.data_end = self.data_start
        for record in _records(file, self.data_start, size):
            if record.opcode in (_FOOTER, _DATA_END):
                break
            if record.opcode == _CHUNK:
                try:
                    contents.chunks.append(_scanned_chunk(file, record, contents))
                except (
                    Exception
                ) as error:  # after a power cut: a chunk whose length is on the disk, but not its content
                    warn_once(f"{self.path}: what is behind byte {record.start} cannot be read: {error}")
                    break
            elif record.opcode in (_SCHEMA, _CHANNEL, _MESSAGE):
                contents.take(record.opcode, _content(file, record))
            contents.attachments += record.opcode == _ATTACHMENT
            self.data_end = record.end
        return contents


def _records(file: BinaryIO, position: int, end: int) -> Iterator[_Record]:
    """The complete records between two places of a file."""
    while position + _HEAD <= end:
        file.seek(position)
        head = file.read(_HEAD)
        stop = position + _HEAD + int.from_bytes(head[1:], "little")
        # an opcode of 0 does not exist: after a power cut, a file may end with zeros
        if stop > end or head[0] == 0:
            return
        yield _Record(head[0], position, stop)
        position = stop


def _content(file: BinaryIO, record: _Record) -> _Fields:
    """What a record holds; of a message only its head."""
    file.seek(record.start + _HEAD)
    length = record.end - record.start - _HEAD
    return _Fields(file.read(min(length, 22) if record.opcode == _MESSAGE else length))


def _indexed_chunk(content: _Fields) -> ChunkInfo:
    """A chunk as the file's index describes it."""
    start_time, end_time, start, length = (content.number(8) for _ in range(4))
    offsets, pairs = {}, content.pairs()
    while pairs.rest:
        channel = pairs.number(2)
        offsets[channel] = pairs.number(8)
    index_length, compression = content.number(8), content.text()
    compressed, size = content.number(8), content.number(8)
    # rosbags passes over a chunk that has none of the wanted channels; how many messages there are is not asked
    some = dict.fromkeys(offsets, 1)
    return ChunkInfo(start_time, end_time, start, length, offsets, index_length, compression, compressed, size, some)


def _scanned_chunk(file: BinaryIO, chunk: _Record, contents: _Contents) -> ChunkInfo:
    """A chunk as the file's index would have described it; its own records are noted in `contents`."""
    content = _content(file, chunk)
    start_time, end_time, size, checksum = content.number(8), content.number(8), content.number(8), content.number(4)
    compression, compressed = content.text(), content.block(8)
    inner = BytesIO(decompress(compressed, compression, size, checksum))
    before = contents.counts.copy()
    for record in _records(inner, 0, size):
        if record.opcode in (_SCHEMA, _CHANNEL, _MESSAGE):
            contents.take(record.opcode, _content(inner, record))
    counts = contents.counts - before
    return ChunkInfo(
        start_time, end_time, chunk.start, chunk.end - chunk.start, {}, 0, compression, len(compressed), size, counts
    )
