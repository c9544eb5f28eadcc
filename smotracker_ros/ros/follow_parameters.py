"""The follow node's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from smotracker_ros.core.settings import SettingsError
from smotracker_ros.ros.node_parameters import NodeParameter
from smotracker_ros.space.follow import RULES, FollowSettings
from smotracker_ros.space.pan_tilt import HeadLimits


def _number(name: str, default: float, description: str, minimum: float, maximum: float) -> NodeParameter:
    return NodeParameter(name, default, description, minimum=minimum, maximum=maximum, dynamic=True)


PARAMETERS = (
    NodeParameter("autostart", True, "Configure and activate without being asked by a lifecycle manager."),
    NodeParameter(
        "base_frame",
        "ptz_base",
        "Frame of the head's base (x forward, y left, z up), in which directions and angles are; TF, or the file of "
        "`extrinsics`, says where the camera is in it at each image's time.",
    ),
    NodeParameter(
        "extrinsics",
        "",
        "YAML file with the camera's pose in `base_frame`, for a camera that stands still beside the head; empty: TF.",
    ),
    NodeParameter("pan_joint", "pan", "Name of the pan joint in `joint_command`."),
    NodeParameter("tilt_joint", "tilt", "Name of the tilt joint in `joint_command`; its angle grows upwards."),
    NodeParameter(
        "rule",
        "none",
        "Whom to follow where the service `~/choose` says nobody: the most probable track, the oldest, the one nearest "
        "to the image's centre, the largest, or none.",
        choices=RULES,
        dynamic=True,
    ),
    NodeParameter(
        "classes",
        "",
        "Names of classes, separated by commas, from which the rule chooses; empty: all.",
        dynamic=True,
    ),
    NodeParameter("friendly", False, "The rule may choose friendly targets, too.", dynamic=True),
    _number("choose_seconds", 0.5, "For so long a track has to be the rule's choice before it is followed.", 0.0, 60.0),
    _number(
        "coast_seconds",
        2.0,
        "For so long the head goes on with a target that is not seen; then it rests where that must be.",
        0.0,
        60.0,
    ),
    _number("give_up_seconds", 6.0, "After so long without the target another one may be chosen.", 0.1, 600.0),
    _number(
        "lead_seconds",
        0.1,
        "How long a command takes until the head has it: the target is led by so much, and by the age of its image.",
        0.0,
        5.0,
    ),
    _number("command_rate", 30.0, "Commands per second.", 1.0, 200.0),
    _number("pan_least", -180.0, "Smallest pan angle, degrees; a range of 360 has no stop.", -3600.0, 3600.0),
    _number("pan_greatest", 180.0, "Greatest pan angle, degrees.", -3600.0, 3600.0),
    _number("tilt_least", -20.0, "Smallest tilt angle, degrees.", -90.0, 90.0),
    _number("tilt_greatest", 80.0, "Greatest tilt angle, degrees.", -90.0, 90.0),
    _number("pan_rate", 60.0, "Greatest pan rate, degrees per second.", 0.1, 1000.0),
    _number("tilt_rate", 40.0, "Greatest tilt rate, degrees per second.", 0.1, 1000.0),
    _number(
        "pan_acceleration",
        45.0,
        "Greatest pan acceleration, degrees per second squared; a head that jerks before a plain sky loses its target.",
        0.1,
        10000.0,
    ),
    _number("tilt_acceleration", 45.0, "Greatest tilt acceleration, degrees per second squared.", 0.1, 10000.0),
    _number("silence_seconds", 3.0, "Warn, with the reason, when no tracks have arrived for this long.", 0.5, 3600.0),
)


def follow_settings(value: Callable[[str], Any]) -> FollowSettings:
    """How a target is chosen and kept, out of parameters' values by name."""
    classes = tuple(part.strip() for part in value("classes").split(",") if part.strip())
    names = ("choose_seconds", "coast_seconds", "give_up_seconds")
    return FollowSettings(value("rule"), classes, value("friendly"), *(value(name) for name in names))


def head_limits(value: Callable[[str], Any]) -> HeadLimits:
    """What the head can do, out of parameters' values by name.

    Raises:
        SettingsError: if a range is empty.
    """
    for joint in ("pan", "tilt"):
        if value(f"{joint}_least") >= value(f"{joint}_greatest"):
            raise SettingsError(f"{joint}_least must be below {joint}_greatest")

    def both(ending: str) -> tuple[float, float]:
        return float(np.radians(value(f"pan_{ending}"))), float(np.radians(value(f"tilt_{ending}")))

    return HeadLimits(both("least"), both("greatest"), both("rate"), both("acceleration"))
