"""Image messages to frames and back."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from smotracker_ros.core.frames import AutomaticGain, Frame, FrameError, UInt8Image
from smotracker_ros.io import image_messages
from smotracker_ros.io.encodings import SUPPORTED_ENCODINGS
from smotracker_ros.io.image_messages import NANOSECONDS
from smotracker_ros.io.message_types import typestore

_LOGGER = logging.getLogger(__name__)


def to_nanoseconds(stamp: Time) -> int:
    """A message's time stamp as nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def to_stamp(nanoseconds: int) -> Time:
    """Nanoseconds as a message's time stamp."""
    return Time(sec=int(nanoseconds // NANOSECONDS), nanosec=int(nanoseconds % NANOSECONDS))


def read_image(data: bytes, kind: type[Image] | type[CompressedImage]) -> Image | CompressedImage:
    """An image message out of its serialised form.

    rclpy copies the pixels several times on their way to Python, which takes 8 ms for a 720p image; rosbags copies them
    once, in less than half a millisecond. What it cannot read, rclpy may.

    Args:
        data: CDR bytes, as a subscription with `raw=True` delivers them.
        kind: class of the message.

    Returns:
        A message with the fields of `kind`, of rosbags' or rclpy's making.

    Raises:
        FrameError: if the bytes are no such message.
    """
    try:
        return typestore().deserialize_cdr(data, f"sensor_msgs/msg/{kind.__name__}")  # type: ignore[no-any-return]
    except Exception:  # damaged bytes surface as any of struct's, numpy's or Unicode's errors
        try:
            return deserialize_message(data, kind)  # type: ignore[no-any-return]
        except Exception as error:
            raise FrameError(f"the message cannot be read as {kind.__name__}: {error}") from error


def to_header(header: Any) -> Header:
    """The ROS message of a header that :func:`read_image` has read."""
    return Header(stamp=Time(sec=int(header.stamp.sec), nanosec=int(header.stamp.nanosec)), frame_id=header.frame_id)


def to_frame(message: Image | CompressedImage, index: int, gain: AutomaticGain | None = None, now_ns: int = 0) -> Frame:
    """As :func:`smotracker_ros.io.image_messages.to_frame`; cv_bridge, if it is there, knows more encodings.

    Raises:
        FrameError: naming the reason, if the message cannot be used.
    """
    return image_messages.to_frame(message, index, gain, now_ns, _decode_with_cv_bridge)


def _decode_with_cv_bridge(message: Image) -> UInt8Image:
    """Pixels of an encoding that the project's converter lacks, where a ROS distribution provides cv_bridge."""
    bridge = _cv_bridge()
    if bridge is None:
        raise FrameError(
            f"unknown image encoding {message.encoding!r}; supported are {', '.join(SUPPORTED_ENCODINGS)}, "
            "and more where cv_bridge works"
        )
    try:
        return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, desired_encoding="rgb8"), dtype=np.uint8)
    except Exception as reason:  # cv_bridge raises its own, cv2's and plain errors
        raise FrameError(f"cv_bridge cannot convert encoding {message.encoding!r}: {reason}") from reason


@functools.cache
def _cv_bridge() -> Any:
    """A CvBridge; None where there is no cv_bridge, or none that works, which is told once."""
    try:
        return importlib.import_module("cv_bridge").CvBridge()
    except Exception as error:  # compiled for another numpy it fails in any way, also in its own imports
        if not (isinstance(error, ModuleNotFoundError) and error.name == "cv_bridge"):
            _LOGGER.warning(
                "cv_bridge is installed but cannot be imported with numpy %s (%s: %s): encodings that only it knows "
                "cannot be used. Install this package's requirements with -c requirements/constraints-numpy1.txt",
                np.__version__,
                type(error).__name__,
                " ".join(str(error).split()),
            )
        return None


def to_image(pixels: npt.NDArray[Any], header: Header, encoding: str) -> Image:
    """An image message.

    Args:
        pixels: (height, width) or (height, width, channels); its dtype and channels must be those of `encoding`.
        header: taken over as it is.
        encoding: name as in sensor_msgs/image_encodings, for example "rgb8" or "mono16".
    """
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding, step=pixels.nbytes // height)
    message.is_bigendian = int(pixels.dtype.itemsize > 1 and sys.byteorder == "big")
    # Assigning an array would copy it element by element: 0.75 s for a 720p image.
    message.data.frombytes(pixels.data.cast("B"))
    return message


def frame_to_image(frame: Frame) -> Image:
    """The rgb8 image message of a frame, with its time stamp and frame id."""
    return to_image(frame.image, Header(stamp=to_stamp(frame.timestamp_ns), frame_id=frame.frame_id), "rgb8")
