"""Paths of the camera and of the targets through a rendered scene.

World coordinates are pixels of the scene's background canvas. At frame t the camera shows the world point `c_t` at the
frame's centre, enlarged by `zoom_t` and turned by `roll_t`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CameraPath:
    """Where the camera looks, frame by frame.

    Attributes:
        centers: (frames, 2), world point (x, y) at the frame's centre, shake included.
        base: (frames, 2), the same without shake: what a steady operator would follow.
        zoom: (frames,), pixels of the frame per pixel of the world.
        roll: (frames,), radians.
    """

    centers: Array
    base: Array
    zoom: Array
    roll: Array

    def matrix(self, index: int, width: int, height: int) -> Array:
        """Affine map of frame `index` from world to frame pixels, (2, 3)."""
        cosine, sine = np.cos(self.roll[index]) * self.zoom[index], np.sin(self.roll[index]) * self.zoom[index]
        linear = np.array([[cosine, -sine], [sine, cosine]])
        offset = np.array([width / 2, height / 2]) - linear @ self.centers[index]
        return np.column_stack([linear, offset])


def smooth_noise(frames: int, smoothness: float, rng: np.random.Generator, columns: int = 1) -> Array:
    """Smooth random curves of zero mean and unit standard deviation over a long time, (frames, columns)."""
    padding = int(4 * smoothness) + 1
    noise = rng.standard_normal((frames + 2 * padding, columns))
    smooth = gaussian_filter1d(noise, smoothness, axis=0)[padding : padding + frames]
    return np.asarray(smooth * np.sqrt(2 * smoothness * np.sqrt(np.pi)))


def camera_path(
    kinds: frozenset[str], frames: int, size: tuple[int, int], world: tuple[int, int], rng: np.random.Generator
) -> CameraPath:
    """Draw a camera path.

    Args:
        kinds: any of "pan", "shake", "zoom"; empty for a static camera.
        frames: number of frames.
        size: (width, height) of the frame, pixels.
        world: (width, height) of the canvas, pixels.
        rng: source of randomness.
    """
    width = size[0]
    middle = np.array([world[0] / 2, world[1] / 2])
    base = np.repeat(middle[None], frames, axis=0)
    zoom, roll = np.ones(frames), np.zeros(frames)
    if "pan" in kinds:
        speed = rng.uniform(1.0, 7.0) * width / 640
        knots = np.arange(0, frames + 60, 45)
        steps = rng.normal(0, 1, (len(knots), 2)) * (speed * 45, speed * 10)
        limits = np.maximum(np.array(world) - size, 0) / 2 * 0.85
        points = _reflect(np.cumsum(steps, axis=0), limits)
        base = middle + np.clip(CubicSpline(knots, points - points[0] * 0.5)(np.arange(frames)), -limits, limits)
    if "zoom" in kinds:
        exponent = smooth_noise(frames, 40, rng)[:, 0] * rng.uniform(0.1, 0.35)
        zoom = np.exp(np.clip(exponent, -0.25, 0.7))
    centers = base.copy()
    if "shake" in kinds:
        # The largest step from frame to frame stays within 20 px, mostly far less.
        strength = min(np.exp(rng.uniform(np.log(0.7), np.log(14.0))), 14.0) * width / 640
        shake = smooth_noise(frames, rng.uniform(0.8, 4.0), rng, 2) * strength
        largest = np.abs(np.diff(shake, axis=0)).max(initial=0.0)
        centers = centers + shake * min(1.0, 20.0 / max(float(largest), 1e-6))
        roll = smooth_noise(frames, 5.0, rng)[:, 0] * 0.002 * strength
    return CameraPath(centers, base, zoom, roll)


def target_paths(
    count: int,
    camera: CameraPath,
    size: tuple[int, int],
    horizon: float,
    may_hide: npt.NDArray[np.bool_],
    speeds: Array,
    rng: np.random.Generator,
) -> tuple[Array, list[tuple[int, int, int]]]:
    """Draw smooth paths with deliberate crossings, exits through the frame's border, and dives behind the foreground.

    Args:
        count: number of targets.
        camera: the camera's path; targets keep near what it shows.
        size: (width, height) of the frame, pixels.
        horizon: world row above which there is open sky.
        may_hide: (count,), whether the target flies behind the foreground and may dive there.
        speeds: (count,), typical speeds in pixels per frame.
        rng: source of randomness.

    Returns:
        Centres in world pixels, (count, frames, 2), and the crossings as (first target, second target, frame).
    """
    frames = len(camera.base)
    paths: list[tuple[Array, Array]] = []
    for index in range(count):
        paths.append(_waypoints(frames, camera, size, horizon, bool(may_hide[index]), float(speeds[index]), rng))
    curves = [CubicSpline(times, points) for times, points in paths]
    crossings = []
    order = rng.permutation(count)
    for first, second in zip(order[0::2], order[1::2], strict=False):
        if frames < 24 or rng.random() > 0.75:
            continue
        meeting = int(rng.uniform(0.2, 0.8) * frames)
        curves[second] = _through(paths[second], meeting, curves[first], float(speeds[second]), rng)
        crossings.append((int(first), int(second), meeting))
    times = np.arange(frames)
    return np.stack([curve(times) for curve in curves]) if count else np.zeros((0, frames, 2)), crossings


def _reflect(values: Array, limits: Array) -> Array:
    """Fold values into [-limit, limit] like a ball between two walls."""
    safe = np.maximum(limits, 1e-9)
    return np.asarray(safe - np.abs((values + safe) % (4 * safe) - 2 * safe))


def _waypoints(
    frames: int,
    camera: CameraPath,
    size: tuple[int, int],
    horizon: float,
    may_hide: bool,
    speed: float,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Times and world points that one target passes."""
    width, height = size
    spacing = rng.uniform(18, 50)
    times = np.arange(-spacing, frames + 2 * spacing, spacing)
    shown = np.clip(times, 0, frames - 1).astype(int)
    centers, zoom = camera.base[shown], camera.zoom[shown]
    heading = np.cumsum(rng.normal(0, 0.8, len(times))) + rng.uniform(0, 2 * np.pi)
    steps = np.stack([np.cos(heading), 0.5 * np.sin(heading)], axis=1) * speed * spacing
    start = rng.uniform(-0.42, 0.42, 2) * (width, height)
    offsets = _reflect(start + np.cumsum(steps, axis=0), np.array([0.46 * width, 0.46 * height]))
    if may_hide:
        # Map the full height of the frame onto the part of it that is sky.
        sky = np.clip((horizon - camera.base[0, 1]) / height + 0.5, 0.3, 1.0)
        offsets[:, 1] = (offsets[:, 1] / height + 0.5) * height * sky - 0.5 * height
    inner = np.flatnonzero((times > 0) & (times < frames))
    if len(inner) and rng.random() < 0.45:
        knot = int(rng.choice(inner))
        beyond = rng.uniform(0.54, 0.62)
        if rng.random() < 0.7:
            offsets[knot, 0] = np.copysign(beyond * width, offsets[knot, 0])
        else:
            offsets[knot, 1] = -beyond * height
    points = centers + offsets / zoom[:, None]
    if may_hide and len(inner) and rng.random() < 0.35:
        points[int(rng.choice(inner)), 1] = horizon + rng.uniform(0.04, 0.12) * height
    return times, points


def _through(
    path: tuple[Array, Array], meeting: int, other: CubicSpline, speed: float, rng: np.random.Generator
) -> CubicSpline:
    """A path bent so that it meets the curve `other` at frame `meeting` from another direction."""
    times, points = path
    keep = np.abs(times - meeting) > 24
    point, velocity = other(meeting), other(meeting, 1)
    turn = rng.choice([-1, 1]) * rng.uniform(0.5, np.pi)
    direction = np.arctan2(velocity[1], velocity[0]) + turn
    step = np.array([np.cos(direction), 0.6 * np.sin(direction)]) * max(speed, 0.7) * 12
    miss = rng.normal(0, 1.0, 2)
    new_times = np.concatenate([times[keep], [meeting - 12, meeting, meeting + 12]])
    new_points = np.concatenate([points[keep], [point + miss - step, point + miss, point + miss + step]])
    order = np.argsort(new_times)
    return CubicSpline(new_times[order], new_points[order])
