"""What a bag stores of a topic besides its messages, as it stands there: what is not used is not interpreted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat, Qos
from rosbags.rosbag2.metadata import parse_qos

QUALITY, DIGEST = "offered_qos_profiles", "topic_type_hash"
"""Keys of rosbag2 in the metadata of an mcap channel."""

CDR = "cdr"
"""How the messages are serialised that this program reads."""

_TEXTS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}


class RawTopic(NamedTuple):
    """A topic of one file of a bag.

    Attributes:
        definition_encoding: what the definition of its type is written in, such as "ros2msg" or "protobuf"; empty:
            there is none.
        definition: text, or binary.
        metadata: of an mcap channel, or what rosbag2 would have written there.
    """

    definition_encoding: str = ""
    definition: bytes = b""
    metadata: Mapping[str, str] = {}

    def connection(
        self, number: int, topic: str, message_type: str, serialization: str, count: int, owner: object
    ) -> Connection:
        """What rosbags calls a connection.

        Args:
            number: of the topic in its file.
            topic: its name.
            message_type: name of its type.
            serialization: how its messages are written, such as "cdr" or "json".
            count: number of its messages.
            owner: the file's reader.
        """
        definition = MessageDefinition(MessageDefinitionFormat.NONE, "")
        if self.definition_encoding in _TEXTS and self.definition:
            text = self.definition.decode("utf-8", "replace")
            definition = MessageDefinition(_TEXTS[self.definition_encoding], text)
        extension = ConnectionExtRosbag2(serialization, self._quality())
        digest = self.metadata.get(DIGEST, "")
        return Connection(number, topic, message_type, definition, digest, count, extension, owner)

    def _quality(self) -> list[Qos]:
        try:
            found: list[Qos] = parse_qos(self.metadata.get(QUALITY, ""))
        except Exception:  # anything may stand there, and nothing depends on it
            return []
        return found
