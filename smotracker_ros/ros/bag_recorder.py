"""Writes serialised messages to a rosbag2 with rosbags, because no registry has rosbag2's own writer."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore


def typestore_with(packages: tuple[str, ...]) -> Typestore:
    """The standard types together with the messages of installed packages, read from their definitions."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for package in packages:
        for file in sorted(Path(get_package_share_directory(package), "msg").glob("*.msg")):
            types.update(get_types_from_msg(file.read_text(encoding="utf-8"), f"{package}/msg/{file.stem}"))
    store.register({name: value for name, value in types.items() if name not in store.fielddefs})
    return store


class BagRecorder:
    """A bag that appears under its name only when it is complete; use it as a context manager.

    Args:
        path: folder of the bag; one that is there is replaced when the new one is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(path.name + ".partial")
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._store = typestore_with(("vision_msgs", "smotracker_ros"))
        self._writer = Writer(self._temporary, version=9, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagRecorder:
        self._writer.open()
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
            self._connections[topic] = self._writer.add_connection(topic, message_type, typestore=self._store)
        self._writer.write(self._connections[topic], timestamp_ns, data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._temporary.rename(self._path)
        else:
            shutil.rmtree(self._temporary, ignore_errors=True)
