"""Records what the tracker publishes: a rosbag2, MOT text and an overlay video."""

from __future__ import annotations

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
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from smotracker_ros.frames import Frame, FrameError
from smotracker_ros.msg import TrackArray
from smotracker_ros.ros.bag_recorder import FLUSH_SECONDS, BagRecorder
from smotracker_ros.ros.conversions import from_track_array
from smotracker_ros.ros.images import NANOSECONDS, to_frame, to_nanoseconds
from smotracker_ros.ros.parameters import NodeParameter, declare
from smotracker_ros.ros.process import INTERRUPTIONS, run_process
from smotracker_ros.ros.qos import publisher_offers, result_profile, subscription_profile, wants_reliable
from smotracker_ros.settings import SettingsError
from smotracker_ros.tracks import Tracks
from smotracker_ros.video.sinks import MotWriter, OverlayWriter, SinkError

PARAMETERS = (
    NodeParameter("output", "", "Folder for bag/, tracks.txt and overlay.mp4."),
    NodeParameter("overlay", True, "Write overlay.mp4."),
    NodeParameter("bag", True, "Write the published topics to bag/."),
    NodeParameter("record_images", False, "Also write the source images to the bag."),
    NodeParameter("fps", 0.0, "Frames per second of overlay.mp4; 0: by the first two time stamps.", 0.0, 1000.0),
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

MAX_TRACKS = 5120
"""Tracks of one image that are taken: as many as the tracker's settings allow, live and lost."""
LARGEST_COORDINATE = 1e6
"""Pixels; drawing needs integers."""


class Recorder(Node):
    """Subscribes to `tracks`, `masks`, `track_states` and, once their publisher is there, to `image`.

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
    """

    def __init__(self, stack: ExitStack, **options: Any) -> None:
        super().__init__("recorder", **options)
        self._options = declare(self, PARAMETERS)
        if not self._options["output"]:
            raise SettingsError("nowhere to write; set the parameter output, for example -p output:=recording")
        self._folder = Path(self._options["output"])
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stack = stack
        # ROS time may stand still until somebody plays, who in turn may wait for us.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._bag = self._open_bag() if self._options["bag"] else None
        self._text = stack.enter_context(MotWriter(self._folder / "tracks.txt"))
        self._video: OverlayWriter | None = None
        self._images: dict[int, Frame] = {}
        self._states: dict[int, TrackArray] = {}
        self._held: list[tuple[Frame, Tracks]] = []
        self._matched = dict.fromkeys(RESULTS, False)
        self._image_subscription: Any = None
        self._reliable = True
        self._last_message: float | None = None
        self.recorded = 0
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

    def _open_bag(self) -> BagRecorder:
        """Begin the bag, and tell of earlier ones that were cut off."""
        bag = BagRecorder(self._folder / "bag")
        for path in bag.leftovers:
            self.get_logger().warning(
                f"{path} was cut off while it was recorded; make a complete bag of it with "
                f"`smotracker recover {path} --output DIR`, and delete {path.parent}"
            )
        self.create_timer(FLUSH_SECONDS, bag.flush, clock=self._steady)
        return self._stack.enter_context(bag)

    def _subscribe_to_images(self) -> None:
        """Subscribe to the images as their publisher offers them.

        Not before the results' publisher is known, so that a player who counts us may begin.
        """
        if self._image_subscription is None and not all(self._matched.values()):
            return
        reliable = wants_reliable("auto", True, publisher_offers(self, self.resolve_topic_name("image")))
        if self._image_subscription is not None:
            if reliable == self._reliable:
                return
            self.destroy_subscription(self._image_subscription)
        self._reliable = reliable
        self._image_subscription = self.create_subscription(
            Image, "image", self._take_image, subscription_profile(reliable, 100), raw=True
        )

    @property
    def finished(self) -> bool:
        """Whether the images' publisher has gone and nothing came for a while."""
        idle = self._options["idle_seconds"]
        if not idle or self._last_message is None or time.monotonic() - self._last_message < idle:
            return False
        return self.count_publishers(self.resolve_topic_name("image")) == 0

    def _store(self, topic: str, kind: Any, data: bytes) -> None:
        """Write a serialised message to the bag."""
        self._last_message = time.monotonic()
        if self._bag is not None:
            message_type = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            self._bag.write(self.resolve_topic_name(topic), message_type, self.get_clock().now().nanoseconds, data)

    def _take_result(self, topic: str, kind: Any, data: bytes) -> None:
        """Store a result; track states also go to the text and the video."""
        self._store(topic, kind, data)
        if kind is TrackArray:
            message = deserialize_message(data, TrackArray)
            self._states[to_nanoseconds(message.header.stamp)] = message
            self._join()

    def _take_image(self, data: bytes) -> None:
        """Keep an image until its tracks arrive."""
        if self._options["record_images"]:
            self._store("image", Image, data)
        self._last_message = time.monotonic()
        try:
            frame = to_frame(deserialize_message(data, Image), 0)
        except FrameError:
            return  # the tracker drops it, too
        self._images[frame.timestamp_ns] = frame
        self._join()

    def _join(self) -> None:
        """Write the frames whose image and tracks are both there, in order of time."""
        for stamp in sorted(self._images.keys() & self._states.keys()):
            image, message = self._images.pop(stamp), self._states.pop(stamp)
            frame = Frame(image.image, image.timestamp_ns, int(message.frame_index), image.frame_id)
            try:
                tracks = self._check(message, frame)
            except ValueError as error:
                self.get_logger().error(f"track states are left out: {error}", throttle_duration_sec=2.0)
                continue
            self._record(frame, tracks)
        for waiting in (self._images, self._states):
            while len(waiting) > MAX_WAITING:
                del waiting[next(iter(waiting))]

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

    def _record(self, frame: Frame, tracks: Tracks) -> None:
        """Write one frame's tracks to the text and the video."""
        self._text.write(frame, tracks)
        self.recorded += 1
        if not self._options["overlay"]:
            return
        self._held.append((frame, tracks))
        if self._video is None and (self._options["fps"] or len(self._held) > 1):
            self._open_video()
        if self._video is not None:
            for held_frame, held_tracks in self._held:
                self._video.write(held_frame, held_tracks)
            self._held.clear()

    def _open_video(self) -> None:
        """Open overlay.mp4, now that size and frame rate are known."""
        fps = self._options["fps"]
        if not fps:
            interval = self._held[1][0].timestamp_ns - self._held[0][0].timestamp_ns if len(self._held) > 1 else 0
            fps = min(max(NANOSECONDS / interval, 1.0), 240.0) if interval > 0 else 30.0
        first = self._held[0][0]
        self._video = self._stack.enter_context(
            OverlayWriter(self._folder / "overlay.mp4", fps, (first.height, first.width))
        )

    def finish(self) -> None:
        """Write what is still held."""
        if self._held:
            self._open_video()
            for frame, tracks in self._held:
                if self._video is not None:
                    self._video.write(frame, tracks)
            self._held.clear()


def main() -> int:
    """Record until the images end or until interrupted; returns the exit code, 1 if nothing was recorded."""

    def body(stack: ExitStack) -> int:
        node = None
        try:
            node = Recorder(stack)
            stack.callback(node.destroy_node)
            while not node.finished:
                rclpy.spin_once(node, timeout_sec=0.1)
        except INTERRUPTIONS as error:
            if rclpy.ok() and not isinstance(error, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is None or not node.recorded:
            # Passes through the sinks, which then leave no empty files.
            raise SinkError("no image with its tracks arrived; nothing is written")
        node.finish()
        print(f"recorded {node.recorded} frames", flush=True)
        return 0

    return run_process("recorder", body)
