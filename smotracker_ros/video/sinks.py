"""What becomes of tracks: MOT text, overlay videos, mask images, and bags.

All are context managers with `write(frame, tracks)`. Their output takes its final name when the block ends without an
error; otherwise nothing is left behind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import av
import cv2
import numpy as np
import numpy.typing as npt
from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.frames import Frame, UInt8Image
from smotracker_ros.geometry import FloatArray
from smotracker_ros.message_fields import track_fields
from smotracker_ros.tracks import Tracks, label_image
from smotracker_ros.video.message_types import typestore
from smotracker_ros.video.overlay import Trails, draw_overlay, overlay_scale
from smotracker_ros.video.pending import SinkError, pending_path

__all__ = ["BagWriter", "MaskWriter", "MotWriter", "OverlayWriter", "Sink", "SinkError", "VideoWriter"]


class Sink(ABC):
    """Base of all sinks: opens a temporary output, and keeps it only if the block succeeds."""

    def __init__(self, path: str | Path) -> None:
        """Remember the final name."""
        self.path = Path(path)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._open(stack.enter_context(pending_path(self.path)), stack)
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
    """An h264 video of RGB images; sides are made even by repeating the last row or column."""

    def __init__(self, path: Path, fps: float, quality: int = 20) -> None:
        """Open the file.

        Args:
            path: name ending in .mp4.
            fps: frames per second.
            quality: constant rate factor of x264, 0 lossless to 51 worst.
        """
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(quality), "preset": "veryfast"}
        self._size: tuple[int, int] | None = None

    def write(self, image: UInt8Image) -> None:
        """Add an image, uint8 RGB (height, width, 3); one of another size than the first is resized."""
        if self._size is None:
            self._size = image.shape[0], image.shape[1]
            self._stream.height, self._stream.width = (side + side % 2 for side in self._size)
        height, width = self._size
        if image.shape[:2] != self._size:
            image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
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
        self._video.write(draw_overlay(frame, tracks, self._trails, self._scale))


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

    TOPICS = (
        ("/tracks", "vision_msgs/msg/Detection2DArray"),
        ("/masks", "sensor_msgs/msg/Image"),
        ("/track_states", "smotracker_ros/msg/TrackArray"),
    )

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
        self._store = typestore()

    def _open(self, temporary: Path, stack: ExitStack) -> None:
        self._writer = stack.enter_context(Writer(temporary, version=9, storage_plugin=self._plugin))
        self._connections = {
            topic: self._writer.add_connection(topic, name, typestore=self._store) for topic, name in self.TOPICS
        }

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Add the three messages of one frame."""
        header = self._header(frame)
        for topic, message in (
            ("/tracks", self._detections(header, tracks)),
            ("/masks", self._masks(header, label_image(tracks))),
            ("/track_states", self._states(header, frame, tracks)),
        ):
            connection = self._connections[topic]
            data = self._store.serialize_cdr(message, connection.msgtype)
            self._writer.write(connection, frame.timestamp_ns, data)

    def _type(self, name: str) -> Any:
        return self._store.types[name]

    def _header(self, frame: Frame) -> Any:
        seconds, nanoseconds = divmod(frame.timestamp_ns, 1_000_000_000)
        stamp = self._type("builtin_interfaces/msg/Time")(sec=seconds, nanosec=nanoseconds)
        return self._type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame.frame_id)

    def _box(self, box: FloatArray) -> Any:
        x1, y1, x2, y2 = (float(value) for value in box)
        point = self._type("vision_msgs/msg/Point2D")(x=(x1 + x2) / 2, y=(y1 + y2) / 2)
        pose = self._type("vision_msgs/msg/Pose2D")(position=point, theta=0.0)
        return self._type("vision_msgs/msg/BoundingBox2D")(center=pose, size_x=x2 - x1, size_y=y2 - y1)

    def _detections(self, header: Any, tracks: Tracks) -> Any:
        nowhere = self._type("geometry_msgs/msg/PoseWithCovariance")(
            pose=self._type("geometry_msgs/msg/Pose")(
                position=self._type("geometry_msgs/msg/Point")(x=0.0, y=0.0, z=0.0),
                orientation=self._type("geometry_msgs/msg/Quaternion")(x=0.0, y=0.0, z=0.0, w=1.0),
            ),
            covariance=np.zeros(36),
        )
        detections = []
        for track in tracks.reported:
            hypothesis = self._type("vision_msgs/msg/ObjectHypothesis")(
                class_id=track.class_name or str(track.class_id), score=float(track.score)
            )
            result = self._type("vision_msgs/msg/ObjectHypothesisWithPose")(hypothesis=hypothesis, pose=nowhere)
            detections.append(
                self._type("vision_msgs/msg/Detection2D")(
                    header=header, results=[result], bbox=self._box(track.box), id=str(track.id)
                )
            )
        return self._type("vision_msgs/msg/Detection2DArray")(header=header, detections=detections)

    def _masks(self, header: Any, labels: npt.NDArray[np.uint16]) -> Any:
        height, width = labels.shape
        data = np.frombuffer(labels.astype("<u2").tobytes(), dtype=np.uint8)
        return self._type("sensor_msgs/msg/Image")(
            header=header, height=height, width=width, encoding="mono16", is_bigendian=0, step=2 * width, data=data
        )

    def _states(self, header: Any, frame: Frame, tracks: Tracks) -> Any:
        height, width = tracks.image_size
        items = [
            self._type("smotracker_ros/msg/Track")(box=self._box(track.box), **track_fields(track, height, width))
            for track in tracks
        ]
        return self._type("smotracker_ros/msg/TrackArray")(
            header=header, frame_index=frame.index, detector_ran=tracks.detector_ran, tracks=items
        )
