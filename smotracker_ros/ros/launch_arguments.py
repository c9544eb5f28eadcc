"""Arguments that several launch files have, told once. ROS's launch need not be installed to read them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SharedArgument:
    """An argument of launch files.

    Attributes:
        default: its default; of a file of the package, the path in its share folder.
        description: for `ros2 launch --show-args`.
        choices: values allowed; empty: any.
        is_shipped: whether the default is a file of the package.
    """

    default: str
    description: str
    choices: tuple[str, ...] = ()
    is_shipped: bool = False


SHARED = {
    "run_id": SharedArgument(
        "",
        "Name of this run: within it no id is used twice, also when the node is started again; "
        "empty: as in params_file, or a new name.",
    ),
    "image_transport": SharedArgument(
        "",
        "How that topic is sent; compressed: on IMAGE/compressed. Empty: as in params_file, or raw.",
        choices=("", "raw", "compressed"),
    ),
    "preset": SharedArgument("", "Named set-up of the tracker; empty: as in params_file, or y-smotracker."),
    "params_file": SharedArgument("config/tracker.yaml", "Parameters of the tracker as YAML.", is_shipped=True),
    "respawn": SharedArgument("true", "Start the node again if it dies.", choices=("true", "false")),
    "use_sim_time": SharedArgument(
        "", "Take the time from /clock; empty: as in params_file, or false.", choices=("", "true", "false")
    ),
    "autostart": SharedArgument(
        "",
        "Activate at once; false: wait for a lifecycle manager; empty: as in params_file, or true.",
        choices=("", "true", "false"),
    ),
    "respawn_limit": SharedArgument("5", "Deaths within ten minutes after which it is not started again; 0: no limit."),
    "fastdds_profile": SharedArgument(
        "", "FastDDS profile of all nodes. Empty: yours, if the environment names one, else the package's."
    ),
}
"""By name."""
