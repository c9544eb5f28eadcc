"""Track one camera: `ros2 launch smotracker_ros track.launch.py image:=/camera/image_raw`."""

import os
from pathlib import Path
from typing import Any

import yaml
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import AnonName, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from smotracker_ros.topics import camera_info_topic

# Its name until Jazzy, and from then on. A FastDDS that knows both would read the file twice, and complain.
OLD = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE" if OLD else "FASTDDS_DEFAULT_PROFILES_FILE"


def parameters_in(file: str) -> set[str]:
    """Names of all parameters that a parameter file sets for some node."""
    names: set[str] = set()

    def visit(content: Any) -> None:
        for key, value in content.items() if isinstance(content, dict) else ():
            if key == "ros__parameters":
                names.update(value or {})
            else:
                visit(value)

    visit(yaml.safe_load(Path(file).read_text(encoding="utf-8")))
    return names


def make_node(context: LaunchContext) -> list[Action]:
    """The node. An argument that is not given leaves the parameter to the file, or to the node's default."""
    names = (
        "image",
        "image_transport",
        "camera_info",
        "cues",
        "preset",
        "params_file",
        "use_sim_time",
        "autostart",
        "run_id",
    )
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    chosen: dict[str, Any] = {name: given[name] for name in ("preset", "image_transport") if given[name]}
    chosen |= {name: given[name] == "true" for name in ("use_sim_time", "autostart") if given[name]}
    if given["run_id"] or "run_id" not in parameters_in(given["params_file"]):
        run_id = given["run_id"] or AnonName("run").perform(context)
        chosen["run_id"] = ParameterValue(run_id, value_type=str)
    # drivers publish the calibration beside the image
    camera_info = given["camera_info"] or camera_info_topic(given["image"])
    node = Node(
        package="smotracker_ros",
        executable="tracker_node",
        name=LaunchConfiguration("name"),
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        # The node starts itself again faster than launch could, with its libraries loaded.
        arguments=["--respawn", LaunchConfiguration("respawn")],
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=2.0,
        parameters=[given["params_file"], chosen],
        remappings=[("image", given["image"]), ("camera_info", camera_info), ("cues", given["cues"])],
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    """Arguments, the FastDDS profile that keeps large images alive, and the node."""
    share = FindPackageShare("smotracker_ros")
    return LaunchDescription(
        [
            DeclareLaunchArgument("image", default_value="image", description="Image topic to track."),
            DeclareLaunchArgument(
                "image_transport",
                default_value="",
                choices=["", "raw", "compressed"],
                description="Type of that topic; empty: as in params_file, or raw.",
            ),
            DeclareLaunchArgument(
                "camera_info", default_value="", description="The camera's calibration; empty: beside the image topic."
            ),
            DeclareLaunchArgument("cues", default_value="cues", description="Topic of cues from other sensors."),
            DeclareLaunchArgument(
                "preset",
                default_value="",
                description="Named set-up of the tracker; empty: as in params_file, or y-smotracker.",
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of node and results."),
            DeclareLaunchArgument("name", default_value="smotracker", description="Name of the node."),
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([share, "config", "tracker.yaml"]),
                description="Parameters as YAML.",
            ),
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
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="Start the node again if it dies.",
            ),
            DeclareLaunchArgument(
                "run_id",
                default_value="",
                description="Name of this run: within it no id is used twice, also when the node is started again; "
                "empty: as in params_file, or a new name.",
            ),
            DeclareLaunchArgument(
                "fastdds_profile",
                default_value=PathJoinSubstitution([share, "config", "fastdds.xml"]),
                description="FastDDS profile; the camera's process needs the same one.",
            ),
            SetEnvironmentVariable(PROFILE_VARIABLE, LaunchConfiguration("fastdds_profile")),
            OpaqueFunction(function=make_node),
        ]
    )
