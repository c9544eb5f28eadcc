"""Motion of targets: one Kalman filter per target, in coordinates that move with the background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import FloatArray, box_centers, box_sizes
from smotracker_ros.tracking.camera_motion import CameraShift

# Smaller targets are as agile, and their masks as far off, as targets of so many pixels
_LEAST_SIDE = 8.0
# An error of more standard deviations is a jump of the mask, not speed
_JUMP = 4.0
# Limits of what the noise learns from one error, and of the noise itself, as factors of its variance
_MOST_SURPRISE, _MOST_RESTLESS = 25.0, 400.0
# A straight flight out of an occlusion is wrong by some part of a size at once, and by more with time: its error counts
# in sizes of the target per so many seconds and the seconds of the flight; beyond the farthest nobody is looked for
_FLIGHT_SECONDS = 0.5
_FARTHEST = 2.0
# A mask is on something else where the target would be more rarely than once in so many predictions
_EXCEEDED = 1e-4


@dataclass(frozen=True)
class FlightModel:
    """How targets fly against the background, in sizes of the target, which is the longer side of its box.

    A velocity is driven by white noise, and once the target is LOST it is forgotten with time (an Ornstein-Uhlenbeck
    process). Some targets, and some cameras, are more restless than others: the noise grows and falls with the errors
    of the latest predictions. Errors have heavy tails, as masks jump and cameras jerk: their distribution is Student's.

    Attributes:
        agility: density of the driving noise of the calmest targets, sizes per second to the power 1.5.
        persistence: seconds after which the velocity of a LOST target has fallen to 1/e.
        jitter: standard deviation of a mask's centre, sizes.
        speed: standard deviation of a velocity in one direction, sizes per second.
        adaptation: seconds within which the noise follows the errors.
        freedom: degrees of freedom of the errors' distribution.
    """

    agility: float
    persistence: float
    jitter: float
    speed: float
    adaptation: float
    freedom: float

    def log_density(self, squared: FloatArray, variance: FloatArray) -> npt.NDArray[np.float64]:
        """Logarithm of the density per pixel of an error, from its squared length and its variance in one direction."""
        ratio = np.log1p(squared / (self.freedom * variance))
        return np.asarray(-np.log(2 * np.pi * variance) - (self.freedom + 2) / 2 * ratio, dtype=np.float64)

    @cached_property
    def gate(self) -> float:
        """Length of an error, in standard deviations, that is exceeded once in so many predictions."""
        return float(np.sqrt(self.freedom * (_EXCEEDED ** (-2 / self.freedom) - 1)))


FLIGHT = FlightModel(agility=0.374, persistence=0.667, jitter=0.024, speed=3.0, adaptation=0.158, freedom=2.98)
"""As shipped; fitted to clips of `train/`, see docs/log.md.

But for the persistence: a fit looks a second ahead, in which targets fly nearly straight (3.5 to 6 seconds); LOST ones
are found again more often if they are expected nearer.
"""


@dataclass
class TargetMotion:
    """Kalman filter of one target's centre, relative to the background.

    The two directions are independent and alike, so they share one covariance.

    Attributes:
        center: (x, y) in pixels of the current frame, float32 (2,).
        velocity: pixels per second relative to the background, float32 (2,).
        model: how targets fly.
        covariance: of position and velocity in one direction, in pixels and seconds, float64 (2, 2).
        restlessness: by how much the driving noise has more variance than that of the calmest targets.
    """

    center: FloatArray
    velocity: FloatArray
    model: FlightModel = FLIGHT
    covariance: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))
    restlessness: float = 1.0

    @staticmethod
    def born(center: FloatArray, side: float, model: FlightModel = FLIGHT) -> TargetMotion:
        """A target of which a place is known, (x, y) in pixels, and the longer side in pixels."""
        motion = TargetMotion(center, np.zeros(2, dtype=np.float32), model)
        motion.place(center, side)
        return motion

    def copy(self) -> TargetMotion:
        """As it is now; later steps do not enter."""
        return replace(self, velocity=self.velocity.copy(), center=self.center.copy())

    def predict(self, shift: CameraShift, seconds: float, side: float, fades: bool = False) -> None:
        """Move on by one frame.

        Args:
            shift: the camera's motion.
            seconds: time step.
            side: longer side of the target in pixels.
            fades: whether the velocity is forgotten with time, as that of a LOST target is.
        """
        predict_all([self], shift, seconds, np.array([side]), np.array([fades]))

    def deviation(self, side: float) -> float:
        """Standard deviation in pixels, in one direction, of a mask's centre from where it is expected."""
        jitter = self.model.jitter * max(side, _LEAST_SIDE)
        return float(np.sqrt(self.covariance[0, 0] + jitter**2))

    def measure(self, center: FloatArray, side: float, seconds: float) -> None:
        """Correct the prediction of this frame with a measured centre.

        An error of more than a few standard deviations moves the velocity no further: a mask has jumped.

        Args:
            center: (x, y) in pixels, float32 (2,).
            side: longer side of the target in pixels.
            seconds: since the last measurement.
        """
        error, deviation = center - self.center, self.deviation(side)
        deviations = float(np.linalg.norm(error)) / deviation
        gain = self.covariance[:, 0] / deviation**2
        share = min(1.0, _JUMP / max(deviations, 1e-6))
        self.velocity = (self.velocity + np.float32(gain[1] * share) * error).astype(np.float32)
        self.covariance = self.covariance - np.outer(gain, self.covariance[0])
        self.center = np.asarray(center, dtype=np.float32)
        follow = 1 - float(np.exp(-seconds / self.model.adaptation))
        surprise = min(deviations**2 / 2, _MOST_SURPRISE) - 1
        self.restlessness = min(max(self.restlessness * (1 + follow * surprise), 1.0), _MOST_RESTLESS)

    def place(self, center: FloatArray, side: float, velocity: FloatArray | None = None) -> None:
        """Put the target where a detection found it; its velocity is as unknown as at birth, unless it is given.

        Args:
            center: (x, y) in pixels, float32 (2,).
            side: longer side of the target in pixels.
            velocity: pixels per second relative to the background, float32 (2,); None: the filter's.
        """
        scale = max(side, _LEAST_SIDE)
        self.center = np.asarray(center, dtype=np.float32)
        spread = (self.model.speed * scale) ** 2
        if velocity is not None:
            self.velocity, spread = velocity.astype(np.float32), min(self.covariance[1, 1], spread)
        self.covariance = np.diag([(self.model.jitter * scale) ** 2, spread])


def predict_all(
    motions: Sequence[TargetMotion],
    shift: CameraShift,
    seconds: float,
    sides: npt.NDArray[np.float64],
    fades: npt.NDArray[np.bool_],
) -> None:
    """Move several targets on by one frame; all at once, as the calls cost more than the numbers.

    Args:
        motions: of N targets.
        shift: the camera's motion.
        seconds: time step.
        sides: longer sides of the targets in pixels, (N,).
        fades: whose velocity is forgotten with time, (N,); see :meth:`TargetMotion.predict`.
    """
    if not motions:
        return
    persistence = np.array([motion.model.persistence for motion in motions])
    agility = np.array([motion.model.agility for motion in motions])
    restlessness = np.array([motion.restlessness for motion in motions])
    fading = np.where(fades, np.exp(-seconds / persistence), 1.0)
    flown = np.where(fades, persistence * (1 - fading), seconds)
    linear = shift.matrix[:, :2].astype(np.float32)
    velocity = np.matmul(linear, np.array([motion.velocity for motion in motions])[:, :, None])[:, :, 0]
    center = shift.move([motion.center for motion in motions]) + velocity * flown.astype(np.float32)[:, None]
    velocity = velocity * fading.astype(np.float32)[:, None]
    step = np.zeros((len(motions), 2, 2))
    step[:, 0, 0], step[:, 0, 1], step[:, 1, 1] = 1.0, flown, fading
    noise = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
    drive = restlessness * (agility * np.maximum(sides, _LEAST_SIDE)) ** 2
    covariance = shift.zoom**2 * step @ np.array([motion.covariance for motion in motions]) @ step.transpose(0, 2, 1)
    covariance += drive[:, None, None] * noise
    covariance[:, 0, 0] += shift.error**2
    for row, motion in enumerate(motions):
        motion.center, motion.velocity, motion.covariance = center[row], velocity[row], covariance[row]


@dataclass
class StraightFlight:
    """A target that is taken to fly on in a straight line, whatever its masks say.

    Attributes:
        motion: filter that measures nothing.
        size: width and height in pixels, float32 (2,).
        seconds: of the flight so far.
    """

    motion: TargetMotion
    size: FloatArray
    seconds: float = 0.0

    @staticmethod
    def of(motion: TargetMotion, size: FloatArray) -> StraightFlight:
        """From where a target of that size is now."""
        return StraightFlight(motion.copy(), size.copy())

    @property
    def box(self) -> FloatArray:
        """Where the target should be, float32 (4,), xyxy pixels."""
        return np.concatenate([self.motion.center - self.size / 2, self.motion.center + self.size / 2])

    def predict(self, shift: CameraShift, seconds: float) -> None:
        """Move on by one frame."""
        self.seconds += seconds
        self.motion.predict(shift, seconds, float(self.size.max()))
        self.size = (self.size * shift.zoom).astype(np.float32)

    def arrive(self, place: FloatArray) -> None:
        """Fly on from a place, float32 (4,), where the target was found, with the speed that led there."""
        center = box_centers(place)[0]
        if self.seconds > 0:
            self.motion.velocity = self.motion.velocity + (center - self.motion.center) / np.float32(self.seconds)
        self.motion.center, self.seconds = center, 0.0

    def leaves(self, other: StraightFlight) -> bool:
        """Whether the distance from another grows."""
        apart, faster = self.motion.center - other.motion.center, self.motion.velocity - other.motion.velocity
        return float(apart @ faster) > 0

    def costs(self, places: FloatArray) -> FloatArray:
        """How unlikely the target is at each of the places (N, 4), infinite where out of reach, float32 (N,).

        The sum of the error, in sizes per second, and of the ratio of the sizes, as a logarithm. Masks that touch draw
        each other along, so that the filter's own deviation promises too much here.
        """
        side = max(float(self.size.max()), _LEAST_SIDE)
        distance = np.linalg.norm(box_centers(places) - self.motion.center, axis=1) / side
        error = distance / (_FLIGHT_SECONDS + self.seconds)
        shape = np.abs(np.log(np.maximum(box_sizes(places), 1) / np.maximum(self.size, 1))).mean(axis=1)
        return np.where(error > _FARTHEST, np.inf, error + shape).astype(np.float32)
