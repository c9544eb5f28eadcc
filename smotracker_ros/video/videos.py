"""Frames of video files."""

from __future__ import annotations

import heapq
import logging
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from smotracker_ros.frames import AutomaticGain, Frame, FrameError, UInt8Image
from smotracker_ros.video.base import DEFAULT_FPS, SourceError
from smotracker_ros.video.encodings import stretch
from smotracker_ros.video.orientation import UPRIGHT, matrix_orientation
from smotracker_ros.video.stream_clock import StreamClock

_LENGTH_SLACK = 2
"""Frames by which a length that is stated as a duration may be wrong."""

_PROBED_PACKETS = 500
"""Packets that are looked at to tell which of several streams move."""

_logger = logging.getLogger(__name__)


class VideoSource:
    """Frames of a video file with the container's timestamps, right side up.

    See :class:`~smotracker_ros.video.base.FrameSource`.
    """

    def __init__(self, path: Path, fallback_fps: float = DEFAULT_FPS) -> None:
        """Open the file, choose its video stream, and check that its first frame can be decoded.

        Raises:
            SourceError: if the file is empty, no video, or holds no decodable frame, or one that cannot be turned.
        """
        self.path = path
        self.name = path.parent.name if path.stem == "video" and path.parent.name else path.stem
        self.skipped = 0
        if path.stat().st_size == 0:
            raise SourceError(f"{path} is empty (0 bytes); copy or record it again")
        with self._open() as container:
            self._stream, self._unread = _choose_stream(path, container)
        with self._open() as container:
            stream = container.streams[self._stream]
            rate = stream.average_rate or stream.guessed_rate
            self.fps = float(rate) if rate else fallback_fps
            self.length: int | None = stream.frames or None
            if self.length is None and container.duration:
                self.length = round(container.duration / av.time_base * self.fps)
            first = next(self._decode(container), None)
            if first is None:
                raise SourceError(f"{path} holds no frame that can be decoded; check it with ffprobe")
            try:
                image = _pixels(first[1], AutomaticGain(), 0)
            except FrameError as error:
                raise SourceError(f"{path} cannot be shown: {error}") from error
            self.size: tuple[int, int] | None = image.shape[:2]
        self.skipped = 0

    def _open(self) -> av.container.InputContainer:
        try:
            # an absolute path: FFmpeg takes what stands before a colon for a protocol
            container = av.open(f"file:{self.path.absolute()}")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(
                f"{self.path} is not a readable video ({error}); check it with ffprobe, or record it again"
            ) from error
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self.path} holds no video stream; give a file with pictures")
        return container

    def _decode(self, container: av.container.InputContainer) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their places; what cannot be decoded is counted, and keeps its place."""
        stream = container.streams[self._stream]
        # decoding whole frames side by side loses those that wait behind a broken one at the end
        stream.thread_type = "SLICE"
        packets = container.demux(stream)
        places = _Places(float(1 / self.fps / stream.time_base) if stream.time_base else 1.0)
        reason = ""
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError as error:
                _logger.warning("%s ends early: %s", self.path, error)
                self.skipped += 1
                break
            places.send(packet)
            try:
                decoded = packet.decode()
            except av.error.FFmpegError as error:
                reason = reason or str(error)
                places.fail(packet)
                continue
            for frame in decoded:
                yield places.take(frame), frame
        places.end()
        if places.lost:
            _logger.warning(
                "%s: %d frames cannot be decoded%s; the others keep their numbers and times",
                self.path,
                places.lost,
                f" ({reason})" if reason else "",
            )
        self.skipped += places.lost
        if self.length is not None and places.count < self.length - _LENGTH_SLACK and len(container.streams) == 1:
            _logger.warning(
                "%s ends early: it states %d frames, and holds %d; record or copy it again",
                self.path,
                self.length,
                places.count,
            )

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        if self._unread:
            _logger.warning("%s: stream %d is read; not read: %s", self.path, self._stream, "; ".join(self._unread))
        clock, gain, told = StreamClock(self.fps), AutomaticGain(), False
        with self._open() as container:
            for index, decoded in self._decode(container):
                stamp, remark = clock.stamp(index, decoded.time)
                if remark:
                    _logger.warning("%s: %s", self.path, remark)
                try:
                    frame = Frame(_pixels(decoded, gain, stamp), stamp, index)
                except FrameError as error:
                    self.skipped += 1
                    if not told:
                        _logger.warning("%s: frame %d was skipped, and others like it: %s", self.path, index, error)
                    told = True
                    continue
                yield frame


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


def _pixels(frame: av.VideoFrame, gain: AutomaticGain, timestamp_ns: int) -> UInt8Image:
    """A decoded frame as uint8 RGB, right side up.

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


class _Places:
    """Numbers the frames of a stream by the packets that were sent to its decoder.

    Frames come out in order of presentation. So a packet that is to be shown before the present frame and has not come
    out by now never will: its place stays free.

    Attributes:
        count: number of places so far.
        lost: number of those whose frame could not be decoded.

    Args:
        period: of the frames, in units of the stream's time base.
    """

    def __init__(self, period: float) -> None:
        self.lost = 0
        self._period = period
        self._waiting: list[tuple[int, int]] = []
        self.count = 0
        # time starts anew where streams were joined: times are compared within a part of the stream only
        self._sent_part = self._taken_part = 0
        self._last_dts: int | None = None
        self._last_pts: int | None = None

    def send(self, packet: av.Packet) -> None:
        """Note a packet before it is decoded."""
        if not packet.size or packet.pts is None or packet.is_discard:
            return
        if packet.dts is not None:
            if self._last_dts is not None and packet.dts < self._last_dts:
                self._sent_part += 1
            self._last_dts = packet.dts
        heapq.heappush(self._waiting, (self._sent_part, packet.pts))

    def fail(self, packet: av.Packet) -> None:
        """Note a packet that cannot be decoded; those with a time are missed by :meth:`take`."""
        if packet.size and packet.pts is None:
            self.lost += 1
            self.count += 1

    def take(self, frame: av.VideoFrame) -> int:
        """The place of the next decoded frame."""
        if frame.pts is not None:
            before = self._last_pts
            if before is not None and frame.pts < before and (self._taken_part + 1, frame.pts) in self._waiting:
                self._taken_part, before = self._taken_part + 1, None
            missing = self._drop_before((self._taken_part, frame.pts))
            if before is not None and missing:
                # packets without a picture of their own (hidden frames) leave no gap in time
                missing = min(missing, max(round((frame.pts - before) / self._period) - 1, 0))
            self.lost += missing
            self.count += missing
            self._last_pts = frame.pts
        self.count += 1
        return self.count - 1

    def end(self) -> None:
        """Count what has not come out at the end of the stream."""
        self.lost += len(self._waiting)
        self.count += len(self._waiting)
        self._waiting.clear()

    def _drop_before(self, time: tuple[int, int]) -> int:
        """Forget the packets up to a frame's time; returns the number of those before it."""
        missing = 0
        while self._waiting and self._waiting[0] < time:
            heapq.heappop(self._waiting)
            missing += 1
        if self._waiting and self._waiting[0] == time:
            heapq.heappop(self._waiting)
        return missing
