"""A pan-tilt head: directions as angles, and commands that it can follow.

The base's frame follows REP 103: x forward, y left, z up. Pan is the angle from x about z, to the left; tilt the angle
above the horizon. Both are zero straight ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from smotracker_ros.space.poses import Float64Array

# Nearer to the zenith than this, in radians, pan rates have no meaning
_ZENITH = 0.05


def angles_of(direction: Float64Array) -> Float64Array:
    """Pan and tilt, float64 (2,) radians, of a direction (3,) in the base's frame."""
    x, y, z = direction
    return np.array([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))])


def direction_of(angles: npt.ArrayLike) -> Float64Array:
    """Unit vector, float64 (3,), in the base's frame of pan and tilt (2,), radians."""
    pan, tilt = np.asarray(angles, dtype=np.float64)
    return np.array([np.cos(pan) * np.cos(tilt), np.sin(pan) * np.cos(tilt), np.sin(tilt)])


def angle_rates(direction: Float64Array, rate: Float64Array) -> Float64Array:
    """Rates of pan and tilt, float64 (2,) radians per second, where a direction changes by `rate` (3,) per second."""
    x, y = direction[:2]
    flat = max(float(np.hypot(x, y)), _ZENITH)
    pan = (x * rate[1] - y * rate[0]) / flat**2
    tilt = rate[2] / flat
    return np.array([pan, tilt])


@dataclass(frozen=True)
class HeadLimits:
    """What a head can do; radians and seconds, pan before tilt.

    Attributes:
        least: smallest angles.
        greatest: greatest angles; a pan range of a full turn and more has no stop.
        rates: greatest rates.
        accelerations: greatest accelerations.
    """

    least: tuple[float, float] = (-np.pi, -0.35)
    greatest: tuple[float, float] = (np.pi, 1.4)
    rates: tuple[float, float] = (1.0, 0.7)
    accelerations: tuple[float, float] = (0.8, 0.8)

    @property
    def turns_freely(self) -> bool:
        """Whether pan has no stop."""
        return self.greatest[0] - self.least[0] >= 2 * np.pi - 1e-6


@dataclass
class Commander:
    """Makes commands that stay within a head's limits, and lead it to a moving target.

    Attributes:
        limits: of the head.
        angles: last commanded pan and tilt, radians; pan goes on beyond a turn.
        rates: last commanded rates, radians per second.
        is_limited: whether the target is beyond what the head can do.
    """

    limits: HeadLimits
    angles: Float64Array = field(default_factory=lambda: np.zeros(2))
    rates: Float64Array = field(default_factory=lambda: np.zeros(2))
    is_limited: bool = False

    def step(self, wanted: Float64Array | None, wanted_rates: Float64Array, seconds: float) -> None:
        """Move the command on.

        Args:
            wanted: pan and tilt of the target, float64 (2,) radians; None: come to rest.
            wanted_rates: its rates, float64 (2,).
            seconds: since the last command, > 0.
        """
        limits = self.limits
        least, greatest = np.array(limits.least), np.array(limits.greatest)
        if limits.turns_freely:
            least[0], greatest[0] = -np.inf, np.inf
        accelerations, fastest = np.array(limits.accelerations), np.array(limits.rates)
        self.is_limited = False
        if wanted is None:
            rates = np.zeros(2)
        else:
            target = wanted.copy()
            if limits.turns_freely:
                target[0] = self.angles[0] + _wrapped(target[0] - self.angles[0])
            reachable = np.clip(target, least, greatest)
            self.is_limited = bool((reachable != target).any())
            ahead = np.where(reachable == target, wanted_rates, 0.0)
            error = reachable - self.angles
            # as fast as it can still brake to the target's own rate, and without overshooting within one step
            closing = np.minimum(np.sqrt(2 * 0.7 * accelerations * np.abs(error)), np.abs(error) / (2 * seconds))
            rates = ahead + np.sign(error) * closing
            self.is_limited |= bool((np.abs(ahead) > fastest).any())
        rates = np.clip(rates, -fastest, fastest)
        change = np.clip(rates - self.rates, -accelerations * seconds, accelerations * seconds)
        self.rates = self.rates + change
        moved = np.clip(self.angles + self.rates * seconds, least, greatest)
        self.rates = np.where(moved == self.angles + self.rates * seconds, self.rates, 0.0)
        self.angles = moved


def _wrapped(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
