"""Copies of rosbag2 recordings, message for message, with messages added between them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from smotracker_ros.video.bags import bag_messages
from smotracker_ros.video.message_types import typestore
from smotracker_ros.video.pending import SinkError, pending_path

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}

Additions = Callable[[Connection, int], Mapping[str, bytes]]
"""Serialised messages by topic to be written behind a message, given its connection and time of recording."""

_IDL_HEAD = "=" * 80 + "\nIDL: "
_logger = logging.getLogger(__name__)


def storage_of(path: Path) -> str:
    """Storage of a bag, "mcap" or "sqlite3", by the names of its files."""
    names = [item.name for item in path.iterdir()] if path.is_dir() else [path.name]
    return "mcap" if any(".mcap" in name for name in names) else "sqlite3"


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
    reader: AnyReader, writer: Writer, topics: Mapping[str, str] | None = None, additions: Additions | None = None
) -> int:
    """Write all messages of an open bag to another: the same bytes, types, delivery policies and times.

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
    for reading in reader.readers:
        for key, value in (reading.storage.metadata.custom or {}).items():
            writer.set_custom_data(key, str(value))
    copies = _add_connections(reader, writer)
    added = {topic: writer.add_connection(topic, kind, typestore=typestore()) for topic, kind in (topics or {}).items()}
    count = 0
    for connection, received, data in bag_messages(reader):
        writer.write(copies[_key(connection)], received, data)
        count += 1
        for topic, message in (additions(connection, received) if additions else {}).items():
            writer.write(added[topic], received, message)
    return count


def _key(connection: Connection) -> tuple[str, str, str]:
    """Connections of several files that are one topic."""
    return connection.topic, connection.msgtype, repr(connection.ext)


def _add_connections(reader: AnyReader, writer: Writer) -> dict[tuple[str, str, str], Connection]:
    copies: dict[tuple[str, str, str], Connection] = {}
    for connection in reader.connections:
        if _key(connection) in copies:
            continue
        definition, digest = _definition(connection, reader)
        copies[_key(connection)] = writer.add_connection(
            connection.topic,
            connection.msgtype,
            msgdef=definition,
            rihs01=digest,
            serialization_format=connection.ext.serialization_format,
            offered_qos_profiles=connection.ext.offered_qos_profiles,
        )
    return copies


def _definition(connection: Connection, reader: AnyReader) -> tuple[str, str]:
    """Text and hash of a message type's definition.

    Bags of ROS 2 Humble hold none. Types that are not known here either are written with an empty one: their messages
    can be played where the type is installed, as those of the original can.
    """
    name = connection.msgtype
    if connection.msgdef.format is not MessageDefinitionFormat.NONE:
        text = connection.msgdef.data
        if connection.msgdef.format is MessageDefinitionFormat.IDL and not text.startswith(_IDL_HEAD):
            text = f"{_IDL_HEAD}{name}\n{text}"
        return text, connection.digest or reader.typestore.hash_rihs01(name)
    known = typestore()
    if name in known.fielddefs and connection.digest in ("", known.hash_rihs01(name)):
        return known.generate_msgdef(name, ros_version=2)[0], known.hash_rihs01(name)
    _logger.warning("neither the bag nor this program knows the type %s of %s", name, connection.topic)
    empty = get_typestore(Stores.EMPTY)
    empty.register(get_types_from_msg("", name))
    return "", empty.hash_rihs01(name)
