"""Message definitions that bags carry, as text: for reading and writing bags where no ROS is installed.

`vision_msgs` is an independent wording of the public interface; the definitions of this package repeat `msg/`.
"""

from __future__ import annotations

from functools import cache

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

VISION_MSGS = {
    "vision_msgs/msg/Point2D": "float64 x\nfloat64 y\n",
    "vision_msgs/msg/Pose2D": "vision_msgs/Point2D position\nfloat64 theta\n",
    "vision_msgs/msg/BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": (
        "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n"
    ),
    "vision_msgs/msg/Detection2D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox2D bbox\n"
        "string id\n"
    ),
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections\n",
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
    "vision_msgs/msg/Detection3D": (
        "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\nvision_msgs/BoundingBox3D bbox\n"
        "string id\n"
    ),
    "vision_msgs/msg/Detection3DArray": "std_msgs/Header header\nvision_msgs/Detection3D[] detections\n",
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n",
    "vision_msgs/msg/VisionInfo": (
        "std_msgs/Header header\nstring method\nstring database_location\nint32 database_version\n"
    ),
}

SMOTRACKER_MSGS = {
    "smotracker_ros/msg/Track": (
        "uint8 TENTATIVE=1\nuint8 CONFIRMED=2\nuint8 LOST=3\nuint8 REMOVED=4\n"
        "uint32 id\nuint8 state\nfloat32 score\nfloat32 probability\nint32 class_id\nstring class_name\n"
        "vision_msgs/BoundingBox2D box\nfloat32 velocity_x\nfloat32 velocity_y\n"
        "float32 bearing_x\nfloat32 bearing_y\nfloat32 bearing_z\n"
        "uint32 age\nuint32 frames_since_detection\nuint32 frames_since_seen\n"
        "uint32 mask_height\nuint32 mask_width\nstring mask_counts\nstring friendly\n"
    ),
    "smotracker_ros/msg/TrackArray": (
        "std_msgs/Header header\nuint64 frame_index\nbool detector_ran\nsmotracker_ros/Track[] tracks\n"
    ),
}


@cache
def typestore() -> Typestore:
    """ROS 2's common types plus those above."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for name, definition in (VISION_MSGS | SMOTRACKER_MSGS).items():
        types.update(get_types_from_msg(definition, name))
    store.register(types)
    return store
