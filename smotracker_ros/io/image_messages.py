"""Frames of image messages, whether rclpy or rosbags has read them: one rule for bags and topics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from smotracker_ros.core.frames import AutomaticGain, Frame, FrameError, UInt8Image
from smotracker_ros.io.encodings import UnknownEncodingError, decode_compressed_image, decode_image

NANOSECONDS = 1_000_000_000


def read_stamp(message: Any) -> int:
    """The time stamp of a message's header in nanoseconds; 0: it has none.

    Raises:
        FrameError: if it is no time.
    """
    stamp = message.header.stamp
    if stamp.sec < 0 or not 0 <= stamp.nanosec < NANOSECONDS:
        raise FrameError(f"its time stamp of {stamp.sec} s and {stamp.nanosec} ns is no time")
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def to_frame(
    message: Any,
    index: int,
    gain: AutomaticGain | None = None,
    now_ns: int = 0,
    convert: Callable[[Any], UInt8Image] | None = None,
) -> Frame:
    """The frame that an image message carries.

    Args:
        message: `sensor_msgs/Image` or `CompressedImage`; its header gives the frame's time stamp and frame id.
        index: number of the frame in its stream.
        gain: range of the stream's 16-bit and floating-point images so far; None: each is stretched for itself.
        now_ns: the frame's time if the message has no time stamp.
        convert: what makes an RGB image of a raw message whose encoding this program does not know.

    Raises:
        FrameError: naming the reason, if the message cannot be used.
    """
    timestamp_ns = read_stamp(message) or now_ns
    data = np.frombuffer(message.data, np.uint8)
    if hasattr(message, "format"):
        pixels = decode_compressed_image(data, gain, timestamp_ns, message.format)
    else:
        try:
            pixels = decode_image(
                message.height,
                message.width,
                message.encoding,
                message.is_bigendian,
                message.step,
                data,
                gain,
                timestamp_ns,
            )
        except UnknownEncodingError:
            if convert is None:
                raise
            pixels = convert(message)
    return Frame(pixels, timestamp_ns, index, message.header.frame_id)
