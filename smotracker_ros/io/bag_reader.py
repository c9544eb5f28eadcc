"""Rosbag2 recordings, open for reading: topics, and messages in order of time, uninterpreted."""

from __future__ import annotations

import heapq
import itertools
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from rosbags.interfaces import Connection

# Python's own from 3.14 on; rosbags brings it for the versions before
from rosbags.rosbag2.storage_mcap import zstd

from smotracker_ros.io.bag_files import (
    COMPRESSED_SUFFIXES,
    BagFiles,
    find_files,
    storage_suffix,
    warn_once,
)
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.mcap_storage import McapStorage, is_cut_mcap
from smotracker_ros.io.raw_topics import CDR, DIGEST, RawTopic
from smotracker_ros.io.sqlite_storage import SqliteStorage, settle_database

Message = tuple[Connection, int, bytes]
"""Connection, time of recording in nanoseconds, and serialised bytes."""

_ZSTD = b"\x28\xb5\x2f\xfd"


class BagReader:
    """An open bag; see :func:`open_bag`.

    Attributes:
        path: as it was given.
        connections: topics by file, and those that metadata.yaml alone knows of.
        custom: what a recorder's user added to metadata.yaml.
        start_time: nanoseconds, of the first message.
        end_time: nanoseconds, behind the last message.
        message_count: of all topics.
        attachments: number of files that somebody has put into the bag's mcap files.
    """

    def __init__(self, path: Path, files: BagFiles, storages: list[McapStorage | SqliteStorage]) -> None:
        self.path, self.custom = path, dict(files.custom)
        self._storages = storages
        self._compressed = files.compressed_messages
        self.connections = [connection for storage in storages for connection in storage.connections]
        self._complete(files.topics)
        self.start_time = min((storage.metadata.start_time for storage in storages), default=0)
        self.end_time = max((storage.metadata.end_time for storage in storages), default=0)
        self.message_count = sum(storage.metadata.message_count for storage in storages)
        self.attachments = sum(storage.attachments for storage in storages if isinstance(storage, McapStorage))

    def _complete(self, topics: Collection[Mapping[str, str]]) -> None:
        """Take over what only metadata.yaml says: topics without messages, and hashes of types."""
        digests = {(item["name"], item.get("type", "")): item.get("type_description_hash") or "" for item in topics}
        known = {(connection.topic, connection.msgtype) for connection in self.connections}
        self.connections = [
            connection._replace(digest=connection.digest or digests.get((connection.topic, connection.msgtype), ""))
            for connection in self.connections
        ]
        for item in topics:
            if (item["name"], item.get("type", "")) not in known:
                digest = item.get("type_description_hash") or ""
                empty = RawTopic(metadata={DIGEST: digest} if digest else {})
                serialization = item.get("serialization_format") or CDR
                self.connections.append(empty.connection(0, item["name"], item.get("type", ""), serialization, 0, None))

    def raw(self, connection: Connection) -> RawTopic:
        """What the bag stores of a topic, as it stands there."""
        return connection.owner.topics[connection.id] if connection.owner else RawTopic()

    def messages(self, connections: Collection[Connection] | None = None) -> Iterator[Message]:
        """Messages of all or of some connections, in order of time. A damaged file raises almost anything."""
        wanted = self.connections if connections is None else connections
        parts = []
        for storage in self._storages:
            own = [connection for connection in wanted if connection.owner is storage and connection.msgcount]
            if own:
                parts.append(storage.messages(own))
        for connection, time, data in heapq.merge(*parts, key=itemgetter(1)):
            yield connection, time, self._plain(connection, data)

    def _plain(self, connection: Connection, data: bytes) -> bytes:
        """A message without its compression, of which a single file out of a bag does not tell."""
        if self._compressed or (
            self._compressed is None and connection.ext.serialization_format == CDR and data.startswith(_ZSTD)
        ):
            return bytes(zstd.decompress(data))
        return data


@contextmanager
def open_bag(path: Path) -> Iterator[BagReader]:
    """Open a rosbag2 for reading; one that was cut off is read up to where it was written completely.

    Args:
        path: its folder, or one of its files, also a compressed one.

    Raises:
        SourceError: if it cannot be read.
    """
    with ExitStack() as stack:
        try:
            files = find_files(path)
            storages = [_open_storage(path, file, stack) for file in files.files]
            if not files.described:
                _check_parts(path, storages)
            reader = BagReader(path, files, storages)
        except SourceError:
            raise
        except Exception as error:  # a broken bag surfaces as any of sqlite3's, struct's, zstd's or rosbags' errors
            raise SourceError(f"{path} is not a readable rosbag2 ({error}); check it with `ros2 bag info`") from error
        yield reader


def _open_storage(path: Path, file: Path, stack: ExitStack) -> McapStorage | SqliteStorage:
    """Open one file until the stack ends."""
    if file.suffix in COMPRESSED_SUFFIXES:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        unpacked = folder / file.with_suffix("").name
        with zstd.open(file, "rb") as packed, unpacked.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
        file = unpacked
    storage: McapStorage | SqliteStorage
    if storage_suffix(file) == ".db3":
        settle_database(file)
        storage = SqliteStorage(file)
    else:
        if is_cut_mcap(file):
            warn_once(f"{path} was cut off while it was recorded; what is complete of it is read")
        storage = McapStorage(file)
    storage.open()
    stack.callback(storage.close)
    return storage


def _check_parts(path: Path, storages: list[McapStorage | SqliteStorage]) -> None:
    """Refuse files that cannot be parts of one recording, such as a bag and its copy.

    Raises:
        SourceError: if two of them are of the same time.
    """
    parts = sorted(
        (storage.metadata.start_time, storage.metadata.end_time, storage.path.name)
        for storage in storages
        if storage.metadata.message_count
    )
    for (start, end, name), (other_start, other_end, other) in itertools.pairwise(parts):
        # at the border between two parts a few messages may lie on either side
        if min(end, other_end) - other_start > min(end - start, other_end - other_start) / 2:
            raise SourceError(
                f"{path} has no metadata.yaml, and {name} and {other} are of the same time: one seems to be a copy; "
                "give one of the files, or remove the other"
            )


def bag_messages(reader: BagReader, connections: Collection[Connection] | None = None) -> Iterator[Message]:
    """Messages of an open bag, of all or of some connections, in order of time.

    Where the files are damaged the messages end, with a warning: what came before is good.
    """
    messages = reader.messages(connections)
    while True:
        try:
            yield next(messages)
        except StopIteration:
            return
        except Exception as error:
            warn_once(f"{reader.path} ends early: {error}")
            return
