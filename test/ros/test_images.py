"""Image messages of every encoding become the same picture; unusable ones say why."""

from __future__ import annotations

import array
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from smotracker_ros.core.frames import Frame, FrameError
from smotracker_ros.ros.images import (
    frame_to_image,
    read_image,
    to_frame,
    to_header,
    to_image,
    to_nanoseconds,
    to_stamp,
)

HEIGHT, WIDTH = 16, 24
RED, GREEN, BLUE = 200, 120, 40
PACKED = ("rgb8", "rgba8", "bgr8", "8UC3", "bgra8", "mono8", "8UC1", "yuv422", "uyvy", "yuv422_yuy2", "yuyv")
BAYER = ("bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8")


def _message(rows: np.ndarray, encoding: str, padding: int = 0, bigendian: bool = False) -> Image:
    """An image message of (height, bytes per row) uint8 rows with padding of 0xAB at each row's end."""
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    message = Image(height=rows.shape[0], encoding=encoding, step=padded.shape[1], is_bigendian=int(bigendian))
    message.header.stamp = to_stamp(1_234_567_890_123_456_789)
    message.header.frame_id = "gimbal"
    message.data = array.array("B", padded.tobytes())
    return message


def _uniform(encoding: str) -> np.ndarray:
    """Rows of an image of one colour in the given encoding."""
    y = round(0.257 * RED + 0.504 * GREEN + 0.098 * BLUE + 16)
    u = round(-0.148 * RED - 0.291 * GREEN + 0.439 * BLUE + 128)
    v = round(0.439 * RED - 0.368 * GREEN - 0.071 * BLUE + 128)
    cells = {
        "rgb8": [RED, GREEN, BLUE],
        "rgba8": [RED, GREEN, BLUE, 7],
        "bgr8": [BLUE, GREEN, RED],
        "8UC3": [BLUE, GREEN, RED],
        "bgra8": [BLUE, GREEN, RED, 7],
        "mono8": [RED],
        "8UC1": [RED],
        "yuv422": [u, y, v, y],
        "uyvy": [u, y, v, y],
        "yuv422_yuy2": [y, u, y, v],
        "yuyv": [y, u, y, v],
    }
    if encoding.startswith("bayer"):
        letters = encoding.removeprefix("bayer_").removesuffix("8")
        values = [{"r": RED, "g": GREEN, "b": BLUE}[letter] for letter in letters]
        return np.tile(np.array(values, np.uint8).reshape(2, 2), (HEIGHT // 2, WIDTH // 2))
    cell = np.array(cells[encoding], np.uint8)
    pixels = WIDTH // 2 if encoding in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv") else WIDTH
    return np.tile(cell, (HEIGHT, pixels))


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", [*PACKED, *BAYER])
def test_colour_encodings(encoding: str, padding: int) -> None:
    message = _message(_uniform(encoding), encoding, padding)
    message.width = WIDTH
    frame = to_frame(message, 3)
    grey = encoding in ("mono8", "8UC1")
    expected = np.array([RED] * 3 if grey else [RED, GREEN, BLUE])
    assert frame.image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(frame.image.astype(int) - expected).max() <= (3 if "yu" in encoding else 0)
    assert (frame.index, frame.frame_id, frame.timestamp_ns) == (3, "gimbal", 1_234_567_890_123_456_789)


@pytest.mark.parametrize("bigendian", [False, True])
@pytest.mark.parametrize(("encoding", "dtype"), [("mono16", "u2"), ("16UC1", "u2"), ("32FC1", "f4")])
def test_deep_encodings(encoding: str, dtype: str, bigendian: bool) -> None:
    ramp = np.tile(np.arange(WIDTH) * 10 + 29000, (HEIGHT, 1)).astype(
        np.dtype(dtype).newbyteorder(">" if bigendian else "<")
    )
    message = _message(ramp.view(np.uint8).reshape(HEIGHT, -1), encoding, 6, bigendian)
    message.width = WIDTH
    row = to_frame(message, 0).image[0, :, 0].astype(int)
    assert row[0] == 0 and row[-1] == 255 and (np.diff(row) >= 0).all() and np.diff(row).max() <= 14


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"encoding": "yuv999"}, "unknown image encoding 'yuv999'"),
        ({"encoding": ""}, "unknown image encoding ''"),
        ({"step": 10}, "step is 10 bytes"),
        ({"height": HEIGHT + 1}, "bytes"),
        ({"height": 0}, "must be positive"),
        ({"data": array.array("B", [1, 2, 3])}, "3 bytes"),
        ({"width": 4}, "8x8"),
    ],
)
def test_unusable_images_say_why(change: dict[str, object], text: str) -> None:
    if change.get("encoding") is not None and importlib.util.find_spec("cv_bridge"):
        text = "encoding"
    message = _message(_uniform("rgb8"), "rgb8")
    message.width = WIDTH
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(FrameError, match=text):
        to_frame(message, 0)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ImportError('numpy.core.multiarray failed to import')", "numpy.core.multiarray failed to import"),
        ("raise AttributeError('_ARRAY_API not found')", "_ARRAY_API not found"),
        ("import cv_bridge_boost", "No module named 'cv_bridge_boost'"),
    ],
)
def test_a_cv_bridge_that_does_not_work_is_told_once(tmp_path: Path, body: str, words: str) -> None:
    (tmp_path / "cv_bridge.py").write_text(body + "\n")
    script = """
import logging
logging.basicConfig(level=logging.WARNING)
from sensor_msgs.msg import Image
from smotracker_ros.core.frames import FrameError
from smotracker_ros.ros.images import to_frame
for number in range(3):
    try:
        to_frame(Image(encoding="yuv999", height=2, width=2, step=2), number)
    except FrameError as error:
        print(error)
"""
    environment = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    environment["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout.count("unknown image encoding 'yuv999'") == 3
    assert result.stderr.count("cv_bridge is installed but cannot be imported") == 1 and words in result.stderr
    assert "constraints-numpy1.txt" in result.stderr


def test_compressed_images() -> None:
    picture = np.tile(np.array([BLUE, GREEN, RED], np.uint8), (HEIGHT, WIDTH, 1))
    message = CompressedImage(format="rgb8; png compressed bgr8")
    message.data = array.array("B", cv2.imencode(".png", picture)[1].tobytes())
    assert (to_frame(message, 0).image == [RED, GREEN, BLUE]).all()
    message.data = message.data[:20]
    with pytest.raises(FrameError, match="broken"):
        to_frame(message, 0)
    message.format = "16UC1; compressedDepth png"
    with pytest.raises(FrameError, match="distances"):
        to_frame(message, 0)


@pytest.mark.parametrize("compressed", [False, True])
def test_serialised_messages_are_read(compressed: bool) -> None:
    if compressed:
        message = CompressedImage(format="png", data=array.array("B", [1, 2, 3]))
    else:
        message = _message(_uniform("rgb8"), "rgb8", 3, bigendian=True)
    message.header.frame_id, message.header.stamp = "gimbal ü", to_stamp(1_234_567_890_123_456_789)
    data = serialize_message(message)
    read = read_image(data, type(message))
    assert to_header(read.header) == message.header
    for name in ("format",) if compressed else ("height", "width", "encoding", "is_bigendian", "step"):
        assert getattr(read, name) == getattr(message, name)
    assert bytes(read.data) == bytes(message.data)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x01\x00\x00", b"\x00\x01\x00\x00" + b"\xff" * 64, b"\x09" * 80])
def test_bytes_that_are_no_message_say_so(data: bytes) -> None:
    with pytest.raises(FrameError, match="cannot be read as Image"):
        read_image(data, Image)


def test_there_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    frame = to_frame(frame_to_image(Frame(pixels, 5_000_000_007, 0, "camera")), 9)
    assert (frame.image == pixels).all()
    assert (frame.timestamp_ns, frame.frame_id, frame.index) == (5_000_000_007, "camera", 9)


def test_slices_of_arrays_are_sent_as_they_look() -> None:
    pixels = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)[::2, ::3]
    message = to_image(pixels, Header(), "mono16")
    assert (message.height, message.width, message.step) == (10, 10, 20)
    assert (np.frombuffer(message.data, np.uint16).reshape(10, 10) == pixels).all()


def test_stamps() -> None:
    stamp = to_stamp(1_999_999_999)
    assert (stamp.sec, stamp.nanosec) == (1, 999_999_999)
    assert to_nanoseconds(stamp) == 1_999_999_999


@pytest.mark.parametrize("encoding", ["bgr8", "mono8", "bayer_rggb8", "yuv422"])
def test_parity_with_cv_bridge(encoding: str) -> None:
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS distribution only")
    rows = _uniform(encoding)
    message = _message(rows, encoding)
    message.width = WIDTH
    theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")
    assert np.abs(theirs.astype(int) - to_frame(message, 0).image.astype(int)).max() <= 1
