"""Hand-over of images from the executor's thread to the tracker's."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FrameQueue(Generic[Item]):
    """A bounded queue that never blocks the sender.

    Args:
        depth: number of items kept.
        keep_newest: when full, drop the oldest item (a tracker that follows live video); otherwise drop the new one
            (a tracker that is to see an unbroken sequence).
    """

    def __init__(self, depth: int, keep_newest: bool) -> None:
        self._depth = max(depth, 1)
        self._keep_newest = keep_newest
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)

    def put(self, item: Item) -> int:
        """Add an item; returns the number of items dropped for want of room (0 or 1)."""
        with self._changed:
            if self._closed:
                return 0
            full = len(self._items) >= self._depth
            if full and not self._keep_newest:
                return 1
            if full:
                self._items.popleft()
            self._items.append(item)
            self._changed.notify()
            return int(full)

    def get(self) -> Item | None:
        """The oldest item, as soon as there is one; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items))
            return None if self._closed else self._items.popleft()

    def close(self) -> None:
        """Drop what is waiting and let :meth:`get` return None from now on."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
