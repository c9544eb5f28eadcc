"""Fuse the tracks of cameras: `ros2 launch smotracker_ros fusion.launch.py cameras:=front,rear extrinsics:=rig.yaml`.

The trackers are started apart, for example by multi.launch.py with the same `cameras`.
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
    run_parameter,
    shared_argument,
)

ARGUMENTS = (
    DeclareLaunchArgument(
        "cameras", default_value="", description="Names of the cameras, separated by commas: their namespaces."
    ),
    DeclareLaunchArgument(
        "extrinsics",
        default_value="",
        description="YAML file that says where the cameras stand; empty: as in params_file, or TF says it.",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of node and results."),
    DeclareLaunchArgument("name", default_value="fusion", description="Name of the node."),
    DeclareLaunchArgument(
        "params_file", default_value="", description="Parameters as YAML; empty: the node's defaults."
    ),
    shared_argument("use_sim_time"),
    shared_argument("autostart"),
    shared_argument("run_id"),
    shared_argument("respawn"),
    shared_argument("respawn_limit"),
    shared_argument("fastdds_profile"),
)


def make_node(context: LaunchContext) -> list[Action]:
    """The node. An argument that is not given leaves the parameter to the file, or to the node's default."""
    given = given_arguments(context, __file__, ARGUMENTS)
    files = [given["params_file"]] if given["params_file"] else []
    in_file = check_parameter_file(given["params_file"]) if files else set()
    chosen: dict[str, Any] = {name: given[name] for name in ("cameras", "extrinsics") if given[name]}
    chosen |= {name: given[name] == "true" for name in ("use_sim_time", "autostart") if given[name]}
    chosen |= run_parameter(context, given, in_file)
    respawn = given["respawn"] == "true"
    node = Node(
        package="smotracker_ros",
        executable="fusion_node",
        name=given["name"],
        namespace=given["namespace"],
        output="screen",
        sigterm_timeout=PATIENCE,
        sigkill_timeout=PATIENCE,
        additional_env=profile_environment(context, given["fastdds_profile"]),
        respawn=respawn,
        respawn_delay=2.0,
        parameters=[*files, chosen],
    )
    return [node_watch(node, respawn, int(number(given, "respawn_limit"))), node]


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what is made of them."""
    return LaunchDescription([*ARGUMENTS, checked(make_node)])
