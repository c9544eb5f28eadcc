"""The closed loop of following: a scene is rendered, tracked and followed by a simulated pan-tilt head with delay."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.calibration import Calibration, track_bearings
from smotracker_ros.space.camera_turn import camera_turn
from smotracker_ros.space.follow import Aim, Candidate, Follower, FollowSettings
from smotracker_ros.space.hints import HintErrors, SpaceHint
from smotracker_ros.space.pan_tilt import Commander, HeadLimits, angle_rates, angles_of
from smotracker_ros.space.poses import Float64Array, PoseBuffer, PoseSource
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.pan_tilt_scene import PanTiltScene, head_pose

# Steps of the head's simulation, seconds
_STEP = 0.005
# Standard deviation of a hint's direction, at least and at most, degrees
_HINT_DEGREES = (0.15, 2.0)


@dataclass(frozen=True)
class LoopSettings:
    """The loop's delays and errors.

    Attributes:
        fps: images per second.
        delay: seconds from a command until the head has it.
        processing: seconds from an image until its tracks are there.
        limits: of the head.
        encoder_degrees: standard deviation of the stated angles, degrees.
        first_error_degrees: how far beside the drone the head begins, degrees.
        gust_degrees: by how much gusts turn the mast, degrees, standard deviation; 0: there are none. The stated poses
            have them, as those of a mast with an inertial sensor.
        turn_degrees: standard deviation of the head's turn between two images that the tracker is told, as the stated
            angles have it; 0: it is told nothing.
        hints: whether the tracker gets the followed target's direction as a hint: its detector looks closer there then
            (:mod:`smotracker_ros.tracking.gates`).
        follow: how the target is chosen. Without a rule an operator does it: the first CONFIRMED track on the drone.
    """

    fps: float = 15.0
    delay: float = 0.1
    processing: float = 0.08
    limits: HeadLimits = field(default_factory=HeadLimits)
    encoder_degrees: float = 0.03
    first_error_degrees: float = 3.0
    gust_degrees: float = 0.0
    turn_degrees: float = 0.0
    hints: bool = False
    follow: FollowSettings = field(default_factory=lambda: FollowSettings(rule="none"))


@dataclass
class LoopResult:
    """What came of it; rows are images.

    Attributes:
        offsets: float64 (N, 2), the drone's place in the image from its middle, in half widths and heights; beyond 1
            it is outside, and NaN behind the camera.
        on_drone: bool (N,), whether the track that is followed lies on the drone.
        ids: ids that were followed, in turn.
        rates: float64 (N,), how fast the head turned, degrees per second.
    """

    offsets: Float64Array
    on_drone: np.ndarray
    ids: list[int]
    rates: Float64Array

    @property
    def in_middle(self) -> np.ndarray:
        """Bool (N,): whether the drone is in the middle half of the image, in both directions."""
        return np.asarray((np.abs(self.offsets) <= 0.5).all(axis=1))


class SimulatedHead:
    """A head that gets its commands late, and moves within its limits.

    Args:
        limits: of the head.
        angles: pan and tilt at the start, float64 (2,), radians.
        delay: seconds until a command arrives.
    """

    def __init__(self, limits: HeadLimits, angles: Float64Array, delay: float) -> None:
        self._motor = Commander(limits, angles.copy())
        self._delay = delay
        self._commands: deque[tuple[float, Float64Array, Float64Array]] = deque()
        self._goal: tuple[Float64Array, Float64Array] | None = None
        self.time = 0.0
        self._past: deque[tuple[float, Float64Array]] = deque([(0.0, angles.copy())], maxlen=400)

    def command(self, time: float, angles: Float64Array, rates: Float64Array) -> None:
        """Send a command."""
        self._commands.append((time + self._delay, angles.copy(), rates.copy()))

    def advance(self, time: float) -> None:
        """Move on until a time."""
        while self.time + _STEP / 2 < time:
            self.time += _STEP
            while self._commands and self._commands[0][0] <= self.time:
                _, angles, rates = self._commands.popleft()
                self._goal = angles, rates
            if self._goal is not None:
                # between commands it goes on as the last one says
                self._goal = self._goal[0] + self._goal[1] * _STEP, self._goal[1]
                self._motor.step(self._goal[0], self._goal[1], _STEP)
            self._past.append((self.time, self._motor.angles.copy()))

    def at(self, time: float) -> Float64Array:
        """Pan and tilt at a recent time, float64 (2,), radians."""
        times = [item[0] for item in self._past]
        angles = np.array([item[1] for item in self._past])
        return np.array([np.interp(time, times, angles[:, axis]) for axis in range(2)])


class Gusts:
    """Jerks of the mast: every few seconds it turns within a tenth of a second, and back as fast a while later.

    Args:
        degrees: standard deviation of pan and tilt of a jerk.
        seconds: length of the scene.
        seed: the same one gives the same gusts.
    """

    def __init__(self, degrees: float, seconds: float, seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        times, angles = [0.0], [np.zeros(2)]
        while times[-1] < seconds:
            begin, lasts = times[-1] + rng.uniform(2, 5), rng.uniform(0.3, 0.8)
            jerk = np.radians(degrees) * rng.standard_normal(2) * (1, 0.5)
            times += [begin, begin + 0.1, begin + lasts, begin + lasts + 0.1]
            angles += [np.zeros(2), jerk, jerk, np.zeros(2)]
        self._times, self._angles = np.array(times), np.array(angles)

    def at(self, time: float) -> Float64Array:
        """Pan and tilt that the mast adds, float64 (2,), radians."""
        return np.array([np.interp(time, self._times, self._angles[:, axis]) for axis in range(2)])


def follow_scene(scene: PanTiltScene, tracker: SmoTracker, settings: LoopSettings, seed: int) -> LoopResult:
    """Run the loop through a scene.

    Args:
        scene: that is rendered as the head turns.
        tracker: sees the images; it is reset before.
        settings: of the loop.
        seed: of errors.
    """
    rng = np.random.default_rng(seed)
    tracker.reset()
    follower, commander = Follower(settings.follow), Commander(settings.limits)
    start = angles_of(scene.places(0.0)[0]) + np.radians(settings.first_error_degrees) * rng.choice([-1, 1], 2) * (
        1,
        0.4,
    )
    head = SimulatedHead(settings.limits, start, settings.delay)
    commander.angles = start.copy()
    period = 1 / settings.fps
    waiting: deque[tuple[float, int, list[Candidate], Float64Array]] = deque()
    gusts = Gusts(settings.gust_degrees, scene.settings.seconds, seed)
    stated_poses = PoseBuffer("the head's pose")
    offsets, on_drone, rates = [], [], []
    ids: list[int] = []
    size = np.array([scene.settings.width, scene.settings.height])
    ticks = 2  # commands per image
    for index in range(int(scene.settings.seconds * settings.fps)):
        now = index * period
        head.advance(now)
        pose, before = (head_pose(*head.at(time) + gusts.at(time)) for time in (now, now - scene.shutter))
        image = scene.render(now, pose, before)
        stamp = round(now * 1e9)
        stated = head.at(now) + gusts.at(now) + np.radians(settings.encoder_degrees) * rng.standard_normal(2)
        stated_poses.add(stamp, head_pose(*stated))
        known = None
        if settings.turn_degrees and tracker.last_timestamp_ns is not None:
            before_ns = tracker.last_timestamp_ns
            known = camera_turn(before_ns, stamp, stated_poses, scene.calibration, settings.turn_degrees)
        aim = follower.at(stamp) if settings.hints else None
        hints = [hint_of(aim, stamp, stated_poses, scene.calibration)] if aim is not None else []
        tracks = tracker.update(Frame(image, stamp, index), hints=hints, known_shift=known)
        bearings = track_bearings(tracks, scene.calibration)
        waiting.append((now + settings.processing, stamp, candidates_of(tracks, bearings), stated))
        pixels = scene.pixels(now, pose)
        offsets.append((pixels[0] - size / 2) / (size / 2))
        boxes = {track.id: track.box for track in tracks}
        if settings.follow.rule == "none" and not ids:
            reported = [track.id for track in tracks.reported if _lies_on(track.box, pixels[0])]
            if reported:
                follower.choose(reported[0])
        followed = boxes.get(follower.chosen)
        on_drone.append(followed is not None and _lies_on(followed, pixels[0]))
        rates.append(float(np.degrees(np.linalg.norm(head.at(now) - head.at(now - period)))) / period)
        for tick in range(ticks):
            at = now + tick * period / ticks
            while waiting and waiting[0][0] <= at:
                _, taken, candidates, angles = waiting.popleft()
                follower.update(taken, candidates, head_pose(*angles))
                if follower.chosen and follower.chosen not in ids[-1:]:
                    ids.append(follower.chosen)
            aim = follower.at(round((at + settings.delay) * 1e9))
            if aim is not None:
                commander.step(angles_of(aim.direction), angle_rates(aim.direction, aim.rate), period / ticks)
            else:
                commander.step(None, np.zeros(2), period / ticks)
            head.command(at, commander.angles, commander.rates)
    return LoopResult(np.array(offsets), np.array(on_drone), ids, np.array(rates))


def hint_of(aim: Aim, timestamp_ns: int, camera: PoseSource, calibration: Calibration) -> SpaceHint:
    """Where the followed target must be, as a hint for the tracker of a camera in the base's frame."""
    degrees = float(np.clip(np.degrees(aim.deviation), *_HINT_DEGREES))
    errors = HintErrors(pose_degrees=0.05, pose_metres=0.05, speed=0.0)
    return SpaceHint(
        timestamp_ns, 100 * aim.direction, np.eye(3), camera, calibration, "followed", direction_degrees=degrees,
        errors=errors,
    )  # fmt: skip


def candidates_of(tracks: object, bearings: Float64Array) -> list[Candidate]:
    """What may be followed of the tracks of an image, with their directions, float64 (N, 3)."""
    return [
        Candidate(
            track.id,
            bearing,
            track.state,
            track.mask is not None,
            track.probability,
            float(max(track.box[2:] - track.box[:2])),
            track.class_name,
            track.friendly,
            track.age,
        )
        for track, bearing in zip(tracks, bearings, strict=True)  # type: ignore[call-overload]
    ]


def _lies_on(box: np.ndarray, pixel: Float64Array) -> bool:
    return bool(((pixel >= box[:2] - 6) & (pixel <= box[2:] + 6)).all())
