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
FAINTEST_CONTRAST = 8.0
"""Grey levels between a target and its surroundings below which no target falls."""


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
class SceneFrame:
    """One rendered frame and its truth. Only targets with at least one visible pixel are listed.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        label_image: uint16 (height, width): id of the target that a pixel shows (more than half of its light, relative
            to the target's most opaque pixel), 0 for the background.
        ids: int64 (N,), 1-based, increasing.
        boxes: float32 (N, 4), xyxy in pixels, tight round the visible pixels, x2 and y2 exclusive.
        class_ids: int64 (N,): 1 drone, 2 bird, 3 airplane, 4 helicopter.
        visibility: float32 (N,) in (0, 1]: visible share of the target's pixels, those outside the frame included.
    """

    image: npt.NDArray[np.uint8]
    label_image: npt.NDArray[np.uint16]
    ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]
    visibility: npt.NDArray[np.float32]


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


@dataclass(frozen=True)
class _Sensor:
    """Imperfections of one scene's camera."""

    blur: float  # pixels
    shutter: float  # share of the frame time that the shutter is open
    noise: npt.NDArray[np.int16]  # larger than the frame; cut at random places
    pattern: npt.NDArray[np.int16] | None  # fixed pattern of a thermal sensor
    quality: int | None  # of lossy compression


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
    sensor = _make_sensor(settings, infrared, rng)
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
        color, polarity = _color(background, contrast, bright, bool(behind[index]), infrared, rng)
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


def _color(
    background: Background, contrast: float, bright: bool, behind: bool, infrared: bool, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], float]:
    """Colour of a target (channels,) and its polarity, with room for the contrast."""
    level = background.sky_level if behind else (background.sky_level + background.foreground_level) / 2
    polarity = 1.0 if bright else -1.0
    if not 0 <= level + polarity * contrast <= 255:
        polarity = 1.0 if level < 128 else -1.0
    grey = float(np.clip(level + polarity * contrast, 0, 255))
    channels = 1 if infrared else 3
    tint = rng.normal(0, 6, channels) if channels == 3 else np.zeros(1)
    return np.clip(grey + tint, 0, 255).astype(np.float32), polarity


def _make_sensor(settings: SceneSettings, infrared: bool, rng: np.random.Generator) -> _Sensor:
    sigma = settings.noise if settings.noise >= 0 else float(np.exp(rng.uniform(np.log(0.4), np.log(5.0))))
    shape = (settings.height + 48, settings.width + 48) + (() if infrared else (3,))
    noise = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), 0.6) * 1.6
    pattern = None
    if infrared and rng.random() < 0.5:
        rows, columns = rng.normal(0, 0.8, (settings.height, 1)), rng.normal(0, 0.8, (1, settings.width))
        pattern = np.round(rows + columns).astype(np.int16)
        for _ in range(rng.integers(0, 4)):  # stuck pixels look like the faintest targets but never move
            pattern[rng.integers(settings.height), rng.integers(settings.width)] += int(rng.normal(0, 60))
    quality = int(rng.integers(35, 90)) if rng.random() < settings.compression else None
    return _Sensor(
        blur=float(rng.uniform(0.25, 0.9)),
        shutter=float(rng.uniform(0.0, 0.6)),
        noise=np.round(noise * sigma).astype(np.int16),
        pattern=pattern,
        quality=quality,
    )


def _render_frame(
    settings: SceneSettings,
    index: int,
    background: Background,
    camera: CameraPath,
    targets: list[_Target],
    sensor: _Sensor,
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
        drawn.append(_composite(image, labels, number + 1, target, patch, occluders))
    image = _expose(image, sensor, rng)
    return _truth(image, labels, drawn, targets)


def _target_patch(
    target: _Target,
    index: int,
    matrix: npt.NDArray[np.float64],
    previous: npt.NDArray[np.float64],
    sensor: _Sensor,
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


def _composite(
    image: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint16],
    target_id: int,
    target: _Target,
    patch: Patch,
    occluders: list[npt.NDArray[np.float32]],
) -> tuple[int, tuple[slice, slice]]:
    """Blend a patch into image and labels in place.

    Returns:
        The number of pixels that the whole silhouette has, and the rows and columns of the frame that were touched.
    """
    peak = float(patch.alpha.max())
    nowhere = (slice(0, 0), slice(0, 0))
    if peak < 0.02:
        return 0, nowhere
    silhouette_pixels = patch.alpha > 0.5 * peak
    area = int(np.count_nonzero(silhouette_pixels))
    height, width = labels.shape
    x1, y1 = max(patch.x, 0), max(patch.y, 0)
    x2, y2 = min(patch.x + patch.alpha.shape[1], width), min(patch.y + patch.alpha.shape[0], height)
    if x1 >= x2 or y1 >= y2:
        return area, nowhere
    inside = (slice(y1 - patch.y, y2 - patch.y), slice(x1 - patch.x, x2 - patch.x))
    place = (slice(y1, y2), slice(x1, x2))
    alpha, visible = patch.alpha[inside], silhouette_pixels[inside]
    for layer in occluders:
        alpha = alpha * (1 - layer[place])
        visible = visible & (layer[place] < 0.5)
    region = image[place].reshape(y2 - y1, x2 - x1, -1).astype(np.float32)
    level = region.mean(axis=(0, 1))
    offset = target.color - level
    # Where the target would melt into what is behind it, keep it just discernible.
    faintest = FAINTEST_CONTRAST / max(peak, 0.3)
    if abs(float(offset.mean())) < faintest:
        offset = offset - offset.mean() + target.polarity * faintest
    color = level + offset * patch.shade[inside][:, :, None]
    blended = region + alpha[:, :, None] * (color - region)
    image[place] = np.clip(blended + 0.5, 0, 255).astype(np.uint8).reshape(image[place].shape)
    labels[place][visible] = target_id
    return area, place


def _expose(image: npt.NDArray[np.uint8], sensor: _Sensor, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Add noise and compression; returns RGB."""
    height, width = image.shape[:2]
    top, left = rng.integers(0, 48, 2)
    noise = sensor.noise[top : top + height, left : left + width]
    image = np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), dtype=np.uint8)
    if sensor.pattern is not None:
        image = np.asarray(cv2.add(image, sensor.pattern, dtype=cv2.CV_8U), dtype=np.uint8)
    if sensor.quality is not None:
        # JPEG has the block and ringing artefacts of an intra-coded h264 frame at a fraction of the cost.
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image, dtype=np.uint8)


def _truth(
    image: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint16],
    drawn: list[tuple[int, tuple[slice, slice]]],
    targets: list[_Target],
) -> SceneFrame:
    """Boxes and visibilities out of the label image."""
    ids, boxes, visibility = [], [], []
    for number, (area, place) in enumerate(drawn, start=1):
        rows, columns = np.nonzero(labels[place] == number)
        if rows.size == 0:
            continue
        x, y = columns + place[1].start, rows + place[0].start
        ids.append(number)
        boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
        visibility.append(len(x) / max(area, 1))
    return SceneFrame(
        image=image,
        label_image=labels,
        ids=np.array(ids, dtype=np.int64),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        class_ids=np.array([targets[i - 1].look.class_id for i in ids], dtype=np.int64),
        visibility=np.array(visibility, dtype=np.float32),
    )
