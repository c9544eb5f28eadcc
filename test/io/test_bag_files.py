"""Bags as people have them: renamed, copied, compressed, of ROS 1, with clocks that are set and buffered images."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from smotracker_ros.io.bag_reader import open_bag
from smotracker_ros.io.bags import BagSource
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.sources import SourceError, open_source

Maker = Callable[..., Path]
SUFFIXES = {"mcap": ".mcap", "sqlite3": ".db3"}
START = 1_700_000_000_000_000_000
STEP = 50_000_000


def _file(bag: Path) -> Path:
    return next(file for file in bag.iterdir() if file.suffix in SUFFIXES.values())


@pytest.mark.parametrize("storage", SUFFIXES)
def test_a_renamed_file_is_read_and_said(make_bag: Maker, storage: str, caplog: pytest.LogCaptureFixture) -> None:
    bag = make_bag(storage=storage)
    _file(bag).rename(bag / f"flight 7 #2?{SUFFIXES[storage]}")
    assert len(list(open_source(bag))) == 6
    assert "flight 7 #2" in caplog.text and "`ros2 bag reindex`" in caplog.text
    assert len([record for record in caplog.records if "reindex" in record.message]) == 1, "said once"


def test_a_missing_file_is_named(make_bag: Maker) -> None:
    bag = make_bag()
    file = _file(bag)
    shutil.copy(file, bag / "one.mcap")
    shutil.copy(file, bag / "two.mcap")
    file.unlink()
    with pytest.raises(SourceError, match=r"names bag\.mcap, but there is one\.mcap, two\.mcap; copy or rename"):
        open_source(bag)
    assert len(list(open_source(bag / "one.mcap"))) == 6
    for other in ("one.mcap", "two.mcap"):
        (bag / other).unlink()
    with pytest.raises(SourceError, match=r"names bag\.mcap, but it is not there"):
        open_source(bag)


def test_a_copy_beside_a_bag_is_not_read_twice(make_bag: Maker, caplog: pytest.LogCaptureFixture) -> None:
    bag = make_bag()
    file = _file(bag)
    shutil.copy(file, bag / "backup.mcap")
    (bag / "._bag.mcap").write_bytes(b"\x00\x05\x16\x07 of macOS")
    assert len(list(open_source(bag))) == 6
    assert "backup.mcap is not read: metadata.yaml does not name it" in caplog.text
    # also where the bag's own file was cut off
    file.write_bytes(file.read_bytes()[:-20])
    assert len(list(open_source(bag))) == 6
    (bag / "metadata.yaml").unlink()
    with pytest.raises(SourceError, match=r"backup\.mcap and bag\.mcap are of the same time: one seems to be a copy"):
        open_source(bag)


def test_parts_of_a_recording_without_metadata(make_bag: Maker) -> None:
    """Ten parts, whose order by name is not the order of time."""
    source = make_bag(frames=10)
    with open_bag(source) as reader:
        messages = list(reader.messages())
        for number, (connection, time, data) in enumerate(messages):
            with Writer(source.parent / f"part_{number}", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
                copy = writer.add_connection(connection.topic, connection.msgtype, typestore=typestore())
                writer.write(copy, time, data)
    folder = source.parent / "flight"
    folder.mkdir()
    for number in range(10):
        name = f"part_{number}"
        (source.parent / name / f"{name}.mcap").rename(folder / f"flight_{number + 5}.mcap")
    assert [frame.timestamp_ns for frame in open_source(folder)] == [START + STEP * number for number in range(10)]


@pytest.mark.parametrize("storage", SUFFIXES)
def test_a_compressed_file_out_of_its_bag(make_bag: Maker, storage: str, tmp_path: Path) -> None:
    """A file that is compressed as a whole, and one whose messages are: nothing in the latter tells of it."""
    with open_bag(make_bag(storage=storage)) as reader:
        messages = list(reader.messages())
    for mode, suffix in ((CompressionMode.FILE, ".zstd"), (CompressionMode.MESSAGE, "")):
        path = tmp_path / mode.name
        writer = Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()])
        writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            copy = writer.add_connection(messages[0][0].topic, messages[0][0].msgtype, typestore=typestore())
            for _, time, data in messages:
                writer.write(copy, time, data)
        name = f"{mode.name}{SUFFIXES[storage]}{suffix}"
        for source in (path, shutil.copy(path / name, tmp_path / name)):
            assert len(list(open_source(source))) == 6


def test_a_bag_of_ros_1_is_told_what_to_do(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(tmp_path / "my flight.bag") as writer:
        writer.add_connection("/text", "std_msgs/msg/String", typestore=store)
    with pytest.raises(
        SourceError, match=r"a bag of ROS 1; convert it: rosbags-convert --src '.*my flight\.bag' --dst"
    ):
        open_source(tmp_path / "my flight.bag")


def _record(opcode: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack("<BQ", opcode, len(content)) + content


def _text(text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<I", len(data)) + data


@pytest.mark.parametrize("indexed_chunks", [False, True])
def test_mcap_without_an_index(make_bag: Maker, tmp_path: Path, indexed_chunks: bool) -> None:
    """Written by hand after https://mcap.dev/spec: no summary at all, or chunks without an index of their messages."""
    with open_bag(make_bag()) as reader:
        messages = [(time, bytes(data)) for _, time, data in reader.messages()]
        definition = reader.raw(reader.connections[0]).definition
    magic = b"\x89MCAP0\r\n"
    schema = _record(3, struct.pack("<H", 1), _text("sensor_msgs/msg/Image"), _text("ros2msg"), _text(definition))
    channel = _record(4, struct.pack("<HH", 7, 1), _text("/camera"), _text("cdr"), _text(b""))
    body = schema + channel
    body += b"".join(_record(5, struct.pack("<HIQQ", 7, 0, time, time), data) for time, data in messages)
    start, end = messages[0][0], messages[-1][0]
    file = magic + _record(1, _text(""), _text("by hand"))
    summary = b""
    if indexed_chunks:
        chunk = _record(
            6, struct.pack("<QQQI", start, end, len(body), 0), _text(""), struct.pack("<Q", len(body)), body
        )
        index = struct.pack("<QQQQ", start, end, len(file), len(chunk)), _text(b""), struct.pack("<Q", 0), _text("")
        statistics = struct.pack("<QHIIIIQQ", len(messages), 1, 1, 0, 0, 1, start, end)
        summary = schema + channel + _record(8, *index, struct.pack("<QQ", len(body), len(body)))
        summary += _record(11, statistics, _text(struct.pack("<HQ", 7, len(messages))))
        body = chunk
    file += body + _record(15, struct.pack("<I", 0))
    file += summary + _record(2, struct.pack("<QQI", len(file) if summary else 0, 0, 0)) + magic
    (tmp_path / "hand.mcap").write_bytes(file)
    assert len(list(open_source(tmp_path / "hand.mcap"))) == 6


def _restamped(source: Path, target: Path, stamps: list[int], received: list[int] | None = None) -> Path:
    """A copy of a bag of images with other time stamps (0: none), recorded at other times."""
    store = typestore()
    with open_bag(source) as reader, Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        copy = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=store)
        for number, (_, time, data) in enumerate(reader.messages()):
            message = store.deserialize_cdr(data, "sensor_msgs/msg/Image")
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamps[number], 10**9)
            time = received[number] if received else time
            writer.write(copy, time, store.serialize_cdr(message, "sensor_msgs/msg/Image"))
    return target


def test_the_rate_of_a_bag_does_not_hang_on_single_stamps(make_bag: Maker, tmp_path: Path) -> None:
    bag = make_bag(frames=20)
    even = [START + number * STEP for number in range(20)]
    cases = {
        "burst": [even[0], even[0] + 40_000, *even[2:]],
        "early": [even[0] - 10 * 10**9, *even[1:]],
        "late clock": [0] * 8 + even[8:],
        "clock set": [50 * 10**9 + number * STEP for number in range(10)] + even[10:],
        "no clock": [0] * 20,
        "standing clock": [even[0]] * 20,
    }
    for name, stamps in cases.items():
        source = open_source(_restamped(bag, tmp_path / name, stamps))
        assert source.fps == pytest.approx(20, rel=0.02), name
        assert len(list(source)) == (1 if name == "standing clock" else 20)


def test_a_clock_that_is_set_forward_is_said(make_bag: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """To the tracker it is a gap; a camera that paused needs no word, nor one whose first stamps are missing."""
    even = [START + number * STEP for number in range(12)]
    bag = make_bag(frames=12)
    paused = [time + (60 * 10**9 if number > 5 else 0) for number, time in enumerate(even)]
    assert len(list(open_source(_restamped(bag, tmp_path / "paused", paused, paused)))) == 12
    assert len(list(open_source(_restamped(bag, tmp_path / "late", [0] * 6 + even[6:])))) == 12
    assert not caplog.records
    boot = [50 * 10**9 + number * STEP for number in range(6)] + even[6:]
    assert len(list(open_source(_restamped(bag, tmp_path / "set", boot)))) == 12
    assert caplog.text.count("the camera's clock was set") == 1


def test_late_images_are_left_out_and_said_once(
    make_bag: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stamps = [START + number * STEP for number in range(20)]
    stamps[5], stamps[9], stamps[15] = stamps[2], stamps[8], stamps[14]
    source = open_source(_restamped(make_bag(frames=20), tmp_path / "late", stamps))
    assert isinstance(source, BagSource)
    assert [frame.index for frame in source] == [number for number in range(20) if number not in (5, 9, 15)]
    assert source.skipped == 3
    assert caplog.text.count("not later than the previous one's") == 1
    assert "2 more images were skipped" in caplog.text


def test_a_late_deep_image_does_not_change_the_next_ones(make_bag: Maker, tmp_path: Path) -> None:
    """It is refused before it is decoded: the range of the stream is that of the images that are taken."""
    store = typestore()
    types = store.types
    bags = []
    for name, numbers in (("with", (0, 1, 0, 2)), ("without", (0, 1, 2))):
        with Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            topic = writer.add_connection("/thermal", "sensor_msgs/msg/Image", typestore=store)
            for order, number in enumerate(numbers):
                late = name == "with" and order == 2
                scene = np.random.default_rng(number).integers(3000, 3600, (48, 64)).astype("<u2")
                pixels = scene + np.uint16(300 if late else 0)
                time = types["builtin_interfaces/msg/Time"](sec=1000, nanosec=number * STEP)
                header = types["std_msgs/msg/Header"](stamp=time, frame_id="thermal")
                message = types["sensor_msgs/msg/Image"](
                    header=header, height=48, width=64, encoding="mono16", is_bigendian=0, step=128,
                    data=pixels.view(np.uint8).reshape(-1),
                )  # fmt: skip
                writer.write(topic, START + order * STEP, store.serialize_cdr(message, message.__msgtype__))
        bags.append([frame.image for frame in open_source(tmp_path / name)])
    assert len(bags[0]) == len(bags[1]) == 3
    for first, second in zip(*bags, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("encoding", ["16UC1; compressedDepth png", "32FC1; compressedDepth rvl"])
def test_compressed_depth_is_no_picture(make_bag: Maker, tmp_path: Path, encoding: str) -> None:
    """Alone it is said what to do; beside a camera it is not taken for a choice."""
    store = typestore()
    for topics in (["/depth/image/compressedDepth"], ["/depth/image/compressedDepth", "/color/compressed"]):
        path = tmp_path / str(len(topics))
        with (
            open_bag(make_bag({"/a": "compressed"}, name=f"source{len(topics)}")) as reader,
            Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer,
        ):
            for topic in topics:
                copy = writer.add_connection(topic, "sensor_msgs/msg/CompressedImage", typestore=store)
                for _, time, data in reader.messages():
                    message = store.deserialize_cdr(data, "sensor_msgs/msg/CompressedImage")
                    message.format = encoding if "Depth" in topic else message.format
                    writer.write(copy, time, store.serialize_cdr(message, message.__msgtype__))
    with pytest.raises(SourceError, match="compressedDepth images hold distances, not a picture; use the camera's"):
        open_source(tmp_path / "1")
    source = open_source(tmp_path / "2")
    assert isinstance(source, BagSource)
    assert source.topic == "/color/compressed"
