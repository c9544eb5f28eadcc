"""Rendered scenes of small flying targets, with exact truth.

A scene is a background that a camera looks at, and targets that fly through it: crossing each other, leaving the frame
and coming back, passing behind trees, buildings and clouds. Everything follows from the settings and a seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.training.backgrounds import Background, make_background
from smotracker_ros.training.compositing import (
    FAINTEST_CONTRAST,
    SceneFrame,
    Sensor,
    composite,
    expose,
    frame_truth,
    make_sensor,
    target_color,
)
from smotracker_ros.training.targets import (
    AIRPLANE,
    BIRD,
    DRONE,
    HELICOPTER,
    Look,
    Patch,
    draw_patch,
    line_kernel,
    random_look,
    silhouette,
)
from smotracker_ros.training.trajectories import CameraPath, camera_path, smooth_noise, target_paths

CAMERAS = ("static", "pan", "shake", "zoom", "random")
MODALITIES = ("visible", "infrared", "random")


@dataclass(frozen=True)
class SceneSettings:
    """What a scene should contain.

    Attributes:
        width: of the frames, pixels.
        height: of the frames, pixels.
        frames: length.
        fps: frames per second.
        targets: number of targets.
        camera: "static", "pan", "shake", "zoom", or "random" (one or two of them).
        modality: "visible", "infrared", or "random".
        sizes: smallest and largest width of a target in pixels; drawn log-uniformly.
        class_weights: relative frequency of drone, bird, airplane, helicopter.
        contrasts: smallest and largest contrast of a target in grey levels; drawn log-uniformly.
        noise: standard deviation of the sensor noise in grey levels; negative: drawn per scene.
        compression: share of the scenes whose frames pass through lossy compression.
    """

    width: int = 640
    height: int = 512
    frames: int = 150
    fps: float = 30.0
    targets: int = 5
    camera: str = "random"
    modality: str = "random"
    sizes: tuple[float, float] = (3.0, 40.0)
    class_weights: tuple[float, float, float, float] = (0.5, 0.25, 0.15, 0.1)
    contrasts: tuple[float, float] = (FAINTEST_CONTRAST, 150.0)
    noise: float = -1.0
    compression: float = 0.3

    def __post_init__(self) -> None:
        if self.width < 64 or self.height < 64:
            raise ValueError(f"a scene needs frames of at least 64x64 pixels, not {self.width}x{self.height}")
        if self.frames < 1 or self.targets < 0 or self.fps <= 0:
            raise ValueError("a scene needs at least one frame, a positive frame rate, and 0 or more targets")
        if self.camera not in CAMERAS or self.modality not in MODALITIES:
            raise ValueError(f"camera must be one of {', '.join(CAMERAS)}; modality one of {', '.join(MODALITIES)}")


@dataclass(frozen=True)
class _Target:
    """A target of a scene; arrays run over the frames."""

    look: Look
    path: npt.NDArray[np.float64]  # (frames, 2), world pixels
    sizes: npt.NDArray[np.float64]  # (frames,), world pixels
    sway: npt.NDArray[np.float64]  # (frames,), radians
    color: npt.NDArray[np.float32]  # (channels,)
    polarity: float  # +1 brighter than the sky, -1 darker
    behind_foreground: bool
    behind_clouds: bool


def render_scene(settings: SceneSettings, seed: int) -> Iterator[SceneFrame]:
    """Render a scene frame by frame.

    The same settings and seed give the same frames on one machine. The drawing order of targets is their id, so that a
    higher id hides a lower one where they cross.
    """
    rng = np.random.default_rng(seed)
    infrared = settings.modality == "infrared" or (settings.modality == "random" and rng.random() < 0.5)
    kinds = _camera_kinds(settings.camera, rng)
    size = (settings.width, settings.height)
    world = _world_size(kinds, size)
    background = make_background(world, settings.height, settings.frames, infrared, rng)
    camera = camera_path(kinds, settings.frames, size, world, rng)
    targets = _make_targets(settings, background, camera, infrared, rng)
    sensor = make_sensor(size, settings.noise, settings.compression, infrared, rng)
    for index in range(settings.frames):
        yield _render_frame(settings, index, background, camera, targets, sensor, rng)


def _camera_kinds(camera: str, rng: np.random.Generator) -> frozenset[str]:
    if camera == "static":
        return frozenset()
    if camera != "random":
        return frozenset({camera})
    choice = rng.random()
    if choice < 0.3:
        return frozenset()
    single = [frozenset({"pan"}), frozenset({"shake"}), frozenset({"zoom"})]
    double = [frozenset({"pan", "shake"}), frozenset({"zoom", "shake"}), frozenset({"pan", "zoom"})]
    options = single if choice < 0.75 else double
    return options[int(rng.integers(len(options)))]


def _world_size(kinds: frozenset[str], size: tuple[int, int]) -> tuple[int, int]:
    """Size of the canvas (width, height): room for whatever the camera does."""
    margin_x = 0.05 + 0.45 * ("pan" in kinds) + 0.15 * ("zoom" in kinds) + 0.05 * ("shake" in kinds)
    margin_y = 0.05 + 0.10 * ("pan" in kinds) + 0.15 * ("zoom" in kinds) + 0.05 * ("shake" in kinds)
    return int(size[0] * (1 + 2 * margin_x)), int(size[1] * (1 + 2 * margin_y))


def _make_targets(
    settings: SceneSettings, background: Background, camera: CameraPath, infrared: bool, rng: np.random.Generator
) -> list[_Target]:
    count, frames = settings.targets, settings.frames
    weights = np.array(settings.class_weights) / sum(settings.class_weights)
    class_ids = rng.choice([DRONE, BIRD, AIRPLANE, HELICOPTER], size=count, p=weights)
    sizes = np.exp(rng.uniform(np.log(settings.sizes[0]), np.log(settings.sizes[1]), size=count))
    speeds = np.exp(rng.uniform(np.log(0.3), np.log(5.0), size=count)) * settings.width / 640
    behind = rng.random(count) < 0.75
    paths, _ = target_paths(count, camera, (settings.width, settings.height), background.horizon, behind, speeds, rng)
    targets = []
    for index in range(count):
        bright = bool(rng.random() < (0.75 if infrared else 0.3))
        contrast = np.exp(rng.uniform(np.log(settings.contrasts[0]), np.log(settings.contrasts[1])))
        color, polarity = target_color(background, contrast, bright, bool(behind[index]), infrared, rng)
        approach = np.exp(np.clip(smooth_noise(frames, 40, rng)[:, 0] * 0.2, -0.5, 0.5))
        path = paths[index]
        if class_ids[index] == DRONE:
            path = path + smooth_noise(frames, 4.0, rng, 2) * rng.uniform(0, 0.6)
        targets.append(
            _Target(
                look=random_look(int(class_ids[index]), rng),
                path=path,
                sizes=np.clip(sizes[index] * approach, *settings.sizes),
                sway=smooth_noise(frames, 12.0, rng)[:, 0] * 0.15,
                color=color,
                polarity=polarity,
                behind_foreground=bool(behind[index]),
                behind_clouds=bool(rng.random() < 0.6),
            )
        )
    return targets


def _render_frame(
    settings: SceneSettings,
    index: int,
    background: Background,
    camera: CameraPath,
    targets: list[_Target],
    sensor: Sensor,
    rng: np.random.Generator,
) -> SceneFrame:
    width, height = settings.width, settings.height
    matrix = camera.matrix(index, width, height)
    previous = camera.matrix(max(index - 1, 0), width, height)
    image, clouds, foreground = background.view(matrix, index, width, height)
    camera_smear = (matrix[:, 2] - previous[:, 2]) * sensor.shutter
    if np.abs(camera_smear).max() > 1.5:
        image = cv2.filter2D(image, -1, line_kernel((float(camera_smear[0]), float(camera_smear[1]))))
    labels = np.zeros((height, width), dtype=np.uint16)
    drawn = []
    for number, target in enumerate(targets):
        patch = _target_patch(target, index, matrix, previous, sensor, settings.fps)
        occluders = [
            layer
            for layer, hides in ((clouds, target.behind_clouds), (foreground, target.behind_foreground))
            if hides and layer is not None
        ]
        drawn.append(composite(image, labels, number + 1, patch, target.color, target.polarity, occluders))
    image = expose(image, sensor, rng)
    return frame_truth(image, labels, drawn, [target.look.class_id for target in targets])


def _target_patch(
    target: _Target,
    index: int,
    matrix: npt.NDArray[np.float64],
    previous: npt.NDArray[np.float64],
    sensor: Sensor,
    fps: float,
) -> Patch:
    """The target's silhouette at its place in the frame."""
    center = matrix[:, :2] @ target.path[index] + matrix[:, 2]
    before = previous[:, :2] @ target.path[max(index - 1, 0)] + previous[:, 2]
    velocity = target.path[min(index + 1, len(target.path) - 1)] - target.path[max(index - 1, 0)]
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    smear = (center - before) * sensor.shutter
    smear = np.clip(smear, -12, 12)
    heading_left = bool(velocity[0] < 0)
    climb = float(np.arctan2(velocity[1], abs(velocity[0]) + 0.3))
    # Drones lean into their motion; the others point where they fly.
    pitch = 0.1 * climb if target.look.class_id == DRONE else 0.8 * climb
    angle = (-pitch if heading_left else pitch) + float(target.sway[index])
    return draw_patch(
        silhouette(target.look, index / fps),
        (float(center[0]), float(center[1])),
        float(target.sizes[index]) * zoom,
        angle,
        heading_left,
        sensor.blur,
        (float(smear[0]), float(smear[1])),
    )
