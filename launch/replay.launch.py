"""Track a recording: `ros2 launch smotracker_ros replay.launch.py source:=flight.mcap`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, RegisterEventHandler, SetEnvironmentVariable
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Player, tracker and recorder; everything ends when the recording is written."""
    share = FindPackageShare("smotracker_ros")
    namespace = LaunchConfiguration("namespace")
    recorder = Node(
        package="smotracker_ros",
        executable="recorder",
        namespace=namespace,
        output="screen",
        parameters=[{"output": LaunchConfiguration("output")}],
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("source", description="Bag, video file or image folder to play."),
            DeclareLaunchArgument("topic", default_value="", description="Image topic of a bag; empty: the only one."),
            DeclareLaunchArgument("output", default_value="recording", description="Folder for the results."),
            DeclareLaunchArgument("rate", default_value="0.0", description="Speed; 0.0: as fast as it can be tracked."),
            DeclareLaunchArgument("preset", default_value="y-smotracker", description="Named set-up of the tracker."),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes."),
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([share, "config", "tracker.yaml"]),
                description="Parameters of the tracker as YAML.",
            ),
            SetEnvironmentVariable(
                "FASTDDS_DEFAULT_PROFILES_FILE", PathJoinSubstitution([share, "config", "fastdds.xml"])
            ),
            recorder,
            Node(
                package="smotracker_ros",
                executable="tracker_node",
                namespace=namespace,
                output="screen",
                parameters=[
                    LaunchConfiguration("params_file"),
                    {
                        "preset": LaunchConfiguration("preset"),
                        "on_overload": "every_frame",
                        "reliability": "reliable",
                    },
                ],
            ),
            Node(
                package="smotracker_ros",
                executable="bag_player",
                namespace=namespace,
                output="screen",
                parameters=[
                    {
                        "source": ParameterValue(LaunchConfiguration("source"), value_type=str),
                        "topic": ParameterValue(LaunchConfiguration("topic"), value_type=str),
                        "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                        "subscribers": 2,
                        "max_in_flight": 4,
                    }
                ],
            ),
            RegisterEventHandler(OnProcessExit(target_action=recorder, on_exit=[EmitEvent(event=Shutdown())])),
        ]
    )
