"""Follow a target with a pan-tilt camera: `ros2 launch smotracker_ros follow.launch.py track_states:=TOPIC`.

The camera's tracker is started apart, for example by track.launch.py; TF says where the camera is in the head's base.
"""

from typing import Any

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import Node

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
    DeclareLaunchArgument("track_states", default_value="track_states", description="Tracks of the camera."),
    DeclareLaunchArgument(
        "base_frame", default_value="", description="Frame of the head's base; empty: as in params_file, or ptz_base."
    ),
    DeclareLaunchArgument(
        "rule",
        default_value="",
        choices=["", "none", "probable", "longest", "centre", "largest"],
        description="Whom to follow where nobody is chosen by hand; empty: as in params_file, or none.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of node and results."),
    DeclareLaunchArgument("name", default_value="follow", description="Name of the node."),
    DeclareLaunchArgument(
        "params_file", default_value="", description="Parameters as YAML; empty: the node's defaults."
    ),
    shared_argument("use_sim_time"),
    shared_argument("autostart"),
    shared_argument("respawn"),
    shared_argument("respawn_limit"),
    shared_argument("fastdds_profile"),
)


def make_node(context: LaunchContext) -> list[Action]:
    """The node. An argument that is not given leaves the parameter to the file, or to the node's default."""
    given = given_arguments(context, __file__, ARGUMENTS)
    files = [given["params_file"]] if given["params_file"] else []
    for file in files:
        check_parameter_file(file)
    chosen: dict[str, Any] = {name: given[name] for name in ("base_frame", "rule") if given[name]}
    chosen |= {name: given[name] == "true" for name in ("use_sim_time", "autostart") if given[name]}
    respawn = given["respawn"] == "true"
    node = Node(
        package="smotracker_ros",
        executable="follow_node",
        name=given["name"],
        namespace=given["namespace"],
        output="screen",
        sigterm_timeout=PATIENCE,
        sigkill_timeout=PATIENCE,
        additional_env=profile_environment(context, given["fastdds_profile"]),
        respawn=respawn,
        respawn_delay=2.0,
        parameters=[*files, chosen],
        remappings=[("track_states", given["track_states"])],
    )
    return [node_watch(node, respawn, int(number(given, "respawn_limit"))), node]


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what is made of them."""
    return LaunchDescription([*ARGUMENTS, checked(make_node)])
