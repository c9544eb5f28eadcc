"""Rendered scenes of several cameras: each sees the same flights from where it stands.

Skies and foregrounds are each camera's own: only what flies is one scene. Targets pass behind foregrounds, and behind
each other by their distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smotracker_ros.training.backgrounds import Background, make_background
from smotracker_ros.training.compositing import (
    SceneFrame,
    Sensor,
    composite,
    expose,
    frame_truth,
    make_sensor,
    target_color,
)
from smotracker_ros.training.space_flights import Flight
from smotracker_ros.training.space_rig import Rig, RigCamera
from smotracker_ros.training.targets import BIRD, Look, draw_patch, random_look, silhouette
from smotracker_ros.training.trajectories import smooth_noise

_NOISE = (0.5, 2.5)
_CONTRASTS = (40.0, 150.0)
_STILL = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class _Appearance:
    """What a target looks like to all cameras."""

    flight: Flight
    look: Look
    contrast: float
    bright: bool
    sway: npt.NDArray[np.float64]


def render_camera(rig: Rig, number: int, seed: int) -> Iterator[SceneFrame]:
    """Render what a camera sees, image by image.

    Args:
        rig: cameras and flights.
        number: of the camera in the rig.
        seed: of the looks, which are the same in all cameras, and of the camera's sky and noise.

    Returns:
        Images with their truth; a target's id is its place among the flights plus one.
    """
    camera = rig.cameras[number]
    frames, (height, width) = len(camera.times), camera.calibration.size
    looks = np.random.default_rng([seed, 11])
    targets = [
        _Appearance(
            flight,
            random_look(flight.class_id, looks),
            float(np.exp(looks.uniform(*np.log(_CONTRASTS)))),
            bool(looks.random() < 0.25),
            smooth_noise(frames, 12.0, looks)[:, 0] * 0.1,
        )
        for flight in rig.flights
    ]
    rng = np.random.default_rng([seed, 13, number])
    background = make_background((width, height), height, frames, False, rng)
    sensor = make_sensor((width, height), float(rng.uniform(*_NOISE)), 0.0, False, rng)
    colors = [target_color(background, t.contrast, t.bright, True, False, rng) for t in targets]
    for frame in range(frames):
        yield _render(camera, frame, background, targets, colors, sensor, rng)


def _render(
    camera: RigCamera,
    frame: int,
    background: Background,
    targets: list[_Appearance],
    colors: list[tuple[npt.NDArray[np.float32], float]],
    sensor: Sensor,
    rng: np.random.Generator,
) -> SceneFrame:
    height, width = camera.calibration.size
    image, _, foreground = background.view(_STILL, frame, width, height)
    labels = np.zeros((height, width), dtype=np.uint16)
    time, step = float(camera.times[frame]), _step(camera)
    nowhere = (0, (slice(0, 0), slice(0, 0)))
    drawn = [nowhere] * len(targets)
    distances = [float(np.linalg.norm(t.flight.places([time])[0] - camera.pose.position)) for t in targets]
    for index in sorted(range(len(targets)), key=lambda item: -distances[item]):
        target = targets[index]
        places = target.flight.places([time - sensor.shutter * step, time, time + 0.2])
        directions = camera.pose.points_from_world(places)
        pixels = camera.calibration.project(directions)
        if not np.isfinite(pixels).all() or not _near(pixels[1], width, height):
            continue
        size = target.flight.width / distances[index] * float(camera.calibration.matrix[0, 0])
        velocity = pixels[2] - pixels[1]
        climb = float(np.arctan2(velocity[1], abs(velocity[0]) + 3.0))
        pitch = (0.6 if target.flight.class_id == BIRD else 0.1) * climb
        heading_left = bool(velocity[0] < 0)
        smear = np.clip(pixels[1] - pixels[0], -12, 12)
        patch = draw_patch(
            silhouette(target.look, time),
            (float(pixels[1, 0]), float(pixels[1, 1])),
            size,
            (-pitch if heading_left else pitch) + float(target.sway[frame]),
            heading_left,
            sensor.blur,
            (float(smear[0]), float(smear[1])),
        )
        occluders = [foreground] if foreground is not None else []
        drawn[index] = composite(image, labels, index + 1, patch, *colors[index], occluders)
    image = expose(image, sensor, rng)
    return frame_truth(image, labels, drawn, [target.flight.class_id for target in targets])


def _step(camera: RigCamera) -> float:
    """Seconds between two images."""
    return float(camera.times[1] - camera.times[0]) if len(camera.times) > 1 else 0.04


def _near(pixel: npt.NDArray[np.float64], width: int, height: int) -> bool:
    """Whether a target may reach into the image."""
    margin = 100
    return bool(-margin < pixel[0] < width + margin and -margin < pixel[1] < height + margin)
