"""Real files to read: videos and bags."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.io.message_types import typestore

BagMaker = Callable[..., Path]
VideoMaker = Callable[..., Path]


def picture(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey RGB image with a bright square that moves 2 px per frame, and the index as its background level."""
    image = np.full((height, width, 3), 20 + 2 * index, dtype=np.uint8)
    image[20:28, 4 + 2 * index : 12 + 2 * index] = (250, 40, 40)
    return image


@pytest.fixture(autouse=True)
def warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    """Other packages' lines for debugging are not counted, whatever a package has set."""
    caplog.set_level(logging.WARNING)


@pytest.fixture
def make_picture() -> Callable[..., np.ndarray]:
    return picture


@pytest.fixture
def make_video(tmp_path: Path) -> VideoMaker:
    def make(name: str = "clip.mp4", frames: int = 12, times: list[int] | None = None) -> Path:
        """Write an h264 video; `times` are presentation times in milliseconds."""
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.options = {"crf": "5", "g": "4"}
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
                if times is not None:
                    frame.pts = times[index]
                    frame.time_base = stream.codec_context.time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture
def make_bag(tmp_path: Path) -> BagMaker:
    def make(
        topics: dict[str, str] | None = None,
        frames: int = 6,
        storage: str = "mcap",
        encoding: str = "bgr8",
        break_at: int | None = None,
        name: str = "bag",
        stamped: bool = True,
    ) -> Path:
        """Write a bag at 20 fps; `topics` maps topic names to "raw", "compressed" or "text"."""
        store = typestore()
        path = tmp_path / name
        plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
        types = store.types
        with Writer(path, version=9, storage_plugin=plugin) as writer:
            for topic, kind in ({"/camera/image_raw": "raw"} if topics is None else topics).items():
                message_type = {
                    "raw": "sensor_msgs/msg/Image",
                    "compressed": "sensor_msgs/msg/CompressedImage",
                    "text": "std_msgs/msg/String",
                }[kind]
                connection = writer.add_connection(topic, message_type, typestore=store)
                for index in range(frames):
                    stamp_ns = 1_700_000_000_000_000_000 + index * 50_000_000
                    seconds, nanoseconds = divmod(stamp_ns if stamped else 0, 10**9)
                    stamp = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
                    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
                    bgr = np.ascontiguousarray(picture(index)[:, :, ::-1])
                    if kind == "raw":
                        data = bgr.reshape(-1)[: -7 if index == break_at else None]
                        message = types[message_type](
                            header=header, height=48, width=64, encoding=encoding, is_bigendian=0, step=192, data=data
                        )
                    elif kind == "compressed":
                        data = cv2.imencode(".png", bgr)[1].reshape(-1)[: 30 if index == break_at else None]
                        message = types[message_type](header=header, format="bgr8; png compressed bgr8", data=data)
                    else:
                        message = types[message_type](data="hello")
                    # Recorded 5 ms after the exposure.
                    writer.write(connection, stamp_ns + 5_000_000, store.serialize_cdr(message, message_type))
        return path

    return make
