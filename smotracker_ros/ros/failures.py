"""Failures of tracking: one costs its image, one that lasts takes the node to its error state."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future

EXIT_CODE = 70
"""Of a node that started itself and has given up (EX_SOFTWARE of sysexits.h): whoever started it may start it again."""


class Failures:
    """Tells a failure that lasts from such as happen once, and acts on it.

    Args:
        node: is deactivated after a failure that lasts; its `on_deactivate` is to return an error then.
        on_given_up: called when that is done.

    Attributes:
        verdict: what has failed for too long, in words for users; "": nothing.
        ended: gets an exit code when the node has given up and manages itself (parameter `autostart`).
    """

    def __init__(self, node: LifecycleNode, on_given_up: Callable[[], None]) -> None:
        self.verdict = ""
        self.ended: Future[int] = Future()
        self._node = node
        self._on_given_up = on_given_up
        self._since: float | None = None
        # the worker, which notices, cannot end itself: the executor's thread does
        self._guard = node.create_guard_condition(self._give_up)

    def clear(self) -> None:
        """Forget all failures: the node is configured anew."""
        self.verdict, self._since = "", None

    def worked(self) -> None:
        """An image has been tracked."""
        self._since = None

    def add(self, error: Exception) -> str:
        """Take the failure of an image; from the second in a row on it may be one that lasts.

        Returns:
            What has happened, in a line.
        """
        now = time.monotonic()
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        if self._since is None:
            self._since = now
        elif now - self._since >= self._node.get_parameter("failure_seconds").value:
            self.verdict = f"tracking has failed on every image for {now - self._since:.1f} s: {reason}"
            self._guard.trigger()
        return f"tracking failed on an image: {reason}"

    def _give_up(self) -> None:
        """Leave the active state by way of the error state (in the executor's thread)."""
        self._node.trigger_deactivate()
        self._on_given_up()
        if self._node.get_parameter("autostart").value and not self.ended.done():
            self._node.get_logger().fatal("the node ends; configured and activated anew, or started again, it may work")
            self.ended.set_result(EXIT_CODE)


def trace_of(error: Exception) -> str:
    """The error's traceback, as Python prints it."""
    return "".join(traceback.format_exception(error)).rstrip()
