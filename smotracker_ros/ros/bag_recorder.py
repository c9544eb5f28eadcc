"""Writes serialised messages to a rosbag2 by rosbags, because a plain machine does not have rosbag2's own writer."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.video.message_types import typestore
from smotracker_ros.video.pending import pending_path


class BagRecorder(AbstractContextManager["BagRecorder"]):
    """An mcap bag that appears under its name only when it is complete; use it as a context manager.

    Args:
        path: folder of the bag; one that is there is replaced when the new one is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._connections: dict[str, Any] = {}

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
