"""A scene for a camera on a pan-tilt head: a panorama, a drone that crosses it, and birds.

The world is the frame of the head's base: x forward, y left, z up, metres. The camera looks into the panorama with a
pinhole, from wherever the head points.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.space.poses import OPTICAL_IN_BODY, Float64Array, Pose
from smotracker_ros.training.backgrounds import make_background
from smotracker_ros.training.space_flights import Flight, make_flight
from smotracker_ros.training.targets import BIRD, DRONE, Look, draw_patch, random_look, silhouette

# The panorama's width and height, degrees, and the part of it below the horizon
_WIDE, _HIGH, _BELOW = 190.0, 62.0, 12.0
# The map from image to panorama is computed at every so many pixels
_GRID = 16
# Share of the time between frames in which the shutter is open
_SHUTTER_SECONDS = 0.006


def head_pose(pan: float, tilt: float) -> Pose:
    """The camera's optical frame in the head's base, by pan (to the left) and tilt (up), radians."""
    return Pose(Rotation.from_euler("ZY", [pan, -tilt]) * OPTICAL_IN_BODY)


@dataclass(frozen=True)
class PanTiltSettings:
    """What a scene should contain.

    Attributes:
        seconds: length.
        width: of the images, pixels.
        height: of the images, pixels.
        focal: length, pixels.
        birds: number of birds.
        speeds: least and greatest speed of the drone, metres per second.
        noise: of the sensor, grey levels.
    """

    seconds: float = 60.0
    width: int = 960
    height: int = 540
    focal: float = 1000.0
    birds: int = 6
    speeds: tuple[float, float] = (6.0, 16.0)
    noise: float = 2.0


@dataclass(frozen=True, eq=False)
class _Flyer:
    look: Look
    flight: Flight
    contrast: float


class PanTiltScene:
    """Renders what the camera sees.

    Args:
        settings: of the scene.
        seed: the same one gives the same scene.
    """

    def __init__(self, settings: PanTiltSettings, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.settings = settings
        focal, size = settings.focal, (settings.width, settings.height)
        center = (settings.width / 2 - 0.5, settings.height / 2 - 0.5)
        matrix = np.array([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1]])
        self.calibration = Calibration(size[::-1], matrix)
        world = (round(np.radians(_WIDE) * focal), round(np.radians(_HIGH) * focal))
        background = make_background(world, settings.height, 1, False, rng)
        still = np.eye(2, 3)
        self._panorama = background.view(still, 0, *world)[0]
        # below the horizon of a scene without foreground there is nothing to see
        below = np.radians(_BELOW) * focal
        self._horizon = min(background.horizon, world[1] - below / 2)
        self._rng = np.random.default_rng(seed + 1)
        level = background.sky_level
        self._flyers = [_Flyer(random_look(DRONE, rng), _crossing(settings, rng), _contrast(level, rng))]
        for _ in range(settings.birds):
            centre, extent = np.array([95.0, 0.0, 28.0]), np.array([35.0, 90.0, 14.0])
            flight = make_flight(BIRD, centre, extent, settings.seconds, rng)
            self._flyers.append(_Flyer(random_look(BIRD, rng), flight, _contrast(level, rng)))

    def places(self, seconds: float) -> Float64Array:
        """Where everybody is, float64 (1 + birds, 3) metres; the drone comes first."""
        return np.array([flyer.flight.places(seconds) for flyer in self._flyers])

    def pixels(self, seconds: float, pose: Pose) -> Float64Array:
        """Where everybody is in the image of a pose, float64 (1 + birds, 2) pixels; NaN behind the camera."""
        return self.calibration.project(pose.points_from_world(self.places(seconds)))

    def render(self, seconds: float, pose: Pose, before: Pose) -> UInt8Image:
        """The image at a time.

        Args:
            seconds: since the start.
            pose: the camera's.
            before: the camera's when the shutter opened, :attr:`shutter` before: its turn smears the picture.

        Returns:
            uint8 RGB (height, width, 3).
        """
        settings = self.settings
        columns, rows = self._maps(pose)
        image = cv2.remap(self._panorama, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        image = np.ascontiguousarray(image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB))
        was, now = self.pixels(seconds - self.shutter, before), self.pixels(seconds, pose)
        ranges = np.linalg.norm(self.places(seconds), axis=1)
        for flyer, start, end, distance in zip(self._flyers, was, now, ranges, strict=True):
            inside = np.isfinite(end).all() and (np.abs(end / (settings.width, settings.height) - 0.5) < 0.6).all()
            if not inside or not np.isfinite(start).all():
                continue
            smear = np.clip(end - start, -12, 12)
            size = flyer.flight.width / distance * settings.focal
            velocity = flyer.flight.velocities(seconds)
            patch = draw_patch(
                silhouette(flyer.look, seconds), (float(end[0]), float(end[1])), float(size), 0.0,
                bool(velocity[1] > 0), 0.5, (float(smear[0]), float(smear[1])),
            )  # fmt: skip
            _blend(image, patch.alpha, patch.shade, patch.x, patch.y, flyer.contrast)
        noise = self._rng.standard_normal((settings.height, settings.width, 1), dtype=np.float32) * settings.noise
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    @property
    def shutter(self) -> float:
        """Seconds for which the shutter is open."""
        return _SHUTTER_SECONDS

    def _maps(self, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows of the panorama for each pixel, float32 (height, width)."""
        settings = self.settings
        across, down = (int(np.ceil(n / _GRID)) + 1 for n in (settings.width, settings.height))
        x, y = np.meshgrid(np.arange(across) * _GRID + 0.5, np.arange(down) * _GRID + 0.5)
        rays = pose.directions_to_world(self.calibration.bearings(np.stack([x.ravel(), y.ravel()], axis=1)))
        azimuth = np.arctan2(rays[:, 1], rays[:, 0]).reshape(x.shape)
        elevation = np.arcsin(np.clip(rays[:, 2], -1, 1)).reshape(x.shape)
        columns = self._panorama.shape[1] / 2 - azimuth * settings.focal
        rows = self._horizon - elevation * settings.focal
        maps = []
        for coarse in (columns, rows):
            step = np.array([[1 / _GRID, 0, 0], [0, 1 / _GRID, 0]])
            size = (settings.width, settings.height)
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            maps.append(cv2.warpAffine(coarse.astype(np.float32), step, size, flags=flags))
        return maps[0], maps[1]


def _crossing(settings: PanTiltSettings, rng: np.random.Generator) -> Flight:
    """A drone that crosses from side to side, nearer and farther, higher and lower, as fast as its speeds say."""
    side = float(rng.choice([-1.0, 1.0]))
    point = np.array([rng.uniform(70, 110), 60.0 * side, rng.uniform(18, 35)])
    times, points = [-3.0], [point]
    while times[-1] < settings.seconds + 3:
        side = -side
        ends = np.array([rng.uniform(55, 120), side * rng.uniform(45, 95), rng.uniform(14, 42)])
        # on the way it changes its mind
        between = (points[-1] + ends) / 2 + rng.normal(0, [12, 6, 4])
        for target in (between, ends):
            speed = float(rng.uniform(*settings.speeds))
            times.append(times[-1] + max(float(np.linalg.norm(target - points[-1])) / speed, 1.5))
            points.append(target)
    width = float(rng.uniform(0.5, 0.9))
    return Flight(DRONE, width, CubicSpline(times, np.array(points)))


def _contrast(level: float, rng: np.random.Generator) -> float:
    """Grey levels against the sky: mostly darker."""
    strength = float(rng.uniform(35, 80))
    return -min(strength, 0.7 * level) if level > 70 else strength


def _blend(image: UInt8Image, alpha: np.ndarray, shade: np.ndarray, x: int, y: int, contrast: float) -> None:
    """Put a patch into an image in place."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + alpha.shape[1], width), min(y + alpha.shape[0], height)
    if x1 >= x2 or y1 >= y2:
        return
    part = (slice(y1 - y, y2 - y), slice(x1 - x, x2 - x))
    region = image[y1:y2, x1:x2].astype(np.float32)
    level = region.mean(axis=(0, 1))
    color = level + contrast * shade[part][:, :, None]
    mixed = region + alpha[part][:, :, None] * (color - region)
    image[y1:y2, x1:x2] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
