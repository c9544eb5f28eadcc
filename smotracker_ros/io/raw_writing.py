"""Topics of one bag in another, with all that is stored of them, whatever they are."""

from __future__ import annotations

from io import BytesIO
from typing import Self

import yaml
from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.metadata import dump_qos_v9
from rosbags.rosbag2.storage_mcap import Channel, McapWriter, Schema, write_channel, write_schema, write_string
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.raw_topics import CDR, DIGEST, QUALITY, RawTopic


class TopicError(ValueError):
    """A topic that a bag cannot hold; the message says why."""


def add_topic(writer: Writer, connection: Connection, raw: RawTopic) -> Connection:
    """Add a topic of another bag as it stands there.

    rosbags' own :meth:`Writer.add_connection` calls every definition one of ROS 2, and wants to know its hash.

    Args:
        writer: an open bag.
        connection: the topic in the other bag.
        raw: what is stored of it there. Bags of ROS 2 Humble hold no definitions: those of common types are added.

    Raises:
        TopicError: if the storage cannot hold it.
    """
    raw, digest = _completed(connection, raw)
    number = len(writer.connections) + 1
    new = connection._replace(id=number, digest=digest, msgcount=0, owner=writer)
    if isinstance(writer.storage, McapWriter):
        _add_to_mcap(writer, new, raw)
    else:
        _add_to_sqlite(writer, new, raw)
    writer.connections.append(new)
    writer.counts[number] = 0
    return new


def _completed(connection: Connection, raw: RawTopic) -> tuple[RawTopic, str]:
    """The topic with its definition and hash, as far as these are known."""
    name, known, digest = connection.msgtype, typestore(), connection.digest
    if not raw.definition and name in known.fielddefs and digest in ("", known.hash_rihs01(name)):
        text, digest = known.generate_msgdef(name, ros_version=2)[0], known.hash_rihs01(name)
        return RawTopic("ros2msg", text.encode(), {**raw.metadata, DIGEST: digest}), digest
    return raw, digest or _hash(name, raw)


def _hash(name: str, raw: RawTopic) -> str:
    """Hash of a type, by its definition; empty if that cannot be understood."""
    read = {"ros2msg": get_types_from_msg, "ros2idl": lambda text, name: get_types_from_idl(text)}
    try:
        store = get_typestore(Stores.EMPTY)
        store.register(read[raw.definition_encoding](raw.definition.decode(), name))
        return str(store.hash_rihs01(name))
    except Exception:  # somebody's definition, of which nothing depends on our understanding
        return ""


def _quality(connection: Connection, raw: RawTopic) -> str:
    """Delivery policies as text: the bag's own, or those of its metadata.yaml."""
    if QUALITY in raw.metadata:
        return raw.metadata[QUALITY]
    return str(yaml.safe_dump(dump_qos_v9(connection.ext.offered_qos_profiles))).strip()


class _Data(str):
    """Bytes that rosbags takes for the text of a definition; they need not be text."""

    data: bytes

    @classmethod
    def of(cls, data: bytes) -> Self:
        made = cls()
        made.data = data
        return made

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The bytes as they were."""
        return self.data


def _add_to_mcap(writer: Writer, connection: Connection, raw: RawTopic) -> None:
    assert isinstance(connection.ext, ConnectionExtRosbag2)
    storage, name, serialization = writer.storage, connection.msgtype, connection.ext.serialization_format
    if name not in writer.added_types:
        writer.added_types.add(name)
        schema = Schema(len(storage.schemas) + 1, name, raw.definition_encoding, _Data.of(raw.definition))
        storage.schemas.append(schema)
        write_schema(storage.chunk.bio, schema)
    metadata = BytesIO()
    ours = {QUALITY: _quality(connection, raw)} if serialization == CDR and QUALITY not in raw.metadata else {}
    for key, value in {**raw.metadata, **ours}.items():
        write_string(metadata, key)
        write_string(metadata, value)
    storage.channels.append(Channel(connection.id, name, connection.topic, serialization, metadata.getvalue()))
    storage.channel_stats[connection.id] = 0
    write_channel(storage.chunk.bio, storage.channels[-1], storage.schemas)


def _add_to_sqlite(writer: Writer, connection: Connection, raw: RawTopic) -> None:
    try:
        text = raw.definition.decode()
    except UnicodeDecodeError:
        raise TopicError(
            f"its definition ({raw.definition_encoding}) is no text, as SQLite bags have it; --storage mcap keeps it"
        ) from None
    assert isinstance(connection.ext, ConnectionExtRosbag2)
    cursor = writer.storage.cursor
    if connection.msgtype not in writer.added_types and raw.definition_encoding:
        writer.added_types.add(connection.msgtype)
        query = (
            "INSERT INTO message_definitions (topic_type, encoding, encoded_message_definition, type_description_hash) "
            "VALUES (?, ?, ?, ?)"
        )
        cursor.execute(query, (connection.msgtype, raw.definition_encoding, text, connection.digest))
    cursor.execute(
        "INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?)",
        (
            connection.id,
            connection.topic,
            connection.msgtype,
            connection.ext.serialization_format,
            _quality(connection, raw),
            connection.digest,
        ),
    )
