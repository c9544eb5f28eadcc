"""The frame of a node's process: start, orderly end, and one clear message for what a user did wrong."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

import rclpy
from rclpy.exceptions import InvalidNamespaceException, InvalidNodeNameException, ParameterException
from rclpy.executors import ExternalShutdownException

# Not public, but what rclpy raises when a signal has ended its context in the middle of a call.
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import TransitionCallbackReturn

from smotracker_ros.core.frames import FrameError
from smotracker_ros.core.parameter_files import ParameterFileError, parameter_file_arguments, read_parameter_file
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.pending import SinkError
from smotracker_ros.ros.respawn_limit import CRASH_CODE
from smotracker_ros.ros.start import ENDINGS

USER_ERRORS = (
    SettingsError,
    ParameterException,
    ParameterFileError,
    InvalidNodeNameException,
    InvalidNamespaceException,
    SourceError,
    SinkError,
    FrameError,
)
"""Errors whose message says what to change: shown without a traceback."""

INTERRUPTIONS = (KeyboardInterrupt, ExternalShutdownException, rclpy_implementation.RCLError)
"""What a signal makes of the call that it meets; the last one means an interruption only if the context has ended."""


class OwnNode(Protocol):
    """What a lifecycle node of this package offers its process."""

    autostart: bool

    def trigger_configure(self) -> TransitionCallbackReturn:
        """Configure it."""
        ...

    def trigger_activate(self) -> TransitionCallbackReturn:
        """Activate it."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def has_started(node: OwnNode) -> bool:
    """Configure and activate a node that starts by itself; False if that fails."""
    if not node.autostart:
        return True
    return all(step() == TransitionCallbackReturn.SUCCESS for step in (node.trigger_configure, node.trigger_activate))


def run_node(name: str, make: Callable[[], OwnNode]) -> int:
    """Run a lifecycle node until it is interrupted; see :func:`run_process`."""

    def body(stack: ExitStack) -> int:
        node = make()
        stack.callback(node.close)
        if not has_started(node):
            return 1 if rclpy.ok() else 0  # a signal meanwhile is no failure
        rclpy.spin(node)
        return 0

    return run_process(name, body)


def run_process(name: str, body: Callable[[ExitStack], int], arguments: Sequence[str] | None = None) -> int:
    """Run a node's process.

    Args:
        name: for messages before there is a node.
        body: creates the node, puts its clean-up onto the stack, runs it, and returns the exit code.
        arguments: of the command line that nobody has used, besides ROS's; None: all of them.

    Returns:
        The exit code: the body's, 0 if the process was interrupted, 1 after an error of the user,
        :data:`CRASH_CODE` after one of the program.
    """
    # rclpy ends the context when a signal comes, and every call notices. Python's own KeyboardInterrupt would break in
    # anywhere, also in the middle of rclpy's bookkeeping.
    early: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: early.append(number))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: os.kill(os.getpid(), signal.SIGTERM))
    try:
        for file in parameter_file_arguments(sys.argv):
            read_parameter_file(file)
        rclpy.init()
    except ParameterFileError as error:
        return _refuse(name, str(error))
    except (RuntimeError, ValueError) as error:
        return _refuse(name, _explain(error))
    # Made now: an executor whose making a signal breaks leaves half an object behind, which Python complains about.
    rclpy.get_global_executor()
    core = logging.getLogger("smotracker_ros")
    core.setLevel(logging.INFO)
    core.addHandler(_ToRos(name))
    unused = own_arguments(sys.argv[1:]) if arguments is None else arguments
    # rcl takes NAME:=VALUE for a remapping, and says so
    if unused := [word for word in unused if ":=" not in word]:
        rclpy.logging.get_logger(name).warning(
            f"not used: {' '.join(unused)}; parameters are given as --ros-args -p NAME:=VALUE"
        )
    try:
        if early:  # before rclpy took notice of signals
            return 0
        with ExitStack() as stack:
            return _interruptible(stack, body)
    except USER_ERRORS as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        return 1
    except Exception:
        traceback.print_exc()
        return CRASH_CODE
    finally:
        _ignore_signals()
        rclpy.try_shutdown()


def own_arguments(words: Sequence[str]) -> list[str]:
    """What of a command line is not ROS's, which stands between `--ros-args` and `--` or the end."""
    own, is_own = [], True
    for word in words:
        if word == "--ros-args":
            is_own = False
        elif word == "--" and not is_own:
            is_own = True
        elif is_own:
            own.append(word)
    return own


def _refuse(name: str, text: str) -> int:
    """Say why there can be no node, before ROS can log it; returns the exit code."""
    print(f"[FATAL] [{name}]: {text}", file=sys.stderr, flush=True)
    return 1


def _explain(error: Exception) -> str:
    """What rcl says of arguments that it cannot read, without its source files and what follows from it."""
    text = " ".join(str(error).split()).removeprefix("failed to initialize rcl: ")
    text = re.sub(r",? at \S+\.c(pp)?:\d+", "", text)
    if type(error).__name__ == "UnknownROSArgsError":
        text = f"unknown arguments after --ros-args: {text}"
    return text.replace(" Error: error not set", " it has no value")


def _ignore_signals() -> None:
    """From now on nothing may break the clean-up: `ros2 launch` and a terminal both pass on Ctrl-C, so it comes twice.

    Python's end gives signals back their default action, except those that are ignored.
    """
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


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
    """The body's exit code; 0 if a signal ended it."""
    try:
        return body(stack)
    except INTERRUPTIONS as error:
        if rclpy.ok() and not isinstance(error, KeyboardInterrupt):
            raise
        return 0
    finally:
        _ignore_signals()
