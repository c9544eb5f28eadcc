"""Fitting of the flight model: how far off a target may be from where it is expected, as time passes.

The tracker runs on films whose labels are known, and SAM2's masks are withheld for moments. The statistics of flight
are those that make predictions over some time as likely as can be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, MaskPatch, as_boxes
from smotracker_ros.masklets.propagator import Masklet, Propagator
from smotracker_ros.tracking.camera_motion import STILL, CameraMotion, CameraShift
from smotracker_ros.tracking.kinematics import FlightModel, TargetMotion
from smotracker_ros.tracking.target import Target
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.clips import owners
from smotracker_ros.training.moving_clips import LabelledImage

# Masks are withheld once in about so many seconds, for so many
_PAUSES, _BLINKS = (0.5, 1.5), (0.06, 1.0)
# Predictions are judged over so many seconds
_HORIZONS = (1 / 30, 0.1, 0.3, 1.0)
# ... from every so many frames of a flight on
_EVERY = 7
# ... and from each of its first frames, which alone show what nothing is known of
_YOUNG = 3
# A target's flight is used if so much of it lies on labels, and it has so many masks
_ON_LABELS, _LEAST_MASKS = 0.9, 10
# Evaluations of the fit
_EVALUATIONS = 200
# What flights do not tell stays near this: a prior of log-normal distributions, so wide that a factor of e is usual
_USUAL = FlightModel(agility=0.3, persistence=3.0, jitter=0.03, speed=2.0, adaptation=0.2, freedom=3.0)


class BlinkingPropagator(Propagator):
    """Withholds the masks of each object for random moments, as if SAM2 had lost it.

    Attributes:
        generator: of the moments.
    """

    def __init__(self, *arguments: Any, seed: int = 0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.generator = np.random.default_rng(seed)
        self._moments: dict[int, tuple[float, float]] = {}

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._moments.clear()

    def step(self, frame: Frame, *arguments: Any, **options: Any) -> dict[int, Masklet]:
        """As :meth:`Propagator.step`; objects that blink have no mask."""
        masklets = super().step(frame, *arguments, **options)
        now = frame.timestamp_ns / 1e9
        for identity, masklet in masklets.items():
            start, end = self._moments.get(identity, (now, now))
            if now >= end:
                start = now + self.generator.uniform(*_PAUSES)
                end = start + float(np.exp(self.generator.uniform(*np.log(_BLINKS))))
                self._moments[identity] = start, end
            if start <= now < end:
                nothing = MaskPatch(0, 0, np.zeros((0, 0), dtype=np.bool_))
                masklets[identity] = replace(masklet, mask=nothing, box=None)
        return masklets


@dataclass(frozen=True)
class Step:
    """A target on one frame of its flight.

    Attributes:
        shift: the camera's motion since the frame before.
        seconds: time since the frame before.
        side: the target's longer side in pixels.
        center: of its mask, (x, y) in pixels, float32 (2,); None where it was not seen.
    """

    shift: CameraShift
    seconds: float
    side: float
    center: FloatArray | None


class Shot:
    """Notes the flights of targets through one shot.

    Args:
        seconds: from frame to frame.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._camera, self._shift = CameraMotion(), STILL
        self._item: LabelledImage | None = None
        self._steps: dict[int, list[Step]] = defaultdict(list)
        self._on_label: dict[int, list[bool]] = defaultdict(list)

    @property
    def flights(self) -> list[list[Step]]:
        """Those of the targets that have lain on labels, frame by frame."""
        return [
            self._steps[identity]
            for identity, on_label in self._on_label.items()
            if len(on_label) >= _LEAST_MASKS and np.mean(on_label) >= _ON_LABELS
        ]

    def advance(self, item: LabelledImage) -> None:
        """Move on to the next frame, before it is tracked."""
        self._item = item
        self._shift = self._camera.update(item.image, self._seconds)

    def note(self, targets: Collection[Target]) -> None:
        """Take where the targets are at the end of the frame."""
        assert self._item is not None
        live = [target for target in targets if target.is_live]
        owner = owners(as_boxes([target.box for target in live]), self._item.boxes).tolist()
        for target, label in zip(live, owner, strict=True):
            center = None if target.mask_box is None else target.motion.center.copy()
            self._steps[target.id].append(Step(self._shift, self._seconds, target.longer_side, center))
            if center is not None:
                self._on_label[target.id].append(label >= 0)


def record(images: Iterable[LabelledImage], fps: float, tracker: SmoTracker) -> list[Shot]:
    """Track a film and note what its shots show.

    Args:
        images: its frames with their labels.
        fps: frames per second.
        tracker: reset before each shot; with a :class:`BlinkingPropagator`, targets are out of sight now and then.
    """
    shots: list[Shot] = []
    for index, item in enumerate(images):
        if index == 0 or item.is_cut:
            tracker.reset()
            shots.append(Shot(1 / fps))
            tracker.observe_targets = shots[-1].note
        shots[-1].advance(item)
        tracker.update(Frame(item.image, round(index / fps * 1e9), index))
    tracker.observe_targets = None
    return shots


def _errors(flight: Sequence[Step], model: FlightModel) -> Iterator[tuple[int, float, float]]:
    """Predictions along a flight: number of the horizon, squared error, and variance, both in squared sizes."""
    motion: TargetMotion | None = None
    unseen = 0.0
    for index, step in enumerate(flight):
        if motion is not None:
            motion.predict(step.shift, step.seconds, step.side, fades=unseen > 0)
        unseen += step.seconds
        if step.center is not None:
            if motion is None:
                motion = TargetMotion.born(step.center, step.side, model)
            else:
                motion.measure(step.center, step.side, unseen)
            unseen = 0.0
        if motion is not None and step.center is not None and (index % _EVERY == 0 or index < _YOUNG):
            yield from _ahead(motion.copy(), flight[index + 1 :])


def _ahead(motion: TargetMotion, coming: Sequence[Step]) -> Iterator[tuple[int, float, float]]:
    """What a filter that measures nothing says of the frames to come."""
    passed, number = 0.0, 0
    for step in coming:
        motion.predict(step.shift, step.seconds, step.side, fades=passed > 0)
        passed += step.seconds
        if passed < _HORIZONS[number] - step.seconds / 2:
            continue
        if step.center is not None:
            error = float(((step.center - motion.center) ** 2).sum())
            yield number, error / step.side**2, motion.deviation(step.side) ** 2 / step.side**2
        number += 1
        if number == len(_HORIZONS):
            return


def flight_loss(flights: Sequence[Sequence[Step]], model: FlightModel) -> float:
    """Mean negative log-density of where targets were found, per squared size, in nats; each horizon counts alike."""
    found: list[list[tuple[float, float]]] = [[] for _ in _HORIZONS]
    for flight in flights:
        for number, squared, variance in _errors(flight, model):
            found[number].append((squared, variance))
    losses = [-model.log_density(*np.array(errors).T).mean() for errors in found if errors]
    return float(np.mean(losses)) if losses else 0.0


def fit_flight(flights: Sequence[Sequence[Step]], start: FlightModel) -> tuple[FlightModel, float]:
    """The flight model of greatest posterior probability, and its :func:`flight_loss`.

    The prior is weak, and weighs as much as one flight: only a few flights leave a number where they say little of it.

    Args:
        flights: of targets.
        start: where the search begins.

    Raises:
        ValueError: if there are no flights.
    """
    if not flights:
        raise ValueError("no target was followed on its label for long enough: a fit needs flights")
    names, first = zip(*asdict(start).items(), strict=True)

    usual = np.log(np.array(list(asdict(_USUAL).values())))

    def loss(logarithms: npt.NDArray[np.float64]) -> float:
        prior = float(((logarithms - usual) ** 2).sum()) / 2 / len(flights)
        return flight_loss(flights, FlightModel(*np.exp(logarithms).tolist())) + prior

    corner = np.log(np.array(first, dtype=np.float64))
    simplex = np.vstack([corner, corner + 0.4 * np.eye(len(names))])
    options = {"maxfev": _EVALUATIONS, "xatol": 0.03, "fatol": 1e-3, "initial_simplex": simplex}
    result = minimize(loss, corner, method="Nelder-Mead", options=options)
    model = FlightModel(*(round(float(value), 3) for value in np.exp(result.x)))
    return model, flight_loss(flights, model)
