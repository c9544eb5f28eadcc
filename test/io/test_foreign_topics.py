"""Topics that are not used: nothing of them is interpreted, and a copy of the bag holds them as they are."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.io.bag_copy import copy_messages, new_bag
from smotracker_ros.io.bag_reader import open_bag
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.raw_topics import DIGEST, QUALITY, RawTopic
from smotracker_ros.io.raw_writing import add_topic
from smotracker_ros.io.sources import SourceError, open_source

START = 1_700_000_000_000_000_000
PROTOBUF = b"\x0a\xff\xfe\x80own.proto\x12\x03own\x00\xc3\x28"
FRAMES = 6


class Foreign(NamedTuple):
    """A topic as somebody's recorder wrote it."""

    raw: RawTopic
    kind: str = "own_msgs/msg/Status"
    serialization: str = "cdr"


MADE_UP = {QUALITY: "", DIGEST: "RIHS01_" + "0" * 64}
TEXTS = {
    "empty definition": Foreign(RawTopic("ros2msg", b"", MADE_UP)),
    "no definition": Foreign(RawTopic("", b"", MADE_UP)),
    "definition that was not found": Foreign(RawTopic("unknown", b"", MADE_UP)),
    "no definition text": Foreign(RawTopic("ros2msg", b"this is no definition !!\n???", MADE_UP)),
    "unresolved": Foreign(RawTopic("ros2msg", b"other_msgs/Secret inner\nint32 a\n", MADE_UP)),
    "another hash": Foreign(RawTopic("ros2msg", b"int32 a\n", MADE_UP)),
    "no hash": Foreign(RawTopic("ros2msg", b"int32 a\n", {QUALITY: "", DIGEST: ""})),
    "broken IDL": Foreign(RawTopic("ros2idl", b"module {{{", MADE_UP)),
    "known name, other fields": Foreign(RawTopic("ros2msg", b"int32 a\n", MADE_UP), "std_msgs/msg/String"),
    "strange delivery policies": Foreign(RawTopic("ros2msg", b"int32 a\n", {QUALITY: "[{a: : ]", DIGEST: ""})),
    "JSON": Foreign(RawTopic("jsonschema", b'{"type": "object"}', {QUALITY: "", DIGEST: ""}), "status", "json"),
    "ROS 1": Foreign(RawTopic("ros1msg", b"int32 a\n", {QUALITY: "", DIGEST: ""}), "own_msgs/Status", "ros1"),
    "no type": Foreign(RawTopic("", b"", {QUALITY: "", DIGEST: ""}), "", "json"),
}
BINARY = {
    "protobuf": Foreign(RawTopic("protobuf", PROTOBUF, {"team": "north"}), "own.Status", "protobuf"),
    "flatbuffer": Foreign(RawTopic("flatbuffer", bytes(range(256)), {}), "own.Status", "flatbuffer"),
}
CASES = [("mcap", name) for name in (*TEXTS, *BINARY)] + [("sqlite3", name) for name in TEXTS]


@pytest.fixture
def make(tmp_path: Path, make_picture: Callable[..., np.ndarray]) -> Callable[..., Path]:
    def build(storage: str, foreign: Foreign, name: str = "flight") -> Path:
        store, types = typestore(), typestore().types
        with Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
            camera = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=store)
            like = Connection(0, "/odd", foreign.kind, camera.msgdef, foreign.raw.metadata.get(DIGEST, ""), 0,
                              camera.ext._replace(serialization_format=foreign.serialization), None)  # fmt: skip
            odd = add_topic(writer, like, foreign.raw)
            for index in range(FRAMES):
                stamp = START + index * 50_000_000
                time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
                message = types["sensor_msgs/msg/Image"](
                    header=types["std_msgs/msg/Header"](stamp=time, frame_id="mast"), height=48, width=64,
                    encoding="rgb8", is_bigendian=0, step=192, data=make_picture(index).reshape(-1),
                )  # fmt: skip
                writer.write(odd, stamp - 5, bytes([index]) * index)
                writer.write(camera, stamp, store.serialize_cdr(message, message.__msgtype__))
        return tmp_path / name

    return build


def _file(bag: Path) -> Path:
    return next(file for file in bag.iterdir() if file.suffix in (".mcap", ".db3"))


def _odd(bag: Path) -> tuple[Any, ...]:
    """All that a bag holds of the foreign topic."""
    with open_bag(bag) as reader:
        (connection,) = (item for item in reader.connections if item.topic == "/odd")
        messages = [(time, bytes(data)) for _, time, data in reader.messages([connection])]
        facts = connection.msgtype, connection.ext.serialization_format, connection.digest, connection.msgcount
        return (*facts, reader.raw(connection), messages)


@pytest.mark.parametrize(("storage", "name"), CASES)
def test_what_is_not_needed_is_not_parsed(
    make: Callable[..., Path], storage: str, name: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    foreign = (TEXTS | BINARY)[name]
    bag = make(storage, foreign)
    for path in (bag, _file(bag)):
        assert len(list(open_source(path))) == FRAMES
    kind, serialization, _, count, raw, messages = _odd(bag)
    assert (kind, serialization, count) == (foreign.kind, foreign.serialization, FRAMES)
    assert messages == [(START + index * 50_000_000 - 5, bytes([index]) * index) for index in range(FRAMES)]
    assert (raw.definition_encoding, raw.definition) == foreign.raw[:2]
    for target in ("mcap", "sqlite3") if name not in BINARY else ("mcap",):
        with open_bag(bag) as reader, new_bag(tmp_path / target, target) as writer:
            assert copy_messages(reader, writer) == 2 * FRAMES
        copied = _odd(tmp_path / target)
        assert copied[:4] == _odd(bag)[:4]
        assert (copied[4].definition_encoding, copied[4].definition) == foreign.raw[:2]
        assert copied[5] == messages
        assert len(list(open_source(_file(tmp_path / target)))) == FRAMES
    with open_bag(tmp_path / "mcap") as reader:
        copied_raw = next(reader.raw(item) for item in reader.connections if item.topic == "/odd")
    assert dict(copied_raw.metadata) == dict(raw.metadata)
    assert foreign.raw.definition in (tmp_path / "mcap" / "mcap.mcap").read_bytes()
    assert not caplog.records


@pytest.mark.parametrize("name", BINARY)
def test_a_topic_that_a_storage_cannot_hold_is_named(
    make: Callable[..., Path], name: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with open_bag(make("mcap", BINARY[name])) as reader, new_bag(tmp_path / "copy", "sqlite3") as writer:
        assert copy_messages(reader, writer) == FRAMES
    assert "/odd with 6 messages is left out" in caplog.text
    assert "--storage mcap keeps it" in caplog.text


def _record(opcode: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack("<BQ", opcode, len(content)) + content


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def test_what_a_copy_cannot_hold_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two definitions of one type, as in a file made of two recordings, and a file within an mcap file."""
    magic, kind = b"\x89MCAP0\r\n", "own_msgs/msg/Status"
    file = magic + _record(1, _text("ros2"), _text("by hand"))
    for number, (topic, definition) in enumerate({"/first": "int32 a", "/second": "int64 b"}.items(), start=1):
        file += _record(3, struct.pack("<H", number), _text(kind), _text("ros2msg"), _text(definition))
        file += _record(4, struct.pack("<HH", number, number), _text(topic), _text("cdr"), _text(""))
        file += _record(5, struct.pack("<HIQQ", number, 0, number, number), b"\x00\x01\x00\x00" + bytes(8))
    file += _record(9, struct.pack("<QQ", 0, 0), _text("map.png"), _text("image/png"), bytes(12))
    (tmp_path / "hand.mcap").write_bytes(file + _record(15, bytes(4)) + _record(2, bytes(20)) + magic)
    with open_bag(tmp_path / "hand.mcap") as reader, new_bag(tmp_path / "copy", "mcap") as writer:
        assert [reader.raw(item).definition for item in reader.connections] == [b"int32 a", b"int64 b"]
        assert copy_messages(reader, writer) == 2
    assert "/second has another definition of own_msgs/msg/Status" in caplog.text
    assert "1 attachments of the mcap file are left out" in caplog.text


def test_images_in_another_form_are_not_taken_for_ours(make: Callable[..., Path]) -> None:
    """They are named with their form where there are no others."""
    foreign = Foreign(RawTopic("ros1msg", b"uint8[] data", {}), "sensor_msgs/msg/Image", "ros1")
    bag = make("mcap", foreign)
    source = open_source(bag)
    assert source.length == FRAMES
    with pytest.raises(SourceError, match="no image topic /odd"):
        open_source(bag, topic="/odd")
    with open_bag(bag) as reader, new_bag(bag.parent / "odd_alone", "mcap") as writer:
        (odd,) = (item for item in reader.connections if item.topic == "/odd")
        add_topic(writer, odd, reader.raw(odd))
    with pytest.raises(SourceError, match=r"its topics: /odd \(sensor_msgs/msg/Image, ros1\)"):
        open_source(bag.parent / "odd_alone")
