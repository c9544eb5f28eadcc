"""Recordings whose writer was killed: everything that was written completely is read."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from smotracker_ros.io.bags import BagSource, open_bag
from smotracker_ros.io.mcap_storage import is_cut_mcap
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.sources import SourceError, open_source

Maker = Callable[..., Path]


@pytest.mark.parametrize("compressed", [False, True])
def test_every_cut_of_an_mcap_file(tmp_path: Path, compressed: bool) -> None:
    """Whatever number of bytes was written, the complete chunks are read, and nothing else."""
    writer = Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
    if compressed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    payload = np.random.default_rng(1).bytes(300_000).hex()
    with writer:
        connection = writer.add_connection("/text", "std_msgs/msg/String", typestore=typestore())
        message = typestore().types["std_msgs/msg/String"](data=payload)
        data = bytes(typestore().serialize_cdr(message, "std_msgs/msg/String"))
        for index in range(12):
            writer.write(connection, 1000 + index, data)
    whole = (tmp_path / "bag" / "bag.mcap").read_bytes()
    assert not is_cut_mcap(tmp_path / "bag" / "bag.mcap")
    cut = tmp_path / "cut.mcap"
    seen = set()
    for size in [*range(len(whole) - 3000, len(whole), 97), *range(100, len(whole), len(whole) // 40)]:
        cut.write_bytes(whole[:size])
        assert is_cut_mcap(cut)
        with open_bag(cut) as reader:
            messages = list(reader.messages())
            times = [time for _, time, _ in messages]
            assert times == list(range(1000, 1000 + len(times)))
            assert all(raw == data for _, _, raw in messages)
            assert sum(item.msgcount for item in reader.connections) == len(times)
        seen.add(len(times))
    assert seen >= {0, 2, 4, 6, 8, 10, 12}, "two messages make a chunk of more than 1 MiB"
    # what a power cut leaves where the file's length was stored, but not its content
    for zeros in (5000, 2_000_000):
        cut.write_bytes(whole[: 9 * len(whole) // 20] + bytes(zeros))
        with open_bag(cut) as reader:
            # without compression nothing tells that the third chunk's end is missing
            assert [time for _, time, raw in reader.messages() if raw == data][:4] == [1000, 1001, 1002, 1003]
            assert reader.message_count == 4 or not compressed


def test_a_bag_without_metadata_is_read(make_bag: Maker) -> None:
    path = make_bag(topics={"/a": "raw", "/b": "text"})
    (path / "metadata.yaml").unlink()
    source = open_source(path)
    assert [frame.index for frame in source] == list(range(6))


def test_a_cut_mcap_is_a_source_of_frames(make_bag: Maker, caplog: pytest.LogCaptureFixture) -> None:
    path = make_bag()
    file = path / "bag.mcap"
    file.write_bytes(file.read_bytes()[:-20])
    assert len(list(open_source(path))) == 6
    assert "was cut off" in caplog.text


def test_a_database_whose_writer_was_killed(make_bag: Maker, tmp_path: Path) -> None:
    """Half a transaction is undone: only what was committed is read, with any kind of journal."""
    for mode in ("DELETE", "WAL"):
        path = make_bag(storage="sqlite3", name=f"bag_{mode}")
        file = path / f"bag_{mode}.db3"
        code = (
            "import os, signal, sqlite3, sys\n"
            f"c = sqlite3.connect({str(file)!r}); c.execute('PRAGMA journal_mode={mode}')\n"
            "c.execute('PRAGMA cache_size=1')\n"
            "add = 'INSERT INTO messages (topic_id, timestamp, data) '\n"
            "add += 'SELECT topic_id, timestamp + ?, data FROM messages'\n"
            "c.execute(add, (10**9,)); c.commit()\n"
            "c.execute(add, (10**10,)); os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        result = subprocess.run([sys.executable, "-c", code], check=False)
        assert result.returncode == -signal.SIGKILL
        (path / "metadata.yaml").unlink()
        assert any(item.name != file.name for item in path.iterdir()), "the journal of the killed writer"
        source = open_source(path)
        assert isinstance(source, BagSource)
        assert len(list(source.images())) == 12, mode


def test_a_file_that_was_killed_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"\x89MCAP0\r\n")
    with pytest.raises(SourceError, match="nothing was recorded"):
        open_source(tmp_path / "a.mcap")
    (tmp_path / "b.mcap").write_bytes(b"")
    with pytest.raises(SourceError, match="not a readable rosbag2"):
        open_source(tmp_path / "b.mcap")
