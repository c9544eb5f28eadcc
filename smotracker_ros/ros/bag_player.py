"""Plays a video file, an image folder or a bag as real image messages."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection2DArray

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.io.bag_calibration import camera_infos
from smotracker_ros.io.bags import BagSource
from smotracker_ros.io.sources import open_source
from smotracker_ros.ros.images import NANOSECONDS, frame_to_image, to_nanoseconds, to_stamp
from smotracker_ros.ros.node_parameters import NodeParameter, TolerantParameters, declare, report_unused
from smotracker_ros.ros.process import run_process
from smotracker_ros.ros.qos import latched_profile, result_profile

PARAMETERS = (
    NodeParameter("source", "", "Video file, image folder or rosbag2 to play."),
    NodeParameter("topic", "", "Image topic of a bag; empty: the only one."),
    NodeParameter("rate", 1.0, "Speed as a multiple of the recorded one; 0: as fast as possible.", 0.0, 1000.0),
    NodeParameter("start_offset", 0.0, "Begin so many seconds after the first frame.", 0.0, 1e6),
    NodeParameter("frames", 0, "Number of frames to play; 0: all.", 0, 2**31),
    NodeParameter("loop", False, "Begin anew at the end, with time going on."),
    NodeParameter("clock", False, "Publish the images' time on /clock, for nodes with use_sim_time."),
    NodeParameter(
        "stamps",
        "auto",
        "Time stamps: the source's, or its times counted from now; auto: now for videos.",
        choices=("auto", "source", "now"),
    ),
    NodeParameter("frame_id", "", "Coordinate frame in the headers; empty: the source's own."),
    NodeParameter(
        "reliability",
        "reliable",
        "Delivery offered: reliable, or best effort like a camera driver.",
        choices=("reliable", "best_effort"),
    ),
    NodeParameter("subscribers", 1, "Wait for so many subscribers before the first image.", 0, 100),
    NodeParameter(
        "max_in_flight",
        0,
        "Hold images back while so many are unanswered on `tracks`, so that none is lost; 0: play by the clock alone.",
        0,
        1000,
    ),
    NodeParameter("patience", 120.0, "Give up after so many seconds without a subscriber or an answer.", 1.0, 86400.0),
)


class PlayError(RuntimeError):
    """Playing cannot go on; the message says why."""


class BagPlayer(TolerantParameters, Node):
    """Publishes `image` (and /clock), of a bag also `camera_info`; listens to `tracks` if `max_in_flight` is set.

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
        SourceError: if the source cannot be read.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("bag_player", **options)
        self._options = declare(self, PARAMETERS)
        report_unused(self)
        if not self._options["source"]:
            raise SettingsError("nothing to play; set the parameter source, for example -p source:=video.mp4")
        # a shell leaves the ~ of `source:=~/flight.mp4` as it is
        self._source = open_source(os.path.expanduser(self._options["source"]), self._options["topic"] or None)
        reliable = self._options["reliability"] == "reliable"
        profile = QoSProfile(
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            history=HistoryPolicy.KEEP_LAST,
            depth=50 if reliable else 5,
        )
        self._publisher = self.create_publisher(Image, "image", profile)
        self._clock_publisher = self.create_publisher(Clock, "/clock", 10) if self._options["clock"] else None
        self._calibrations = self._read_calibrations()
        self._next_calibration = next(self._calibrations, None)
        if self._next_calibration is not None:
            self._calibration_publisher = self.create_publisher(CameraInfo, "camera_info", latched_profile())
            self._publish_calibration(self._next_calibration[1])
        self._unanswered: list[int] = []
        if self._options["max_in_flight"]:
            self.create_subscription(Detection2DArray, "tracks", self._answered, result_profile(100))

    def _read_calibrations(self) -> Iterator[tuple[int, bytes]]:
        """The recorded `camera_info` beside the images, by time of recording; none of a source that is no bag."""
        if not isinstance(self._source, BagSource):
            return iter(())
        return camera_infos(self._source.path, self._source.topic)

    def _publish_calibration(self, data: bytes) -> None:
        """Publish a recorded `camera_info`, and read the next one."""
        self._calibration_publisher.publish(data)
        self._next_calibration = next(self._calibrations, None)

    def _calibrate(self, time_ns: int) -> None:
        """Publish what the camera had stated of itself by that time of the recording, if it is new."""
        while self._next_calibration is not None and self._next_calibration[0] <= time_ns:
            self._publish_calibration(self._next_calibration[1])

    def _answered(self, message: Detection2DArray) -> None:
        """Note that an image has been tracked, and with it all before: answers keep the images' order.

        An answer is lost if the tracker gives it before it knows of this node.
        """
        stamp = to_nanoseconds(message.header.stamp)
        if stamp in self._unanswered:
            del self._unanswered[: self._unanswered.index(stamp) + 1]

    def _spin_until(self, condition: Any, what: str) -> None:
        """Handle messages until a condition holds.

        Raises:
            PlayError: naming `what` was waited for, when patience ends.
        """
        deadline = time.monotonic() + self._options["patience"]
        while not condition():
            if time.monotonic() > deadline:
                raise PlayError(f"gave up waiting for {what} after {self._options['patience']:.0f} s")
            rclpy.spin_once(self, timeout_sec=0.02)

    def _frames(self) -> Iterator[Frame]:
        """The frames to publish, with their final time stamps."""
        offset: int | None = None
        number = 0
        limit = self._options["frames"]
        begin: int | None = None
        while True:
            last = 0
            for frame in self._source:
                begin = frame.timestamp_ns if begin is None else begin
                if frame.timestamp_ns - begin < self._options["start_offset"] * NANOSECONDS:
                    continue
                if offset is None:
                    from_now = self._options["stamps"] == "now" or (
                        # Videos count from 0, bags from 1970: the latter are worth keeping.
                        self._options["stamps"] == "auto" and frame.timestamp_ns < 10**9 * NANOSECONDS
                    )
                    offset = time.time_ns() - frame.timestamp_ns if from_now else 0
                    first = frame.timestamp_ns
                last = frame.timestamp_ns
                self._calibrate(last)
                frame_id = self._options["frame_id"] or frame.frame_id or "camera"
                yield Frame(frame.image, frame.timestamp_ns + offset, number, frame_id)
                number += 1
                if limit and number >= limit:
                    return
            if offset is None:
                raise PlayError(
                    f"{self._source.name} ends before {self._options['start_offset']:g} s; lower start_offset"
                )
            if not self._options["loop"]:
                return
            offset += last - first + round(NANOSECONDS / self._source.fps)

    def play(self) -> int:
        """Publish all frames; returns their number.

        Raises:
            PlayError: if no subscriber comes, or answers stay away.
        """
        subscribers, in_flight = self._options["subscribers"], self._options["max_in_flight"]
        self._spin_until(
            lambda: self._publisher.get_subscription_count() >= subscribers,
            f"{subscribers} subscriber(s) of {self._publisher.topic_name}",
        )
        if in_flight:
            self._spin_until(
                lambda: self.count_publishers(self.resolve_topic_name("tracks")) > 0, "a publisher of `tracks`"
            )
        self.get_logger().info(f"playing {self._source.name}: {self._source.length or 'unknown number of'} frames")
        rate = self._options["rate"]
        start, first, number = time.monotonic(), 0, 0
        for frame in self._frames():
            if in_flight:
                self._spin_until(lambda: len(self._unanswered) < in_flight, "the tracker's answer")
            first = first or frame.timestamp_ns
            due = start + (frame.timestamp_ns - first) / NANOSECONDS / rate if rate else 0.0
            while (remaining := due - time.monotonic()) > 0:
                rclpy.spin_once(self, timeout_sec=remaining)
            if self._clock_publisher is not None:
                self._clock_publisher.publish(Clock(clock=to_stamp(frame.timestamp_ns)))
            self._unanswered.append(frame.timestamp_ns)
            self._publisher.publish(frame_to_image(frame))
            if not in_flight:
                self._unanswered.clear()
                rclpy.spin_once(self, timeout_sec=0)
            number += 1
        self._spin_until(lambda: not self._unanswered, "the tracker's last answers")
        if self._options["reliability"] == "reliable":
            self._publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=5))
        self.get_logger().info(f"played {number} frames in {time.monotonic() - start:.1f} s")
        return number


def main() -> int:
    """Play until the end or until interrupted; returns the exit code."""

    def body(stack: ExitStack) -> int:
        node = BagPlayer()
        stack.callback(node.destroy_node)
        try:
            return 0 if node.play() else 1
        except PlayError as error:
            node.get_logger().fatal(str(error))
            return 1

    return run_process("bag_player", body)
