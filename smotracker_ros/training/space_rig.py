"""Several calibrated cameras that look at one scene, and what they get wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from smotracker_ros.io.calibration import Calibration
from smotracker_ros.space.poses import Pose
from smotracker_ros.training.space_flights import Flight, make_flight
from smotracker_ros.training.targets import BIRD, DRONE

Float64Array = npt.NDArray[np.float64]

LENSES = ("pinhole", "fisheye", "mixed")


@dataclass(frozen=True)
class SpaceSettings:
    """What a scene of several cameras should contain.

    Attributes:
        cameras: number of cameras; they stand in a row.
        baseline: from one camera to the next, metres.
        distance: from the middle camera to the middle of the flights, metres.
        targets: number of targets.
        birds: share of them that are birds.
        seconds: length.
        fps: frames per second of each camera; they are not synchronised.
        width: of the images, pixels.
        height: of the images, pixels.
        field_of_view: across the image, degrees.
        lens: "pinhole", "fisheye" (equidistant), or "mixed": every second one a fisheye.
        clock_offset: errors of the cameras' stamps (standard deviation), seconds; the first camera's is right.
        pose_error: errors of the stated orientations (standard deviation about each axis), degrees.
    """

    cameras: int = 3
    baseline: float = 30.0
    distance: float = 200.0
    targets: int = 3
    birds: float = 0.3
    seconds: float = 60.0
    fps: float = 15.0
    width: int = 1280
    height: int = 720
    field_of_view: float = 60.0
    lens: str = "pinhole"
    clock_offset: float = 0.0
    pose_error: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.cameras <= 16 or self.targets < 0 or self.fps <= 0 or self.seconds <= 0:
            raise ValueError("a scene in space needs 1 to 16 cameras, 0 or more targets, a positive rate and length")
        if self.width < 64 or self.height < 64 or not 5 <= self.field_of_view <= 150:
            raise ValueError("images need at least 64x64 pixels, and a field of view of 5 to 150 degrees")
        if self.lens not in LENSES:
            raise ValueError(f"lens must be one of {', '.join(LENSES)}, not {self.lens!r}")
        if not 20 <= self.distance <= 2000 or self.baseline < 0 or self.clock_offset < 0 or self.pose_error < 0:
            raise ValueError("distance must lie in 20 to 2000 m; baseline and errors must not be negative")

    @property
    def frames(self) -> int:
        """Images of each camera."""
        return max(round(self.seconds * self.fps), 1)


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera.

    Attributes:
        name: such as "camera_1".
        calibration: of its lens.
        pose: as it is.
        stated_pose: as the extrinsics say.
        times: float64 (frames,), when its images are taken, seconds.
        stamps: float64 (frames,), when it says that they are.
    """

    name: str
    calibration: Calibration
    pose: Pose
    stated_pose: Pose
    times: Float64Array
    stamps: Float64Array

    def pixels(self, points: Float64Array, pose: Pose | None = None) -> Float64Array:
        """Where points (N, 3) of the world appear, float64 (N, 2) pixels; NaN outside the image.

        Args:
            points: metres.
            pose: of the camera, if it is somewhere else than at its place.
        """
        directions = (pose or self.pose).points_from_world(points)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        pixels = np.asarray(self.calibration.project(directions), dtype=np.float64)
        height, width = self.calibration.size
        inside = np.all((pixels >= 0) & (pixels < (width, height)), axis=1)
        return np.asarray(np.where(inside[:, None], pixels, np.nan), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Rig:
    """Cameras and what flies before them.

    Attributes:
        cameras: in a row from left to right.
        flights: of the targets; a target's id is its place in this list plus one.
    """

    cameras: tuple[RigCamera, ...]
    flights: tuple[Flight, ...]


def make_rig(settings: SpaceSettings, seed: int) -> Rig:
    """Cameras and flights; the same settings and seed give the same ones.

    The world is that of REP 103: x east, y north, z up. Cameras stand along x near the origin, and look north.
    """
    rng = np.random.default_rng(seed)
    centre = np.array([0.0, settings.distance, 15.0 + 0.12 * settings.distance])
    wide = np.tan(np.radians(settings.field_of_view / 2))
    extent = settings.distance * np.array([0.6 * wide, 0.25, 0.25 * wide * settings.height / settings.width])
    kinds = rng.random(settings.targets) < settings.birds
    flights = tuple(make_flight(BIRD if bird else DRONE, centre, extent, settings.seconds, rng) for bird in kinds)
    cameras = tuple(_camera(settings, number, centre, rng) for number in range(settings.cameras))
    return Rig(cameras, flights)


def _camera(settings: SpaceSettings, number: int, centre: Float64Array, rng: np.random.Generator) -> RigCamera:
    across = (number - (settings.cameras - 1) / 2) * settings.baseline
    position = np.array([across, float(rng.uniform(-2, 2)), float(rng.uniform(2, 6))])
    rotation = look_at(centre + rng.normal(0, 0.02 * settings.distance, 3) - position)
    pose = Pose(rotation, position)
    error = Rotation.from_rotvec(np.radians(settings.pose_error) * rng.standard_normal(3))
    fisheye = settings.lens == "fisheye" or (settings.lens == "mixed" and number % 2 == 1)
    half = np.radians(settings.field_of_view / 2)
    focal = settings.width / 2 / (half if fisheye else np.tan(half))
    matrix = np.array([[focal, 0, settings.width / 2 - 0.5], [0, focal, settings.height / 2 - 0.5], [0, 0, 1]])
    calibration = Calibration(
        (settings.height, settings.width), matrix, model="equidistant" if fisheye else "plumb_bob"
    )
    times = np.asarray((np.arange(settings.frames) + float(rng.random())) / settings.fps, dtype=np.float64)
    late = float(rng.normal(0, settings.clock_offset)) if number else 0.0
    stamps = np.asarray(times + late, dtype=np.float64)
    return RigCamera(f"camera_{number + 1}", calibration, pose, Pose(error * rotation, position), times, stamps)


def look_at(direction: npt.ArrayLike) -> Rotation:
    """Orientation of an optical frame (x right, y down, z forward) that looks along a direction (3,), upright."""
    forward = np.asarray(direction, dtype=np.float64)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return Rotation.from_matrix(np.stack([right, np.cross(forward, right), forward], axis=1))
