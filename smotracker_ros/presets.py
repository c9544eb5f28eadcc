"""Named set-ups, and how a tracker is built from one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.core.settings import SettingsError, TrackerSettings
from smotracker_ros.detection import Detector
from smotracker_ros.models.exports import RUNTIMES
from smotracker_ros.models.extras import needed_by
from smotracker_ros.models.hardware import HardwareError, choose_device, choose_precision
from smotracker_ros.models.runtimes import choose_runtime
from smotracker_ros.models.weight_files import ANYWHERE, check_trust, find_weights

if TYPE_CHECKING:
    from smotracker_ros.masklets.network import MaskletNetwork
    from smotracker_ros.masklets.propagator import Propagator
    from smotracker_ros.tracking.tracker import SmoTracker

_logger = logging.getLogger(__name__)

# A masklet is an object from its prompt on, and stays one whatever happens
_FIRST_FRAME: Mapping[str, Any] = {
    "prompts": "first_frame",
    "confirm_probability": 0.0,
    "masklet_seconds": 0.0,
}
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


def build_detector(settings: TrackerSettings) -> Detector:
    """Load the detector that the settings name.

    Raises:
        DetectorError: if its weights cannot be used.
        WeightError: if they are missing, changed, or a pickle from a folder that is not trusted.
        SettingsError: if the device does not exist, or computes badly in the precision.
    """
    from smotracker_ros.detection.sliced import SlicedDetector

    detector = _load_detector(settings)
    if settings.slice_size:
        return SlicedDetector(detector, settings.slice_size)
    return detector


@contextlib.contextmanager
def _hardware_checked() -> Iterator[None]:
    """A device or a number format that this machine lacks is a setting that cannot be met."""
    try:
        yield
    except HardwareError as error:
        raise SettingsError(str(error)) from error


@_hardware_checked()
def _load_detector(settings: TrackerSettings) -> Detector:

    device = choose_device(settings.device)
    if settings.detector == "grounding_dino":
        from smotracker_ros.detection.grounding_dino import DEFAULT_MODEL, GroundingDinoDetector

        return GroundingDinoDetector(
            settings.detector_weights or DEFAULT_MODEL,
            settings.prompt,
            offline=settings.offline,
            device=device,
            precision=choose_precision(settings.precision, device),
        )
    weights = find_weights(settings.detector_weights)
    if weights is None or weights.suffix != ".onnx":
        anywhere = settings.trusted_weights == ANYWHERE
        names = [] if anywhere else settings.trusted_weights.split(":")
        folders = [Path(folder).expanduser() for folder in names if folder]
        for folder in folders:
            if not folder.is_dir():
                _logger.warning("trusted_weights names %s, which is no folder", folder)
        check_trust(weights, folders, anywhere)
    from smotracker_ros.detection.yolo_loading import load_yolo

    return load_yolo(weights, device, settings.runtime, settings.precision)


def build_tracker(
    settings: TrackerSettings, detector: Detector | None = None, network: MaskletNetwork | None = None
) -> SmoTracker:
    """Load the models that the settings name, run them once, and put a tracker together.

    Args:
        settings: of a preset.
        detector: used in place of the one that the settings name.
        network: the same. Trackers of several cameras may share both, if they are called in turn.

    Raises:
        ModelError: if SAM2 weights cannot be used.
        DetectorError: if detector weights cannot be used.
        WeightError: if weights are missing, changed, or a pickle from a folder that is not trusted.
        SettingsError: if the device does not exist.
    """
    from smotracker_ros.masklets.memory import POLICIES
    from smotracker_ros.masklets.propagator import Propagator
    from smotracker_ros.tracking.tracker import SmoTracker

    if detector is None:
        detector = build_detector(settings)
        # the first pass takes seconds, which a live stream would feel as lag
        detector.detect(Frame(_blank(), 0), image_size=settings.detector_image_size)
    network = network or build_network(settings)
    propagator = Propagator(network, POLICIES[settings.memory_policy], settings.masklet_mode)
    if settings.runtime == "torch_compile" or network.device != "cpu":
        _warm_up(propagator)
    return SmoTracker(detector, propagator, settings)


@_hardware_checked()
def build_network(settings: TrackerSettings) -> MaskletNetwork:
    """Load the SAM2 model that the settings name.

    Raises:
        ModelError: if its weights cannot be used.
        WeightError: if embedded files are missing or have changed.
        SettingsError: if the device does not exist, or computes badly in the precision.
        ExportError: if the runtime cannot run it.
    """
    device = choose_device(settings.device)
    is_embedded = _is_embedded(settings)
    runtime = choose_runtime(settings.runtime, "masklets", is_embedded, device)
    if runtime == "onnxruntime" and device == "cpu" and is_embedded:
        from smotracker_ros.masklets.onnx_network import OnnxNetwork

        return OnnxNetwork.embedded()
    with needed_by("a SAM2 checkpoint"):
        from smotracker_ros.masklets.acceleration import accelerate, can_accelerate
        from smotracker_ros.masklets.checkpoints import load_steps
        from smotracker_ros.masklets.torch_network import TorchNetwork

    steps = load_steps(find_weights(settings.masklet_weights), settings.masklet_image_size, device)
    parameters = sum(parameter.numel() for parameter in steps.model.parameters())
    precision = choose_precision(settings.precision, device, parameters)
    if runtime in RUNTIMES:
        from smotracker_ros.masklets.exported import export_encoder, load_encoder

        steps.image_encoder = load_encoder(export_encoder(steps), runtime, steps.device)
    steps.compute_in(precision)
    if runtime == "torch_compile":
        steps.model.image_encoder.compile()
    elif can_accelerate(steps.device, steps.precision):
        steps.readers = accelerate(steps.model)
    return TorchNetwork(steps)


def _is_embedded(settings: TrackerSettings) -> bool:
    """Whether the settings name the network whose graphs for onnxruntime belong to the package."""
    return (
        settings.masklet_weights in ("", "sam2_nano")
        and settings.masklet_image_size in (0, 96)
        and settings.precision in ("auto", "int8", "float32")
    )


def _blank() -> UInt8Image:
    return np.zeros((256, 320, 3), dtype=np.uint8)


def _warm_up(propagator: Propagator) -> None:
    """Let one masklet and then several pass through the network: compilers and GPUs prepare themselves on first use."""
    for count in (1, 3):
        boxes = {number: as_boxes([60 * number, 50, 60 * number + 12, 60])[0] for number in range(1, count + 1)}
        for index in range(2):
            propagator.step(Frame(_blank(), index))
            propagator.prompt(Frame(_blank(), index), boxes)
        propagator.reset()
