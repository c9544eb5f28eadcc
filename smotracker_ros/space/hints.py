"""Hints in space: where a radar, a beacon or another tracker believes a target to be, as gates in the image.

A hint is a Gaussian in space, or a direction from where it was measured. Its shape is kept on the way into the image: a
radar that knows the range well and the height badly makes an upright gate, one beside the camera that knows no range
makes a round one, and one far beside the camera a long one along its ray.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from smotracker_ros.io.calibration import Calibration
from smotracker_ros.space.poses import Float64Array, Pose, PoseError, PoseSource
from smotracker_ros.tracking.gates import Gate, HintError

# Points of a standard normal distribution: quantiles of equal weight along the longest axis, and a few across it
_QUANTILES = np.array([-1.83, -1.28, -0.97, -0.73, -0.52, -0.34, -0.17, 0, 0.17, 0.34, 0.52, 0.73, 0.97, 1.28, 1.83])
_ACROSS = np.array([[0, 0], [1.4142, 0], [-1.4142, 0], [0, 1.4142], [0, -1.4142]])
_ACROSS_WEIGHTS = np.array([0.0, 0.25, 0.25, 0.25, 0.25])
# A target whose range is not known is somewhere between these ranges, metres
_NEAREST, _FARTHEST = 20.0, 5000.0
# A hint is a direction where its deviation along the ray is this share of its range and more
_RANGELESS = 0.7
# Turn by which it is tried how pixels move, radians
_STEP = 1e-4


@dataclass(frozen=True)
class HintErrors:
    """What a hint does not state about itself, and what the camera's pose does not.

    Attributes:
        pose_degrees: standard deviation of the camera's orientation, degrees.
        pose_metres: standard deviation of the camera's position, metres.
        speed: standard deviation of a target's velocity in one direction, metres per second: how far it may have flown
            since its hint.
    """

    pose_degrees: float = 0.5
    pose_metres: float = 0.5
    speed: float = 12.0


@dataclass(frozen=True, eq=False)
class SpaceHint:
    """A hint, see :class:`smotracker_ros.tracking.gates.Hint`.

    Attributes:
        timestamp_ns: when the target was there.
        position: float64 (3,), metres in the world; of a direction any point on its ray.
        covariance: float64 (3, 3), square metres in the world; of a direction it is not used.
        camera: where the camera is at which time.
        calibration: of the camera.
        source: the same for hints of one target; empty: not known.
        friendly: name of a friendly target; empty: none.
        origin: float64 (3,), metres in the world: where the hint was measured.
        direction_degrees: standard deviation of a direction, degrees; None: the hint is a place.
        errors: see :class:`HintErrors`.
    """

    timestamp_ns: int
    position: Float64Array
    covariance: Float64Array
    camera: PoseSource
    calibration: Calibration
    source: str = ""
    friendly: str = ""
    origin: Float64Array = field(default_factory=lambda: np.zeros(3))
    direction_degrees: float | None = None
    errors: HintErrors = field(default_factory=HintErrors)

    def gate(self, timestamp_ns: int) -> Gate | None:
        """See :meth:`smotracker_ros.tracking.gates.Hint.gate`."""
        try:
            camera = self.camera.at(timestamp_ns)
        except PoseError as error:
            raise HintError(str(error)) from error
        apart = abs(timestamp_ns - self.timestamp_ns) / 1e9
        points, weights = self._points(apart)
        return _image(points, weights, camera, self.calibration, self.errors)

    def _points(self, seconds: float) -> tuple[Float64Array, Float64Array]:
        """Points of the world (N, 3) and their weights (N,) that stand for the hint, so many seconds off its time."""
        flown = (self.errors.speed * seconds) ** 2 + self.errors.pose_metres**2
        ray = self.position - self.origin
        distance = float(np.linalg.norm(ray))
        if self.direction_degrees is not None:
            return _ray_points(self.origin, ray / max(distance, 1e-9), np.radians(self.direction_degrees), flown)
        variances, axes = np.linalg.eigh(self.covariance + flown * np.eye(3))
        deviations = np.sqrt(np.maximum(variances, 1e-6))
        along = abs(float(axes[:, 2] @ ray)) / max(distance, 1e-9)
        if along > 0.9 and deviations[2] > _RANGELESS * distance > 0:
            angle = deviations[1] / distance
            return _ray_points(self.origin, ray / distance, angle, flown)
        steps = _grid(deviations[2] * _QUANTILES[:, None] * axes[:, 2], _ACROSS * deviations[:2] @ axes[:, :2].T)
        return self.position + steps, np.tile(_ACROSS_WEIGHTS, len(_QUANTILES)) / len(_QUANTILES)


def _ray_points(
    origin: Float64Array, direction: Float64Array, angle: float, variance: float
) -> tuple[Float64Array, Float64Array]:
    """Points along a ray whose range is not known: every factor of range is as likely.

    Args:
        origin: (3,), metres.
        direction: (3,), unit vector.
        angle: standard deviation of the direction, radians.
        variance: to be added across the ray, square metres.
    """
    ranges = np.geomspace(_NEAREST, _FARTHEST, 2 * len(_QUANTILES) + 1)
    across = _across(direction)
    spread = np.sqrt((angle * ranges) ** 2 + variance)
    steps = (_ACROSS @ across)[None] * spread[:, None, None]
    points = origin + ranges[:, None, None] * direction + steps
    return points.reshape(-1, 3), np.tile(_ACROSS_WEIGHTS, len(ranges)) / len(ranges)


def _grid(first: Float64Array, second: Float64Array) -> Float64Array:
    """Sums (N * M, 3) of all pairs of (N, 3) and (M, 3)."""
    return (first[:, None] + second[None]).reshape(-1, 3)


def _image(
    points: Float64Array, weights: Float64Array, camera: Pose, calibration: Calibration, errors: HintErrors
) -> Gate | None:
    """The Gaussian in the image that has the moments of weighted points of the world; None if none is seen."""
    seen = camera.points_from_world(points)
    middle = weights @ seen
    rays = middle / max(float(np.linalg.norm(middle)), 1e-9) + _STEP * np.vstack([np.zeros(3), _across(middle)])
    pixels = calibration.project(np.vstack([seen, rays]))
    pixels, turned = pixels[:-3], pixels[-3:]
    height, width = calibration.size
    # far beside the image there is nothing to look for, and the moments would be of what cannot be seen
    near = np.isfinite(pixels).all(axis=1) & (np.abs(pixels / (width, height) - 0.5) <= 1.5).all(axis=1)
    weights = np.where(near, weights, 0.0)
    if weights.sum() < 0.02:
        return None
    weights = weights[near] / weights.sum()
    center = weights @ pixels[near]
    offsets = pixels[near] - center
    covariance = (offsets * weights[:, None]).T @ offsets
    # how the image of a direction moves when the camera turns, pixels per radian
    slope = ((turned[1:] - turned[0]) / _STEP).T
    if not np.isfinite(slope).all():
        slope = calibration.matrix[:2, :2] / np.array(calibration.binning)[:, None]
    turn = np.radians(errors.pose_degrees) * slope
    return Gate(center, covariance + turn @ turn.T + 0.25 * np.eye(2))


def _across(direction: Float64Array) -> Float64Array:
    """Two unit vectors, float64 (2, 3), across a direction (3,) and each other."""
    x, y, z = direction
    # whichever axis the direction is not along
    side = np.array([z, 0.0, -x]) if abs(y) < 0.7 * float(np.linalg.norm(direction)) else np.array([y, -x, 0.0])
    side /= max(float(np.linalg.norm(side)), 1e-12)
    other = np.array([y * side[2] - z * side[1], z * side[0] - x * side[2], x * side[1] - y * side[0]])
    return np.stack([side, other / max(float(np.linalg.norm(other)), 1e-12)])
