"""Copies of rosbag2 recordings, message for message, with messages added between them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from smotracker_ros.io.bag_files import storage_files, storage_suffix
from smotracker_ros.io.bag_reader import BagReader, bag_messages
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.pending import SinkError, pending_path
from smotracker_ros.io.raw_topics import RawTopic
from smotracker_ros.io.raw_writing import TopicError, add_topic

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}

Additions = Callable[[Connection, int], Mapping[str, bytes]]
"""Serialised messages by topic to be written behind a message, given its connection and time of recording."""

_logger = logging.getLogger(__name__)


def storage_of(path: Path) -> str:
    """Storage of a bag, "mcap" or "sqlite3", by the names of its files."""
    return "mcap" if any(storage_suffix(file) == ".mcap" for file in storage_files(path)) else "sqlite3"


@contextmanager
def new_bag(path: Path, storage: str) -> Iterator[Writer]:
    """A bag that takes its name when it is complete. Chunks of mcap are compressed (zstd), which every reader knows.

    Raises:
        SinkError: if it exists already, or cannot be written.
    """
    if path.exists():
        raise SinkError(f"{path} exists already; remove it, or choose another --output")
    with pending_path(path) as temporary:
        writer = Writer(temporary, version=9, storage_plugin=STORAGES[storage])
        if storage == "mcap":
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with writer:
            yield writer


def copy_messages(
    reader: BagReader, writer: Writer, topics: Mapping[str, str] | None = None, additions: Additions | None = None
) -> int:
    """Write all messages of an open bag to another: the same bytes, types, definitions, delivery policies and times.

    Nothing of it is interpreted. What the other storage cannot hold is left out with a warning.

    Args:
        reader: the bag.
        writer: the copy.
        topics: types of the topics that `additions` returns.
        additions: what comes behind a message; None: nothing. It is recorded at that message's time.

    Returns:
        Number of messages copied.

    Raises:
        SinkError: if the bag already has one of `topics`.
    """
    taken = sorted({connection.topic for connection in reader.connections} & set(topics or ()))
    if taken:
        raise SinkError(f"the bag already has {', '.join(taken)}; choose another --namespace for the results")
    if reader.attachments:
        _logger.warning("%d attachments of the mcap file are left out: they are no topics", reader.attachments)
    for key, value in reader.custom.items():
        writer.set_custom_data(key, value)
    copies = _add_connections(reader, writer)
    added = {topic: writer.add_connection(topic, kind, typestore=typestore()) for topic, kind in (topics or {}).items()}
    count = 0
    for connection, received, data in bag_messages(reader):
        copy = copies[_key(connection)]
        if copy is None:
            continue
        writer.write(copy, received, data)
        count += 1
        for topic, message in (additions(connection, received) if additions else {}).items():
            writer.write(added[topic], received, message)
    return count


def _key(connection: Connection) -> tuple[str, str, str]:
    """Connections of several files that are one topic."""
    return connection.topic, connection.msgtype, repr(connection.ext)


def _add_connections(reader: BagReader, writer: Writer) -> dict[tuple[str, str, str], Connection | None]:
    """The copies of all topics; None: it cannot be copied."""
    copies: dict[tuple[str, str, str], Connection | None] = {}
    definitions: dict[str, RawTopic] = {}
    for connection in reader.connections:
        if _key(connection) in copies:
            continue
        raw = reader.raw(connection)
        if definitions.setdefault(connection.msgtype, raw)[:2] != raw[:2]:
            _logger.warning(
                "%s has another definition of %s than a topic before; the copy has the first one alone",
                connection.topic,
                connection.msgtype,
            )
        try:
            copies[_key(connection)] = add_topic(writer, connection, raw)
        except TopicError as error:
            _logger.warning("%s with %d messages is left out: %s", connection.topic, connection.msgcount, error)
            copies[_key(connection)] = None
    return copies
