"""One stream of image messages as frames: order of time, range of deep images, and where tracking starts anew."""

from __future__ import annotations

from sensor_msgs.msg import CompressedImage, Image

from smotracker_ros.core.frames import AutomaticGain, Frame
from smotracker_ros.io.stream import FrameOrder, OutOfOrderError
from smotracker_ros.ros.images import to_frame, to_nanoseconds

__all__ = ["ImageStream", "OutOfOrderError"]


class ImageStream:
    """Turns messages into frames that are ready to be tracked; :class:`FrameOrder` has the rules of time.

    Images without a time stamp get the time of their arrival.
    """

    def __init__(self) -> None:
        self._gain = AutomaticGain()
        self._order = FrameOrder()

    def restart(self) -> None:
        """Forget the past: the next image is the first one."""
        self._gain.reset()
        self._order.restart()

    def take(self, message: Image | CompressedImage, now_ns: int) -> tuple[Frame, bool]:
        """The frame of the next message.

        Args:
            message: the image.
            now_ns: time of its arrival, for images without a time stamp.

        Returns:
            The frame, and whether tracking has to start anew with it.

        Raises:
            OutOfOrderError: if it is not later than the one before.
            FrameError: if it cannot be used.
        """
        timestamp_ns = to_nanoseconds(message.header.stamp) or now_ns
        self._order.check(timestamp_ns)
        frame = to_frame(message, 0, self._gain, now_ns)
        index, anew = self._order.place(timestamp_ns, (frame.height, frame.width))
        return Frame(frame.image, timestamp_ns, index, frame.frame_id), anew
