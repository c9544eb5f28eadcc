"""SMOTracker for ROS 2: small-object tracking with SAM2 masklets.

The tracker itself (everything outside :mod:`smotracker_ros.ros`) knows nothing of ROS.
"""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smotracker_ros.core.frames import Frame
    from smotracker_ros.core.settings import TrackerSettings
    from smotracker_ros.core.tracks import Track, Tracks
    from smotracker_ros.detection.detections import Detections, Detector
    from smotracker_ros.io.overlay import draw_overlay
    from smotracker_ros.io.sources import open_source
    from smotracker_ros.presets import build_tracker, load_settings
    from smotracker_ros.tracking.tracker import SmoTracker

# In a colcon workspace the generated messages (`smotracker_ros.msg`) live in the install space while tests may run
# against the source tree: both folders together form this package.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.2.0"

__all__ = [
    "Detections",
    "Detector",
    "Frame",
    "SmoTracker",
    "Track",
    "TrackerSettings",
    "Tracks",
    "build_tracker",
    "draw_overlay",
    "load_settings",
    "open_source",
]

_HOMES = {
    "Detections": "detection.detections",
    "Detector": "detection.detections",
    "Frame": "core.frames",
    "SmoTracker": "tracking.tracker",
    "Track": "core.tracks",
    "TrackerSettings": "core.settings",
    "Tracks": "core.tracks",
    "build_tracker": "presets",
    "draw_overlay": "io.overlay",
    "load_settings": "presets",
    "open_source": "io.sources",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch takes seconds, which `smotracker --help` does not need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
