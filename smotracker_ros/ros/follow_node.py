"""Follow as a ROS 2 lifecycle node: a camera's tracks in, where to point out."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import Vector3Stamped
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
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
from smotracker_ros.ros.poses import TfPoses
from smotracker_ros.ros.side_node import SideNode
from smotracker_ros.space.extrinsics import ExtrinsicsError, read_extrinsics
from smotracker_ros.space.follow import Candidate, Follower
from smotracker_ros.space.frame_poses import FilePoses
from smotracker_ros.space.pan_tilt import Commander, angle_rates, angles_of
from smotracker_ros.space.poses import PoseError
from smotracker_ros.srv import ChooseTarget

# Stamps that go back by more are of a stream that begins anew
_JUMP_NS = NANOSECONDS
# After so long without commands the head may have been turned by somebody else
_IDLE_SECONDS = 1.0
# Commands are led by no more than this behind the last image, seconds
_OLDEST_IMAGE = 10.0


class FollowNode(SideNode):
    """See docs/follow.md for topics; parameters describe themselves (`ros2 param describe`).

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("follow", PARAMETERS, **options)
        self._follower: Follower | None = None
        self._commander: Commander | None = None
        self._input: Input | None = None
        self._last_stamp = 0
        self._last_tick: int | None = None
        self._last_arrival = self._last_command = 0.0
        self._axis: np.ndarray | None = None
        self._counts = {"messages received": 0, "messages not usable": 0, "commands": 0}
        logger = self.get_logger()
        self._trouble = Trouble(logger.warning, logger.info, "tracks can be followed again")
        self._silence = Trouble(logger.warning, logger.info, "tracks arrive again")
        self._problem = ""
        self.add_post_set_parameters_callback(self._take_parameters)
        self._choose_service = self.create_service(ChooseTarget, "~/choose", self._choose)

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
        self._announce({"point_at": Vector3Stamped, "joint_command": JointState, "followed": UInt32}, self._statuses)
        self.get_logger().info(f"configured; angles are in the frame {self._value('base_frame')}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to receive tracks and to send commands."""
        answer = super().on_activate(state)
        self._last_arrival = time.monotonic()
        self._input = Input(self, TrackArray, "track_states", self._take, 100)
        self._heard = [self._input]
        self._every(1.0, self._watch, self._steady)
        self._every(1 / self._value("command_rate"), self._command)
        return answer

    def _stop(self) -> None:
        """Whom the camera follows is forgotten, too."""
        super()._stop()
        self._input = self._last_tick = None
        if self._follower is not None:
            self._follower.reset()

    def _release(self) -> None:
        super()._release()
        self._follower = self._commander = None

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
        self._results["followed"].publish(UInt32(data=follower.chosen))

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
            self._results["point_at"].publish(message)
        names = [self._value("pan_joint"), self._value("tilt_joint")]
        joints = JointState(header=header, name=names)
        joints.position, joints.velocity = commander.angles.tolist(), commander.rates.tolist()
        self._results["joint_command"].publish(joints)
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

    def _check_together(self, changed: Mapping[str, Any]) -> None:
        head_limits(lambda name: changed.get(name, self._value(name)))

    def _take_parameters(self, parameters: list[Parameter]) -> None:
        """Let accepted values take effect."""
        if self._follower is not None and self._commander is not None:
            self._follower.settings = follow_settings(self._value)
            self._commander.limits = head_limits(self._value)

    def _statuses(self) -> list[DiagnosticStatus]:
        """The node's health."""
        follower, commander = self._follower, self._commander
        if follower is None or commander is None:
            return []
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
        return [status]


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
