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
# Thresholds as published; its confidence is not that of a detector that was trained for the targets
_GROUNDING_DINO: Mapping[str, Any] = {
    "detector": "grounding_dino",
    "detector_confidence": 0.35,
    "birth_confidence": 0.35,
}

PRESETS: dict[str, Mapping[str, Any]] = {
    # YOLOv10 at clip boundaries, as the published Y-SMOTracker
    "y-smotracker": {},
    # Grounding DINO at clip boundaries, as the published G-SMOTracker
    "g-smotracker": _GROUNDING_DINO,
    # What follows only the targets of the first frame: the same detector and windows, nothing else of this project
    "sam2": {**_FIRST_FRAME, "memory_policy": "fifo"},
    "samurai": {**_FIRST_FRAME, "memory_policy": "motion_aware", "mask_choice": "motion_aware"},
    "grounded-sam2": {**_GROUNDING_DINO, **_FIRST_FRAME, "memory_policy": "fifo"},
}


def load_settings(preset: str = "y-smotracker", overrides: Mapping[str, Any] | None = None) -> TrackerSettings:
    """Settings of a preset with some of them changed.

    Raises:
        SettingsError: if the preset or a setting is unknown, or a value is not allowed.
    """
    if preset not in PRESETS:
        raise SettingsError(f"unknown preset {preset!r}; there are: {', '.join(sorted(PRESETS))}")
    return TrackerSettings().replace({**PRESETS[preset], **(overrides or {})})


def choose_device(name: str) -> str:
    """The torch device of a setting: for "auto" the first GPU if there is one.

    Raises:
        SettingsError: if torch knows no such device, or this machine does not have it.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"device must be auto, cpu, cuda or cuda:N, not {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA devices; use auto or cpu"
        )
    return name


def build_detector(settings: TrackerSettings) -> Detector:
    """Load the detector that the settings name.

    Raises:
        DetectorError: if its weights cannot be used.
        SettingsError: if the device does not exist.
    """
    device = choose_device(settings.device)
    if settings.detector == "grounding_dino":
        from smotracker_ros.detection.grounding_dino import GroundingDinoDetector

        return GroundingDinoDetector(
            settings.grounding_dino_weights, settings.prompt, settings.text_threshold, settings.offline, device
        )
    from smotracker_ros.detection.yolo import YoloDetector

    return YoloDetector(Path(settings.detector_weights) if settings.detector_weights else None, device)


def build_tracker(settings: TrackerSettings, detector: Detector | None = None) -> SmoTracker:
    """Load the models that the settings name, run them once, and put a tracker together.

    Args:
        settings: of a preset.
        detector: used in place of the one that the settings name.

    Raises:
        ModelError: if SAM2 weights cannot be used.
        DetectorError: if detector weights cannot be used.
        SettingsError: if the device does not exist.
    """
    import torch

    from smotracker_ros.masklets.checkpoints import load_network
    from smotracker_ros.masklets.memory import POLICIES
    from smotracker_ros.masklets.propagator import Propagator

    # denormal numbers slow a CPU down many times and carry no information
    torch.set_flush_denormal(True)
    if detector is None:
        detector = build_detector(settings)
        # the first pass takes seconds, which a live stream would feel as lag
        detector.detect(Frame(np.zeros((256, 320, 3), dtype=np.uint8), 0), image_size=settings.detector_image_size)
    network = load_network(
        Path(settings.masklet_weights) if settings.masklet_weights else None,
        settings.masklet_image_size,
        choose_device(settings.device),
    )
    propagator = Propagator(network, POLICIES[settings.memory_policy], settings.masklet_mode, settings.window_factor)
    return SmoTracker(detector, propagator, settings)
