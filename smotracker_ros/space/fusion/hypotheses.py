"""Kalman filters of targets that are seen as directions, many at once.

A target's state is place and velocity in the world, and for each camera the error of its orientation (a small rotation)
and of its clock: these errors last, and do not average out as the noise of a box does. Motion is nearly constant in
velocity.

A direction says nothing of the distance. Therefore a filter is a mixture: each component believes in another distance,
and the data choose among them (range-parametrised filter, Peach 1995, IEE Proc. D 142). Within a component, the
measurement is how far the target lies beside the measured ray. That is linear in the place (pseudo-linear tracking,
Aidala and Nardone 1982), so that repeated directions from one place do not feign a distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smotracker_ros.space.fusion.settings import FusionSettings

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

PLACE, VELOCITY = slice(0, 3), slice(3, 6)
_MOTION, _PER_CAMERA = 6, 4
_COMPONENTS = 14
# Before anything is seen a direction may lie anywhere within about so many radians: 1 / (2 pi L^2) per steradian
_ANYWHERE = 0.5
# Log-density per steradian of a direction that belongs to no target although the tracker says so
OUTLIER = float(np.log(0.01 / (2 * np.pi * _ANYWHERE**2)))
# Errors of orientation and clock change within so many seconds
_LASTING_SECONDS = 4.0
_NEAREST = 0.5
# Radians up to which an expected and a measured ray are about the same
_SMALL_ANGLE = 0.01
# What is forgotten of place (share of the distance) and velocity (m/s) when errors are learned anew
_SETTLING_SHARE, _SETTLING_SPEED = 0.02, 3.0
_LEAST_WEIGHT = -14.0


@dataclass(frozen=True)
class MotionModel:
    """What the filters assume, made of the settings.

    Attributes:
        ranges: float64 (K,), distances that the components begin with, metres.
        range_share: standard deviation of a component's distance, as a share of it.
        speed: standard deviation of a velocity along each axis, m/s.
        diffusion: power of the white acceleration, m^2/s^3.
        errors: float64 (4,), variances of one camera's rotation (rad^2, three axes) and clock (s^2).
    """

    ranges: Float64Array
    range_share: float
    speed: float
    diffusion: float
    errors: Float64Array

    @staticmethod
    def of(settings: FusionSettings) -> MotionModel:
        """The model that the settings describe."""
        step = np.log(settings.range_max / settings.range_min) / _COMPONENTS
        ranges = settings.range_min * np.exp(step * (np.arange(_COMPONENTS) + 0.5))
        pose = max(np.radians(settings.pose_deviation), 1e-6) ** 2
        clock = max(settings.clock_deviation, 1e-6) ** 2
        return MotionModel(
            ranges,
            0.6 * float(step),
            settings.speed,
            2 * settings.acceleration**2 * settings.acceleration_seconds,
            np.array([pose, pose, pose, clock]),
        )


class Hypotheses:
    """N filters side by side; each is a hypothesis on which sightings are of one target.

    Attributes:
        mean: float64 (N, K, D): place, velocity, and by camera rotation (3) and clock (1).
        covariance: float64 (N, K, D, D).
        log_weights: float64 (N, K), normalised; those that count for nothing are -inf.
        together: float64 (N,), log-density, per steradian each, of the directions since a second camera joined in.
        alone: float64 (N, K), that of the directions before, by component.
        origin: float64 (N, 3), where the camera of the first direction stood, metres.
        started: bool (N,), whether there was a first direction.
        seen_by: bool (N, cameras), which cameras gave directions.

    Args:
        model: of motion and errors.
        number: N.
        cameras: number of cameras.
    """

    def __init__(self, model: MotionModel, number: int, cameras: int) -> None:
        self._model = model
        size, components = _MOTION + _PER_CAMERA * cameras, len(model.ranges)
        self.mean = np.zeros((number, components, size))
        self.covariance = np.zeros((number, components, size, size))
        self.log_weights = np.full((number, components), -np.log(components))
        self.together = np.zeros(number)
        self.alone = np.zeros((number, components))
        self.origin = np.zeros((number, 3))
        self.started = np.zeros(number, dtype=np.bool_)
        self.seen_by = np.zeros((number, cameras), dtype=np.bool_)
        self._errors = np.tile(model.errors, cameras)

    def take(self, index: int) -> Hypotheses:
        """A copy of one of the filters, without the components that count for nothing."""
        copy = Hypotheses.__new__(Hypotheses)
        copy._model, copy._errors = self._model, self._errors
        kept = self.log_weights[index] > _LEAST_WEIGHT
        copy.mean = self.mean[index : index + 1, kept].copy()
        copy.covariance = self.covariance[index : index + 1, kept].copy()
        copy.log_weights = self.log_weights[index : index + 1, kept].copy()
        copy.log_weights -= _log_sum(copy.log_weights)[:, None]
        copy.together = self.together[index : index + 1].copy()
        copy.alone = self.alone[index : index + 1, kept].copy()
        copy.origin = self.origin[index : index + 1].copy()
        copy.started = self.started[index : index + 1].copy()
        copy.seen_by = self.seen_by[index : index + 1].copy()
        return copy

    def evidence(self, index: int, place: Float64Array | None = None) -> float:
        """Log-density of all directions that a filter was given, per steradian each.

        What one camera saw alone counts as it is at the distance that is asked about: taken over all distances,
        whatever hovers near by would rather be something far away.

        Args:
            index: of the filter; none of its components may have been dropped.
            place: float64 (3,), at whose distance, metres; None: where the filter itself has its target.
        """
        offset = (self.likeliest(index)[PLACE] if place is None else place) - self.origin[index]
        distance, ranges = np.log(max(float(np.linalg.norm(offset)), _NEAREST)), np.log(self._model.ranges)
        return float(self.together[index] + np.interp(distance, ranges, self.alone[index]))

    def likeliest(self, index: int) -> Float64Array:
        """Place and velocity, float64 (6,), of a filter's most probable component, metres and m/s."""
        return np.asarray(self.mean[index, self.log_weights[index].argmax(), :_MOTION])

    def predict(self, seconds: float) -> None:
        """Let time pass."""
        if seconds <= 0:
            return
        mean, covariance, model = self.mean, self.covariance, self._model
        mean[..., PLACE] += seconds * mean[..., VELOCITY]
        covariance[..., PLACE, :] += seconds * covariance[..., VELOCITY, :]
        covariance[..., :, PLACE] += seconds * covariance[..., :, VELOCITY]
        step = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
        covariance[..., :_MOTION, :_MOTION] += model.diffusion * np.kron(step, np.eye(3))
        fades = np.exp(-seconds / _LASTING_SECONDS)
        mean[..., _MOTION:] *= fades
        covariance[..., _MOTION:, :] *= fades
        covariance[..., :, _MOTION:] *= fades
        diagonal = np.arange(_MOTION, mean.shape[-1])
        covariance[..., diagonal, diagonal] += (1 - fades**2) * self._errors

    def measure(
        self, rows: IntArray, camera: int, position: Float64Array, directions: Float64Array, deviations: Float64Array
    ) -> npt.NDArray[np.bool_]:
        """Take directions of one image, one for each of some filters.

        Args:
            rows: int (M,), which filters.
            camera: number of the camera.
            position: (3,), where it stands.
            directions: (M, 3), unit vectors.
            deviations: (M,), radians.

        Returns:
            bool (M,), whether a direction was believed; it is an outlier otherwise, which leaves the filter as it is.
        """
        new = rows[~self.started[rows]]
        if len(new):
            self._begin(new, position, directions[~self.started[rows]])
        mean, covariance = self.mean[rows], self.covariance[rows]
        innovation, slope, ranges = self._innovation(mean, camera, position, directions)
        across = covariance @ np.swapaxes(slope, -1, -2)  # (M, K, D, 2)
        spread = slope @ across
        noise = (deviations[:, None] * ranges) ** 2
        spread[..., 0, 0] += noise
        spread[..., 1, 1] += noise
        inverse, log_density = _density(innovation, spread, ranges)
        log_weights = self.log_weights[rows] + log_density
        total = _log_sum(log_weights)
        believed = (total > OUTLIER) | ~self.started[rows]
        self.started[rows] = True
        gain = across @ inverse
        mean -= (gain @ innovation[..., None])[..., 0]
        covariance -= gain @ np.swapaxes(across, -1, -2)
        sure = rows[believed]
        self.mean[sure], self.covariance[sure] = mean[believed], covariance[believed]
        self.seen_by[sure, camera] = True
        # How smoothly something moves across one camera's image says how far it is only to who knows how it flies
        joint = self.seen_by[rows].sum(axis=1) > 1
        told = believed & joint
        self.log_weights[rows[told]] = log_weights[told] - total[told, None]
        self.together[rows] += np.where(joint, np.where(believed, total, OUTLIER), 0.0)
        # what a component cannot explain is an outlier to it
        single = np.where(believed[:, None], np.maximum(log_density, OUTLIER), OUTLIER)
        self.alone[rows] += np.where(joint[:, None], 0.0, single)
        return believed

    def log_density(
        self, camera: int, position: Float64Array, directions: Float64Array, deviations: Float64Array
    ) -> Float64Array:
        """Log-density per steradian of directions, (N, 3), one for each filter, each (N,) of its deviation."""
        innovation, slope, ranges = self._innovation(self.mean, camera, position, directions)
        spread = slope @ self.covariance @ np.swapaxes(slope, -1, -2)
        noise = (deviations[:, None] * ranges) ** 2
        spread[..., 0, 0] += noise
        spread[..., 1, 1] += noise
        return _log_sum(self.log_weights + _density(innovation, spread, ranges)[1])

    def moments(self, index: int = 0) -> tuple[Float64Array, Float64Array]:
        """Mean (6,) and covariance (6, 6) of place and velocity, over all components."""
        weights = np.exp(self.log_weights[index])
        means = self.mean[index, :, :_MOTION]
        mean = weights @ means
        apart = means - mean
        inner = np.einsum("k,kij->ij", weights, self.covariance[index, :, :_MOTION, :_MOTION])
        covariance = inner + np.einsum("k,ki,kj->ij", weights, apart, apart)
        return mean, (covariance + covariance.T) / 2

    def forget_small(self) -> None:
        """Drop the components that count for nothing; for a single filter."""
        kept = self.log_weights[0] > _LEAST_WEIGHT
        if not kept.all():
            self.mean, self.covariance = self.mean[:, kept], self.covariance[:, kept]
            self.alone = self.alone[:, kept]
            self.log_weights = self.log_weights[:, kept] - _log_sum(self.log_weights[:, kept])[:, None]

    def settle(self, distance: float) -> None:
        """Begin anew at the place that has been found; for a single filter.

        While a distance is not known, the effect of an error of orientation is not either, and what the filter believes
        of it is wrong by as much. From where the target is known to be, it is learned rightly.

        Args:
            distance: from the cameras, metres.
        """
        mean, covariance = self.moments()
        size = self.mean.shape[-1]
        self.mean = np.zeros((1, 1, size))
        self.mean[0, 0, :_MOTION] = mean
        self.covariance = np.zeros((1, 1, size, size))
        place, velocity = covariance[PLACE, PLACE], covariance[VELOCITY, VELOCITY]
        self.covariance[0, 0, PLACE, PLACE] = 9 * place + (_SETTLING_SHARE * distance) ** 2 * np.eye(3)
        self.covariance[0, 0, VELOCITY, VELOCITY] = velocity + _SETTLING_SPEED**2 * np.eye(3)
        diagonal = np.arange(_MOTION, size)
        self.covariance[0, 0, diagonal, diagonal] = self._errors
        self.log_weights, self.alone = np.zeros((1, 1)), np.zeros((1, 1))

    def _begin(self, rows: IntArray, position: Float64Array, directions: Float64Array) -> None:
        """Components along the ray at all distances; across it anywhere, which the direction then narrows."""
        ranges = self._model.ranges
        along = directions[:, :, None] * directions[:, None, :]
        shape = self._model.range_share**2 * along + _ANYWHERE**2 * (np.eye(3) - along)
        self.mean[rows] = 0.0
        self.mean[rows, :, PLACE] = position + ranges[None, :, None] * directions[:, None, :]
        covariance = np.zeros((len(rows), *self.covariance.shape[1:]))
        covariance[:, :, PLACE, PLACE] = ranges[None, :, None, None] ** 2 * shape[:, None]
        for axis in range(3, 6):
            covariance[:, :, axis, axis] = self._model.speed**2
        diagonal = np.arange(_MOTION, self.mean.shape[-1])
        covariance[:, :, diagonal, diagonal] = self._errors
        self.covariance[rows] = covariance
        self.log_weights[rows] = -np.log(len(ranges))
        self.origin[rows] = position

    def _innovation(
        self, mean: Float64Array, camera: int, position: Float64Array, directions: Float64Array
    ) -> tuple[Float64Array, Float64Array, Float64Array]:
        """How far targets lie beside measured rays.

        Returns:
            Offsets (M, K, 2) in metres, their slopes (M, K, 2, D) by the state, and the distances (M, K).
        """
        first = _MOTION + _PER_CAMERA * camera
        turn, clock = mean[..., first : first + 3], mean[..., first + 3]
        offset = mean[..., PLACE] - position
        along = np.einsum("mkj,mj->mk", offset, directions)
        ranges = np.maximum(along, _NEAREST)
        rays = np.broadcast_to(directions[:, None, :], offset.shape)
        # Across the ray that is expected, not across the measured one: the noise of that would pull the target nearer.
        # Where the two differ much, nothing else than the measured one will do.
        beside = offset - along[..., None] * rays
        apart = np.sqrt((beside * beside).sum(axis=-1))
        expected = offset / np.sqrt((offset * offset).sum(axis=-1, keepdims=True) + 1e-12)
        across = _across(np.where((apart < _SMALL_ANGLE * ranges)[..., None], expected, rays))  # (M, K, 2, 3)
        # at its stamp plus its clock's error, seen along a direction that is turned by its orientation's error
        miss = offset + clock[..., None] * mean[..., VELOCITY]
        miss += ranges[..., None] * (_cross(turn, rays) - rays)
        innovation = (across @ miss[..., None])[..., 0]
        slope = np.zeros((*mean.shape[:2], 2, mean.shape[-1]))
        slope[..., PLACE] = across
        slope[..., VELOCITY] = clock[..., None, None] * across
        slope[..., first : first + 3] = -ranges[..., None, None] * (across @ _cross_matrix(directions)[:, None])
        slope[..., first + 3] = (across @ mean[..., VELOCITY, None])[..., 0]
        return innovation, slope, ranges


def _density(innovation: Float64Array, spread: Float64Array, ranges: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Inverse of the innovations' covariance (M, K, 2, 2), and log-density (M, K) per steradian."""
    a, b, c = spread[..., 0, 0], spread[..., 0, 1], spread[..., 1, 1]
    determinant = np.maximum(a * c - b * b, 1e-30)
    inverse = np.empty_like(spread)
    inverse[..., 0, 0], inverse[..., 1, 1] = c / determinant, a / determinant
    inverse[..., 0, 1] = inverse[..., 1, 0] = -b / determinant
    squared = np.einsum("mki,mkij,mkj->mk", innovation, inverse, innovation)
    density = -0.5 * (squared + np.log(determinant)) - np.log(2 * np.pi) + 2 * np.log(ranges)
    return inverse, np.where(ranges > _NEAREST, density, -1e3)


def _across(directions: Float64Array) -> Float64Array:
    """Two unit vectors across each direction (..., 3) and each other, (..., 2, 3)."""
    axis = np.eye(3)[np.abs(directions).argmin(axis=-1)]
    first = _cross(directions, axis)
    first /= np.sqrt((first * first).sum(axis=-1, keepdims=True))
    return np.stack([first, _cross(directions, first)], axis=-2)


def _cross(one: Float64Array, two: Float64Array) -> Float64Array:
    """As numpy's `cross` for (..., 3), which takes several times as long for few vectors."""
    x, y, z = one[..., 0], one[..., 1], one[..., 2]
    u, v, w = two[..., 0], two[..., 1], two[..., 2]
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=-1)


def _log_sum(values: Float64Array) -> Float64Array:
    """As scipy's `logsumexp` over the last axis, which takes ten times as long for few numbers."""
    highest = values.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.exp(values - highest).sum(axis=-1)) + highest[..., 0], dtype=np.float64)


def _cross_matrix(vectors: Float64Array) -> Float64Array:
    """Matrices (M, 3, 3) that take the cross product with vectors (M, 3) from the left."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
