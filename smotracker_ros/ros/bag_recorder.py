"""Writes serialised messages to a rosbag2 by rosbags, because a plain machine does not have rosbag2's own writer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.pending import SinkError, pending_path

FLUSH_SECONDS = 0.5
"""So much is lost at most when the process is killed, or twice as much when messages are rare."""


class BagRecorder(AbstractContextManager["BagRecorder"]):
    """An mcap bag that appears under its name only when it is complete; use it as a context manager.

    It is completed also when the block ends with an error of somebody else: what was recorded cannot be made again.
    Until then it grows in a hidden folder beside its place. If the process is killed, or the bag itself cannot be
    written on, that folder stays: its file can be read to the last half second
    (:mod:`smotracker_ros.io.mcap_storage`), and `smotracker recover` completes it. Without messages nothing is left.

    Args:
        path: folder of the bag; it must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._stack = ExitStack()
        self._connections: dict[str, Any] = {}
        self._flushed = time.monotonic()
        self._error: SinkError | None = None
        self.messages = 0

    def __enter__(self) -> BagRecorder:
        with ExitStack() as stack:
            self._temporary = stack.enter_context(pending_path(self._path, keeps_broken=True))
            self._writer = Writer(self._temporary, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
            # Held until the end, or until the process is gone: so others know that the bag is not cut off.
            lock = os.open(self._temporary, os.O_RDONLY)
            stack.callback(os.close, lock)
            with contextlib.suppress(OSError):  # some network drives have no locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            stack.callback(self._close)
            self._stack = stack.pop_all()
        return self

    def write(self, topic: str, message_type: str, timestamp_ns: int, data: bytes) -> None:
        """Add one message.

        Args:
            topic: resolved name.
            message_type: such as "sensor_msgs/msg/Image".
            timestamp_ns: time of reception.
            data: the message in CDR, as a raw subscription delivers it.

        Raises:
            SinkError: if the system refuses to write, saying where the messages before are.
        """
        with self._refusals():
            if topic not in self._connections:
                self._connections[topic] = self._writer.add_connection(topic, message_type, typestore=typestore())
            self._writer.write(self._connections[topic], timestamp_ns, data)
        self.messages += 1
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand everything so far to the operating system, in a form that can be read without the file's end.

        Raises:
            SinkError: as :meth:`write` does.
        """
        storage = self._writer.storage
        with self._refusals():
            if storage.chunk.msgs:
                storage.close_chunk()
                storage.bio.flush()
        self._flushed = time.monotonic()

    @property
    def leftovers(self) -> list[Path]:
        """Bags of the same name that were cut off before; those that a recorder is writing are none of them."""
        found = self._path.parent.glob(f".{self._path.name}.*.partial/{self._path.name}")
        return sorted(path for path in found if path != self._temporary and not _is_locked(path))

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Say what to do when the system refuses to write. The file is then broken at its end: no more is added."""
        if self._error is not None:
            raise self._error
        try:
            yield
        except OSError as error:
            self._error = SinkError(
                f"{self._path} cannot be written on: {error.strerror or error}; free space or choose another output. "
                f"What was recorded before is kept: `smotracker recover {self._temporary} --output DIR` completes it"
            )
            raise self._error from error

    def _close(self) -> None:
        """Complete the file, as far as that is possible."""
        if self.messages and self._error is None:
            with self._refusals():
                self._writer.close()
            return
        with contextlib.suppress(OSError):  # what could not be written cannot be flushed, either
            self._writer.storage.abort()
        if not self.messages:
            shutil.rmtree(self._temporary)
        elif self._error is not None:
            raise self._error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.nullcontext() if self.messages else contextlib.suppress(SinkError):
            self._stack.__exit__(None, None, None)


def _is_locked(path: Path) -> bool:
    """Whether a process holds a lock on a folder, or has just completed it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
