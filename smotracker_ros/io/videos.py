"""Frames of video files."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from smotracker_ros.core.frames import AutomaticGain, Frame, FrameError, UInt8Image
from smotracker_ros.io.base import DEFAULT_FPS, SourceError
from smotracker_ros.io.encodings import stretch
from smotracker_ros.io.frame_places import PresentedFrames, StoredFrames
from smotracker_ros.io.orientation import UPRIGHT, matrix_orientation
from smotracker_ros.io.stream_clock import StreamClock

_LARGEST_REST = 0.5
"""Seconds from the end of a video's last packet to its stated end."""

_RATE_PACKETS = 240
_SAME_RATE = 0.03

_PROBED_PACKETS = 500
"""Packets that are looked at to tell which of several streams move."""

_logger = logging.getLogger(__name__)


class VideoSource:
    """Frames of a video file with the container's timestamps, right side up.

    See :class:`~smotracker_ros.io.base.FrameSource`.
    """

    def __init__(self, path: Path, fallback_fps: float = DEFAULT_FPS, address: str = "") -> None:
        """Open the file, choose its video stream, and check that its first frame can be decoded.

        Args:
            path: the file.
            fallback_fps: frames per second if it does not state its own.
            address: URL to read it from; `path` then only names it. "": the file is here.

        Raises:
            SourceError: if the file is empty, no video, or holds no decodable frame, or one that cannot be turned.
        """
        self.path = path
        # an absolute path: FFmpeg takes what stands before a colon for a protocol
        self._address = address or f"file:{path.absolute()}"
        self.name = path.parent.name if path.stem == "video" and path.parent.name else path.stem
        self.skipped = 0
        if not address and path.stat().st_size == 0:
            raise SourceError(f"{path} is empty (0 bytes); copy or record it again")
        with self._open() as container:
            self._stream, self._unread = _choose_stream(path, container)
        with self._open() as container:
            self.fps = _rate(container, container.streams[self._stream]) or fallback_fps
        with self._open() as container:
            stream = container.streams[self._stream]
            seconds = container.duration / av.time_base if container.duration else None
            # some containers count the packets that only repeat a picture
            counts = [stream.frames or None, round(seconds * self.fps) if seconds else None]
            self.length: int | None = min(filter(None, counts), default=None)
            first = next(self._decode(container), None)
            if first is None:
                raise SourceError(f"{path} holds no frame that can be decoded; check it with ffprobe")
            try:
                frame = Frame(frame_pixels(first[2], AutomaticGain(), 0), 0)
            except FrameError as error:
                raise SourceError(f"{path} cannot be shown: {error}") from error
            self.size: tuple[int, int] | None = (frame.height, frame.width)
        self.skipped = 0

    def _open(self) -> av.container.InputContainer:
        try:
            container = av.open(self._address)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            # FFmpeg's whole words name the address, which may hold a password
            reason = error if self._address.startswith("file:") else getattr(error, "strerror", type(error).__name__)
            raise SourceError(
                f"{self.path} is not a readable video ({reason}); check it with ffprobe, or record it again"
            ) from error
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self.path} holds no video stream; give a file with pictures")
        return container

    def _decode(self, container: av.container.InputContainer) -> Iterator[tuple[int, float | None, av.VideoFrame]]:
        """Decoded frames with places and times in seconds; what cannot be decoded is counted, and keeps its place."""
        stream = container.streams[self._stream]
        # decoding whole frames side by side loses those that wait behind a broken one at the end
        stream.thread_type = "SLICE"
        packets = container.demux(stream)
        places: PresentedFrames | StoredFrames | None = None
        reason, read_until = "", 0.0
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError as error:
                _logger.warning("%s ends early: %s", self.path, error)
                self.skipped += 1
                break
            if places is None:
                timed = packet.pts is not None and "avi" not in container.format.name.split(",")
                places = PresentedFrames(float(1 / self.fps / stream.time_base)) if timed else StoredFrames()
            places.send(packet)
            read_until = max(read_until, _end_of(packet))
            try:
                decoded = packet.decode()
            except av.error.FFmpegError as error:
                reason = reason or str(error)
                if packet.size:
                    places.fail()
                continue
            for frame in decoded:
                yield *places.take(frame), frame
        if places is None:
            return
        places.end()
        if places.lost:
            _logger.warning(
                "%s: %d frames cannot be decoded%s; the others keep their numbers and times",
                self.path,
                places.lost,
                f" ({reason})" if reason else "",
            )
        self.skipped += places.lost
        stated = ((container.start_time or 0) + (container.duration or 0)) / av.time_base
        # a sound may be longer than its picture
        if 0 < read_until < stated - _LARGEST_REST and len(container.streams) == 1:
            _logger.warning(
                "%s ends early: %.1f s of %.1f s are there; copy or record it again", self.path, read_until, stated
            )

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        if self._unread:
            _logger.warning("%s: stream %d is read; not read: %s", self.path, self._stream, "; ".join(self._unread))
        clock, gain, told = StreamClock(self.fps), AutomaticGain(), False
        with self._open() as container:
            for index, seconds, decoded in self._decode(container):
                stamp, remark = clock.stamp(index, seconds)
                if remark:
                    _logger.warning("%s: %s", self.path, remark)
                try:
                    frame = Frame(frame_pixels(decoded, gain, stamp), stamp, index)
                except FrameError as error:
                    self.skipped += 1
                    if not told:
                        _logger.warning("%s: frame %d was skipped, and others like it: %s", self.path, index, error)
                    told = True
                    continue
                yield frame


def _end_of(packet: av.Packet) -> float:
    """Time in seconds up to which a packet is shown; 0: it has no time."""
    if packet.pts is None or packet.time_base is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


def _rate(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Frames per second by the usual step of time from frame to frame; the stated rate if that is the same, or alone.

    A mean would be misled by a gap, or by frames that a camera hands out at once when it starts.
    """
    # of a bare stream FFmpeg's average is its default, whatever the stream says
    stated = [float(rate) for rate in (stream.guessed_rate, stream.average_rate) if rate]
    times: list[int] = []
    with contextlib.suppress(av.error.FFmpegError):  # told where the stream is read
        for packet in itertools.islice(container.demux(stream), _RATE_PACKETS):
            if packet.size and packet.pts is not None:
                times.append(packet.pts)
    steps = np.diff(np.unique(times))
    if not len(steps) or not stream.time_base:
        return next(iter(stated), None)
    rate = float(1 / (np.median(steps) * stream.time_base))
    return next((other for other in stated if abs(other / rate - 1) < _SAME_RATE), rate)


def _choose_stream(path: Path, container: av.container.InputContainer) -> tuple[int, list[str]]:
    """The stream to read, and what the others are that somebody might miss.

    It is the first video stream that moves, one that is marked as default before others. Covers and thumbnails are no
    video.

    Raises:
        SourceError: if there is nothing but a cover.
    """
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & still]
    if not videos:
        raise SourceError(f"{path} holds no video, only the picture of a cover; give a video file")
    if len(videos) == 1:
        return videos[0].index, []
    counts = Counter[int]()
    try:
        for number, packet in enumerate(container.demux(videos), start=1):
            counts[packet.stream.index] += packet.size > 0
            if number >= _PROBED_PACKETS or min(counts[stream.index] for stream in videos) > 1:
                break
    except av.error.FFmpegError:
        pass  # told where the stream is read
    moving = [stream for stream in videos if counts[stream.index] > 1] or videos
    chosen = next((stream for stream in moving if stream.disposition & av.stream.Disposition.default), moving[0])
    return chosen.index, [
        f"stream {stream.index} ({'video' if stream in moving else 'still picture'}, {stream.codec_context.name}, "
        f"{stream.codec_context.width}x{stream.codec_context.height})"
        for stream in videos
        if stream is not chosen
    ]


def frame_pixels(frame: av.VideoFrame, gain: AutomaticGain, timestamp_ns: int) -> UInt8Image:
    """A decoded frame as uint8 RGB (height, width, 3), right side up.

    Args:
        frame: as FFmpeg gives it.
        gain: of the stream, for pixels that hold a sensor's counts.
        timestamp_ns: time of the frame.

    Raises:
        FrameError: if its pixel format cannot be converted, or it is to be shown aslant.
    """
    deep = _sensor_format(frame.format)
    try:
        pixels = frame.to_ndarray(format=deep or "rgb24")
    except (av.error.FFmpegError, ValueError) as error:
        raise FrameError(f"its pixel format {frame.format.name} cannot be shown ({error})") from error
    matrix = frame.side_data.get("DISPLAYMATRIX")
    turn = UPRIGHT if matrix is None else matrix_orientation(np.frombuffer(matrix, np.int32).reshape(3, 3))
    return turn.apply(stretch(pixels, gain, timestamp_ns))


def _sensor_format(pixels: av.VideoFormat) -> str | None:
    """The format to read pixels in that hold a sensor's counts, of which a scene takes any part; None for others.

    Grey deeper than 8 bits is made by thermal cameras. RGB of 16 bits and floating-point pixels are treated as they are
    in images and messages. YUV, and RGB of 10 to 14 bits, is video for screens, which fills its nominal range.
    """
    bits = max(component.bits for component in pixels.components)
    if bits <= 8:
        return None
    floating = re.search(r"f(16|32)(le|be)$", pixels.name) is not None
    if pixels.name.startswith(("gray", "ya")):
        return "grayf32le" if floating else "gray16le"
    if floating or (bits >= 16 and (pixels.is_rgb or pixels.is_bayer)):
        return "gbrpf32le" if floating else "rgb48le"
    return None
