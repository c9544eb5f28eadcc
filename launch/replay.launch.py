"""Track a recording: `ros2 launch smotracker_ros replay.launch.py bag:=flight.mcap topic:=/camera/image_raw`."""

import shutil

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def has_bag_player() -> bool:
    """Whether `ros2 bag play` is installed."""
    try:
        get_package_prefix("ros2bag")
    except PackageNotFoundError:
        return False
    return shutil.which("ros2") is not None


def end_with(action: Action, other: Action, failed: bool = False) -> Action:
    """End a process when another one has ended, or only if that has failed."""

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[Action]:
        if failed and not event.returncode:
            return []
        return [EmitEvent(event=ShutdownProcess(process_matcher=matches_action(action)))]

    return RegisterEventHandler(OnProcessExit(target_action=other, on_exit=on_exit))


def make_player(context: LaunchContext, recorder: Action) -> list[Action]:
    """The process that plays: `ros2 bag play` or this package's player, by the argument `player`."""
    names = ("bag", "topic", "rate", "loop", "start_offset", "clock", "namespace", "player", "delay")
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    can_use_ros = bool(given["bag"] and given["topic"]) and float(given["rate"]) > 0
    if given["player"] == "ros2" or (given["player"] == "auto" and can_use_ros and has_bag_player()):
        if not can_use_ros:
            raise RuntimeError("player:=ros2 needs bag:=..., topic:=... and a rate above 0")
        image = "/".join(["", *filter(None, given["namespace"].split("/")), "image"])
        command = [
            "ros2",
            "bag",
            "play",
            given["bag"],
            "--rate",
            given["rate"],
            "--start-offset",
            given["start_offset"],
        ]
        command += ["--delay", given["delay"], "--disable-keyboard-controls"]
        command += ["--loop"] if given["loop"] == "true" else []
        command += ["--clock"] if given["clock"] == "true" else []
        command += ["--topics", given["topic"], "--remap", f"{given['topic']}:={image}"]
        player: Action = ExecuteProcess(cmd=command, output="screen")
        return [player, end_with(recorder, player, failed=True)]
    source = given["bag"] or LaunchConfiguration("source")
    player = Node(
        package="smotracker_ros",
        executable="bag_player",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            {
                "source": ParameterValue(source, value_type=str),
                "topic": ParameterValue(LaunchConfiguration("topic"), value_type=str),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                "start_offset": ParameterValue(LaunchConfiguration("start_offset"), value_type=float),
                "clock": ParameterValue(LaunchConfiguration("clock"), value_type=bool),
                "subscribers": 2,
                # As fast as it can be tracked: images wait for the answers to those before them.
                "max_in_flight": 0 if float(given["rate"]) else 4,
            }
        ],
    )
    return [player, end_with(recorder, player, failed=True)]


def generate_launch_description() -> LaunchDescription:
    """Player, tracker and recorder; everything ends when the recording is written."""
    share = FindPackageShare("smotracker_ros")
    namespace = LaunchConfiguration("namespace")
    sim_time = ParameterValue(LaunchConfiguration("clock"), value_type=bool)
    recorder = Node(
        package="smotracker_ros",
        executable="recorder",
        namespace=namespace,
        output="screen",
        # Time to complete the files.
        sigterm_timeout="30",
        sigkill_timeout="30",
        parameters=[
            {"output": ParameterValue(LaunchConfiguration("output"), value_type=str), "use_sim_time": sim_time}
        ],
    )
    tracker = Node(
        package="smotracker_ros",
        executable="tracker_node",
        namespace=namespace,
        output="screen",
        sigterm_timeout="30",
        parameters=[
            LaunchConfiguration("params_file"),
            {"preset": LaunchConfiguration("preset"), "on_overload": "every_frame", "use_sim_time": sim_time},
        ],
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", default_value="", description="rosbag2 to play: its folder or file."),
            DeclareLaunchArgument(
                "source", default_value="", description="Video file, image folder or bag for this package's player."
            ),
            DeclareLaunchArgument("topic", default_value="", description="Image topic of a bag; empty: the only one."),
            DeclareLaunchArgument(
                "player",
                default_value="auto",
                choices=["auto", "ros2", "own"],
                description="ros2: `ros2 bag play`; own: this package's; auto: ros2 for a bag with topic and rate, if "
                "installed.",
            ),
            DeclareLaunchArgument("output", default_value="recording", description="Folder for the results."),
            DeclareLaunchArgument("rate", default_value="0.0", description="Speed; 0.0: as fast as it can be tracked."),
            DeclareLaunchArgument(
                "loop", default_value="false", choices=["true", "false"], description="Begin anew at the end."
            ),
            DeclareLaunchArgument(
                "start_offset", default_value="0.0", description="Seconds of the recording to leave out."
            ),
            DeclareLaunchArgument(
                "clock",
                default_value="false",
                choices=["true", "false"],
                description="Publish /clock, and let tracker and recorder use it.",
            ),
            DeclareLaunchArgument(
                "delay", default_value="15.0", description="Seconds that `ros2 bag play` leaves the tracker to load."
            ),
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
            tracker,
            end_with(tracker, recorder),
            OpaqueFunction(function=make_player, args=[recorder]),
        ]
    )
