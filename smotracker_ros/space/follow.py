"""Follow one target with a camera: whom, where it is, and where it will be.

Directions are kept in the frame of the head's base, so that the camera's own motion does not matter: a track's bearing
is turned by the camera's pose at its image's time. The target flies on while it is not seen, and the head is told where
it will be when the command takes effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smotracker_ros.core.tracks import TrackState
from smotracker_ros.space.poses import Float64Array, Pose

RULES = ("none", "probable", "longest", "centre", "largest")
"""Which target is chosen where nobody says one: none, the most probable, the oldest, the one nearest to the image's
centre, or the largest."""

# Standard deviation of a bearing at once, and of its change of rate per root of a second, radians
_BEARING, _AGILITY = 1.5e-3, 0.12
# Rate of which nothing is known yet, radians per second
_FIRST_RATE = 0.5
# A track may be the target if it lies within so many deviations, but not less than one angle nor more than another, of
# where that must be
_SAME_DEVIATIONS, _SAME_ANGLE, _LARGEST_ANGLE = 4.0, np.radians(0.7), np.radians(5.0)
# For so long the target's id is not believed that is somewhere else, and a new track takes the place of a lost one
_JUMP_SECONDS, _LOST_SECONDS = 1.0, 0.15
# Nearer to each other than this two tracks may be on one and the same object
_MERGED_ANGLE = np.radians(0.25)
# Who was out of sight for longer may have got its id by mistake when it was found again
_KNOWN_SECONDS = 0.3
# A rate that is not seen is forgotten within about so many seconds
_RATE_SECONDS = 1.5
_NANOSECONDS = 1e9


@dataclass(frozen=True, eq=False)
class Candidate:
    """A track that may be followed.

    Attributes:
        id: of the track.
        bearing: float64 (3,), unit vector in the camera's optical frame.
        state: of the track.
        is_seen: whether its mask is visible in this image.
        probability: of being a target.
        side: longer side of its box, pixels.
        class_name: of its class.
        friendly: name of a friendly target; empty: none.
        age: seconds or frames since birth; more is older.
    """

    id: int
    bearing: Float64Array
    state: TrackState
    is_seen: bool
    probability: float = 1.0
    side: float = 0.0
    class_name: str = ""
    friendly: str = ""
    age: float = 0.0


@dataclass(frozen=True)
class FollowSettings:
    """How a target is chosen and kept.

    Attributes:
        rule: one of :data:`RULES`.
        classes: names of the classes that the rule chooses from; empty: all.
        friendly: whether the rule may choose friendly targets.
        choose_seconds: for so long a target has to be the rule's choice before it is followed.
        coast_seconds: for so long it is followed where it must be while it is not seen; then the camera rests there.
        give_up_seconds: after so long without it another one may be chosen.
    """

    rule: str = "probable"
    classes: tuple[str, ...] = ()
    friendly: bool = False
    choose_seconds: float = 0.5
    coast_seconds: float = 2.0
    give_up_seconds: float = 6.0


@dataclass(frozen=True, eq=False)
class Aim:
    """Where the target is at a time.

    Attributes:
        direction: float64 (3,), unit vector in the base's frame.
        rate: float64 (3,), its change per second.
        deviation: standard deviation of the direction, radians.
    """

    direction: Float64Array
    rate: Float64Array
    deviation: float


class _Filter:
    """A direction and its rate: a Kalman filter with the same variance in both directions across it.

    Args:
        direction: unit vector, float64 (3,).
    """

    def __init__(self, direction: Float64Array) -> None:
        self.direction, self.rate = direction, np.zeros(3)
        self.variance = np.diag([_BEARING**2, _FIRST_RATE**2])

    def predict(self, seconds: float, unseen: float) -> None:
        """Move on; a rate that has not been seen for a while is forgotten."""
        if seconds <= 0:
            return
        step = np.array([[1.0, seconds], [0.0, 1.0]])
        noise = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
        self.variance = step @ self.variance @ step.T + _AGILITY**2 * noise
        self.direction = _unit(self.direction + self.rate * seconds)
        self.rate = self.rate - (self.rate @ self.direction) * self.direction
        if unseen > 0.3:
            self.rate = self.rate * np.exp(-seconds / _RATE_SECONDS)

    def measure(self, direction: Float64Array) -> None:
        """Take a bearing."""
        gain = self.variance[:, 0] / (self.variance[0, 0] + _BEARING**2)
        error = direction - self.direction
        self.direction = _unit(self.direction + gain[0] * error)
        self.rate = self.rate + gain[1] * error
        self.rate -= (self.rate @ self.direction) * self.direction
        self.variance = self.variance - np.outer(gain, self.variance[0])

    def copy(self) -> _Filter:
        other = _Filter(self.direction)
        other.rate, other.variance = self.rate, self.variance
        return other

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.variance[0, 0]))


class Follower:
    """Chooses a target and says where it is.

    Attributes:
        settings: may change at any time.
        chosen: id of the track that is followed, 0: none.
    """

    def __init__(self, settings: FollowSettings) -> None:
        self.settings = settings
        self.chosen = 0
        self._by_hand = False
        self._filter: _Filter | None = None
        self._time_ns: int | None = None
        self._unseen = 0.0
        self._favourite, self._favourite_seconds = 0, 0.0
        self._present: dict[int, Candidate] = {}
        self._directions: dict[int, Float64Array] = {}
        # others that were seen elsewhere while the target was seen, and since when they are out of sight
        self._strangers: dict[int, float] = {}

    @property
    def seconds_unseen(self) -> float:
        """Seconds since the target was seen last."""
        return self._unseen

    @property
    def state(self) -> str:
        """What it does: "searching", "following", "coasting", "holding" (the last place), or "idle"."""
        if not self.chosen:
            return "idle" if self.settings.rule == "none" else "searching"
        if self._unseen <= 0.3:
            return "following"
        return "coasting" if self._unseen <= self.settings.coast_seconds else "holding"

    def choose(self, identity: int) -> str | None:
        """Follow a track from now on, or, with 0, what the rule says; returns why that cannot be done, None: it is."""
        if identity == 0:
            self._release()
            return None
        if identity not in self._present:
            there = ", ".join(map(str, sorted(self._present))) or "none"
            return f"there is no track {identity}; there are: {there}"
        self._begin(identity, True)
        return None

    def reset(self) -> None:
        """Forget everything, as when time jumps."""
        self._release()
        self._time_ns = None
        self._present = {}

    def update(self, timestamp_ns: int, candidates: Sequence[Candidate], camera: Pose) -> None:
        """Take the tracks of an image.

        Args:
            timestamp_ns: of the image; one before the last is passed over.
            candidates: its tracks; those without a bearing are passed over.
            camera: the camera in the base's frame at that time.
        """
        seconds = 0.0
        if self._time_ns is not None:
            if timestamp_ns < self._time_ns:
                return
            seconds = (timestamp_ns - self._time_ns) / _NANOSECONDS
        self._time_ns = timestamp_ns
        turned = {
            item.id: _unit(camera.directions_to_world(item.bearing)[0]) for item in candidates if item.bearing.any()
        }
        self._present = {item.id: item for item in candidates if item.id in turned}
        self._directions = turned
        if self._filter is not None:
            self._filter.predict(seconds, self._unseen)
            self._unseen += seconds
            self._strangers = {
                key: 0.0 if key in turned and self._present[key].is_seen else unseen + seconds
                for key, unseen in self._strangers.items()
                if unseen <= _KNOWN_SECONDS
            }
            self._follow(turned)
        if not self.chosen:
            self._apply_rule(seconds, camera)

    def at(self, timestamp_ns: int) -> Aim | None:
        """Where the target is at a time, not before the last image's; None: nobody is followed."""
        if self._filter is None or self._time_ns is None:
            return None
        ahead = self._filter.copy()
        seconds = max((timestamp_ns - self._time_ns) / _NANOSECONDS, 0.0)
        left = max(self.settings.coast_seconds - self._unseen, 0.0)
        ahead.predict(min(seconds, left), self._unseen)
        rests = seconds > left
        return Aim(ahead.direction, np.zeros(3) if rests else ahead.rate, ahead.deviation)

    def _follow(self, directions: dict[int, Float64Array]) -> None:
        """Find the target among the tracks of this image.

        Where two targets cross, the tracker may mix them up. The target itself does not jump: if its id is suddenly
        somewhere else and another track is where it must be, that is the target. As long as its track and a known other
        one lie on each other, nobody knows who is who, and it flies on as it did.
        """
        assert self._filter is not None
        limit = float(np.clip(_SAME_DEVIATIONS * self._filter.deviation, _SAME_ANGLE, _LARGEST_ANGLE))
        apart = {key: _angle(direction, self._filter.direction) for key, direction in directions.items()}
        item = self._present.get(self.chosen)
        is_seen = item is not None and item.is_seen
        merged = is_seen and any(
            key in directions
            and key != self.chosen
            and _angle(directions[key], directions[self.chosen]) < _MERGED_ANGLE
            for key in self._strangers
        )
        fits = is_seen and ((apart[self.chosen] <= limit and not merged) or self._unseen > _JUMP_SECONDS)
        if not fits:
            lost = item is None or item.state is not TrackState.CONFIRMED
            mates = [
                other.id
                for other in self._present.values()
                if other.id != self.chosen
                and other.is_seen
                and other.state is TrackState.CONFIRMED
                and apart[other.id] <= limit
                # who was there before, somewhere else, is the target only if they have changed places
                and ((is_seen and not merged) or other.id not in self._strangers)
                and (is_seen or (lost and self._unseen > _LOST_SECONDS))
            ]
            if mates:
                self._strangers[self.chosen] = 0.0
                self.chosen, fits = min(mates, key=lambda key: apart[key]), True
                self._strangers.pop(self.chosen, None)
        if fits:
            if apart[self.chosen] > limit:
                self._filter = _Filter(directions[self.chosen])
            self._filter.measure(directions[self.chosen])
            self._unseen = 0.0
            for other in self._present.values():
                if other.is_seen and other.id != self.chosen and apart[other.id] > limit:
                    self._strangers[other.id] = 0.0
        elif self._unseen > self.settings.give_up_seconds:
            self._release()

    def _apply_rule(self, seconds: float, camera: Pose) -> None:
        """Choose whom the rule has preferred for long enough."""
        rule, settings = self.settings.rule, self.settings
        fit = [
            item
            for item in self._present.values()
            if item.is_seen
            and item.state is TrackState.CONFIRMED
            and (settings.friendly or not item.friendly)
            and (not settings.classes or item.class_name in settings.classes)
        ]
        if rule == "none" or not fit:
            self._favourite = 0
            return
        best = max(fit, key=lambda item: (_value(rule, item), -item.id))
        if best.id != self._favourite:
            self._favourite, self._favourite_seconds = best.id, 0.0
        else:
            self._favourite_seconds += seconds
        if self._favourite_seconds >= settings.choose_seconds:
            self._begin(best.id, False)

    def _begin(self, identity: int, by_hand: bool) -> None:
        self.chosen, self._by_hand, self._favourite = identity, by_hand, 0
        self._filter, self._unseen = _Filter(self._directions[identity]), 0.0
        self._strangers = {}

    def _release(self) -> None:
        self.chosen, self._by_hand, self._filter = 0, False, None
        self._favourite, self._unseen = 0, 0.0
        self._strangers = {}


def _value(rule: str, item: Candidate) -> float:
    """What a rule chooses by; more is better."""
    values = {
        "probable": item.probability,
        "longest": item.age,
        "centre": float(item.bearing[2]),
        "largest": item.side,
    }
    return values[rule]


def _unit(vector: Float64Array) -> Float64Array:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float64)


def _angle(first: Float64Array, second: Float64Array) -> float:
    """Angle between two unit vectors, radians."""
    return float(2 * np.arcsin(min(float(np.linalg.norm(first - second)) / 2, 1.0)))
