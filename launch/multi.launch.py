"""Track several cameras, each by a node of its own in the camera's namespace.

Live:       ros2 launch smotracker_ros multi.launch.py cameras:=front,rear image:=image_raw
Recorded:   ros2 launch smotracker_ros multi.launch.py cameras:=left,right bags:=left.mcap,right.mcap output:=recordings
"""

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from smotracker_ros.ros.launching import (
    LaunchError,
    check_parameter_file,
    check_source,
    checked,
    given_arguments,
    number,
    shared_argument,
    shipped_file,
)

ARGUMENTS = (
    DeclareLaunchArgument("cameras", description="Names of the cameras, separated by commas: their namespaces."),
    DeclareLaunchArgument(
        "image",
        default_value="image",
        description="Image topic in each camera's namespace, for example image_raw or camera/image_raw.",
    ),
    shared_argument("image_transport"),
    DeclareLaunchArgument(
        "bags", default_value="", description="Bags to play in place of cameras, as many, separated by commas."
    ),
    DeclareLaunchArgument(
        "topics", default_value="", description="Image topic of each bag; empty: the only one in each."
    ),
    DeclareLaunchArgument(
        "output",
        default_value="recordings",
        description="Folder for what is made of bags, one for each camera.",
    ),
    DeclareLaunchArgument(
        "rate", default_value="0.0", description="Speed of the bags; 0.0: as fast as they can be tracked."
    ),
    shared_argument("preset", "Named set-up of the trackers; empty: as in params_file, or y-smotracker."),
    shared_argument("params_file", "Parameters of the trackers as YAML; /front/smotracker: in it means one camera's."),
    shared_argument("respawn", "Start a node again if it dies."),
    shared_argument("fastdds_profile"),
)


def split(text: str) -> list[str]:
    """The parts of a list that is written with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def make_cameras(context: LaunchContext) -> list[Action]:
    """For each camera what track.launch.py does, or with a bag what replay.launch.py does."""
    given = given_arguments(context, __file__, ARGUMENTS)
    cameras, bags, topics = split(given["cameras"]), split(given["bags"]), split(given["topics"])
    if not cameras or len(set(cameras)) < len(cameras):
        raise LaunchError("cameras:=NAME,NAME,... needs names that differ")
    if bags and len(bags) != len(cameras):
        raise LaunchError(f"{len(cameras)} cameras need as many bags, not {len(bags)}")
    if topics and len(topics) != len(bags):
        raise LaunchError(f"{len(bags)} bags need as many topics, or none, not {len(topics)}")
    check_parameter_file(given["params_file"])
    number(given, "rate")
    for bag in bags:
        check_source(bag)
    # Arguments of the same name reach the included file whether they are handed on or not: `image_transport`, too.
    common = {name: given[name] for name in ("preset", "params_file", "image_transport", "fastdds_profile")}
    actions: list[Action] = []
    for index, camera in enumerate(cameras):
        if bags:
            file = "replay.launch.py"
            own = {
                "bag": bags[index],
                "topic": topics[index] if topics else "",
                "output": f"{given['output']}/{camera}",
                "rate": given["rate"],
            }
        else:
            file = "track.launch.py"
            own = {name: given[name] for name in ("image", "respawn")}
        included = IncludeLaunchDescription(
            PythonLaunchDescriptionSource(shipped_file("launch", file)),
            launch_arguments={**common, **own, "namespace": camera}.items(),
        )
        # A group keeps one camera's arguments from the next one's.
        actions.append(GroupAction([included]))
    return actions


def generate_launch_description() -> LaunchDescription:
    """The arguments, and what is made of them."""
    return LaunchDescription([*ARGUMENTS, checked(make_cameras)])
