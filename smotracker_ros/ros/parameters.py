"""The tracker node's parameters: the tracker's settings, derived from their one definition, and the node's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from rclpy.node import Node
from rclpy.parameter import Parameter

from smotracker_ros.core.settings import SettingsError, TrackerSettings
from smotracker_ros.presets import PRESETS, load_settings
from smotracker_ros.ros.identities import RUN_ID
from smotracker_ros.ros.node_parameters import NodeParameter, declare
from smotracker_ros.ros.space_cues import PARAMETERS as SPACE_PARAMETERS
from smotracker_ros.space.fusion.settings import FusionSettings

PARAMETERS = (
    NodeParameter("preset", "y-smotracker", "Named set-up: defaults of the other parameters.", choices=tuple(PRESETS)),
    NodeParameter("autostart", True, "Configure and activate without being asked by a lifecycle manager."),
    NodeParameter(
        "image_transport",
        "raw",
        "How images are sent: sensor_msgs/Image on `image`, or CompressedImage on `image/compressed`.",
        choices=("raw", "compressed"),
    ),
    NodeParameter(
        "reliability",
        "auto",
        "Delivery asked for images; auto: as the publisher offers.",
        choices=("auto", "best_effort", "reliable"),
    ),
    NodeParameter(
        "on_overload",
        "latest",
        "When images come too fast: skip to the latest, or queue every one.",
        choices=("latest", "every_frame"),
    ),
    NodeParameter(
        "max_looks",
        0,
        "Most targets at which SAM2 looks on one image, and most that one detector pass starts: calm ones wait first, "
        "their masks follow their pictures. 0: with `latest` as many as the camera's rate leaves time for, with "
        "`every_frame` all.",
        minimum=0,
        maximum=1024,
        dynamic=True,
    ),
    NodeParameter(
        "queue_depth", 0, "Images that may wait; 0: 1 for `latest`, 300 for `every_frame`.", minimum=0, maximum=10000
    ),
    NodeParameter(
        "publish_masks",
        True,
        "Publish the label image on `masks` and `masks/compressed` while someone subscribes.",
        dynamic=True,
    ),
    NodeParameter(
        "class_id",
        "name",
        "What `class_id` in `tracks` holds: the class's name, or its number; `label_info` has both.",
        choices=("name", "number"),
        dynamic=True,
    ),
    NodeParameter(
        "cue_seconds",
        1.0,
        "How late a cue may come; pictures of that time are kept while somebody publishes `cues`.",
        minimum=0.0,
        maximum=10.0,
        dynamic=True,
    ),
    NodeParameter(
        "rectified",
        False,
        "The images have been rectified: bearings use the projection matrix of `camera_info`, and no distortion.",
        dynamic=True,
    ),
    RUN_ID,
    NodeParameter(
        "silence_seconds",
        5.0,
        "Warn, with the reason, when no image has arrived for this long; the diagnostics are STALE then.",
        minimum=0.5,
        maximum=3600.0,
        dynamic=True,
    ),
    NodeParameter(
        "failure_seconds",
        5.0,
        "When tracking has failed on every image for this long, the node goes through its error state to unconfigured, "
        "or ends with exit code 70 if it started itself.",
        minimum=0.1,
        maximum=3600.0,
        dynamic=True,
    ),
    NodeParameter(
        "warn_latency",
        1.0,
        "Diagnostics WARN from this many seconds on between an image's time stamp and its results (99th percentile).",
        minimum=0.0,
        maximum=3600.0,
        dynamic=True,
    ),
    NodeParameter("error_latency", 5.0, "The same for ERROR.", minimum=0.0, maximum=3600.0, dynamic=True),
    NodeParameter(
        "warn_drops",
        0.8,
        "Diagnostics WARN from this share of images on that are not tracked.",
        minimum=0.0,
        maximum=1.0,
        dynamic=True,
    ),
    NodeParameter("error_drops", 0.98, "The same for ERROR.", minimum=0.0, maximum=1.0, dynamic=True),
    *SPACE_PARAMETERS,
)
"""The tracker node's own parameters; those of the tracker come from its settings."""


def setting_parameters(defaults: TrackerSettings | FusionSettings) -> tuple[NodeParameter, ...]:
    """One parameter per setting, with the values of `defaults`, descriptions and ranges from the settings' metadata."""
    return tuple(
        NodeParameter(
            name=field.name,
            default=getattr(defaults, field.name),
            description=field.metadata["description"],
            minimum=field.metadata["minimum"],
            maximum=field.metadata["maximum"],
            choices=field.metadata["choices"],
            dynamic=field.metadata["dynamic"],
            multiple=field.metadata["multiple"],
        )
        for field in dataclasses.fields(defaults)
    )


def declare_settings(node: Node, preset: str) -> TrackerSettings:
    """Declare the tracker's settings with a preset's values as defaults; returns the settings with all overrides.

    Raises:
        SettingsError: if the preset is unknown or an override is not allowed.
    """
    defaults = load_settings(preset, {})
    return defaults.replace(declare(node, setting_parameters(defaults), has_lifecycle=True))


def check_changes(known: Mapping[str, NodeParameter], parameters: Iterable[Parameter], configured: bool) -> None:
    """Refuse changes that are not allowed, or not now.

    Args:
        known: the node's parameters by name.
        parameters: the new values.
        configured: whether the node is configured or active.

    Raises:
        SettingsError: naming the parameter and what to do.
    """
    for parameter in parameters:
        declared = known.get(parameter.name)
        if declared is None:
            continue
        declared.check(parameter.value)
        if configured and not declared.dynamic:
            raise SettingsError(
                f"{parameter.name} may change only while the node is unconfigured: deactivate and clean it up before, "
                "for example with `ros2 lifecycle set`"
            )


def changed_settings(settings: TrackerSettings, parameters: Iterable[Parameter]) -> TrackerSettings:
    """The settings after parameters have changed; parameters that are no settings are passed over.

    Raises:
        SettingsError: if a value is not allowed.
    """
    names = {field.name for field in dataclasses.fields(TrackerSettings)}
    return settings.replace({parameter.name: parameter.value for parameter in parameters if parameter.name in names})


def preset_changes(settings: TrackerSettings, before: str, after: str) -> list[Parameter]:
    """What changes when another preset is chosen: the settings that still have the value of the one before."""
    old, new = load_settings(before), load_settings(after)
    return [
        Parameter(field.name, value=getattr(new, field.name))
        for field in dataclasses.fields(TrackerSettings)
        if getattr(settings, field.name) == getattr(old, field.name) != getattr(new, field.name)
    ]
