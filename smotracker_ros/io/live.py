"""Frames of cameras and network streams, the newest one first."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import av

from smotracker_ros.core.frames import AutomaticGain, Frame, FrameError
from smotracker_ros.io.addresses import failure, is_address, resolve, shown, split_address
from smotracker_ros.io.base import DEFAULT_FPS, SourceError
from smotracker_ros.io.live_clock import LiveClock
from smotracker_ros.io.videos import frame_pixels

SILENCE_SECONDS = 10.0
"""A stream that sends nothing for so long has broken off."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before the first attempt to connect again, and at most; each is twice as long as the one before."""

_GLANCE = 0.1
"""Seconds between two looks at whether the stream is to be stopped."""

_FAREWELL = 2.0
"""Seconds that a reader has to end in order."""

_HIGHEST_RATE = 240.0
# Pictures that are read when a stream is opened, to tell its rate: a slow camera takes its time for them
_PROBED = {"fpsprobesize": "8"}
_OPTIONS = {
    # pictures that lose packets are worth little, and many cameras' routers let no UDP through
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
    "udp": {"overrun_nonfatal": "1", "fifo_size": "100000"},
}
# Formats that hold no time: what FFmpeg gives their pictures is counted from a rate that nobody stated
_TIMELESS = {"mpjpeg", "mjpeg", "h264", "hevc"}

_logger = logging.getLogger(__name__)


class LiveSource:
    """Frames of a camera or a network stream, the newest one first.

    A thread reads and decodes the stream and keeps its newest frame alone: frames that come while the one before is
    worked on are dropped. Where the stream breaks off, it is connected again, with longer and longer waits. It ends
    when it is stopped, or when its patience ends. A frame's index is its place in time, at the stated rate.

    See :class:`~smotracker_ros.io.base.FrameSource`. Iterating goes on with what comes now.

    Attributes:
        address: as it was given; it may hold a password. `name` holds none.
        dropped: number of frames that came and were not taken in the last iteration.
        reconnections: how often the stream came back in the last iteration.
        is_recording: the other side has a file of a known length, which can be read as one.

    Args:
        address: a URL, or a device such as /dev/video0.
        fallback_fps: frames per second if the stream does not state its own.
        options: of FFmpeg, such as {"video_size": "1280x720"} for cameras.
        patience: end when nothing has come for so many seconds; infinite: wait for the stream to come back.

    Raises:
        SourceError: if there is no such stream, or it holds no video; says which, and what to do.
    """

    def __init__(
        self,
        address: str,
        fallback_fps: float = DEFAULT_FPS,
        options: Mapping[str, str] | None = None,
        patience: float = math.inf,
    ) -> None:
        self.address = address
        self._shown = shown(address)
        self._options = dict(options or {})
        self._patience = patience
        self.name = self._shown.partition("://")[2] or address.rpartition("/")[2]
        self.skipped = self.dropped = self.reconnections = 0
        self.length: int | None = None
        self._stopped = False
        connection = self._connect()
        stream = connection.container.streams[connection.stream]
        rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
        self.fps = next((rate for rate in rates if 0 < rate <= _HIGHEST_RATE), fallback_fps)
        width, height = stream.codec_context.width, stream.codec_context.height
        self.size: tuple[int, int] | None = (height, width) if width and height else None
        duration = connection.container.duration
        self.is_recording = bool(duration and duration > 0) and address.startswith(("http:", "https:"))
        # the first iteration goes on with it: some senders take no second connection
        self._first: _Connection | None = connection

    def stop(self) -> None:
        """End the iteration after the frame that is worked on. Any thread and any signal handler may call it."""
        self._stopped = True

    def close(self) -> None:
        """Give the connection up that waits for the first iteration."""
        if self._first is not None:
            self._first.container.close()
            self._first = None

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = self.dropped = self.reconnections = 0
        if self._stopped:
            return
        connection, self._first = self._first, None
        reader = _Reader(self._connect, connection, self._shown)
        reader.start()
        gain, begun, index = AutomaticGain(), 0, -1
        heard = time.monotonic()
        try:
            while not self._stopped:
                taken = reader.take(_GLANCE)
                self.dropped, self.reconnections = reader.dropped, reader.reconnections
                self.skipped = reader.broken
                if taken is None:
                    if time.monotonic() - heard > self._patience:
                        _logger.warning("%s: nothing has come for %.0f s; it ends here", self._shown, self._patience)
                        return
                    continue
                picture, stamp = taken
                if index < 0:
                    begun = stamp
                try:
                    pixels = frame_pixels(picture, gain, stamp)
                    index = max(index + 1, round((stamp - begun) / 1e9 * self.fps))
                    frame = Frame(pixels, stamp, index)
                except FrameError as error:
                    raise SourceError(f"{self._shown} cannot be shown: {error}") from error
                yield frame
                heard = time.monotonic()
        finally:
            reader.close()

    def _connect(self) -> _Connection:
        """Open the stream.

        Raises:
            SourceError: if it cannot be opened, or holds no video.
        """
        options, kind = _PROBED | self._options, "v4l2"
        if is_address(self.address):
            resolve(self.address)
            options, kind = _OPTIONS.get(split_address(self.address).scheme, {}) | options, ""
        try:
            container = av.open(
                self.address, format=kind or None, options=options, timeout=(SILENCE_SECONDS, SILENCE_SECONDS)
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(failure(self.address, error, SILENCE_SECONDS)) from error
        best = container.streams.best("video")
        if best is None:
            container.close()
            raise SourceError(f"{self._shown} holds no video stream; give one with pictures")
        return _Connection(container, best.index)


@dataclass(frozen=True)
class _Connection:
    """An open stream, and the number of the video in it."""

    container: av.container.InputContainer
    stream: int


class _Reader:
    """Reads a stream in a thread of its own, and keeps its newest picture.

    Attributes:
        dropped: number of pictures that nobody took.
        broken: number of packets that could not be decoded.
        reconnections: how often the stream came back.

    Args:
        connect: opens the stream.
        first: an open connection to begin with; None: it is opened.
        name: for messages.
    """

    def __init__(self, connect: Callable[[], _Connection], first: _Connection | None, name: str) -> None:
        self._connect, self._first, self._name = connect, first, name
        self.dropped = self.broken = self.reconnections = 0
        self._newest: tuple[av.VideoFrame, int] | None = None
        self._error: Exception | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._clock = LiveClock()
        # a daemon: one that waits for a silent stream must not hold up the end of the process
        self._thread = threading.Thread(target=self._run, name=f"reads {name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._closed.set()
        self._thread.join(_FAREWELL)

    def take(self, seconds: float) -> tuple[av.VideoFrame, int] | None:
        """The newest picture and its time in nanoseconds since 1970, if there is a new one within so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._error is not None, seconds)
            taken, self._newest = self._newest, None
        if taken is None and self._error is not None:
            raise self._error
        return taken

    def _put(self, picture: av.VideoFrame, stamp: int) -> None:
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = picture, stamp
            self._changed.notify()

    def _run(self) -> None:
        try:
            connection = self._first
            while not self._closed.is_set():
                # the first time the stream is there, or an error has been raised
                reason = self._read(connection or self._connect())
                if self._closed.is_set():
                    return
                connection = self._come_back(reason)
                if connection is not None:
                    self.reconnections += 1
                    self._clock.connect()
        except Exception as error:
            with self._changed:
                self._error = error
                self._changed.notify()

    def _read(self, connection: _Connection) -> str:
        """Read a connection to its end, and say why it ended."""
        with connection.container as container:
            stream = container.streams[connection.stream]
            # decoding whole frames side by side would delay each by as many
            stream.thread_type = "SLICE"
            timeless = not _TIMELESS.isdisjoint(container.format.name.split(","))
            try:
                for packet in container.demux(stream):
                    if self._closed.is_set():
                        return ""
                    self._decode(packet, timeless)
            except (av.error.FFmpegError, OSError) as error:
                return failure(self._name, error, SILENCE_SECONDS)
        return f"{self._name} has ended"

    def _decode(self, packet: av.Packet, timeless: bool) -> None:
        try:
            pictures = packet.decode()
        except av.error.FFmpegError:
            self.broken += packet.size > 0
            return
        for picture in pictures:
            seconds = None if timeless or picture.pts is None else picture.time
            self._put(picture, self._clock.stamp(seconds, time.time_ns()))

    def _come_back(self, reason: str) -> _Connection | None:
        """Connect again, as often as it takes; None: the reader was closed before."""
        wait, began = _FIRST_WAIT, time.monotonic()
        while True:
            _logger.warning("%s; connecting again in %.1f s", reason, wait)
            if self._closed.wait(wait):
                return None
            try:
                connection = self._connect()
            except SourceError as error:
                reason, wait = str(error), min(2 * wait, _LONGEST_WAIT)
                continue
            _logger.warning("%s is back after %.1f s", self._name, time.monotonic() - began)
            return connection
