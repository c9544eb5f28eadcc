"""Cameras on masts that sway: where each is at a time, and where late transforms say that it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from smotracker_ros.space.poses import Pose

# Between these lie the periods of a mast's sway about its two axes, seconds
_PERIODS = (3.0, 6.0)


@dataclass(frozen=True)
class Sway:
    """How masts sway; each by itself, about both horizontal axes.

    Attributes:
        degrees: standard deviation of the angle about each axis; 0: they stand.
        height: of the camera above the foot of its mast, metres: its place moves, too.
        late_seconds: so much earlier than an image are the poses that are stated with it.
    """

    degrees: float = 0.0
    height: float = 5.0
    late_seconds: float = 0.0

    def moved(self, pose: Pose, number: int, seconds: float) -> Pose:
        """Where a camera is at a time.

        Args:
            pose: where it is when its mast stands upright.
            number: of the camera: each sways its own way.
            seconds: since the scene's beginning.
        """
        if not self.degrees:
            return pose
        rng = np.random.default_rng([number, 17])
        phases = 2 * np.pi * (seconds / rng.uniform(*_PERIODS, 2) + rng.random(2))
        tilt = np.radians(self.degrees) * np.sqrt(2) * np.append(np.sin(phases), 0.0)
        foot = pose.position - [0.0, 0.0, self.height]
        turn = Rotation.from_rotvec(tilt)
        return Pose(turn * pose.rotation, foot + turn.apply([0.0, 0.0, self.height]))

    def stated(self, pose: Pose, number: int, stamp: float) -> Pose:
        """What is said of where it is at the time of a stamp, seconds since the scene's beginning."""
        return self.moved(pose, number, stamp - self.late_seconds)
