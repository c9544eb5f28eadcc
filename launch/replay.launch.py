"""Track a recording: `ros2 launch smotracker_ros replay.launch.py bag:=flight.mcap topic:=/camera/image_raw`."""

import os
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

from smotracker_ros.topics import camera_info_topic

# Its name until Jazzy, and from then on. A FastDDS that knows both would read the file twice, and complain.
OLD = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE" if OLD else "FASTDDS_DEFAULT_PROFILES_FILE"


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


def bag_play(given: dict[str, str]) -> list[str]:
    """The command line of `ros2 bag play`, for the image and what the driver publishes beside it."""
    prefix = "/".join(["", *filter(None, given["namespace"].split("/"))]).rstrip("/")
    calibration = camera_info_topic(given["topic"])
    command = ["ros2", "bag", "play", given["bag"], "--rate", given["rate"], "--start-offset", given["start_offset"]]
    command += ["--delay", given["delay"], "--disable-keyboard-controls"]
    command += ["--loop"] if given["loop"] == "true" else []
    command += ["--clock"] if given["clock"] == "true" else []
    command += ["--topics", given["topic"], calibration]
    return [*command, "--remap", f"{given['topic']}:={prefix}/image", f"{calibration}:={prefix}/camera_info"]


def make_processes(context: LaunchContext) -> list[Action]:
    """Recorder, tracker, and what plays: `ros2 bag play` or this package's player, by the argument `player`."""
    names = (
        "bag",
        "source",
        "topic",
        "image_transport",
        "rate",
        "loop",
        "start_offset",
        "clock",
        "namespace",
        "player",
        "delay",
        "output",
        "preset",
        "params_file",
    )
    given = {name: LaunchConfiguration(name).perform(context) for name in names}
    can_use_ros = bool(given["bag"] and given["topic"]) and float(given["rate"]) > 0
    uses_ros = given["player"] == "ros2" or (given["player"] == "auto" and can_use_ros and has_bag_player())
    if uses_ros and not can_use_ros:
        raise RuntimeError("player:=ros2 needs bag:=..., topic:=... and a rate above 0")
    common = {
        "use_sim_time": given["clock"] == "true",
        # this package's player decodes what the bag holds
        "image_transport": given["image_transport"] if uses_ros else "raw",
    }
    recorder = Node(
        package="smotracker_ros",
        executable="recorder",
        namespace=given["namespace"],
        output="screen",
        # Time to complete the files.
        sigterm_timeout="30",
        sigkill_timeout="30",
        parameters=[{"output": ParameterValue(given["output"], value_type=str), **common}],
    )
    preset = {"preset": given["preset"]} if given["preset"] else {}
    tracker = Node(
        package="smotracker_ros",
        executable="tracker_node",
        namespace=given["namespace"],
        output="screen",
        sigterm_timeout="30",
        parameters=[given["params_file"], {"on_overload": "every_frame", **preset, **common}],
    )
    own_player = Node(
        package="smotracker_ros",
        executable="bag_player",
        namespace=given["namespace"],
        output="screen",
        parameters=[
            {
                "source": ParameterValue(given["bag"] or given["source"], value_type=str),
                "topic": ParameterValue(given["topic"], value_type=str),
                "rate": float(given["rate"]),
                "loop": given["loop"] == "true",
                "start_offset": float(given["start_offset"]),
                "clock": given["clock"] == "true",
                "subscribers": 2,
                # As fast as it can be tracked: images wait for the answers to those before them.
                "max_in_flight": 0 if float(given["rate"]) else 4,
            }
        ],
    )
    player = ExecuteProcess(cmd=bag_play(given), output="screen") if uses_ros else own_player
    # The recorder ends when the images do. Without a tracker there is nothing to record.
    return [
        recorder,
        tracker,
        player,
        end_with(recorder, player, failed=True),
        end_with(recorder, tracker),
        end_with(tracker, recorder),
        end_with(player, recorder),
    ]


def generate_launch_description() -> LaunchDescription:
    """Player, tracker and recorder; everything ends when the recording is written."""
    share = FindPackageShare("smotracker_ros")
    profile = PathJoinSubstitution([share, "config", "fastdds.xml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", default_value="", description="rosbag2 to play: its folder or file."),
            DeclareLaunchArgument(
                "source", default_value="", description="Video file, image folder or bag for this package's player."
            ),
            DeclareLaunchArgument("topic", default_value="", description="Image topic of a bag; empty: the only one."),
            DeclareLaunchArgument(
                "image_transport",
                default_value="raw",
                choices=["raw", "compressed"],
                description="Type of that topic, for `ros2 bag play`; this package's player finds out.",
            ),
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
            DeclareLaunchArgument(
                "preset",
                default_value="",
                description="Named set-up of the tracker; empty: as in params_file, or y-smotracker.",
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes."),
            DeclareLaunchArgument(
                "params_file",
                default_value=PathJoinSubstitution([share, "config", "tracker.yaml"]),
                description="Parameters of the tracker as YAML.",
            ),
            SetEnvironmentVariable(PROFILE_VARIABLE, profile),
            OpaqueFunction(function=make_processes),
        ]
    )
