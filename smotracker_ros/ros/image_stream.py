"""One stream of image messages as frames: order of time, range of deep images, and where tracking starts anew."""

from __future__ import annotations

from sensor_msgs.msg import CompressedImage, Image

from smotracker_ros.frames import AutomaticGain, Frame, FrameError
from smotracker_ros.ros.images import NANOSECONDS, to_frame, to_nanoseconds


class OutOfOrderError(FrameError):
    """An image that is not later than the one before."""


class ImageStream:
    """Turns messages into frames that are ready to be tracked.

    - Time stamps that go back by up to a second mean an image that was overtaken or sent twice: it is refused. Those
      that go back further mean a recording that starts anew, and so does another image size: tracking starts anew, too.
    - Time stamps that jump forward are a gap: tracks live on if they can be found again (`lost_seconds`).
    - Images without a time stamp get the time of their arrival.
    """

    def __init__(self) -> None:
        self._gain = AutomaticGain()
        self._index = 0
        self._previous: int | None = None
        self._size: tuple[int, int] | None = None

    def restart(self) -> None:
        """Forget the past: the next image is the first one."""
        self._gain.reset()
        self._index, self._previous, self._size = 0, None, None

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
        previous, timestamp_ns = self._previous, to_nanoseconds(message.header.stamp) or now_ns
        if previous is not None and previous - NANOSECONDS <= timestamp_ns <= previous:
            raise OutOfOrderError("its time stamp is not later than the previous one's")
        frame = to_frame(message, self._index, self._gain)
        if frame.timestamp_ns == 0:
            frame = Frame(frame.image, now_ns, frame.index, frame.frame_id)
        size = (frame.height, frame.width)
        anew = previous is not None and (frame.timestamp_ns < previous or size != self._size)
        if anew:
            frame = Frame(frame.image, frame.timestamp_ns, 0, frame.frame_id)
        self._index = frame.index + 1
        self._previous, self._size = frame.timestamp_ns, size
        return frame, anew
