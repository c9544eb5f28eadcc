"""Track one camera: `ros2 launch smotracker_ros track.launch.py image:=/camera/image_raw`."""

from typing import Any

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import Node

from smotracker_ros.core.topics import camera_info_topic
from smotracker_ros.ros.launching import (
    PATIENCE,
    check_parameter_file,
    checked,
    given_arguments,
    node_watch,
    number,
    profile_environment,
    run_parameter,
    shared_argument,
)

ARGUMENTS = (
    DeclareLaunchArgument("image", default_value="image", description="Image topic to track."),
    shared_argument("image_transport"),
    DeclareLaunchArgument(
        "camera_info", default_value="", description="The camera's calibration; empty: beside the image topic."
    ),
    DeclareLaunchArgument("cues", default_value="cues", description="Topic of cues from other sensors."),
    DeclareLaunchArgument("cues_3d", default_value="cues_3d", description="Topic of cues in space, as from a radar."),
    DeclareLaunchArgument(
        "cue_pose", default_value="cue_pose", description="Topic of one target's place, as from a friendly drone."
    ),
    DeclareLaunchArgument(
        "extrinsics",
        default_value="",
        description="YAML file that says where the camera stands, for 3D cues; empty: as in params_file, or TF.",
    ),
    shared_argument("preset"),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of node and results."),
    DeclareLaunchArgument("name", default_value="smotracker", description="Name of the node."),
    shared_argument("params_file"),
    shared_argument("use_sim_time"),
    shared_argument("autostart"),
    shared_argument("respawn"),
    shared_argument("respawn_limit"),
    shared_argument("run_id"),
    shared_argument(
        "fastdds_profile",
        "FastDDS profile; the camera's process needs the same one. Empty: yours, if the environment names one, else "
        "the package's.",
    ),
)


def make_node(context: LaunchContext) -> list[Action]:
    """The node. An argument that is not given leaves the parameter to the file, or to the node's default."""
    given = given_arguments(context, __file__, ARGUMENTS)
    in_file = check_parameter_file(given["params_file"])
    limit = int(number(given, "respawn_limit"))
    chosen: dict[str, Any] = {name: given[name] for name in ("preset", "image_transport", "extrinsics") if given[name]}
    chosen |= {name: given[name] == "true" for name in ("use_sim_time", "autostart") if given[name]}
    chosen |= run_parameter(context, given, in_file)
    # drivers publish the calibration beside the image
    camera_info = given["camera_info"] or camera_info_topic(given["image"])
    node = Node(
        package="smotracker_ros",
        executable="tracker_node",
        name=given["name"],
        namespace=given["namespace"],
        output="screen",
        sigterm_timeout=PATIENCE,
        sigkill_timeout=PATIENCE,
        additional_env=profile_environment(context, given["fastdds_profile"]),
        # The node starts itself again faster than launch could, with its libraries loaded.
        arguments=["--respawn", given["respawn"], "--respawn-limit", str(limit)],
        respawn=given["respawn"] == "true",
        respawn_delay=2.0,
        parameters=[given["params_file"], chosen],
        remappings=[
            ("image", given["image"]),
            ("camera_info", camera_info),
            *((name, given[name]) for name in ("cues", "cues_3d", "cue_pose")),
        ],
    )
    return [node_watch(node, given["respawn"] == "true", limit), node]


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what is made of them."""
    return LaunchDescription([*ARGUMENTS, checked(make_node)])
