"""The fusion as a ROS 2 lifecycle node: tracks of several cameras in, targets in space out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, Quaternion, Vector3
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from vision_msgs.msg import (
    BoundingBox3D,
    Detection3D,
    Detection3DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
)
from visualization_msgs.msg import MarkerArray

from smotracker_ros.core.notices import Notices
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.io.calibration import Calibration, CalibrationError, read_camera_info
from smotracker_ros.msg import TrackArray
from smotracker_ros.ros.fusion_health import CameraHealth, own_status
from smotracker_ros.ros.fusion_markers import to_target_markers
from smotracker_ros.ros.fusion_parameters import PARAMETERS, camera_names
from smotracker_ros.ros.identities import Identities
from smotracker_ros.ros.images import to_nanoseconds
from smotracker_ros.ros.inputs import Input
from smotracker_ros.ros.parameters import setting_parameters
from smotracker_ros.ros.poses import TfPoses
from smotracker_ros.ros.side_node import SideNode
from smotracker_ros.space.extrinsics import ExtrinsicsError, read_extrinsics
from smotracker_ros.space.frame_poses import FilePoses, Poses
from smotracker_ros.space.fusion.fusion import Fusion
from smotracker_ros.space.fusion.messages import NoBearingsError, detection_array, pixel_angle, read_view
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.fusion.sightings import FusedTargets
from smotracker_ros.space.poses import PoseError, PoseSource

TYPES = {
    kind.__name__: kind
    for kind in (
        BoundingBox3D, Detection3D, Detection3DArray, Header, ObjectHypothesis, ObjectHypothesisWithPose, Point, Pose,
        PoseWithCovariance, Quaternion, Time, Vector3,
    )
}  # fmt: skip
"""Classes of which `targets` is made."""

_DEPTH = 100
_MOST_FRAMES = 100
_NANOSECONDS = 1_000_000_000


class FusionNode(SideNode):
    """See docs/fusion.md for topics; parameters describe themselves (`ros2 param describe`).

    Raises:
        SettingsError: if a parameter given from outside is not allowed.
    """

    def __init__(self, **options: Any) -> None:
        settings = setting_parameters(FusionSettings())
        super().__init__("fusion", (*PARAMETERS, *settings), **options)
        self._setting_names = [item.name for item in settings]
        self._fusion: Fusion | None = None
        self._identities = Identities(None)
        self._sources: dict[str, PoseSource] = {}
        self._world = ""
        self._calibrations: dict[str, Calibration] = {}
        self._cameras: dict[str, CameraHealth] = {}
        self._inputs: dict[str, Input] = {}
        self._told: dict[str, str] = {}
        self._since = 0.0
        self._active = False
        self._last_problem = ""
        self._notices = Notices(self.get_logger().warning)
        self._reset_service = self.create_service(Trigger, "~/reset", self._reset)

    # Life cycle -------------------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read where the cameras stand, and create the publishers."""
        try:
            names = camera_names(self._value("cameras"))
            settings = FusionSettings.of({name: self._value(name) for name in self._setting_names})
            self._identities = self._identities.of_run(self._value("run_id"), self.get_fully_qualified_name())
            self._poses = self._find_poses(names)
        except (SettingsError, ExtrinsicsError, PoseError, OSError) as error:
            self.get_logger().error(f"the fusion cannot be set up: {error}")
            return TransitionCallbackReturn.FAILURE
        self._fusion = Fusion(names, settings, self._warn)
        self._fusion.next_id = self._identities.next_id
        self._cameras = {name: CameraHealth(name) for name in names}
        self._announce({"targets": Detection3DArray, "markers": MarkerArray}, self._statuses)
        self.get_logger().info(f"configured for {', '.join(names)}; places are in the frame {self._world}")
        return TransitionCallbackReturn.SUCCESS

    def _find_poses(self, names: tuple[str, ...]) -> Poses:
        """Where each camera's poses come from."""
        self._world, file = self._value("world_frame"), self._value("extrinsics")
        if not file:
            return TfPoses(self, self._world)
        extrinsics = read_extrinsics(file)
        self._world = extrinsics.world
        poses = FilePoses(extrinsics)
        for name in names:
            extrinsics.source(name)  # an error now is better than one with each message
        return poses

    def _source(self, name: str, frame_id: str) -> PoseSource:
        """Where a camera's poses come from: by its name in the file, by the frame of its images on TF."""
        if self._poses is None or not self._value("extrinsics"):
            if not frame_id:
                raise PoseError(
                    f"the tracks of {name} have no frame_id, and TF needs one: set it in the camera's driver"
                )
            name = frame_id
        if name not in self._sources and self._poses is not None:
            if len(self._sources) >= _MOST_FRAMES:
                self._sources.clear()
            self._sources[name] = self._poses.source(name)
        return self._sources[name]

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to receive tracks."""
        answer = super().on_activate(state)
        self._since, self._active, self._told = time.monotonic(), True, {}
        for name in self._cameras:
            states, info = (self._value(key).replace("{camera}", name) for key in ("track_states", "camera_info"))
            self._inputs[name] = Input(self, TrackArray, states, partial(self._guarded, self._take, name), _DEPTH)
            calibrate = partial(self._guarded, self._calibrate, name)
            self._heard += [self._inputs[name], Input(self, CameraInfo, info, calibrate, _DEPTH, latched=True)]
        self._every(1.0, self._watch, self._steady)
        return answer

    def _stop(self) -> None:
        """What waits for other cameras is fused, and targets are kept."""
        super()._stop()
        self._inputs = {}
        if self._active and self._fusion is not None and self.context.ok():
            self._publish(self._fusion.flush())
        self._active = False

    def _release(self) -> None:
        super()._release()
        self._fusion, self._sources, self._cameras, self._calibrations = None, {}, {}, {}

    def close(self) -> None:
        """Stop and destroy the node."""
        self._stop()
        try:
            self._identities.close()
        except OSError as error:
            self.get_logger().error(f"the next id is not written: {error}")
        super().close()

    # Messages ---------------------------------------------------------------------------------------------------------

    def _guarded(self, take: Callable[[str, Any], None], name: str, message: Any) -> None:
        """Take a message; whatever it may hold, the stream goes on."""
        try:
            take(name, message)
        except (NoBearingsError, PoseError, CalibrationError) as error:
            self._refuse(name, str(error))
        except Exception as error:
            if self.context.ok():
                self._refuse(name, f"a message of {name} cannot be used: {type(error).__name__}: {error}")

    def _take(self, name: str, message: TrackArray) -> None:
        """Fuse a camera's tracks of one image."""
        if self._fusion is None:
            return
        health, stamp = self._cameras[name], to_nanoseconds(message.header.stamp)
        health.arrived((self.get_clock().now().nanoseconds - stamp) / _NANOSECONDS)
        if not stamp:
            raise PoseError(f"the tracks of {name} have no time stamp: its images must state when they were taken")
        settings = self._fusion.settings
        angle = pixel_angle(self._calibrations.get(name), settings)
        pose = self._source(name, message.header.frame_id).at(stamp)
        view = read_view(message, name, pose, settings, angle)
        health.used()
        self._publish(self._fusion.add(view))

    def _calibrate(self, name: str, message: CameraInfo) -> None:
        """Take a camera's calibration."""
        self._calibrations[name] = read_camera_info(message)

    def _publish(self, results: list[FusedTargets]) -> None:
        if self._fusion is not None:
            try:
                self._identities.cover(self._fusion.next_id)
            except OSError as error:
                self._warn(f"ids are not kept for a restart: {error}")
        for targets in results:
            message = detection_array(targets, self._world, TYPES)
            self._results["targets"].publish(message)
            markers = self._results["markers"]
            if markers.get_subscription_count():
                markers.publish(to_target_markers(targets, message.header))

    def _refuse(self, name: str, text: str) -> None:
        """Say why a message is not used: each kind of reason once, and in the diagnostics as long as it lasts."""
        if name in self._cameras:
            self._cameras[name].refused(text)
        self._warn(text)

    def _warn(self, text: str) -> None:
        self._last_problem = text
        self._notices.warn(text)

    def _watch(self) -> None:
        """Follow the publishers' quality of service, and say when a camera falls silent or comes back."""
        silence = self._value("silence_seconds")
        for item in self._heard:
            item.follow()
        for name, source in self._inputs.items():
            text = source.mismatch() or ""
            if not text and self._cameras[name].silent_for(self._since) >= silence:
                text = f"no tracks arrive from {name} on {source.topic}: is its tracker running and remapped there?"
            if text and text != self._told.get(name):
                self.get_logger().warning(f"{text} The other cameras are fused without it.")
                self._last_problem = text
            elif not text and self._told.get(name):
                self.get_logger().info(f"tracks of {name} arrive again")
            self._told[name] = text

    # Services, parameters, diagnostics --------------------------------------------------------------------------------

    def _reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Forget all targets; ids go on."""
        response.success = self._fusion is not None
        response.message = "all targets are forgotten" if response.success else "the node is not configured"
        if self._fusion is not None:
            self._fusion.reset()
        return response

    def _statuses(self) -> list[DiagnosticStatus]:
        """The health of the fusion and of each camera."""
        if self._fusion is None:
            return []
        silence, latency = self._value("silence_seconds"), self._value("warn_latency")
        order = self._fusion.order
        statuses = [
            camera.status(self.get_fully_qualified_name(), self._since, silence, latency, order.late[name])
            for name, camera in self._cameras.items()
            if self._active
        ]
        live = sum(camera.silent_for(self._since) < silence for camera in self._cameras.values())
        counts = self._fusion.counts
        facts = {
            "cameras sending": f"{live} of {len(self._cameras)}",
            "targets placed": counts["placed"],
            "targets as directions": counts["directions"],
            "targets unconfirmed": counts["unconfirmed"],
            "tracks refused": self._fusion.refused,
            "next id": self._fusion.next_id,
            "times that time jumped back": order.resets,
            "last problem": self._last_problem,
        }
        level, message = DiagnosticStatus.OK, "fusing" if self._active else "not active"
        if self._active and live < len(self._cameras):
            level = DiagnosticStatus.WARN if live else DiagnosticStatus.STALE
            message = f"{len(self._cameras) - live} of {len(self._cameras)} cameras send nothing"
        statuses.insert(0, own_status(self.get_fully_qualified_name(), level, message, facts))
        return statuses
