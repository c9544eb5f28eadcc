"""Addresses of live sources: which names are such, how they are shown, and what is wrong when one gives nothing."""

from __future__ import annotations

import errno
import re
import socket
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from smotracker_ros.io.base import SourceError

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp", "tcp", "rtmp", "rtmps", "srt")
"""Of network addresses that are read. FFmpeg opens them."""

_CAMERA = re.compile(r"/dev/video\d+")
# FFmpeg's own errors, which have no number of the system's: by the name of PyAV's class
_ANSWERS = {
    "HTTPUnauthorizedError": "wants a user and a password; write them as scheme://USER:PASSWORD@host",
    "HTTPForbiddenError": "refuses this user; check the user and the password",
    "HTTPNotFoundError": "has nothing under this path; check what stands behind the host",
    "InvalidDataError": "does not send video that can be read; check it with ffprobe",
    "ProtocolNotFoundError": "is of a kind that this build of FFmpeg cannot read",
}


def is_address(source: str | Path) -> bool:
    """Whether a source is an address, such as rtsp://camera/live, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", str(source)) is not None


def is_camera(source: str | Path) -> bool:
    """Whether a source is a device of Video4Linux, there or not, or any other device of characters."""
    return _CAMERA.fullmatch(str(source)) is not None or Path(source).is_char_device()


def split_address(address: str) -> SplitResult:
    """The parts of an address.

    Raises:
        SourceError: if it is none that is read.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        raise SourceError(f"{address} is no address ({error}); write rtsp://host:554/path") from error
    if parts.scheme not in SCHEMES:
        raise SourceError(f"{parts.scheme}:// is not read; give a file, or one of {', '.join(SCHEMES)}")
    return parts


def shown(address: str) -> str:
    """An address for messages and files: without user, password and query, which may hold secrets."""
    if not is_address(address):
        return address
    parts = split_address(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def resolve(address: str) -> None:
    """Look the host up, since FFmpeg tells a host that is not known from no other error.

    Raises:
        SourceError: if there is no such host.
    """
    parts = split_address(address)
    if not parts.hostname:
        return
    try:
        socket.getaddrinfo(parts.hostname, None)
    except (OSError, UnicodeError) as error:
        raise SourceError(
            f"{shown(address)}: there is no host {parts.hostname} ({error}); check the name and the network"
        ) from error


def failure(address: str, error: Exception, seconds: float) -> str:
    """What is wrong with a live source, and what to do, in one line.

    Args:
        address: of the source: an address or a device.
        error: that FFmpeg or the system raised when it was opened or read.
        seconds: that were waited for an answer.
    """
    return f"{shown(address)} {_network(error, seconds) if is_address(address) else _device(address, error)}"


def _device(path: str, error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        there = ", ".join(sorted(str(other) for other in Path("/dev").glob("video*"))) or "none"
        return f"does not exist; cameras that are there: {there}"
    if number in (errno.EACCES, errno.EPERM):
        return "may not be read by this user; join its group (sudo usermod -aG video $USER) and log in again"
    if number == errno.EBUSY:
        return "is used by another program; end that"
    if number in (errno.ENOTTY, errno.ENODEV, errno.ENXIO):
        return f"is no camera that gives pictures ({_reason(error)}); v4l2-ctl --list-devices names those that do"
    return f"cannot be read ({_reason(error)}); v4l2-ctl --list-formats-ext says what it offers"


def _network(error: Exception, seconds: float) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection: nothing listens there; check the port, and that the sender runs"
    if type(error).__name__ == "ExitError" or isinstance(error, TimeoutError):
        return f"has sent nothing for {seconds:.0f} s; check the address and the firewall, and that the sender runs"
    if getattr(error, "errno", None) == errno.EIO:
        return "has ended, or sends nothing that can be read; check the sender"
    return _ANSWERS.get(type(error).__name__) or f"cannot be read ({_reason(error)}); check it with ffprobe"


def _reason(error: Exception) -> str:
    """An error's words without the address, which may hold a password."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
