"""What the launch files share: arguments, checks before the start, FastDDS's profile, failures that show in the end.

`ros2 launch` returns 0 whatever its processes return. Here a failure is told at once, ends the processes that need each
other, and makes the launch end with an error. What else is launched goes on meanwhile.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import launch.logging
from launch import Action, Event, EventHandler, LaunchContext
from launch.actions import DeclareLaunchArgument, EmitEvent, ExecuteProcess, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit, OnShutdown
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.substitutions import AnonName, LaunchConfiguration, PathJoinSubstitution
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from smotracker_ros.core.names import did_you_mean
from smotracker_ros.core.parameter_files import ParameterFileError, read_parameter_file
from smotracker_ros.ros.launch_arguments import SHARED
from smotracker_ros.ros.respawn_limit import CRASH_CODE, RespawnLimit

PATIENCE = "30"
"""Seconds that a node has to end in order before launch sends SIGTERM, and again before it kills it: models may just be
loading, or files be completed."""

# Up to Jazzy, and from then on. A FastDDS that knows both would read the file twice, and complain.
_OLD_PROFILE, _NEW_PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
# Arguments that launch itself reads
_OF_LAUNCH = ("launch-prefix", "launch-prefix-filter", "sigterm_timeout", "sigkill_timeout", "emulate_tty")


Maker = Callable[[LaunchContext], list[Action]]


class LaunchError(RuntimeError):
    """The launch cannot go on; the message says what to change."""


def checked(make: Maker) -> OpaqueFunction:
    """The action that makes further actions, or ends the launch with an error if there is something wrong.

    An error that is raised while launch collects its actions makes it forget processes that it is about to start, of an
    including launch file, too: they would run on without it.
    """

    def function(context: LaunchContext) -> list[Action]:
        try:
            return make(context)
        except (LaunchError, ParameterFileError) as error:
            return [*failure(str(error)), EmitEvent(event=Shutdown(reason=str(error)))]

    return OpaqueFunction(function=function)


# Arguments -----------------------------------------------------------------------------------------------------------


def shipped_file(*parts: str) -> PathJoinSubstitution:
    """Where a file or folder of the package lies, by the parts of its path in the share folder."""
    return PathJoinSubstitution([FindPackageShare("smotracker_ros"), *parts])


def shared_argument(name: str, description: str = "") -> DeclareLaunchArgument:
    """One of :data:`smotracker_ros.ros.launch_arguments.SHARED`.

    Args:
        name: of the argument.
        description: what it is in this launch file; empty: what it is in most.
    """
    shared = SHARED[name]
    return DeclareLaunchArgument(
        name,
        default_value=shipped_file(*shared.default.split("/")) if shared.is_shipped else shared.default,
        choices=list(shared.choices) or None,
        description=description or shared.description,
    )


def given_arguments(context: LaunchContext, file: str, arguments: Iterable[DeclareLaunchArgument]) -> dict[str, str]:
    """Values of a launch file's arguments by name, defaults included; see :func:`check_arguments`.

    Raises:
        LaunchError: if the command line has others.
    """
    declared = list(arguments)
    check_arguments(context, file, declared)
    return {argument.name: LaunchConfiguration(argument.name).perform(context) for argument in declared}


# Before anything starts ----------------------------------------------------------------------------------------------


def check_arguments(context: LaunchContext, file: str, arguments: Iterable[DeclareLaunchArgument]) -> None:
    """Refuse arguments on the command line that a launch file does not have: launch itself passes them over.

    Args:
        context: of the launch.
        file: path of the launch file. If another one includes it, the command line is not for it.
        arguments: those that it declares.

    Raises:
        LaunchError: naming the argument.
    """
    name_of_file, path = Path(file).name, Path(file).resolve()
    called = any(pair == ("smotracker_ros", name_of_file) for pair in itertools.pairwise(sys.argv))
    if not called and not any(Path(word).resolve() == path for word in sys.argv if word.endswith(name_of_file)):
        return
    known = [argument.name for argument in arguments]
    for name in (word.partition(":=")[0] for word in context.argv if ":=" in word):
        if name not in known and name not in _OF_LAUNCH:
            raise LaunchError(
                f"{name_of_file} has no argument {name}{did_you_mean(name, known) or '; see --show-args'}"
            )


def check_parameter_file(file: str) -> set[str]:
    """Names of all parameters that a parameter file sets for some node.

    Raises:
        ParameterFileError: if it cannot be used.
    """
    return {name for values in read_parameter_file(file).values() for name in values}


def run_parameter(context: LaunchContext, given: Mapping[str, str], in_file: set[str]) -> dict[str, ParameterValue]:
    """The parameter `run_id` of a node that gives ids: as given, as in its parameter file, or a new name.

    Args:
        context: of the launch.
        given: arguments of the launch file.
        in_file: names of the parameters that its file sets.
    """
    if not given["run_id"] and "run_id" in in_file:
        return {}
    return {"run_id": ParameterValue(given["run_id"] or AnonName("run").perform(context), value_type=str)}


def check_source(path: str) -> None:
    """See that there is something to play.

    Raises:
        LaunchError: if there is not.
    """
    if "://" not in path and not Path(path).expanduser().exists():
        raise LaunchError(f"{path} does not exist; give a rosbag2 as bag, or a video file or image folder as source")


def number(given: Mapping[str, str], name: str) -> float:
    """The value of an argument that must be a number, 0 or more.

    Raises:
        LaunchError: if it is not.
    """
    try:
        value = float(given[name])
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise LaunchError(f"{name}:={given[name]} is no number of 0 or more")
    return value


def profile_environment(context: LaunchContext, profile: str) -> dict[str, str]:
    """Variables with which a process loads a FastDDS profile, for this process alone.

    Args:
        context: of the launch.
        profile: file that was asked for; empty: the package's, unless the environment names the user's own.
    """
    if not profile and any(context.environment.get(name) for name in (_OLD_PROFILE, _NEW_PROFILE)):
        return {}
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    file = profile or shipped_file("config", "fastdds.xml").perform(context)
    return {_OLD_PROFILE if old else _NEW_PROFILE: file}


# Failures ------------------------------------------------------------------------------------------------------------


class _LaunchFailed(Event):  # type: ignore[misc]
    """Something has failed for good."""

    name = "smotracker_ros.LaunchFailed"

    def __init__(self, text: str) -> None:
        self.text = text


def failure(text: str) -> list[Action]:
    """Tell of a failure now, and let the launch end with an error when it ends."""
    launch.logging.get_logger("smotracker_ros").error(text)
    failed = _LaunchFailed(text)

    def fail(context: LaunchContext) -> None:
        # What is raised while an event is handled is what makes launch return 1
        raise LaunchError(text)

    # An event of its own: an error in the handling of `Shutdown` would keep launch from ending its processes
    return [
        RegisterEventHandler(
            EventHandler(matcher=lambda event: event is failed, entities=[OpaqueFunction(function=fail)])
        ),
        RegisterEventHandler(OnShutdown(on_shutdown=[EmitEvent(event=failed)])),
    ]


def ended(*processes: ExecuteProcess) -> list[Action]:
    """End processes; those that have ended already are not started again."""
    return [EmitEvent(event=ShutdownProcess(process_matcher=matches_action(process))) for process in processes]


def node_watch(node: ExecuteProcess, respawn: bool, deaths: int) -> Action:
    """Watch a node that launch starts again: not for ever, and not if it was started wrongly.

    Args:
        node: declared with `respawn`.
        respawn: whether launch starts it again.
        deaths: so many within ten minutes are too many; 0: never.
    """
    limit = RespawnLimit(deaths)

    def on_exit(event: ProcessExited, context: LaunchContext) -> list[Action]:
        code = event.returncode
        if context.is_shutdown or code == 0:
            return []
        if 0 < code != CRASH_CODE:
            return [
                *ended(node),
                *failure(f"{event.process_name} cannot run (exit code {code}); see what it said above"),
            ]
        if not respawn:
            return failure(f"{event.process_name} has died (exit code {code})")
        if limit.reached():
            return [*ended(node), *failure(f"{event.process_name}: {limit}, and is not started again")]
        return []

    return RegisterEventHandler(OnProcessExit(target_action=node, on_exit=on_exit))


def replay_watch(recorder: ExecuteProcess, tracker: ExecuteProcess, player: ExecuteProcess) -> list[Action]:
    """Let the three end together: in order when the recording is written, with an error when one of them fails."""
    processes = {"recorder": recorder, "tracker": tracker, "player": player}
    ending = False

    def watch(name: str) -> Action:
        def on_exit(event: ProcessExited, context: LaunchContext) -> list[Action]:
            nonlocal ending
            if ending or context.is_shutdown or (name == "player" and event.returncode == 0):
                return []
            ending = True
            others = ended(*(process for other, process in processes.items() if other != name))
            if name == "recorder" and event.returncode == 0:
                return others
            code = event.returncode
            return [
                *others,
                *failure(f"the replay has failed: its {name} ended (exit code {code}); see what it said above"),
            ]

        return RegisterEventHandler(OnProcessExit(target_action=processes[name], on_exit=on_exit))

    return [watch(name) for name in processes]
