"""Flights of drones and birds in space, in metres and seconds: truth for several cameras at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from smotracker_ros.training.targets import BIRD, DRONE

Float64Array = npt.NDArray[np.float64]

_SPEEDS = {DRONE: (4.0, 16.0), BIRD: (7.0, 14.0)}
_WIDTHS = {DRONE: (0.35, 1.0), BIRD: (0.4, 1.2)}
_HOVER_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Flight:
    """The flight of one target.

    Attributes:
        class_id: 1 drone, 2 bird.
        width: metres.
        path: place (3,) in the world, metres, by time in seconds.
    """

    class_id: int
    width: float
    path: CubicSpline

    def places(self, seconds: npt.ArrayLike) -> Float64Array:
        """Places at times (T,), float64 (T, 3)."""
        return np.asarray(self.path(np.asarray(seconds, dtype=np.float64)), dtype=np.float64)

    def velocities(self, seconds: npt.ArrayLike) -> Float64Array:
        """Velocities at times (T,), float64 (T, 3), m/s."""
        return np.asarray(self.path(np.asarray(seconds, dtype=np.float64), 1), dtype=np.float64)


def make_flight(
    class_id: int, centre: Float64Array, extent: Float64Array, seconds: float, rng: np.random.Generator
) -> Flight:
    """A flight through random points of a box: drones rest at some of them, some birds circle.

    Args:
        class_id: 1 drone, 2 bird.
        centre: (3,) of the box, metres.
        extent: (3,) half its sides.
        seconds: length.
        rng: source of randomness.
    """
    speed = float(rng.uniform(*_SPEEDS[class_id]))
    width = float(np.exp(rng.uniform(*np.log(_WIDTHS[class_id]))))
    if class_id == BIRD and rng.random() < 0.5:
        return Flight(class_id, width, _circling(centre, extent, speed, seconds, rng))
    times, points = [-5.0], [centre + extent * rng.uniform(-0.9, 0.9, 3)]
    while times[-1] < seconds + 5.0:
        point = centre + extent * rng.uniform(-1, 1, 3)
        step = point - points[-1]
        # legs of some seconds: long enough for the drone's thrust, short enough to turn often
        length = float(np.clip(np.linalg.norm(step), 3.5 * speed, 8 * speed))
        point = np.clip(points[-1] + step / np.linalg.norm(step) * length, centre - extent, centre + extent)
        length = float(np.linalg.norm(point - points[-1]))
        times.append(times[-1] + max(length / speed, 2.0))
        points.append(point)
        if class_id == DRONE and rng.random() < _HOVER_SHARE:
            times.append(times[-1] + float(rng.uniform(2.0, 5.0)))
            points.append(point + rng.normal(0, 0.3, 3))
    return Flight(class_id, width, CubicSpline(times, np.array(points)))


def _circling(
    centre: Float64Array, extent: Float64Array, speed: float, seconds: float, rng: np.random.Generator
) -> CubicSpline:
    """A bird that soars: circles that drift, and rise and fall."""
    times = np.arange(-5.0, seconds + 5.5, 0.5)
    radius = float(rng.uniform(15.0, 40.0))
    phase = rng.choice([-1, 1]) * speed / radius * times + rng.uniform(0, 2 * np.pi)
    start, end = centre + extent * rng.uniform(-0.7, 0.7, (2, 3))
    share = ((times + 5.0) / (seconds + 10.0))[:, None]
    lift = 4.0 * np.sin(0.2 * times + rng.uniform(0, 6))
    circle = np.stack([radius * np.cos(phase), radius * np.sin(phase), lift], axis=1)
    return CubicSpline(times, start + share * (end - start) + circle)
