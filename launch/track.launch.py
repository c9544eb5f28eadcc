"""Track one camera: `ros2 launch smotracker_ros track.launch.py image:=/camera/image_raw`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import AnonName, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Arguments, the FastDDS profile that keeps large images alive, and the node."""
    share = FindPackageShare("smotracker_ros")
    return LaunchDescription(
        [
            DeclareLaunchArgument("image", default_value="image", description="Image topic to track."),
            DeclareLaunchArgument(
                "image_transport", default_value="raw", choices=["raw", "compressed"], description="Type of that topic."
            ),
            DeclareLaunchArgument("preset", default_value="y-smotracker", description="Named set-up of the tracker."),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of node and results."),
            DeclareLaunchArgument("name", default_value="smotracker", description="Name of the node."),
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([share, "config", "tracker.yaml"]),
                description="Parameters as YAML.",
            ),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
            DeclareLaunchArgument(
                "autostart", default_value="true", description="Activate at once; false: wait for a lifecycle manager."
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="Start the node again if it dies.",
            ),
            DeclareLaunchArgument(
                "run_id",
                default_value=[AnonName("run")],
                description="Name of this run: within it no id is used twice, also when the node is started again.",
            ),
            DeclareLaunchArgument(
                "fastdds_profile",
                default_value=PathJoinSubstitution([share, "config", "fastdds.xml"]),
                description="FastDDS profile; the camera's process needs the same one.",
            ),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", LaunchConfiguration("fastdds_profile")),
            Node(
                package="smotracker_ros",
                executable="tracker_node",
                namespace=LaunchConfiguration("namespace"),
                name=LaunchConfiguration("name"),
                output="screen",
                respawn=LaunchConfiguration("respawn"),
                respawn_delay=2.0,
                arguments=["--respawn", LaunchConfiguration("respawn")],
                parameters=[
                    LaunchConfiguration("params_file"),
                    {
                        "preset": LaunchConfiguration("preset"),
                        "image_transport": LaunchConfiguration("image_transport"),
                        "run_id": ParameterValue(LaunchConfiguration("run_id"), value_type=str),
                        "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
                        "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                    },
                ],
                remappings=[("image", LaunchConfiguration("image"))],
            ),
        ]
    )
