"""Writes serialised messages to a rosbag2 by rosbags, because a plain machine does not have rosbag2's own writer."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.video.message_types import typestore
from smotracker_ros.video.pending import pending_path

FLUSH_SECONDS = 0.5
"""So much is lost at most when the process is killed, or twice as much when messages are rare."""


class BagRecorder(AbstractContextManager["BagRecorder"]):
    """An mcap bag that appears under its name only when it is complete; use it as a context manager.

    Until then it grows in a hidden folder beside its place. If the process is killed, that folder stays: its file can
    be read to the last half second (:mod:`smotracker_ros.video.cut_bags`), and `smotracker recover` completes it.

    Args:
        path: folder of the bag; one that is there is replaced when the new one is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._connections: dict[str, Any] = {}
        self._flushed = time.monotonic()

    def __enter__(self) -> BagRecorder:
        with ExitStack() as stack:
            temporary = stack.enter_context(pending_path(self._path))
            writer = Writer(temporary, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer = stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def write(self, topic: str, message_type: str, timestamp_ns: int, data: bytes) -> None:
        """Add one message.

        Args:
            topic: resolved name.
            message_type: such as "sensor_msgs/msg/Image".
            timestamp_ns: time of reception.
            data: the message in CDR, as a raw subscription delivers it.
        """
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, message_type, typestore=typestore())
        self._writer.write(self._connections[topic], timestamp_ns, data)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand everything so far to the operating system, in a form that can be read without the file's end."""
        storage = self._writer.storage
        if storage.chunk.msgs:
            storage.close_chunk()
            storage.bio.flush()
        self._flushed = time.monotonic()

    @property
    def leftovers(self) -> list[Path]:
        """Bags of the same name whose recorder was killed."""
        return sorted(path for path in self._path.parent.glob(f".{self._path.name}.*.partial/{self._path.name}"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
