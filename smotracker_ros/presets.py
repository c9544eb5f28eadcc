"""Named set-ups, and how a tracker is built from one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smotracker_ros.detection import Detector
from smotracker_ros.frames import Frame
from smotracker_ros.settings import SettingsError, TrackerSettings
from smotracker_ros.tracker import SmoTracker

# A masklet is an object from its prompt on, and stays one whatever happens
_FIRST_FRAME: Mapping[str, Any] = {"prompts": "first_frame", "confirmations": 1, "least_travel": 0.0}

PRESETS: dict[str, Mapping[str, Any]] = {
    # YOLOv10 at clip boundaries, as the published Y-SMOTracker
    "y-smotracker": {},
    # What follows only the targets of the first frame: the same detector and windows, nothing else of this project
    "sam2": {**_FIRST_FRAME, "memory_policy": "fifo"},
    "samurai": {**_FIRST_FRAME, "memory_policy": "motion_aware", "mask_choice": "motion_aware"},
}


def load_settings(preset: str = "y-smotracker", overrides: Mapping[str, Any] | None = None) -> TrackerSettings:
    """Settings of a preset with some of them changed.

    Raises:
        SettingsError: if the preset or a setting is unknown, or a value is not allowed.
    """
    if preset not in PRESETS:
        raise SettingsError(f"unknown preset {preset!r}; there are: {', '.join(sorted(PRESETS))}")
    return TrackerSettings().replace({**PRESETS[preset], **(overrides or {})})


def build_tracker(settings: TrackerSettings, detector: Detector | None = None) -> SmoTracker:
    """Load the models that the settings name, run them once, and put a tracker together.

    Args:
        settings: of a preset.
        detector: used in place of the one that the settings name.

    Raises:
        ModelError: if SAM2 weights cannot be used.
        DetectorError: if detector weights cannot be used.
    """
    import torch

    from smotracker_ros.detection.yolo import YoloDetector
    from smotracker_ros.masklets.checkpoints import load_network
    from smotracker_ros.masklets.memory import POLICIES
    from smotracker_ros.masklets.propagator import Propagator

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    # denormal numbers slow a CPU down many times and carry no information
    torch.set_flush_denormal(True)
    if detector is None:
        detector = YoloDetector(Path(settings.detector_weights) if settings.detector_weights else None, device)
        # the first pass takes seconds, which a live stream would feel as lag
        detector.detect(Frame(np.zeros((256, 320, 3), dtype=np.uint8), 0), image_size=settings.detector_image_size)
    network = load_network(
        Path(settings.masklet_weights) if settings.masklet_weights else None, settings.masklet_image_size, device
    )
    propagator = Propagator(network, POLICIES[settings.memory_policy], settings.masklet_mode, settings.window_factor)
    return SmoTracker(detector, propagator, settings)
