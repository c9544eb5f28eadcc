"""The tracker as a ROS 2 lifecycle node: images in, detections with ids, masks and track states out."""

from __future__ import annotations

import socket
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from smotracker_ros.core.frames import Frame, FrameError
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.presets import build_tracker
from smotracker_ros.ros.diagnostics import Health, Limits, tracker_facts, watch_clock
from smotracker_ros.ros.failures import Failures, trace_of
from smotracker_ros.ros.frame_queue import FrameQueue
from smotracker_ros.ros.identities import Identities
from smotracker_ros.ros.image_stream import ImageStream, OutOfOrderError
from smotracker_ros.ros.images import NANOSECONDS, read_image, to_header, to_nanoseconds
from smotracker_ros.ros.inputs import CalibrationInbox, CueInbox, Input, explain_inputs
from smotracker_ros.ros.node_parameters import TolerantParameters, declare, report_unused
from smotracker_ros.ros.outputs import Outputs
from smotracker_ros.ros.pace import Pace
from smotracker_ros.ros.parameters import (
    PARAMETERS,
    changed_settings,
    check_changes,
    declare_settings,
    preset_changes,
    setting_parameters,
)
from smotracker_ros.ros.space_cues import SpaceCues
from smotracker_ros.ros.worker import PATIENCE, TrackerAccess, Worker
from smotracker_ros.tracking.tracker import SmoTracker

EVERY_FRAME_DEPTH = 300
"""Frames that wait by default where every frame is to be tracked: 0.8 GB at 1280x720."""


class TrackerNode(TolerantParameters, LifecycleNode):
    """See the package's README for topics; parameters describe themselves (`ros2 param describe`).

    Images are only received in the executor's thread; decoding, tracking and publishing happen in a thread of its own,
    so that services and parameters answer while a frame is being tracked.

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("smotracker", **options)
        self._preset = declare(self, PARAMETERS, has_lifecycle=True)["preset"]
        self._settings = declare_settings(self, self._preset)
        report_unused(self)
        self._known = {item.name: item for item in (*PARAMETERS, *setting_parameters(self._settings))}
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._take_parameters)
        self._health = Health(self.get_fully_qualified_name())
        self._identities = Identities(None)
        self._access = TrackerAccess()
        self._settings_changed, self._masklet_bytes = False, 0
        self._pace: Pace | None = None
        self._stream = ImageStream()
        self._calibration = CalibrationInbox(self.get_logger().warning, self.resolve_topic_name("image"))
        self._cues, self._space = CueInbox(), SpaceCues(self)
        self._queue: FrameQueue[tuple[bytes, float, int]] | None = None
        self._worker: Worker[tuple[bytes, float, int]] | None = None
        self._inputs: list[Input] = []
        self._last_arrival = self._last_warning = 0.0
        self._told: list[str] = []
        self._own_timers: list[Any] = []
        # ROS time may stand still, and that is worth a word, too.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._clock_watch = watch_clock(self, self._health)
        self.failures = Failures(self, self._publish_diagnostics)
        self._reset_service = self.create_service(Trigger, "~/reset", self._reset)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return bool(self._value("autostart"))

    def _value(self, name: str) -> Any:
        """The value of one of the node's own parameters."""
        return self.get_parameter(name).value

    # Life cycle -------------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the models and create the publishers."""
        started = time.monotonic()
        try:
            preset = self._value("preset")
            if changes := preset_changes(self._settings, self._preset, preset):
                self.set_parameters(changes)
            self._preset = preset
            self._identities = self._identities.of_run(self._value("run_id"), self.get_fully_qualified_name())
            self._space.configure()
            tracker = build_tracker(self._settings)
        except (SettingsError, OSError, ValueError, RuntimeError) as error:
            self.get_logger().error(f"the tracker cannot be set up: {error}")
            return TransitionCallbackReturn.FAILURE
        tracker.next_id = self._identities.next_id
        self._access.replace(tracker)
        self._withdraw_diagnostics()
        self.failures.clear()
        self._health.hardware = f"{socket.gethostname()} {tracker.device}"
        self._outputs = Outputs(self)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._own_timers = [self.create_timer(1.0, self._publish_diagnostics, clock=self._steady)]
        models = ", ".join(f"{name} {checksum}" for name, checksum in tracker.models.items())
        self.get_logger().info(f"configured in {time.monotonic() - started:.1f} s with {models}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to receive and track images."""
        if self._worker is not None and not self._worker.stop(PATIENCE):
            self.get_logger().error("the last image before is still being tracked; activate the node again later")
            return TransitionCallbackReturn.FAILURE
        answer = super().on_activate(state)
        every_frame = self._value("on_overload") == "every_frame"
        depth = self._value("queue_depth") or (EVERY_FRAME_DEPTH if every_frame else 1)
        self._queue = FrameQueue(depth, keep_newest=not every_frame)
        self._pace = None if every_frame else Pace()
        self._worker = Worker(self._queue, self._work)
        self._last_arrival = time.monotonic()
        self._kind = CompressedImage if self._value("image_transport") == "compressed" else Image
        self._inputs = [
            Input(
                self,
                self._kind,
                "image",
                self._receive,
                depth if every_frame else 2,
                self._value("reliability"),
                prefer_reliable=every_frame,
                lost=lambda number: self._health.dropped("lost", number),
                raw=True,
                transport=self._value("image_transport"),
            ),
            Input(self, CameraInfo, "camera_info", self._calibrate, 100, latched=True),
            Input(self, Detection2DArray, "cues", self._take_cues, 100),
            *self._space.inputs(),
        ]
        self._own_timers.append(self.create_timer(1.0, self._watch, clock=self._steady))
        if self._access.tracker is not None:
            self._outputs.announce(self._access.tracker, self._settings.detector_confidence)
        return answer

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving; tracks and models are kept. After a failure that lasts this is an error."""
        self._stop(PATIENCE)
        return TransitionCallbackReturn.ERROR if self.failures.verdict else super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget tracks and models."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and forget everything."""
        self._stop(PATIENCE)
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to the unconfigured state; after a failure that lasts the diagnostics go on to say why."""
        self.get_logger().error(self.failures.verdict or "a transition failed; the node is unconfigured now")
        return self.on_shutdown(state)

    def _stop(self, patience: float) -> None:
        """End the worker, waiting so many seconds at most, the subscriptions and the watch; may be called twice."""
        for timer in self._own_timers[1:]:
            self.destroy_timer(timer)
        del self._own_timers[1:]
        for item in self._inputs:
            item.close()
        self._inputs = []
        if self._worker is not None and self._worker.stop(patience):
            self._worker = None
        elif self._queue is not None:
            self.get_logger().warning("an image is still being tracked; its results will be dropped")
        self._queue = None
        self._cues.take_all()
        self._space.clear()

    def _release(self) -> None:
        """Drop tracker and publishers; may be called twice."""
        if self._access.tracker is None:
            return
        self._outputs.close()
        if not self.failures.verdict:
            self._withdraw_diagnostics()
        self._access.replace(None)
        self._stream.restart()
        self._calibration.clear()
        self._space.close()

    def _withdraw_diagnostics(self) -> None:
        """End the diagnostics; may be called twice."""
        for timer in self._own_timers:
            self.destroy_timer(timer)
        if self._own_timers:
            self.destroy_publisher(self._diagnostics_publisher)
        self._own_timers = []

    def close(self) -> None:
        """Stop all threads and destroy the node; an image that takes too long ends with the process."""
        self._stop(PATIENCE)
        try:
            self._identities.close()
        except OSError as error:
            self.get_logger().error(f"the next id is not written: {error}")
        self.destroy_node()

    # Messages in (the executor's thread) ------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """Hand an image over to the worker."""
        self._last_arrival = time.monotonic()
        self._health.received()
        if self._pace is not None:
            self._pace.arrived(self._last_arrival)
        queue = self._queue
        if queue is not None and queue.put((data, self._last_arrival, self.get_clock().now().nanoseconds)):
            self._health.dropped("overload")
            if self._value("on_overload") == "every_frame":
                self.get_logger().error(
                    "the queue is full, an image is dropped; raise queue_depth or play more slowly",
                    throttle_duration_sec=5.0,
                )

    def _calibrate(self, message: CameraInfo) -> None:
        """Take the camera's calibration."""
        self._calibration.put(message, self._value("rectified"))

    def _take_cues(self, message: Detection2DArray) -> None:
        """Keep cues for the next image."""
        if self._access.tracker is not None:
            self._cues.put(message, self._access.tracker.class_names)

    def _watch(self) -> None:
        """Follow the publishers' quality of service, and say why when nothing arrives."""
        self._space.watch()
        now, silence = time.monotonic(), self._value("silence_seconds")
        found = explain_inputs(self, self._inputs, now - self._last_arrival >= silence)
        if self._value("use_sim_time") and not self.get_clock().now().nanoseconds:
            found.append("use_sim_time is set, but nobody publishes /clock")
        if found == self._told and now - self._last_warning < 2 * silence:
            return
        self._last_warning, self._told = now, found
        for text in found:
            self._health.problem(text)
            self.get_logger().warning(text)

    # Tracking (the worker's thread) -----------------------------------------------------------------------------------

    def _work(self, item: tuple[bytes, float, int]) -> bool:
        """Track one image; returns whether to go on."""
        data, arrival, arrival_ns = item
        started = time.monotonic()
        try:
            message = read_image(data, self._kind)
            with self._access.use(self._stream.restart) as tracker:
                result = None if tracker is None else self._track(tracker, message, arrival_ns)
            if result is None or self._is_abandoned():
                self._health.dropped("abandoned")
                return False
            self.failures.worked()
            header = to_header(message.header)
            options = (self._value("publish_masks"), self._value("class_id"))
            self._outputs.publish(header, *result, self._calibration.current, *options)
            now, stamp = self.get_clock().now().nanoseconds, to_nanoseconds(header.stamp)
            latency = (now - stamp) / NANOSECONDS if stamp else None
            self._health.processed(result[1], time.monotonic() - arrival, latency)
            if self._access.tracker is not None:
                self._keep_pace(self._access.tracker, time.monotonic() - started)
        except OutOfOrderError as error:
            self._refuse("out of order", f"an image is dropped: {error}")
        except FrameError as error:
            self._refuse("bad image", f"an image is dropped: {error}")
        except Exception as error:
            if not self.context.ok() or self._is_abandoned():
                return False
            self._refuse("failure", self.failures.add(error), trace_of(error))
        return not self.failures.verdict

    def _keep_pace(self, tracker: SmoTracker, seconds: float) -> None:
        """Look at fewer targets on the next frame if this one has taken too long."""
        looks, waited = tracker.looks.newest
        self._health.looked(looks, waited)
        most = self._value("max_looks")
        if most == 0 and self._pace is not None:
            most = self._pace.tracked(seconds, looks, looks + waited)
        tracker.looks.most = most

    def _is_abandoned(self) -> bool:
        """Whether nobody waits for the image in work."""
        return self._worker is not None and self._worker.abandoned

    def _refuse(self, reason: str, text: str, trace: str = "") -> None:
        """Count an image that is not tracked and log why, not more than once in two seconds."""
        self._health.dropped(reason)
        self._health.problem(text)
        self.get_logger().error(f"{text}\n{trace}".rstrip(), throttle_duration_sec=2.0)

    def _track(self, tracker: SmoTracker, message: Image | CompressedImage, arrival_ns: int) -> tuple[Frame, Tracks]:
        """Decode and track.

        Args:
            tracker: of the node.
            message: the image.
            arrival_ns: ROS time of its arrival, its time if it states none.

        Raises:
            FrameError: if the message cannot be used.
        """
        if self._settings_changed:
            self._settings_changed = False
            tracker.settings = self._settings
            self._outputs.announce(tracker, self._settings.detector_confidence)
        frame, anew = self._stream.take(message, arrival_ns)
        if anew:
            text = "time jumped back or the image size changed: all tracks are forgotten"
            self.get_logger().warning(text, throttle_duration_sec=2.0)
            self._health.forget_latencies()
            tracker.reset()
        # Pictures of the past are kept only where somebody may send a cue that comes late.
        cued = self.count_publishers(self.resolve_topic_name("cues")) > 0
        tracker.cues.history_seconds = self._value("cue_seconds") if cued else 0.0
        calibration = self._calibration.current
        hints = self._space.take_all(frame, calibration, tracker.gates)
        known_shift = self._space.known_shift(frame, calibration, tracker.last_timestamp_ns)
        tracks = tracker.update(frame, self._cues.take_all(), hints, known_shift)
        self._masklet_bytes = tracker.memory_bytes
        try:
            self._identities.cover(tracker.next_id)
        except OSError as error:
            text = f"ids are not kept for a restart: {error}"
            self._health.problem(text)
            self.get_logger().error(text, throttle_duration_sec=10.0)
        return frame, tracks

    # Services, parameters, diagnostics --------------------------------------------------------------------------------

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Forget all tracks; ids go on."""
        response.success = self._access.tracker is not None
        if not response.success:
            response.message = "the node is not configured"
        elif self._access.reset(self._stream.restart):
            response.message = "all tracks are forgotten"
        else:
            response.message = "all tracks will be forgotten as soon as the image in work is done"
        return response

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse values that are not allowed, or not now."""
        try:
            check_changes(self._known, parameters, configured=self._access.tracker is not None)
            changed_settings(self._settings, parameters)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take_parameters(self, parameters: list[Parameter]) -> None:
        """Let accepted values take effect with the next frame."""
        self._settings = changed_settings(self._settings, parameters)
        self._settings_changed = True
        if any(parameter.name == "rectified" for parameter in parameters):
            self._calibration.read_again(self._value("rectified"))

    def _publish_diagnostics(self) -> None:
        """Publish the node's health."""
        tracker, queue, verdict = self._access.tracker, self._queue, self.failures.verdict
        if not self._own_timers:
            return
        names = ("warn_latency", "error_latency", "warn_drops", "error_drops", "silence_seconds")
        limits = Limits(*(self._value(name) for name in names))
        facts = {
            "memory of masklets [MiB]": f"{self._masklet_bytes / 2**20:.2f}",
            "camera_info refused": self._calibration.refused,
            "calibrated": self._calibration.current is not None,
            "preset": self._preset,
            **(tracker_facts(tracker, self._cues.refused) if tracker is not None else {}),
            **(self._space.facts(tracker.gates) if tracker is not None else {}),
        }
        stamp, active = self.get_clock().now().to_msg(), queue is not None
        self._diagnostics_publisher.publish(
            self._health.message(stamp, limits, len(queue) if queue is not None else 0, facts, active, verdict)
        )
