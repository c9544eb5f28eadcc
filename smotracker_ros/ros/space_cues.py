"""Space for a tracker node: 3D cues and their subscriptions, where its camera is and how it turns."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from vision_msgs.msg import Detection3DArray

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.notices import Trouble
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.ros.inputs import Input
from smotracker_ros.ros.node_parameters import NodeParameter
from smotracker_ros.ros.poses import TfPoses
from smotracker_ros.space.camera_turn import camera_turn
from smotracker_ros.space.extrinsics import read_extrinsics
from smotracker_ros.space.frame_poses import FilePoses, Poses
from smotracker_ros.space.hint_messages import HintInbox, HintOptions
from smotracker_ros.space.hints import HintErrors, SpaceHint
from smotracker_ros.space.poses import PoseError
from smotracker_ros.tracking.camera_motion import CameraShift
from smotracker_ros.tracking.gates import GateBook

PARAMETERS = (
    NodeParameter(
        "extrinsics",
        "",
        "YAML file that says where cameras stand, for `cues_3d` and `cue_pose`; empty: TF says it.",
    ),
    NodeParameter("world_frame", "map", "Frame of TF that stands still, in which cameras and 3D cues meet."),
    NodeParameter(
        "turn_degrees",
        0.0,
        "Standard deviation of the camera's turn from one image to the next as TF states it, degrees: such turns are "
        "taken where the picture shows no motion, as before a plain sky. 0: TF is not asked for them.",
        minimum=0.0,
        maximum=10.0,
        dynamic=True,
    ),
    NodeParameter(
        "cue_friendly",
        "",
        "Name of the friendly target whose place comes on `cue_pose`, by which its track is labelled; empty: it is "
        "none. In `cues_3d` an `id` or `class_id` friendly:NAME says the same.",
        dynamic=True,
    ),
    NodeParameter(
        "cue_metres",
        10.0,
        "Standard deviation of a 3D cue whose covariance is all zero, metres.",
        minimum=0.01,
        maximum=1e4,
        dynamic=True,
    ),
    NodeParameter(
        "cue_degrees",
        1.0,
        "Standard deviation of a 3D cue that is a direction (first element of the covariance -1), degrees.",
        minimum=0.01,
        maximum=45.0,
        dynamic=True,
    ),
    NodeParameter(
        "pose_degrees",
        0.5,
        "Standard deviation of the camera's orientation, by which gates of 3D cues are wider, degrees.",
        minimum=0.0,
        maximum=45.0,
        dynamic=True,
    ),
    NodeParameter(
        "pose_metres",
        0.5,
        "Standard deviation of the camera's position, metres.",
        minimum=0.0,
        maximum=1e3,
        dynamic=True,
    ),
    NodeParameter(
        "cue_speed",
        12.0,
        "Standard deviation of a target's velocity in one direction, metres per second: a gate grows by it with the "
        "time since its cue.",
        minimum=0.0,
        maximum=1e3,
        dynamic=True,
    ),
)


class SpaceCues:
    """What a node knows of targets in space.

    Args:
        node: that has the parameters above.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._inbox = HintInbox()
        self._trouble = Trouble(node.get_logger().warning, node.get_logger().info, "3D cues can be used again")
        self._poses: Poses | None = None
        # a transform that only holds would be a camera that stands still, and then jumps
        self._exact_poses: Poses | None = None
        self._turn_trouble = Trouble(
            node.get_logger().warning, node.get_logger().info, "the camera's turns are known again"
        )

    def configure(self) -> None:
        """Read the file of extrinsics, if one is named.

        Raises:
            ExtrinsicsError: if it cannot be used.
        """
        self.close()
        if path := self._value("extrinsics"):
            self._poses = FilePoses(read_extrinsics(path))

    def inputs(self) -> list[Input]:
        """Subscribe."""
        return [
            Input(self._node, Detection3DArray, "cues_3d", self._take, 100),
            Input(self._node, PoseWithCovarianceStamped, "cue_pose", self._take_pose, 100),
        ]

    def watch(self) -> None:
        """Listen to TF as soon as somebody may send cues; its messages are many. Call it once in a while."""
        topics = [self._node.resolve_topic_name(name) for name in ("cues_3d", "cue_pose")]
        if self._poses is None and any(self._node.count_publishers(topic) for topic in topics):
            self._listen()
        if self._exact_poses is None and self._value("turn_degrees"):
            self._exact_poses = TfPoses(self._node, self._value("world_frame"), hold_seconds=0.0)

    def take_all(self, frame: Frame, calibration: Calibration | None, book: GateBook) -> list[SpaceHint]:
        """The hints that came since the last frame, for the tracker.

        Args:
            frame: that is tracked next.
            calibration: of its camera, if it is known.
            book: of the tracker, which knows what became of earlier hints.
        """
        names = ("pose_degrees", "pose_metres", "cue_speed")
        errors = HintErrors(*(float(self._value(name)) for name in names))
        options = HintOptions(
            self._value("cue_metres"), self._value("cue_degrees"), self._value("cue_friendly"), errors
        )
        hints = self._inbox.take_all(frame, calibration, self._poses, options)
        # of the hints of this frame the book will say on the next one whether it knew where the camera was
        trouble = self._inbox.trouble or book.trouble
        self._trouble.tell(f"3D cues are not used: {trouble}" if trouble else None)
        return hints

    def known_shift(self, frame: Frame, calibration: Calibration | None, since_ns: int | None) -> CameraShift | None:
        """The camera's motion by its poses; None if they are not asked, or do not tell.

        Args:
            frame: that is tracked next.
            calibration: of its camera, if it is known.
            since_ns: time of the last frame that the tracker took; None: there is none.
        """
        degrees, poses = float(self._value("turn_degrees")), self._exact_poses
        if not degrees or poses is None or since_ns is None or since_ns > frame.timestamp_ns:
            return None
        shift, trouble = None, ""
        if calibration is None or calibration.size != frame.image.shape[:2]:
            trouble = "it has no camera_info that fits its images"
        elif not frame.frame_id:
            trouble = "its images have no frame_id, and TF needs one"
        else:
            try:
                source = poses.source(frame.frame_id)
                shift = camera_turn(since_ns, frame.timestamp_ns, source, calibration, degrees)
            except PoseError as error:
                trouble = str(error)
        self._turn_trouble.tell(f"turn_degrees: the camera's turn is not known: {trouble}" if trouble else None)
        return shift

    def facts(self, book: GateBook) -> dict[str, object]:
        """What became of 3D cues, for the diagnostics."""
        used, refused = self._inbox.outcome(book)
        reasons = ", ".join(f"{number} {reason}" for reason, number in refused.items())
        return {"3D cues used": used, "3D cues refused": sum(refused.values()), "3D cues refused because": reasons}

    def clear(self) -> None:
        """Forget cues that have not been taken."""
        self._inbox.clear()

    def close(self) -> None:
        """Listen to TF no more; may be called twice."""
        self.clear()
        for poses in (self._poses, self._exact_poses):
            if poses is not None:
                poses.close()
        self._poses, self._exact_poses = None, None

    def _take(self, message: Detection3DArray) -> None:
        self._listen()
        self._inbox.put(message)

    def _take_pose(self, message: PoseWithCovarianceStamped) -> None:
        self._listen()
        self._inbox.put_pose(message, self._value("cue_friendly"))

    def _listen(self) -> None:
        if self._poses is None:
            self._poses = TfPoses(self._node, self._value("world_frame"))

    def _value(self, name: str) -> Any:
        """The value of one of the node's parameters."""
        return self._node.get_parameter(name).value
