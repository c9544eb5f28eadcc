"""The tracker as a ROS 2 lifecycle node: images in, detections with ids, masks and track states out."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from smotracker_ros.frames import Frame, FrameError
from smotracker_ros.msg import TrackArray
from smotracker_ros.presets import PRESETS, build_tracker
from smotracker_ros.ros.conversions import to_detections, to_label_message, to_track_array
from smotracker_ros.ros.diagnostics import Health
from smotracker_ros.ros.frame_queue import FrameQueue
from smotracker_ros.ros.images import NANOSECONDS, to_frame, to_image
from smotracker_ros.ros.parameters import NodeParameter, changed_settings, declare, declare_settings
from smotracker_ros.ros.process import run_process
from smotracker_ros.ros.qos import (
    IMAGE_TYPES,
    explain_silence,
    image_topics,
    publisher_offers,
    result_profile,
    subscription_profile,
    wants_reliable,
)
from smotracker_ros.settings import SettingsError
from smotracker_ros.tracker import SmoTracker
from smotracker_ros.tracks import Tracks
from smotracker_ros.video.overlay import Trails, draw_overlay

EVERY_FRAME_DEPTH = 300
"""Frames that wait by default where every frame is to be tracked: 0.8 GB at 1280x720."""

PARAMETERS = (
    NodeParameter("preset", "y-smotracker", "Named set-up: defaults of the other parameters.", choices=tuple(PRESETS)),
    NodeParameter("autostart", True, "Configure and activate without being asked by a lifecycle manager."),
    NodeParameter(
        "image_transport",
        "raw",
        "Type of the topic `image`: sensor_msgs/Image or CompressedImage.",
        choices=("raw", "compressed"),
    ),
    NodeParameter(
        "reliability",
        "auto",
        "Delivery asked for images; auto: as the publisher offers.",
        choices=("auto", "best_effort", "reliable"),
    ),
    NodeParameter(
        "on_overload",
        "latest",
        "When images come too fast: skip to the latest, or queue every one.",
        choices=("latest", "every_frame"),
    ),
    NodeParameter(
        "queue_depth", 0, "Images that may wait; 0: 1 for `latest`, 300 for `every_frame`.", minimum=0, maximum=10000
    ),
    NodeParameter("publish_masks", True, "Publish the label image on `masks` while someone subscribes.", dynamic=True),
    NodeParameter(
        "silence_seconds",
        5.0,
        "Warn, with the reason, when no image has arrived for this long.",
        minimum=0.5,
        maximum=3600.0,
        dynamic=True,
    ),
)


class TrackerNode(LifecycleNode):
    """See the package's README for topics; parameters describe themselves (`ros2 param describe`).

    Images are only received in the executor's thread; decoding, tracking and publishing happen in a thread of its own,
    so that services and parameters answer while a frame is being tracked.

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("smotracker", **options)
        self._options = declare(self, PARAMETERS)
        self._settings = declare_settings(self, self._options["preset"])
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._take_parameters)
        self._health = Health(self.get_fully_qualified_name())
        self._tracker: SmoTracker | None = None
        self._tracker_lock = threading.Lock()
        self._settings_changed = False
        self._trails = Trails()
        self._queue: FrameQueue[tuple[Image | CompressedImage, float]] | None = None
        self._worker: threading.Thread | None = None
        self._image_subscription: Any = None
        self._reliable = False
        self._last_arrival = 0.0
        self._last_warning = 0.0
        self._index = 0
        self._last_timestamp: int | None = None
        self._last_size: tuple[int, int] | None = None
        self._timers: list[Any] = []
        self._reset_service = self.create_service(Trigger, "~/reset", self._reset)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return bool(self._options["autostart"])

    # Life cycle -------------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the models and create the publishers."""
        started = time.monotonic()
        try:
            self._tracker = build_tracker(self._settings)
        except (SettingsError, OSError, ValueError, RuntimeError) as error:
            self.get_logger().error(f"the tracker cannot be set up: {error}")
            return TransitionCallbackReturn.FAILURE
        profile = result_profile()
        self._tracks_publisher = self.create_lifecycle_publisher(Detection2DArray, "tracks", profile)
        self._masks_publisher = self.create_lifecycle_publisher(Image, "masks", profile)
        self._states_publisher = self.create_lifecycle_publisher(TrackArray, "track_states", profile)
        self._overlay_publisher = self.create_lifecycle_publisher(Image, "overlay", profile)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        models = ", ".join(f"{name} {checksum}" for name, checksum in self._tracker.models.items())
        self.get_logger().info(f"configured in {time.monotonic() - started:.1f} s with {models}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to receive and track images."""
        latest = self._options["on_overload"] == "latest"
        depth = self._options["queue_depth"] or (1 if latest else EVERY_FRAME_DEPTH)
        self._queue = FrameQueue(depth, keep_newest=latest)
        self._worker = threading.Thread(target=self._work, args=(self._queue,), name="tracker", daemon=True)
        self._worker.start()
        self._last_arrival = time.monotonic()
        self._subscribe()
        self._timers = [self.create_timer(1.0, self._publish_diagnostics), self.create_timer(1.0, self._watch)]
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving; tracks and models are kept."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget tracks and models."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and forget everything."""
        self._stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to the unconfigured state."""
        return self.on_shutdown(state)

    def _stop(self) -> None:
        """End the worker, the subscription and the timers; may be called twice."""
        for timer in self._timers:
            self.destroy_timer(timer)
        self._timers = []
        if self._image_subscription is not None:
            self.destroy_subscription(self._image_subscription)
            self._image_subscription = None
        if self._queue is not None:
            self._queue.close()
        if self._worker is not None:
            self._worker.join()
        self._queue, self._worker = None, None

    def _release(self) -> None:
        """Drop tracker and publishers; may be called twice."""
        if self._tracker is None:
            return
        for name in ("tracks", "masks", "states", "overlay"):
            self.destroy_lifecycle_publisher(getattr(self, f"_{name}_publisher"))
        self.destroy_publisher(self._diagnostics_publisher)
        self._tracker = None
        self._index, self._last_timestamp, self._last_size = 0, None, None

    def close(self) -> None:
        """Stop all threads and destroy the node."""
        self._stop()
        self.destroy_node()

    # Images in --------------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        """(Re)create the image subscription with the quality of service that fits the publishers."""
        if self._image_subscription is not None:
            self.destroy_subscription(self._image_subscription)
        compressed = self._options["image_transport"] == "compressed"
        every_frame = self._options["on_overload"] == "every_frame"
        self._reliable = wants_reliable(
            self._options["reliability"], every_frame, publisher_offers(self, self.resolve_topic_name("image"))
        )
        self._image_subscription = self.create_subscription(
            CompressedImage if compressed else Image,
            "image",
            self._receive,
            subscription_profile(self._reliable, 50 if every_frame else 2),
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=lambda event: self._health.dropped("lost", event.total_count_change),
                # The watch explains an incompatible publisher in words; this replaces rclpy's own warning.
                incompatible_qos=lambda event: None,
            ),
        )

    def _receive(self, message: Image | CompressedImage) -> None:
        """Hand an image over to the worker."""
        self._last_arrival = time.monotonic()
        self._health.received()
        queue = self._queue
        if queue is not None and queue.put((message, self._last_arrival)):
            self._health.dropped("overload")
            if self._options["on_overload"] == "every_frame":
                self.get_logger().error(
                    "the queue is full, an image is dropped; raise queue_depth or play more slowly",
                    throttle_duration_sec=5.0,
                )

    def _watch(self) -> None:
        """Follow the publishers' quality of service, and say why when nothing arrives."""
        topic = self.resolve_topic_name("image")
        offers = publisher_offers(self, topic)
        every_frame = self._options["on_overload"] == "every_frame"
        if offers and wants_reliable(self._options["reliability"], every_frame, offers) != self._reliable:
            self._subscribe()
        now = time.monotonic()
        silence = self.get_parameter("silence_seconds").value
        if now - self._last_arrival < silence or now - self._last_warning < 2 * silence:
            return
        self._last_warning = now
        message_type = IMAGE_TYPES[self._options["image_transport"]]
        text = explain_silence(topic, message_type, self._reliable, offers, image_topics(self, topic))
        self._health.problem(text)
        self.get_logger().warning(text)

    # Tracking (the worker's thread) -----------------------------------------------------------------------------------

    def _work(self, queue: FrameQueue[tuple[Image | CompressedImage, float]]) -> None:
        """Track one image after the other until the queue is closed."""
        while (item := queue.get()) is not None:
            message, arrival = item
            try:
                with self._tracker_lock:
                    result = self._track(message)
                if result is not None:
                    self._publish(message, *result)
                    self._health.processed(result[1], time.monotonic() - arrival)
            except FrameError as error:
                self._refuse("bad image", f"an image is dropped: {error}")
            except Exception as error:
                if not self.context.ok():
                    return
                self._refuse("bad image", f"tracking failed on an image: {type(error).__name__}: {error}")

    def _refuse(self, reason: str, text: str) -> None:
        """Count an image that is not tracked and log why, not more than once in two seconds."""
        self._health.dropped(reason)
        self._health.problem(text)
        self.get_logger().error(text, throttle_duration_sec=2.0)

    def _track(self, message: Image | CompressedImage) -> tuple[Frame, Tracks] | None:
        """Decode and track; None if the image is out of order.

        Raises:
            FrameError: if the message cannot be used.
        """
        tracker = self._tracker
        if tracker is None:
            return None
        if self._settings_changed:
            self._settings_changed = False
            tracker.settings = self._settings
        frame = to_frame(message, self._index)
        if frame.timestamp_ns == 0:
            self.get_logger().warning("images carry no time stamp; the time of arrival is taken instead", once=True)
            frame = Frame(frame.image, self.get_clock().now().nanoseconds, frame.index, frame.frame_id)
        previous, size = self._last_timestamp, (frame.height, frame.width)
        if previous is not None and previous - NANOSECONDS <= frame.timestamp_ns <= previous:
            self._refuse("out of order", "an image is dropped: its time stamp is not later than the previous one's")
            return None
        if previous is not None and (frame.timestamp_ns < previous or size != self._last_size):
            self.get_logger().warning("time jumped back or the image size changed: all tracks are forgotten")
            self._forget()
            frame = Frame(frame.image, frame.timestamp_ns, 0, frame.frame_id)
        tracks = tracker.update(frame)
        self._last_timestamp, self._last_size = frame.timestamp_ns, size
        self._index += 1
        return frame, tracks

    def _forget(self) -> None:
        """Forget all tracks; the tracker's lock must be held."""
        if self._tracker is not None:
            self._tracker.reset()
        self._index, self._last_timestamp = 0, None

    def _publish(self, message: Image | CompressedImage, frame: Frame, tracks: Tracks) -> None:
        """Publish the results, each with the header of the source image."""
        header = message.header
        if self.get_parameter("publish_masks").value and self._masks_publisher.get_subscription_count():
            self._masks_publisher.publish(to_label_message(tracks, header))
        self._trails.update(tracks)
        if self._overlay_publisher.get_subscription_count():
            self._overlay_publisher.publish(to_image(draw_overlay(frame, tracks, self._trails), header, "rgb8"))
        self._states_publisher.publish(to_track_array(tracks, header))
        # Last, so that whoever waits for `tracks` knows that everything of this image has been sent.
        self._tracks_publisher.publish(to_detections(tracks, header))

    # Services, parameters, diagnostics --------------------------------------------------------------------------------

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Forget all tracks; ids go on."""
        with self._tracker_lock:
            response.success = self._tracker is not None
            self._forget()
        response.message = "all tracks are forgotten" if response.success else "the node is not configured"
        return response

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse values that are not allowed."""
        try:
            changed_settings(self._settings, parameters)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take_parameters(self, parameters: list[Parameter]) -> None:
        """Let accepted values take effect with the next frame."""
        self._settings = changed_settings(self._settings, parameters)
        self._settings_changed = True

    def _publish_diagnostics(self) -> None:
        """Publish the node's health."""
        tracker, queue = self._tracker, self._queue
        if tracker is not None and queue is not None:
            stamp = self.get_clock().now().to_msg()
            facts = {"memory of masklets [MiB]": f"{tracker.memory_bytes / 2**20:.2f}", **tracker.models}
            self._diagnostics_publisher.publish(self._health.message(stamp, len(queue), facts))


def main() -> int:
    """Run the node until it is interrupted; returns the exit code."""

    def body(stack: ExitStack) -> int:
        node = TrackerNode()
        stack.callback(node.close)
        if node.autostart:
            started = node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            if not started or node.trigger_activate() != TransitionCallbackReturn.SUCCESS:
                return 1
        rclpy.spin(node)
        return 0

    return run_process("smotracker", body)
