"""Motion of targets against the background."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from smotracker_ros.core.geometry import FloatArray, box_centers, box_sizes
from smotracker_ros.tracking.camera_motion import CameraShift

# Time in seconds within which a velocity follows: a gain of a quarter per frame at 30 frames per second
_VELOCITY_SECONDS = 0.115
# The first positions are believed faster; within less time, in seconds, their noise would pass for speed
_SHORTEST_STEP = 1 / 60
# A straight flight is wrong by some part of a size at once, and by more with time: its error counts in sizes of the
# target per so many seconds and the seconds of the flight; beyond the farthest the place is out of the question
_FLIGHT_SECONDS = 0.5
_FARTHEST = 2.0
# Smaller targets are as far off as targets of so many pixels: masks and detections are no more exact on them
_LEAST_SIDE = 8.0


@dataclass
class TargetMotion:
    """Constant-velocity filter of one target's centre, relative to the background.

    An alpha-beta filter (a Kalman filter in its steady state): position follows measurements at once, because masks are
    precise, velocity follows slowly.

    Attributes:
        center: (x, y) in pixels of the current frame, float32 (2,).
        velocity: pixels per second relative to the background, float32 (2,).
        measurements: positions measured so far.
    """

    center: FloatArray
    velocity: FloatArray
    measurements: int = 1

    def predict(self, shift: CameraShift, seconds: float) -> None:
        """Move on by one frame."""
        linear = shift.matrix[:, :2].astype(np.float32)
        self.velocity = linear @ self.velocity
        self.center = shift.move(self.center)[0] + self.velocity * np.float32(seconds)

    def measure(self, center: FloatArray, seconds: float, largest_error: float = float("inf")) -> None:
        """Correct the prediction of this frame with a measured centre.

        The gain follows the time, so that frames stamped in bursts, or late, do not make speed of a position's noise.

        Args:
            center: (x, y) in pixels, float32 (2,).
            seconds: time since the last measurement; 0: the velocity stays.
            largest_error: pixels by which a prediction may be wrong; what is beyond is a jump of the mask, not speed.
        """
        error = center - self.center
        error = error * np.float32(min(1.0, largest_error / max(float(np.linalg.norm(error)), 1e-6)))
        if seconds > 0:
            steady = (1.0 - np.exp(-seconds / _VELOCITY_SECONDS)) / seconds
            rate = max(steady, 1.0 / (self.measurements + 1) / max(seconds, _SHORTEST_STEP))
            self.velocity = (self.velocity + np.float32(rate) * error).astype(np.float32)
        self.center = np.asarray(center, dtype=np.float32)
        self.measurements += 1


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
        return StraightFlight(copy.deepcopy(motion), size.copy())

    @property
    def box(self) -> FloatArray:
        """Where the target should be, float32 (4,), xyxy pixels."""
        return np.concatenate([self.motion.center - self.size / 2, self.motion.center + self.size / 2])

    def predict(self, shift: CameraShift, seconds: float) -> None:
        """Move on by one frame."""
        self.seconds += seconds
        self.motion.predict(shift, seconds)
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

        The sum of the flight's error, in sizes per second, and of the ratio of the sizes, as a logarithm.
        """
        side = max(float(self.size.max()), _LEAST_SIDE)
        distance = np.linalg.norm(box_centers(places) - self.motion.center, axis=1) / side
        error = distance / (_FLIGHT_SECONDS + self.seconds)
        shape = np.abs(np.log(np.maximum(box_sizes(places), 1) / np.maximum(self.size, 1))).mean(axis=1)
        return np.where(error > _FARTHEST, np.inf, error + shape).astype(np.float32)
