"""What becomes of tracks: MOT text, overlay videos, mask images, and bags.

All are context managers with `write(frame, tracks)`. Their output takes its final name when the block ends without an
error; otherwise nothing is left behind, unless `keeps_broken` is set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

import av
import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.tracks import Tracks, label_image
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.overlay import Trails, draw_overlay, overlay_scale
from smotracker_ros.io.pending import SinkError, pending_path
from smotracker_ros.io.result_messages import RESULT_TYPES, ResultMessages

__all__ = ["BagWriter", "MaskWriter", "MotWriter", "OverlayWriter", "Sink", "SinkError", "VideoWriter"]


class Sink(ABC):
    """Base of all sinks: opens a temporary output, and keeps it only if the block succeeds."""

    keeps_broken = False
    """Whether an output that cannot be completed is left in its hidden folder."""

    def __init__(self, path: str | Path) -> None:
        """Remember the final name."""
        self.path = Path(path)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._open(stack.enter_context(pending_path(self.path, self.keeps_broken)), stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @abstractmethod
    def _open(self, temporary: Path, stack: ExitStack) -> None:
        """Open the output; what must be closed goes onto `stack`."""

    @abstractmethod
    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Add one frame's tracks."""


class MotWriter(Sink):
    """MOTChallenge text of the reported tracks.

    Rows are `frame,id,x,y,w,h,score,class,-1`: frame 1-based, x and y 0-based pixels of the top left corner.
    """

    _file: TextIO

    def _open(self, temporary: Path, stack: ExitStack) -> None:
        self._file = stack.enter_context(temporary.open("w", encoding="ascii", newline="\n"))

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Add one frame's reported tracks."""
        for track in tracks.reported:
            x1, y1, x2, y2 = (float(value) for value in track.box)
            self._file.write(
                f"{frame.index + 1},{track.id},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},"
                f"{track.score:.2f},{track.class_id},-1\n"
            )


class VideoWriter:
    """An h264 video of RGB images that browsers play; sides are made even by repeating the last row or column.

    Browsers want yuv420p, and the index before the pictures so that they begin before all is there.
    """

    def __init__(self, path: Path, fps: float, quality: int = 20) -> None:
        """Open the file.

        Args:
            path: name ending in .mp4.
            fps: frames per second.
            quality: constant rate factor of x264, 0 lossless to 51 worst.
        """
        self._container = av.open(str(path.absolute()), "w", options={"movflags": "+faststart"})
        self._rate = max(Fraction(fps).limit_denominator(1001), Fraction(1, 1001))
        self._stream = self._container.add_stream("libx264", rate=self._rate)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(quality), "preset": "veryfast"}
        self._size: tuple[int, int] | None = None
        self._index: int | None = None
        self._place = -1

    def write(self, image: UInt8Image, index: int | None = None) -> None:
        """Add an image.

        Args:
            image: uint8 RGB (height, width, 3); one of another size than the first is resized.
            index: its number. Where numbers are left out the image before stays for as long; None: the next one.
        """
        if self._size is None:
            self._size = image.shape[0], image.shape[1]
            self._stream.height, self._stream.width = (side + side % 2 for side in self._size)
        height, width = self._size
        if image.shape[:2] != self._size:
            image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        step = 1 if index is None or self._index is None else index - self._index
        self._index, self._place = index, self._place + max(step, 1)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        picture.pts, picture.time_base = self._place, 1 / self._rate
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Write what is still in the encoder, and the index."""
        try:
            if self._size is not None:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()


class OverlayWriter(Sink):
    """An h264 video of the frames with their tracks drawn on."""

    _video: VideoWriter

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int] | None = None) -> None:
        """Prepare the writer.

        Args:
            path: final name, ending in .mp4.
            fps: frames per second.
            size: (height, width) of the frames in pixels, which fixes the enlargement; None: the first frame's.
        """
        super().__init__(path)
        self._fps = fps
        self._scale = overlay_scale(*size) if size else None
        self._trails = Trails()

    def _open(self, temporary: Path, stack: ExitStack) -> None:
        self._video = VideoWriter(temporary, self._fps)
        stack.callback(self._video.close)

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Draw and add one frame."""
        if self._scale is None:
            self._scale = overlay_scale(frame.height, frame.width)
        self._trails.update(tracks)
        self._video.write(draw_overlay(frame, tracks, self._trails, self._scale), frame.index)


class MaskWriter(Sink):
    """A folder of 16-bit PNG label images, `000001.png` for the first frame: pixel = track id, 0 = background."""

    _folder: Path

    def _open(self, temporary: Path, stack: ExitStack) -> None:
        temporary.mkdir()
        self._folder = temporary

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Add one frame's label image."""
        encoded = cv2.imencode(".png", label_image(tracks))[1]
        (self._folder / f"{frame.index + 1:06d}.png").write_bytes(encoded.tobytes())


class BagWriter(Sink):
    """A rosbag2 with what the node publishes.

    Topics `/tracks` (vision_msgs/Detection2DArray), `/masks` (sensor_msgs/Image, mono16), and `/track_states`
    (smotracker_ros/TrackArray), all stamped with the frame's timestamp.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        """Prepare the writer; `storage` is "mcap" or "sqlite3".

        Raises:
            ValueError: for any other storage.
        """
        super().__init__(path)
        plugins = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
        if storage not in plugins:
            raise ValueError(f"storage must be mcap or sqlite3, not {storage!r}")
        self._plugin = plugins[storage]
        self._messages = ResultMessages()

    def _open(self, temporary: Path, stack: ExitStack) -> None:
        self._writer = stack.enter_context(Writer(temporary, version=9, storage_plugin=self._plugin))
        self._connections = {
            topic: self._writer.add_connection(f"/{topic}", name, typestore=typestore())
            for topic, name in RESULT_TYPES.items()
        }

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Add the three messages of one frame."""
        for topic, data in self._messages.encode(tracks, frame.timestamp_ns, frame.frame_id).items():
            self._writer.write(self._connections[topic], frame.timestamp_ns, data)
