"""Follow as a ROS 2 lifecycle node: a camera's tracks in, where to point out."""

from __future__ import annotations

import socket
import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Vector3Stamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Header, UInt32

from smotracker_ros.core.notices import Trouble
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.msg import Track, TrackArray
from smotracker_ros.ros.follow_parameters import PARAMETERS, follow_settings, head_limits
from smotracker_ros.ros.images import NANOSECONDS, to_nanoseconds, to_stamp
from smotracker_ros.ros.inputs import Input
from smotracker_ros.ros.node_parameters import TolerantParameters, declare, report_unused
from smotracker_ros.ros.parameters import check_changes
from smotracker_ros.ros.poses import TfPoses
from smotracker_ros.ros.qos import result_profile
from smotracker_ros.space.extrinsics import ExtrinsicsError, read_extrinsics
from smotracker_ros.space.follow import Candidate, Follower
from smotracker_ros.space.frame_poses import FilePoses, Poses
from smotracker_ros.space.pan_tilt import Commander, angle_rates, angles_of
from smotracker_ros.space.poses import PoseError
from smotracker_ros.srv import ChooseTarget

# Stamps that go back by more are of a stream that begins anew
_JUMP_NS = NANOSECONDS
# After so long without commands the head may have been turned by somebody else
_IDLE_SECONDS = 1.0
# Commands are led by no more than this behind the last image, seconds
_OLDEST_IMAGE = 10.0


class FollowNode(TolerantParameters, LifecycleNode):
    """See docs/follow.md for topics; parameters describe themselves (`ros2 param describe`).

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("follow", **options)
        declare(self, PARAMETERS, has_lifecycle=True)
        report_unused(self)
        self._known = {item.name: item for item in PARAMETERS}
        self._follower: Follower | None = None
        self._commander: Commander | None = None
        self._poses: Poses | None = None
        self._input: Input | None = None

        self._own_timers: list[Any] = []
        self._last_stamp = 0
        self._last_tick: int | None = None
        self._last_arrival = self._last_command = 0.0
        self._axis: np.ndarray | None = None
        self._counts = {"messages received": 0, "messages not usable": 0, "commands": 0}
        logger = self.get_logger()
        self._trouble = Trouble(logger.warning, logger.info, "tracks can be followed again")
        self._silence = Trouble(logger.warning, logger.info, "tracks arrive again")
        self._problem = ""
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._take_parameters)
        self._choose_service = self.create_service(ChooseTarget, "~/choose", self._choose)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return bool(self._value("autostart"))

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    # Life cycle -------------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check what is given, and create the publishers."""
        try:
            limits = head_limits(self._value)
            file = self._value("extrinsics")
            self._poses = FilePoses(read_extrinsics(file)) if file else TfPoses(self, self._value("base_frame"))
        except (SettingsError, ExtrinsicsError) as error:
            self.get_logger().error(f"following cannot be set up: {error}")
            return TransitionCallbackReturn.FAILURE
        self._follower, self._commander = Follower(follow_settings(self._value)), Commander(limits)
        self._direction = self.create_lifecycle_publisher(Vector3Stamped, "point_at", result_profile())
        self._joints = self.create_lifecycle_publisher(JointState, "joint_command", result_profile())
        self._followed = self.create_lifecycle_publisher(UInt32, "followed", result_profile())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._own_timers = [self.create_timer(1.0, self._publish_diagnostics, clock=self._steady)]
        self.get_logger().info(f"configured; angles are in the frame {self._value('base_frame')}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to receive tracks and to send commands."""
        answer = super().on_activate(state)
        self._last_arrival = time.monotonic()
        self._input = Input(self, TrackArray, "track_states", self._take, 100)
        self._own_timers += [
            self.create_timer(1.0, self._watch, clock=self._steady),
            self.create_timer(1 / self._value("command_rate"), self._command),
        ]
        return answer

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop; whom the camera follows is forgotten."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget everything."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and forget everything."""
        self._stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to the unconfigured state."""
        self.get_logger().error("a transition failed; the node is unconfigured now")
        return self.on_shutdown(state)

    def _stop(self) -> None:
        for timer in self._own_timers[1:]:
            self.destroy_timer(timer)
        del self._own_timers[1:]
        if self._input is not None:
            self._input.close()
        self._input = None
        if self._follower is not None:
            self._follower.reset()
        self._last_tick = None

    def _release(self) -> None:
        if self._follower is None:
            return
        for timer in self._own_timers:
            self.destroy_timer(timer)
        self._own_timers = []
        for publisher in (self._direction, self._joints, self._followed):
            self.destroy_lifecycle_publisher(publisher)
        self.destroy_publisher(self._diagnostics)
        if self._poses is not None:
            self._poses.close()
        self._follower = self._commander = self._poses = None

    def close(self) -> None:
        """Stop and destroy the node."""
        self._stop()
        self.destroy_node()

    # Tracks in, commands out ------------------------------------------------------------------------------------------

    def _take(self, message: TrackArray) -> None:
        """Take the tracks of an image; whatever it may hold, the stream goes on."""
        follower, stamp = self._follower, to_nanoseconds(message.header.stamp)
        self._last_arrival = time.monotonic()
        self._counts["messages received"] += 1
        if follower is None or self._poses is None:
            return
        if stamp < self._last_stamp - _JUMP_NS:
            self.get_logger().warning("time jumped back: whom the camera follows is forgotten")
            follower.reset()
        try:
            if not stamp:
                raise PoseError("the tracks have no time stamp: images must state when they were taken")
            camera = self._poses.source(message.header.frame_id).at(stamp)
            candidates = [to_candidate(track) for track in message.tracks]
            if candidates and not any(item.bearing.any() for item in candidates):
                raise PoseError("the tracks have no bearings: the tracker needs the camera's camera_info")
            before = follower.chosen
            follower.update(stamp, candidates, camera)
        except (PoseError, ValueError) as error:
            self._counts["messages not usable"] += 1
            self._problem = str(error)
            self._trouble.tell(f"tracks cannot be followed: {error}")
            return
        self._trouble.tell(None)
        self._last_stamp, self._axis = stamp, camera.directions_to_world([0.0, 0.0, 1.0])[0]
        if follower.chosen != before:
            text = f"following track {follower.chosen}" if follower.chosen else "the target is given up"
            self.get_logger().info(text)
        self._followed.publish(UInt32(data=follower.chosen))

    def _command(self) -> None:
        """Say where to point, once per turn."""
        follower, commander, now = self._follower, self._commander, self.get_clock().now().nanoseconds
        before, self._last_tick = self._last_tick, now
        if follower is None or commander is None or before is None or self._axis is None:
            return
        seconds = (now - before) / NANOSECONDS
        if not 0 < seconds <= _IDLE_SECONDS:
            return  # the clock has jumped, or stands still
        valid = now + round(self._value("lead_seconds") * NANOSECONDS)
        # where clocks differ, images seem to be of the future or of long ago
        valid = int(np.clip(valid, self._last_stamp, self._last_stamp + round(_OLDEST_IMAGE * NANOSECONDS)))
        aim = follower.at(valid)
        if aim is None and not commander.rates.any():
            return
        if time.monotonic() - self._last_command > _IDLE_SECONDS:
            commander.angles, commander.rates = angles_of(self._axis), np.zeros(2)
        self._last_command = time.monotonic()
        if aim is None:
            commander.step(None, np.zeros(2), seconds)
        else:
            commander.step(angles_of(aim.direction), angle_rates(aim.direction, aim.rate), seconds)
        header = Header(stamp=to_stamp(valid), frame_id=self._value("base_frame"))
        if aim is not None:
            message = Vector3Stamped(header=header)
            message.vector.x, message.vector.y, message.vector.z = map(float, aim.direction)
            self._direction.publish(message)
        names = [self._value("pan_joint"), self._value("tilt_joint")]
        joints = JointState(header=header, name=names)
        joints.position, joints.velocity = commander.angles.tolist(), commander.rates.tolist()
        self._joints.publish(joints)
        self._counts["commands"] += 1

    def _watch(self) -> None:
        """Follow the publishers' quality of service, and say why when nothing arrives."""
        if self._input is None:
            return
        silent = time.monotonic() - self._last_arrival >= self._value("silence_seconds")
        text = self._input.mismatch()
        if text is None and silent:
            text = f"no tracks arrive on {self._input.topic}: is the tracker running, and remapped there?"
        self._problem = text or self._problem
        self._silence.tell(text)

    # Services, parameters, diagnostics --------------------------------------------------------------------------------

    def _choose(self, request: ChooseTarget.Request, response: ChooseTarget.Response) -> ChooseTarget.Response:
        """Follow another target."""
        if self._follower is None or self._input is None:
            response.success, response.message = False, "the node is not active"
            return response
        problem = self._follower.choose(int(request.id))
        said = f"following track {request.id}" if request.id else "released"
        response.success, response.message = problem is None, problem or said
        return response

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse values that are not allowed, or not now."""
        changed = {parameter.name: parameter.value for parameter in parameters}
        try:
            check_changes(self._known, parameters, configured=self._follower is not None)
            head_limits(lambda name: changed.get(name, self._value(name)))
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take_parameters(self, parameters: list[Parameter]) -> None:
        """Let accepted values take effect."""
        if self._follower is not None and self._commander is not None:
            self._follower.settings = follow_settings(self._value)
            self._commander.limits = head_limits(self._value)

    def _publish_diagnostics(self) -> None:
        """Publish the node's health."""
        follower, commander = self._follower, self._commander
        if follower is None or commander is None:
            return
        level, text = DiagnosticStatus.OK, follower.state if self._input is not None else "not active"
        if self._input is not None and time.monotonic() - self._last_arrival >= self._value("silence_seconds"):
            level, text = DiagnosticStatus.STALE, "no tracks arrive"
        elif self._trouble.is_on:
            level, text = DiagnosticStatus.WARN, self._problem
        elif commander.is_limited:
            level, text = DiagnosticStatus.WARN, f"{text}; the target is beyond what the head can do"
        pan, tilt = np.degrees(commander.angles)
        facts: dict[str, object] = {
            "state": follower.state,
            "followed": follower.chosen,
            "seconds unseen": f"{follower.seconds_unseen:.2f}",
            "pan [deg]": f"{pan:.2f}",
            "tilt [deg]": f"{tilt:.2f}",
            **self._counts,
            "last problem": self._problem,
        }
        name = f"{self.get_fully_qualified_name()}: follow"
        status = DiagnosticStatus(level=level, name=name, message=text, hardware_id=socket.gethostname())
        status.values = [KeyValue(key=key, value=str(value)) for key, value in facts.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def to_candidate(track: Track) -> Candidate:
    """What may be followed, of a message."""
    bearing = np.array([track.bearing_x, track.bearing_y, track.bearing_z], dtype=np.float64)
    if not np.isfinite(bearing).all():
        bearing = np.zeros(3)
    return Candidate(
        int(track.id),
        bearing,
        TrackState(track.state),
        track.frames_since_seen == 0,
        float(track.probability),
        float(max(track.box.size_x, track.box.size_y)),
        track.class_name,
        track.friendly,
        float(track.age),
    )
