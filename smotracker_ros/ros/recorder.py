"""Records what the tracker publishes: a rosbag2, MOT text and an overlay video."""

from __future__ import annotations

import itertools
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from smotracker_ros.core.frames import Frame, FrameError
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.io.pending import SinkError
from smotracker_ros.msg import TrackArray
from smotracker_ros.ros.bag_recorder import FLUSH_SECONDS, BagRecorder
from smotracker_ros.ros.conversions import from_track_array
from smotracker_ros.ros.images import read_image, to_frame, to_nanoseconds
from smotracker_ros.ros.node_parameters import NodeParameter, TolerantParameters, declare, report_unused
from smotracker_ros.ros.process import INTERRUPTIONS, run_process
from smotracker_ros.ros.qos import (
    explain_mismatch,
    publisher_offers,
    result_profile,
    sent_topic,
    subscription_profile,
    wants_reliable,
)
from smotracker_ros.ros.recording import Recording

PARAMETERS = (
    NodeParameter("output", "", "Folder for bag/, tracks.txt and overlay.mp4."),
    NodeParameter("overlay", True, "Write overlay.mp4."),
    NodeParameter("bag", True, "Write the published topics to bag/."),
    NodeParameter("record_images", False, "Also write the source images to the bag."),
    NodeParameter(
        "image_transport",
        "raw",
        "How images are sent: sensor_msgs/Image on `image`, or CompressedImage on `image/compressed`.",
        choices=("raw", "compressed"),
    ),
    NodeParameter("fps", 0.0, "Frames per second of overlay.mp4; 0: by the first time stamps.", 0.0, 1000.0),
    NodeParameter(
        "idle_seconds",
        2.0,
        "End when the images have no publisher and nothing came for this long; 0: only when told.",
        0.0,
        3600.0,
    ),
)

RESULTS = {"tracks": Detection2DArray, "masks": Image, "track_states": TrackArray}
MAX_WAITING = 300
"""Images or results that may wait for their counterpart; beyond that the oldest go unrecorded."""
MAX_WAITING_BYTES = 1 << 30
"""The same for the memory of waiting images."""

MAX_TRACKS = 5120
"""Tracks of one image that are taken: as many as the tracker's settings allow, live and lost."""
LARGEST_COORDINATE = 1e6
"""Pixels; drawing needs integers."""


class Recorder(TolerantParameters, Node):
    """Subscribes to `tracks`, `masks`, `track_states` and, once their publisher is there, to `image`.

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
    """

    def __init__(self, stack: ExitStack, **options: Any) -> None:
        super().__init__("recorder", **options)
        self._options = declare(self, PARAMETERS)
        report_unused(self)
        if not self._options["output"]:
            raise SettingsError("nowhere to write; set the parameter output, for example -p output:=recording")
        names = ("bag", "overlay", "fps")
        # a shell leaves the ~ of `output:=~/recording` as it is
        self.recording = Recording(Path(self._options["output"]).expanduser(), *(self._options[name] for name in names))
        stack.enter_context(self.recording)
        # ROS time may stand still until somebody plays, who in turn may wait for us.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        if self.recording.bag is not None:
            self._prepare_bag(self.recording.bag)
        self._image_type = CompressedImage if self._options["image_transport"] == "compressed" else Image
        self._images: dict[int, Frame] = {}
        self._states: dict[int, TrackArray] = {}
        self._matched = dict.fromkeys(RESULTS, False)
        self._image_subscription: Any = None
        self._image_topic = ""
        self._reliable = True
        self._mismatch: str | None = None
        self._last_sign: float | None = None
        for topic, kind in RESULTS.items():
            self.create_subscription(
                kind,
                topic,
                lambda data, topic=topic, kind=kind: self._take_result(topic, kind, data),
                result_profile(100),
                raw=True,
                event_callbacks=SubscriptionEventCallbacks(
                    matched=lambda event, topic=topic: self._matched.update({topic: event.current_count > 0})
                ),
            )
        self.create_timer(0.2, self._subscribe_to_images, clock=self._steady)

    def _prepare_bag(self, bag: BagRecorder) -> None:
        """Hand the bag over regularly, and tell of earlier ones that were cut off."""
        for path in bag.leftovers:
            self.get_logger().warning(
                f"{path} was cut off while it was recorded; make a complete bag of it with "
                f"`smotracker recover {path} --output DIR`, and delete {path.parent}"
            )
        self.create_timer(FLUSH_SECONDS, bag.flush, clock=self._steady)

    def _subscribe_to_images(self) -> None:
        """Subscribe to the images as their publisher offers them.

        Not before the results' publisher is known, so that a player who counts us may begin.
        """
        topic = sent_topic(self, "image", self._options["image_transport"])
        offers = publisher_offers(self, topic)
        if offers:
            self._last_sign = time.monotonic()
        if self._image_subscription is None and not all(self._matched.values()):
            return
        reliable = wants_reliable("auto", True, offers)
        mismatch = explain_mismatch(topic, f"sensor_msgs/msg/{self._image_type.__name__}", reliable, offers)
        if mismatch is not None and mismatch != self._mismatch:
            self.get_logger().warning(f"no image arrives: {mismatch}")
        self._mismatch = mismatch if offers else self._mismatch
        if self._image_subscription is not None:
            if reliable == self._reliable and topic == self._image_topic:
                return
            self.destroy_subscription(self._image_subscription)
        self._reliable, self._image_topic = reliable, topic
        self._image_subscription = self.create_subscription(
            self._image_type, topic, self._take_image, subscription_profile(reliable, 100), raw=True
        )

    @property
    def finished(self) -> bool:
        """Whether the images' publisher has gone and nothing came for a while."""
        idle = self._options["idle_seconds"]
        if not idle or self._last_sign is None or time.monotonic() - self._last_sign < idle:
            return False
        return self.count_publishers(sent_topic(self, "image", self._options["image_transport"])) == 0

    @property
    def trouble(self) -> str:
        """Why no image came together with its tracks, as far as it is known: a clause, or nothing."""
        return f": {self._mismatch}" if self._mismatch else ""

    def _store(self, topic: str, kind: Any, data: bytes) -> None:
        """Write a serialised message to the bag."""
        self._last_sign = time.monotonic()
        if self.recording.bag is not None:
            message_type = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            now = self.get_clock().now().nanoseconds
            self.recording.bag.write(self.resolve_topic_name(topic), message_type, now, data)

    def _take_result(self, topic: str, kind: Any, data: bytes) -> None:
        """Store a result; track states also go to the text and the video."""
        self._store(topic, kind, data)
        if kind is TrackArray:
            message = deserialize_message(data, TrackArray)
            self._wait(self._states, to_nanoseconds(message.header.stamp), message)

    def _take_image(self, data: bytes) -> None:
        """Keep an image until its tracks arrive."""
        if self._options["record_images"]:
            self._store(self._image_topic, self._image_type, data)
        self._last_sign = time.monotonic()
        try:
            frame = to_frame(read_image(data, self._image_type), 0)
        except FrameError:
            return  # the tracker drops it, too
        self._wait(self._images, frame.timestamp_ns, frame)

    def _wait(self, waiting: dict[int, Any], stamp: int, item: Frame | TrackArray) -> None:
        """Let an image or track states wait for their counterpart, and write the frame if it is there."""
        if not stamp:
            self.get_logger().error(
                "without a time stamp an image cannot be told from the next: there are no tracks.txt and overlay.mp4 "
                "of it; let the camera's driver set header.stamp",
                throttle_duration_sec=30.0,
            )
            return
        waiting[stamp] = item
        if stamp in self._images and stamp in self._states:
            self._join(stamp)
        while len(waiting) > MAX_WAITING:
            del waiting[next(iter(waiting))]
        while sum(frame.image.nbytes for frame in self._images.values()) > MAX_WAITING_BYTES:
            del self._images[next(iter(self._images))]

    def _join(self, stamp: int) -> None:
        """Write the frame whose image and tracks are both there; answers keep the order, so none before waits on."""
        image, message = self._images[stamp], self._states[stamp]
        for waiting in (self._images, self._states):
            for earlier in list(itertools.takewhile(lambda key: key != stamp, waiting)):
                del waiting[earlier]
            del waiting[stamp]
        frame = Frame(image.image, image.timestamp_ns, int(message.frame_index), image.frame_id)
        try:
            self.recording.add(frame, self._check(message, frame))
        except ValueError as error:
            self.get_logger().error(f"track states are left out: {error}", throttle_duration_sec=2.0)

    @staticmethod
    def _check(message: TrackArray, frame: Frame) -> Tracks:
        """The tracks of a message, which anybody may have sent.

        Raises:
            ValueError: if they cannot be those of the frame.
        """
        if len(message.tracks) > MAX_TRACKS:
            raise ValueError(f"{len(message.tracks)} tracks in one message; up to {MAX_TRACKS} are taken")
        size = (frame.height, frame.width)
        if any(track.mask_counts and (track.mask_height, track.mask_width) != size for track in message.tracks):
            raise ValueError("a mask has another size than the image")
        tracks = from_track_array(message, size)
        if not all(np.isfinite(track.box).all() and np.abs(track.box).max() < LARGEST_COORDINATE for track in tracks):
            raise ValueError("a box is not finite, or far outside the image")
        return tracks


def main() -> int:
    """Record until the images end or until interrupted.

    Returns:
        The exit code: 1 if no image came together with its tracks, or a file could not be written.
    """

    def body(stack: ExitStack) -> int:
        # its files are completed when this block ends, and only then it is known whether that worked
        with ExitStack() as files:
            node = None
            try:
                node = Recorder(files)
                stack.callback(node.destroy_node)
                while not node.finished:
                    rclpy.spin_once(node, timeout_sec=0.1)
            except INTERRUPTIONS as error:
                if rclpy.ok() and not isinstance(error, KeyboardInterrupt):
                    raise
                signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is None or not node.recording.frames:
            messages = node.recording.messages if node is not None else 0
            written = f"only the bag is written, with {messages} messages" if messages else "nothing is written"
            raise SinkError(f"no image with its tracks arrived; {written}{node.trouble if node is not None else ''}")
        print(f"recorded {node.recording.frames} frames", flush=True)
        return 1 if node.recording.failed else 0

    return run_process("recorder", body)
