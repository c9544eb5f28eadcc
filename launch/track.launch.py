"""Track one camera: `ros2 launch smotracker_ros track.launch.py image:=/camera/image_raw`."""

from typing import Any

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import AnonName
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from smotracker_ros.core.topics import camera_info_topic
from smotracker_ros.ros.launching import (
    PATIENCE,
    check_parameter_file,
    checked,
    given_arguments,
    node_watch,
    number,
    profile_environment,
    shared_argument,
)

ARGUMENTS = (
    DeclareLaunchArgument("image", default_value="image", description="Image topic to track."),
    shared_argument("image_transport"),
    DeclareLaunchArgument(
        "camera_info", default_value="", description="The camera's calibration; empty: beside the image topic."
    ),
    DeclareLaunchArgument("cues", default_value="cues", description="Topic of cues from other sensors."),
    shared_argument("preset"),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of node and results."),
    DeclareLaunchArgument("name", default_value="smotracker", description="Name of the node."),
    shared_argument("params_file"),
    DeclareLaunchArgument(
        "use_sim_time",
        default_value="",
        choices=["", "true", "false"],
        description="Take the time from /clock; empty: as in params_file, or false.",
    ),
    DeclareLaunchArgument(
        "autostart",
        default_value="",
        choices=["", "true", "false"],
        description="Activate at once; false: wait for a lifecycle manager; empty: as in params_file, or true.",
    ),
    shared_argument("respawn"),
    DeclareLaunchArgument(
        "respawn_limit",
        default_value="5",
        description="Deaths within ten minutes after which it is not started again; 0: no limit.",
    ),
    DeclareLaunchArgument(
        "run_id",
        default_value="",
        description="Name of this run: within it no id is used twice, also when the node is started again; "
        "empty: as in params_file, or a new name.",
    ),
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
    chosen: dict[str, Any] = {name: given[name] for name in ("preset", "image_transport") if given[name]}
    chosen |= {name: given[name] == "true" for name in ("use_sim_time", "autostart") if given[name]}
    if given["run_id"] or "run_id" not in in_file:
        run_id = given["run_id"] or AnonName("run").perform(context)
        chosen["run_id"] = ParameterValue(run_id, value_type=str)
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
        remappings=[("image", given["image"]), ("camera_info", camera_info), ("cues", given["cues"])],
    )
    return [node_watch(node, given["respawn"] == "true", limit), node]


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what is made of them."""
    return LaunchDescription([*ARGUMENTS, checked(make_node)])
