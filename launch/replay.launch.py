"""Track a recording: `ros2 launch smotracker_ros replay.launch.py bag:=flight.mcap topic:=/camera/image_raw`."""

import shutil
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from smotracker_ros.core.topics import camera_info_topic, transport_topic
from smotracker_ros.ros.launching import (
    PATIENCE,
    LaunchError,
    check_parameter_file,
    check_source,
    checked,
    given_arguments,
    number,
    profile_environment,
    replay_watch,
    shared_argument,
)

ARGUMENTS = (
    DeclareLaunchArgument("bag", default_value="", description="rosbag2 to play: its folder or file."),
    DeclareLaunchArgument(
        "source", default_value="", description="Video file, image folder or bag for this package's player."
    ),
    DeclareLaunchArgument("topic", default_value="", description="Image topic of a bag; empty: the only one."),
    shared_argument(
        "image_transport",
        "How that topic was sent, for `ros2 bag play`; empty: raw. This package's player finds out.",
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
    DeclareLaunchArgument("start_offset", default_value="0.0", description="Seconds of the recording to leave out."),
    DeclareLaunchArgument(
        "clock",
        default_value="false",
        choices=["true", "false"],
        description="Publish /clock, and let tracker and recorder use it.",
    ),
    DeclareLaunchArgument(
        "delay", default_value="15.0", description="Seconds that `ros2 bag play` leaves the tracker to load."
    ),
    shared_argument("preset"),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes."),
    shared_argument("params_file"),
    shared_argument("fastdds_profile"),
)


def has_bag_player() -> bool:
    """Whether `ros2 bag play` is installed."""
    try:
        get_package_prefix("ros2bag")
    except PackageNotFoundError:
        return False
    return shutil.which("ros2") is not None


def bag_play(given: dict[str, str], image: str) -> list[str]:
    """The command line of `ros2 bag play`, for the image and what the driver publishes beside it.

    Args:
        given: the arguments.
        image: the image topic in the bag, as it is sent there.
    """
    prefix = "/".join(["", *filter(None, given["namespace"].split("/"))]).rstrip("/")
    calibration = camera_info_topic(image)
    command = ["ros2", "bag", "play", str(Path(given["bag"]).expanduser())]
    command += ["--rate", given["rate"], "--start-offset", given["start_offset"]]
    command += ["--delay", given["delay"], "--disable-keyboard-controls"]
    command += ["--loop"] if given["loop"] == "true" else []
    command += ["--clock"] if given["clock"] == "true" else []
    command += ["--topics", image, calibration]
    target = transport_topic(f"{prefix}/image", given["image_transport"])
    return [*command, "--remap", f"{image}:={target}", f"{calibration}:={prefix}/camera_info"]


def make_processes(context: LaunchContext) -> list[Action]:
    """Recorder, tracker, and what plays: `ros2 bag play` or this package's player, by the argument `player`."""
    given = given_arguments(context, __file__, ARGUMENTS)
    if bool(given["bag"]) == bool(given["source"]):
        raise LaunchError("give either bag:=BAG or source:=VIDEO, so that there is something to play")
    source = given["bag"] or given["source"]
    check_source(source)
    rate, start_offset, _ = (number(given, name) for name in ("rate", "start_offset", "delay"))
    check_parameter_file(given["params_file"])
    can_use_ros = bool(given["bag"] and given["topic"]) and rate > 0
    uses_ros = given["player"] == "ros2" or (given["player"] == "auto" and can_use_ros and has_bag_player())
    if uses_ros and not can_use_ros:
        raise LaunchError("player:=ros2 needs bag:=..., topic:=... and a rate above 0")
    if uses_ros and not has_bag_player():
        raise LaunchError("player:=ros2 needs `ros2 bag play`, which is not installed; leave it to player:=own")
    common = {
        "use_sim_time": given["clock"] == "true",
        # this package's player decodes what the bag holds
        "image_transport": (given["image_transport"] or "raw") if uses_ros else "raw",
    }
    environment = profile_environment(context, given["fastdds_profile"])
    options: dict[str, Any] = {
        "package": "smotracker_ros",
        "namespace": given["namespace"],
        "output": "screen",
        "additional_env": environment,
        "sigterm_timeout": PATIENCE,
        "sigkill_timeout": PATIENCE,
    }
    recorder = Node(
        executable="recorder",
        parameters=[{"output": ParameterValue(given["output"], value_type=str), **common}],
        **options,
    )
    preset = {"preset": given["preset"]} if given["preset"] else {}
    tracker = Node(
        executable="tracker_node",
        parameters=[given["params_file"], {"on_overload": "every_frame", **preset, **common}],
        **options,
    )
    own_player = Node(
        executable="bag_player",
        parameters=[
            {
                "source": ParameterValue(source, value_type=str),
                "topic": ParameterValue(given["topic"], value_type=str),
                "rate": rate,
                "loop": given["loop"] == "true",
                "start_offset": start_offset,
                "clock": given["clock"] == "true",
                "subscribers": 2,
                # As fast as it can be tracked: images wait for the answers to those before them.
                "max_in_flight": 0 if rate else 4,
            }
        ],
        **options,
    )
    image = transport_topic(given["topic"], given["image_transport"])
    ros_player = ExecuteProcess(cmd=bag_play(given, image), output="screen", additional_env=environment)
    player = ros_player if uses_ros else own_player
    # The recorder ends when the images do. Without a tracker there is nothing to record.
    return [*replay_watch(recorder, tracker, player), recorder, tracker, player]


def generate_launch_description() -> LaunchDescription:
    """Player, tracker and recorder; everything ends when the recording is written."""
    return LaunchDescription([*ARGUMENTS, checked(make_processes)])
