"""The fusion node's own parameters; those of the fusion come from its settings."""

from __future__ import annotations

from smotracker_ros.core.settings import SettingsError
from smotracker_ros.ros.identities import RUN_ID
from smotracker_ros.ros.node_parameters import NodeParameter

PARAMETERS = (
    NodeParameter("autostart", True, "Configure and activate without being asked by a lifecycle manager."),
    NodeParameter(
        "cameras",
        "",
        "Names of the cameras, separated by commas: their namespaces, and their names in the file of extrinsics.",
    ),
    NodeParameter(
        "extrinsics",
        "",
        "YAML file that says where the cameras stand (docs/geometry.md); empty: TF says it, by the images' frame_id.",
    ),
    NodeParameter(
        "world_frame", "map", "Frame of the targets' places where TF is used; a file of extrinsics names its own."
    ),
    NodeParameter(
        "track_states",
        "{camera}/track_states",
        "Topic of a camera's tracks (smotracker_ros/TrackArray); {camera} stands for its name.",
    ),
    NodeParameter(
        "camera_info",
        "{camera}/camera_info",
        "Topic of a camera's calibration, which tells the angle of its pixels; without one, `pixel_angle` is taken.",
    ),
    RUN_ID,
    NodeParameter(
        "silence_seconds",
        3.0,
        "Warn, with the reason, when a camera has sent nothing for this long; the diagnostics WARN then.",
        minimum=0.5,
        maximum=3600.0,
        dynamic=True,
    ),
    NodeParameter(
        "warn_latency",
        1.0,
        "Diagnostics WARN from this many seconds on between an image's time stamp and the arrival of its tracks.",
        minimum=0.0,
        maximum=3600.0,
        dynamic=True,
    ),
)
"""Besides :class:`smotracker_ros.space.fusion.settings.FusionSettings`."""


def camera_names(text: str) -> tuple[str, ...]:
    """The names in the parameter `cameras`.

    Raises:
        SettingsError: if there are none, or two are the same.
    """
    names = tuple(part.strip().strip("/") for part in text.split(",") if part.strip().strip("/"))
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"cameras:=NAME,NAME,... needs names that differ, not {text!r}")
    return names
