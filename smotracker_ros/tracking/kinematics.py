"""Motion of targets against the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.tracking.camera_motion import CameraShift

# Time in seconds within which a velocity follows: a gain of a quarter per frame at 30 frames per second
_VELOCITY_SECONDS = 0.115
# The first positions are believed faster; within less time, in seconds, their noise would pass for speed
_SHORTEST_STEP = 1 / 60


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
