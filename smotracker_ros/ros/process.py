"""The frame of a node's process: start, orderly end, and one clear message for what a user did wrong."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from contextlib import ExitStack

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException

# Not public, but what rclpy raises when a signal has ended its context in the middle of a call.
from rclpy.impl.implementation_singleton import rclpy_implementation

from smotracker_ros.frames import FrameError
from smotracker_ros.settings import SettingsError
from smotracker_ros.video.base import SourceError
from smotracker_ros.video.pending import SinkError

USER_ERRORS = (SettingsError, ParameterException, SourceError, SinkError, FrameError)
"""Errors whose message says what to change: shown without a traceback."""

INTERRUPTIONS = (KeyboardInterrupt, ExternalShutdownException, rclpy_implementation.RCLError)
"""What a signal makes of the call that it meets; the last one means an interruption only if the context has ended."""


def run_process(name: str, body: Callable[[ExitStack], int]) -> int:
    """Run a node's process.

    Args:
        name: for messages before there is a node.
        body: creates the node, puts its clean-up onto the stack, runs it, and returns the exit code.

    Returns:
        The exit code: the body's, 0 if the process was interrupted, 1 after an error of the user.
    """
    # rclpy ends the context when a signal comes, and every call notices. Python's own KeyboardInterrupt would break in
    # anywhere, also in the middle of rclpy's bookkeeping.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    rclpy.init()
    # Made now: an executor whose making a signal breaks leaves half an object behind, which Python complains about.
    rclpy.get_global_executor()
    core = logging.getLogger("smotracker_ros")
    core.setLevel(logging.INFO)
    core.addHandler(_ToRos(name))
    try:
        with ExitStack() as stack:
            return _interruptible(stack, body)
    except USER_ERRORS as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        rclpy.try_shutdown()


class _ToRos(logging.Handler):
    """Passes on what the ROS-free parts log."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._logger = rclpy.logging.get_logger(name)

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record under the node's process name."""
        if record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())


def _interruptible(stack: ExitStack, body: Callable[[ExitStack], int]) -> int:
    """The body's exit code; 0 if a signal ended it.

    From its end on interrupts are ignored: `ros2 launch` and a terminal both pass on Ctrl-C, and the second one must
    not break the clean-up.
    """
    try:
        return body(stack)
    except INTERRUPTIONS as error:
        if rclpy.ok() and not isinstance(error, KeyboardInterrupt):
            raise
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
