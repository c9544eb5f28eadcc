"""Images in and out of order, and what makes a stream start anew."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from smotracker_ros.core.frames import FrameError
from smotracker_ros.ros.image_stream import ImageStream, OutOfOrderError
from smotracker_ros.ros.images import NANOSECONDS, to_image, to_stamp

NOW = 5 * NANOSECONDS


def _message(seconds: float, shape: tuple[int, int] = (16, 24), level: int = 0) -> Image:
    pixels = np.full(shape, level, np.uint8)
    return to_image(pixels, Header(stamp=to_stamp(round(seconds * NANOSECONDS)), frame_id="camera"), "mono8")


def test_frames_are_counted_and_carry_their_time() -> None:
    stream = ImageStream()
    taken = [stream.take(_message(10 + 0.1 * number), NOW) for number in range(3)]
    assert [frame.index for frame, _ in taken] == [0, 1, 2]
    assert [frame.timestamp_ns for frame, _ in taken] == [10_000_000_000, 10_100_000_000, 10_200_000_000]
    assert not any(anew for _, anew in taken)


@pytest.mark.parametrize("back", [0.0, 0.001, 1.0])
def test_what_is_not_later_is_refused_and_changes_nothing(back: float) -> None:
    stream = ImageStream()
    stream.take(_message(10), NOW)
    with pytest.raises(OutOfOrderError):
        stream.take(_message(10 - back), NOW)
    frame, anew = stream.take(_message(10.1), NOW)
    assert (frame.index, anew) == (1, False)


def test_going_back_further_starts_anew() -> None:
    stream = ImageStream()
    stream.take(_message(10), NOW)
    frame, anew = stream.take(_message(8.9), NOW)
    assert (frame.index, anew) == (0, True)
    frame, anew = stream.take(_message(9.0), NOW)
    assert (frame.index, anew) == (1, False)


def test_a_jump_forward_is_a_gap() -> None:
    stream = ImageStream()
    stream.take(_message(10), NOW)
    frame, anew = stream.take(_message(100_000), NOW)
    assert (frame.index, anew) == (1, False)


def test_another_size_starts_anew() -> None:
    stream = ImageStream()
    stream.take(_message(10), NOW)
    frame, anew = stream.take(_message(10.1, (24, 16)), NOW)
    assert (frame.index, anew) == (0, True)


def test_images_without_a_time_stamp_get_that_of_their_arrival() -> None:
    stream = ImageStream()
    assert stream.take(_message(0), 7 * NANOSECONDS)[0].timestamp_ns == 7 * NANOSECONDS
    assert stream.take(_message(0), 8 * NANOSECONDS)[0].timestamp_ns == 8 * NANOSECONDS


@pytest.mark.parametrize(("sec", "nanosec"), [(-5, 0), (5, 1_000_000_000), (2**31 - 1, 2**32 - 1)])
def test_a_stamp_that_is_no_time_is_refused(sec: int, nanosec: int) -> None:
    message = _message(10)
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    with pytest.raises(FrameError, match="no time"):
        ImageStream().take(message, NOW)


def test_a_bad_image_changes_nothing() -> None:
    stream = ImageStream()
    stream.take(_message(10), NOW)
    bad = _message(50_000)
    bad.step = 3
    with pytest.raises(FrameError):
        stream.take(bad, NOW)
    frame, anew = stream.take(_message(10.1), NOW)
    assert (frame.index, anew) == (1, False)


def _thermal(seconds: float, hot: int, compressed: bool) -> Image | CompressedImage:
    pixels = np.tile(np.linspace(30000, 30400, 24).astype(np.uint16), (16, 1))
    pixels[:4] = hot
    header = Header(stamp=to_stamp(round(seconds * NANOSECONDS)))
    if not compressed:
        return to_image(pixels, header, "mono16")
    return CompressedImage(
        header=header, format="png", data=array.array("B", cv2.imencode(".png", pixels)[1].tobytes())
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_something_hot_does_not_darken_a_thermal_picture_at_once(compressed: bool) -> None:
    stream = ImageStream()
    before = stream.take(_thermal(10, 30200, compressed), NOW)[0].image[10].astype(int)
    after = stream.take(_thermal(10.03, 34000, compressed), NOW)[0].image[10].astype(int)
    alone = ImageStream().take(_thermal(10.03, 34000, compressed), NOW)[0].image[10].astype(int)
    assert before.max() == 255 and alone.max() < 40
    assert after.max() > 150


def test_the_range_of_a_thermal_picture_follows_without_time_stamps() -> None:
    stream = ImageStream()
    stream.take(_thermal(0, 30200, False), NOW)
    for number in range(1, 101):
        frame, _ = stream.take(_thermal(0, 34000, False), NOW + number * NANOSECONDS // 10)
    alone = ImageStream().take(_thermal(0, 34000, False), NOW)[0]
    assert np.abs(frame.image.astype(int) - alone.image).max() <= 2
