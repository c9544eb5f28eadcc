"""Backgrounds of rendered scenes: sky, drifting clouds, and a foreground of trees, buildings and masts.

All layers are drawn once per scene on a canvas in world coordinates; per frame they are only warped and blended.
Infrared scenes have one channel until the end, visible scenes three (RGB).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


def fractal_noise(
    height: int, width: int, coarsest: float, octaves: int, rng: np.random.Generator, roughness: float = 0.55
) -> FloatArray:
    """Multi-octave noise, float32 (height, width), mean 0 and standard deviation 1.

    Args:
        height: rows.
        width: columns.
        coarsest: size in pixels of the largest blobs.
        octaves: each halves the blob size of the one before.
        rng: source of randomness.
        roughness: amplitude of an octave relative to the one before.
    """
    total = np.zeros((height, width), dtype=np.float32)
    amplitude, cell = 1.0, coarsest
    for _ in range(octaves):
        grid = (max(int(height / cell) + 3, 4), max(int(width / cell) + 3, 4))
        coarse = rng.standard_normal(grid, dtype=np.float32)
        interpolation = cv2.INTER_CUBIC if cell > 8 else cv2.INTER_LINEAR
        total += amplitude * cv2.resize(coarse, (width, height), interpolation=interpolation)
        amplitude, cell = amplitude * roughness, max(cell / 2, 1.0)
    total -= total.mean()
    return total / max(float(total.std()), 1e-6)


@dataclass
class Background:
    """The layers of one scene.

    Attributes:
        sky: uint8 (world height, world width[, 3]).
        cloud_color: uint8, as the sky but wider by the clouds' drift; None without clouds.
        cloud_alpha: float32 (world height, cloud width) in [0, 1]; None without clouds.
        cloud_speed: drift in world pixels per frame.
        foreground: uint8, as the sky; None without foreground.
        foreground_alpha: float32 (world height, world width) in [0, 1]; None without foreground.
        horizon: world row above which most of the sky is free of foreground.
        sky_level: median grey value of the sky.
        foreground_level: median grey value of the foreground, or of the sky without one.
    """

    sky: UInt8Array
    cloud_color: UInt8Array | None
    cloud_alpha: FloatArray | None
    cloud_speed: float
    foreground: UInt8Array | None
    foreground_alpha: FloatArray | None
    horizon: float
    sky_level: float
    foreground_level: float
    _still: tuple[npt.NDArray[np.float64], UInt8Array, UInt8Array | None, FloatArray | None, int] | None = field(
        default=None, init=False, repr=False
    )  # the layers as last warped, kept while the camera rests

    def view(
        self, matrix: npt.NDArray[np.float64], frame: int, width: int, height: int
    ) -> tuple[UInt8Array, FloatArray | None, FloatArray | None]:
        """What the camera sees without targets.

        Args:
            matrix: (2, 3) affine map from world to frame pixels.
            frame: index of the frame, which moves the clouds.
            width: of the frame, pixels.
            height: of the frame, pixels.

        Returns:
            The image, uint8 (height, width[, 3]), and the alphas of clouds and foreground, float32 (height, width),
            each None where the scene has none.
        """
        still = self._still is not None and np.array_equal(self._still[0], matrix)
        if self._still is None or not still:
            self._still = (matrix.copy(), *self._fixed_layers(matrix, width, height))
        _, sky, front, foreground, top = self._still
        image = sky.copy()
        clouds = None
        if self.cloud_alpha is not None and self.cloud_color is not None:
            drift = matrix.copy()
            drift[:, 2] -= matrix[:, 0] * self.cloud_speed * frame
            clouds = _warp(self.cloud_alpha, drift, width, height)
            image = cv2.blendLinear(image, _warp(self.cloud_color, drift, width, height), 1 - clouds, clouds)
        if front is not None and foreground is not None:
            alpha = foreground[top:]
            image[top:] = cv2.blendLinear(np.ascontiguousarray(image[top:]), front, 1 - alpha, alpha)
        return image, clouds, foreground

    def _fixed_layers(
        self, matrix: npt.NDArray[np.float64], width: int, height: int
    ) -> tuple[UInt8Array, UInt8Array | None, FloatArray | None, int]:
        """Warped sky, foreground below row `top`, alpha of the foreground (whole frame), and `top`."""
        sky = _warp(self.sky, matrix, width, height)
        if self.foreground_alpha is None or self.foreground is None:
            return sky, None, None, height
        highest = float(np.argmax(self.foreground_alpha.max(axis=1) > 0))
        corners = np.array([[0.0, highest, 1.0], [self.sky.shape[1], highest, 1.0]]) @ matrix.T
        top = int(np.clip(np.floor(corners[:, 1].min()) - 1, 0, height))
        alpha = np.zeros((height, width), dtype=np.float32)
        if top >= height:
            return sky, None, alpha, top
        lower = matrix.copy()
        lower[1, 2] -= top
        alpha[top:] = _warp(self.foreground_alpha, lower, width, height - top)
        return sky, _warp(self.foreground, lower, width, height - top), alpha, top


def _warp(layer: npt.NDArray[np.generic], matrix: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray:
    return cv2.warpAffine(layer, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def make_background(
    world: tuple[int, int], frame_height: int, drift_frames: int, infrared: bool, rng: np.random.Generator
) -> Background:
    """Draw a background.

    Args:
        world: (width, height) of the canvas, pixels.
        frame_height: height of the frames, pixels; sets the scale of things.
        drift_frames: number of frames over which clouds must not run out.
        infrared: one channel with hot foreground, instead of colours.
        rng: source of randomness.
    """
    width, height = world
    unit = frame_height / 512
    has_foreground = rng.random() < 0.75
    # The camera's resting view is the middle of the canvas; the horizon lies in its lower third or below.
    horizon = height / 2 + frame_height * rng.uniform(0.1, 0.42) if has_foreground else float(height)
    alpha = color = None
    if has_foreground:
        alpha, color = _foreground(width, height, horizon, unit, infrared, rng)
    sky = _sky(width, height, horizon, infrared, alpha, rng)
    cloud_alpha = cloud_color = None
    speed = 0.0
    if rng.random() < 0.65:
        speed = float(rng.normal(0, 0.5)) * unit
        cloud_alpha, cloud_color, speed = _clouds(width, height, speed, drift_frames, unit, sky, infrared, rng)
    foreground_level = float(np.median(sky))
    if alpha is not None and color is not None and (alpha > 0.5).any():
        foreground_level = float(np.median(color[alpha > 0.5]))
    sky_level = float(np.median(sky[: max(int(horizon), 8)]))
    return Background(sky, cloud_color, cloud_alpha, speed, color, alpha, horizon, sky_level, foreground_level)


def _sky(
    width: int, height: int, horizon: float, infrared: bool, alpha: FloatArray | None, rng: np.random.Generator
) -> UInt8Array:
    ramp = np.clip(np.arange(height, dtype=np.float32) / max(horizon, 1.0), 0, 1) ** rng.uniform(0.7, 2.0)
    texture = fractal_noise(height, width, height / 2, 3, rng) * rng.uniform(0.2, 2.5)
    if infrared:
        top, bottom = rng.uniform(15, 130), rng.uniform(-60, 60)
        sky = np.clip(top + bottom * ramp, 4, 215)[:, None] + texture
        if alpha is not None and rng.random() < 0.6:
            # Automatic gain of thermal cameras leaves a dark halo above a hot foreground.
            small = cv2.resize(alpha, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
            halo = cv2.GaussianBlur(small, (0, 0), rng.uniform(2, 8))
            sky = sky * (1 - rng.uniform(0.4, 1.0) * np.minimum(1.6 * cv2.resize(halo, (width, height)), 1))
        return np.clip(sky, 0, 255).astype(np.uint8)
    kind = rng.random()
    if kind < 0.6:
        blue = rng.uniform(130, 225)
        zenith = blue * np.array([rng.uniform(0.2, 0.5), rng.uniform(0.52, 0.68), 1.0])
        low = zenith * 0.4 + np.array([170, 195, 225]) * rng.uniform(0.4, 0.6)
    elif kind < 0.92:
        grey = rng.uniform(110, 225)
        zenith = grey + rng.normal(0, 5, 3)
        low = zenith + rng.uniform(-30, 25)
    else:
        zenith = np.array([rng.uniform(30, 80), rng.uniform(40, 80), rng.uniform(70, 120)])
        low = np.array([rng.uniform(170, 250), rng.uniform(110, 170), rng.uniform(80, 150)])
    sky = zenith + (low - zenith) * ramp[:, None, None] + texture[:, :, None]
    return np.broadcast_to(np.clip(sky, 0, 255), (height, width, 3)).astype(np.uint8)


def _clouds(
    width: int,
    height: int,
    speed: float,
    frames: int,
    unit: float,
    sky: UInt8Array,
    infrared: bool,
    rng: np.random.Generator,
) -> tuple[FloatArray, UInt8Array, float]:
    """Alpha and colour of the cloud layer, and its speed. A layer that drifts right is drawn wider on the left."""
    extra = int(abs(speed) * frames) + 2
    wide = width + extra
    # Noise is stretched horizontally as clouds near the horizon are; half resolution suffices for soft things.
    stretch = rng.uniform(2.5, 7.0)
    shape = (height // 2 + 1, int(wide / stretch) + 1)
    noise = fractal_noise(shape[0], shape[1], rng.uniform(40, 110) * unit, 7, rng, rng.uniform(0.5, 0.75))
    softness, coverage = rng.uniform(0.3, 2.5), rng.uniform(-0.6, 1.2)
    density = np.clip((noise - coverage) / softness, 0, 1)
    density = density * density * (3 - 2 * density) * rng.uniform(0.3, 1.0)
    alpha = cv2.resize(density.astype(np.float32), (wide, height), interpolation=cv2.INTER_LINEAR)
    shading = cv2.resize(noise, (wide, height), interpolation=cv2.INTER_LINEAR) * rng.uniform(2, 16)
    if infrared:
        color = float(np.median(sky)) + rng.uniform(15, 120) + shading
    else:
        tint = np.array([rng.uniform(150, 250)] * 3) + rng.normal(0, 4, 3)
        color = tint - 0.6 * shading[:, :, None]
    # Leftward clouds start at the canvas' left edge; rightward ones are used from their right end by wrapping round.
    if speed > 0:
        alpha, color = np.roll(alpha, -extra, axis=1), np.roll(color, -extra, axis=1)
        speed = -speed
    return alpha, np.clip(color, 0, 255).astype(np.uint8), speed


def _foreground(
    width: int, height: int, horizon: float, unit: float, infrared: bool, rng: np.random.Generator
) -> tuple[FloatArray, UInt8Array]:
    """Alpha and colours of ground, tree line, bare trees, buildings and masts."""
    mask = np.zeros((height, width), dtype=np.uint8)
    shade = np.zeros((height, width), dtype=np.float32)
    columns = np.arange(width)
    roughness = fractal_noise(1, width, 120 * unit, 6, rng, 0.7)[0] * rng.uniform(2, 16) * unit
    tops = np.clip(horizon + rng.uniform(0.02, 0.08) * 512 * unit + roughness, 2, height - 2)
    outline = np.stack([columns, tops], axis=1).round().astype(np.int32)
    cv2.fillPoly(mask, [np.concatenate([outline, [[width, height], [0, height]]]).astype(np.int32)], 255)
    for _ in range(rng.integers(0, 5)):
        _building(mask, shade, rng.uniform(0, width), horizon, unit, rng)
    for _ in range(rng.integers(0, 7)):
        x, reach = rng.uniform(0, width), rng.uniform(25, 110) * unit
        _tree(mask, x, min(float(tops[int(x)]) + 15 * unit, height - 1.0), reach, rng)
    for _ in range(rng.integers(0, 4)):
        x, top = rng.uniform(0, width), horizon - rng.uniform(20, 220) * unit
        foot, tip, thickness = (int(x), height), (int(x + rng.normal(0, 4)), int(top)), int(rng.integers(1, 4))
        cv2.line(mask, foot, tip, 255, thickness, cv2.LINE_AA)
    texture = fractal_noise(height, width, 24 * unit, 5, rng, 0.8)
    streaks = cv2.resize(rng.standard_normal((1, width)).astype(np.float32), (width, height))
    texture = 0.7 * texture
    below = np.clip((np.arange(height, dtype=np.float32) - horizon) / (0.2 * 512 * unit), 0, 1)[:, None]
    texture = texture + 0.6 * streaks * (1 - below)  # trunks show in the tree line, not in the ground
    if infrared:
        level = rng.uniform(120, 235) if rng.random() < 0.85 else rng.uniform(20, 60)
        color = level + texture * rng.uniform(8, 35) - below * rng.uniform(0, 110) + shade
    else:
        base = rng.uniform(25, 110) * np.array([1.0, rng.uniform(0.85, 1.1), rng.uniform(0.65, 0.95)])
        ground = rng.uniform(70, 140) * np.array([rng.uniform(0.8, 1.1), 1.0, rng.uniform(0.6, 0.8)])
        color = base + (ground - base) * below[:, :, None] + (texture * rng.uniform(6, 22) + shade)[:, :, None]
    alpha = cv2.GaussianBlur(mask, (0, 0), 0.6).astype(np.float32) / 255
    return alpha, np.clip(color, 0, 255).astype(np.uint8)


def _building(
    mask: UInt8Array, shade: FloatArray, x: float, horizon: float, unit: float, rng: np.random.Generator
) -> None:
    """A block with rows of windows, drawn in place."""
    wide, tall = int(rng.uniform(40, 170) * unit), int(rng.uniform(15, 90) * unit)
    left, top = int(x), int(horizon - tall * rng.uniform(0.2, 1.0))
    cv2.rectangle(mask, (left, top), (left + wide, mask.shape[0]), 255, -1)
    cv2.rectangle(shade, (left, top), (left + wide, top + 2 * tall), float(rng.normal(0, 25)), -1)
    step = max(int(rng.uniform(8, 20) * unit), 4)
    light = float(rng.normal(0, 45))
    for row in range(top + step // 2, top + tall, step):
        for column in range(left + step // 2, left + wide - step // 2, step):
            cv2.rectangle(shade, (column, row), (column + step // 2, row + step // 3), light, -1)


def _tree(mask: UInt8Array, x: float, y: float, reach: float, rng: np.random.Generator) -> None:
    """A bare tree: branches that fork, drawn in place; its gaps let targets shine through."""
    stack = [(x, y, -np.pi / 2 + rng.normal(0, 0.1), reach * 0.3, max(reach / 26, 1.0), 0)]
    while stack:
        x1, y1, angle, length, thickness, depth = stack.pop()
        x2, y2 = x1 + np.cos(angle) * length, y1 + np.sin(angle) * length
        ends = [(round(x1 * 8), round(y1 * 8)), (round(x2 * 8), round(y2 * 8))]
        cv2.line(mask, ends[0], ends[1], 255, max(round(thickness), 1), cv2.LINE_AA, 3)
        if depth < 6 and length > 2:
            # One branch goes on nearly straight, others leave it at different heights.
            stack.append((x2, y2, angle + rng.normal(0, 0.15), length * 0.8, thickness * 0.65, depth + 1))
            for turn in rng.normal(0, 0.7, 1 + (depth < 2)):
                share = rng.uniform(0.4, 1.0)
                fork = (x1 + (x2 - x1) * share, y1 + (y2 - y1) * share)
                stack.append((*fork, angle + turn, length * rng.uniform(0.5, 0.8), thickness * 0.5, depth + 1))
