"""Models that all runs of a comparison in a process share: loading them takes longer than many a run."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.detection import Detector
from smotracker_ros.evaluation.appearance import SharedAppearance
from smotracker_ros.masklets.memory import POLICIES
from smotracker_ros.masklets.propagator import Propagator
from smotracker_ros.presets import build_detector

if TYPE_CHECKING:
    from smotracker_ros.masklets.torch_network import TorchNetwork


@functools.lru_cache(maxsize=2)
def shared_detector(settings: TrackerSettings) -> Detector:
    """The detector that the settings name."""
    return build_detector(settings)


@functools.lru_cache(maxsize=1)
def shared_network(weights: str, image_size: int, device: str) -> TorchNetwork:
    """A SAM2 network in torch, of which the peers' appearances are.

    Args:
        weights: checkpoint; empty: the embedded one.
        image_size: side of its input in pixels; 0: the network's choice.
        device: where it computes.
    """
    from smotracker_ros.masklets.acceleration import accelerate, can_accelerate
    from smotracker_ros.masklets.checkpoints import load_network

    network = load_network(Path(weights) if weights else None, image_size, device)
    steps = network.steps
    if can_accelerate(steps.device, steps.precision):
        steps.readers = accelerate(steps.model)
    return network


@functools.lru_cache(maxsize=1)
def shared_appearances(network: TorchNetwork, mode: str, video: str) -> SharedAppearance:
    """Of one video, by its checksum: all trackers go over a sequence before the next one's turn comes."""
    return SharedAppearance(Propagator(network, POLICIES["fifo"], mode))
