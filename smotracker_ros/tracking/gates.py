"""Gates: ellipses in the image where a radar, a beacon or another tracker believes a target to be.

A gate says where to look, not what is there (:mod:`smotracker_ros.tracking.external_boxes` has boxes that do):

- Where no target of a gate was detected lately, the detector looks closer: at the gate's surroundings alone, at a
  higher resolution, with lower thresholds for what lies in the gate.
- What it finds has to become a target by the same evidence as any other. Only that the passes over whole frames miss
  it, which see it smaller, does not count against it while it is in the gate. So a wrong hint costs time, and no more.
- A hint that names a friendly target gives its name to the target in its gate, if there is one alone, and if they
  agree for some time; if they part, the name goes.

A hint is asked anew on each frame where its gate is: whoever gives it knows the camera's pose at that time, and how
far a target may have flown since.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.target import Target, boxes_of

MOST_HINTS = 64
"""Hints that are open or wait at the same time; further ones are refused."""

# Standard deviations from a gate's centre to its edge; in two dimensions 1 target of 90 lies outside
_EDGE = 3.0
# How late a hint may be, and how long it is open, seconds
_LATEST_NS, _OPEN_SECONDS = 2_000_000_000, 1.0
# How far ahead of the newest frame a hint may be
_LONGEST_WAIT_NS = 1_000_000_000
# Stamps that differ by less are of one frame
_TOLERANCE_NS = 100_000_000
# Frames in the history, whatever their rate
_MOST_FRAMES = 240
# A long gate is covered by a chain of so many boxes at most
_MOST_PLACES = 16
# A gate that is wider than this share of the image's diagonal does not say where to look
_WIDEST = 0.5
# Closer looks keep this distance in seconds; a target that was detected so lately needs none
_LOOK_SECONDS = 0.1
_DETECTED_SECONDS = 0.3
# Whom a hint names: it has to agree so often, over so many seconds; so long after the last agreement the name goes
_AGREEMENTS, _AGREEING_SECONDS, _NAMED_SECONDS = 3, 0.4, 5.0
# A named target that is so many standard deviations from where its hint says is another one
_PARTED = 5.0


class HintError(ValueError):
    """A hint whose place in the image is not known; the message says why."""


@dataclass(frozen=True, eq=False)
class Gate:
    """A Gaussian in the image.

    Attributes:
        center: float64 (2,), pixels.
        covariance: float64 (2, 2), square pixels.
    """

    center: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]

    def box(self) -> FloatArray:
        """Upright box round the ellipse, float32 (4,), xyxy pixels; it may reach out of the image."""
        half = _EDGE * np.sqrt(np.diag(self.covariance))
        return np.concatenate([self.center - half, self.center + half]).astype(np.float32)

    def places(self) -> FloatArray:
        """Upright boxes, float32 (N, 4), that cover the ellipse: one, or a chain along one that is long and narrow."""
        variances, axes = np.linalg.eigh(self.covariance)
        narrow, long = _EDGE * np.sqrt(np.maximum(variances, 1e-6))
        if long <= 2 * narrow:
            return as_boxes(self.box())
        half = max(narrow, long / _MOST_PLACES)
        steps = np.linspace(-1, 1, int(np.ceil(long / half)) + 1)[:, None] * (long - half)
        centers = self.center + steps * axes[:, 1]
        return np.concatenate([centers - half, centers + half], axis=1).astype(np.float32)

    def deviations(self, boxes: FloatArray) -> npt.NDArray[np.float64]:
        """Standard deviations from the centre to the centres of boxes, float32 (N, 4); float64 (N,).

        The place of a box is not known better than a quarter of its size.
        """
        offset = box_centers(boxes).astype(np.float64) - self.center
        blur = np.maximum((box_sizes(boxes).astype(np.float64) ** 2).mean(axis=1) / 16, 0.25)
        inverse = np.linalg.inv(self.covariance + blur[:, None, None] * np.eye(2))
        return np.sqrt(np.einsum("ni,nij,nj->n", offset, inverse, offset))

    def holds(self, boxes: FloatArray) -> npt.NDArray[np.bool_]:
        """Which boxes, float32 (N, 4), have their centres in it, bool (N,)."""
        return np.asarray(self.deviations(boxes) <= _EDGE)


class Hint(Protocol):
    """Somebody's belief about a target in space."""

    @property
    def timestamp_ns(self) -> int:
        """When it was there."""

    @property
    def source(self) -> str:
        """The same for hints of one target: a later one replaces an earlier one. Empty: not known."""

    @property
    def friendly(self) -> str:
        """Name of a friendly target; empty: it is none, or nobody knows."""

    def gate(self, timestamp_ns: int) -> Gate | None:
        """Where it is in the image of a time, None: not in what the camera sees.

        Raises:
            HintError: if that is not known.
        """


@dataclass(frozen=True, eq=False)
class _Moment:
    """A past frame, and where its live targets were."""

    timestamp_ns: int
    ids: list[int]
    boxes: FloatArray


@dataclass
class _Open:
    """A hint whose frame has come.

    Attributes:
        hint: as it was given.
        age: seconds since it was taken.
        gate: on the present frame; None: not in the image.
    """

    hint: Hint
    age: float = 0.0
    gate: Gate | None = None


@dataclass
class _Name:
    """How well a friendly target's name fits a target."""

    text: str
    agreements: int = 0
    seconds_known: float = 0.0
    seconds_since: float = 0.0

    @property
    def is_sure(self) -> bool:
        return self.agreements >= _AGREEMENTS and self.seconds_known >= _AGREEING_SECONDS


class GateBook:
    """Hints that wait or are open, the frames that late ones may mean, and the names of friendly targets.

    Attributes:
        counts: what became of the hints: "used", "outside" (the image), "too wide", "unknown" (place), "too late",
            "too early", "too many".
        trouble: why the place of a hint in the present frame is not known; None: it is.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.trouble: str | None = None
        self._moments: deque[_Moment] = deque(maxlen=_MOST_FRAMES)
        self._waiting: list[Hint] = []
        self._open: list[_Open] = []
        self._names: dict[int, _Name] = {}
        self._since_look = _LOOK_SECONDS

    def reset(self) -> None:
        """Forget frames, hints and names."""
        self._moments.clear()
        self._waiting.clear()
        self._open.clear()
        self._names.clear()

    def postpone(self, hints: Sequence[Hint]) -> None:
        """Let hints wait for the next frame, as this one has failed before they were taken."""
        room = max(MOST_HINTS - len(self._waiting), 0)
        self.counts["too many"] += max(len(hints) - room, 0)
        self._waiting += hints[:room]

    @property
    def gates(self) -> list[Gate]:
        """Those that lie on the present frame."""
        return [item.gate for item in self._open if item.gate is not None]

    def hold(self, boxes: FloatArray) -> npt.NDArray[np.bool_]:
        """Which boxes, float32 (N, 4), lie in a gate of the present frame, bool (N,)."""
        inside = np.zeros(len(boxes), dtype=np.bool_)
        for gate in self.gates if len(boxes) else ():
            inside |= gate.holds(boxes)
        return inside

    def advance(self, frame: Frame, targets: Mapping[int, Target], hints: Sequence[Hint], seconds: float) -> None:
        """Move on to the next frame, and take new hints.

        Args:
            frame: the present frame.
            targets: live and lost targets, already on this frame.
            hints: those that have come since the last frame.
            seconds: time since that.
        """
        self._remember(frame, targets)
        self._since_look += seconds
        for name in self._names.values():
            name.seconds_known += seconds
            name.seconds_since += seconds
        self._names = {
            key: name for key, name in self._names.items() if key in targets and name.seconds_since < _NAMED_SECONDS
        }
        for item in self._open:
            item.age += seconds
        self._open = [item for item in self._open if item.age <= _OPEN_SECONDS]
        if not (hints or self._waiting or self._open):
            return
        self.trouble = None
        room = max(MOST_HINTS - len(self._waiting), 0)
        self.counts["too many"] += max(len(hints) - room, 0)
        coming, self._waiting = [*self._waiting, *hints[:room]], []
        for hint in coming:
            self._take(hint, frame, targets)
        del self._open[:-MOST_HINTS]
        for item in self._open:
            item.gate = self._gate_of(item.hint, frame.timestamp_ns, frame)
        for key, target in targets.items():
            known = self._names.get(key)
            target.friendly = known.text if known is not None and known.is_sure else ""

    def spare(self, targets: Mapping[int, Target]) -> None:
        """What whole frames' passes miss in a gate does not count; call it before them on each frame."""
        live = [target for target in targets.values() if target.is_live]
        for target, inside in zip(live, self.hold(boxes_of(live)).tolist(), strict=True):
            target.hinted = inside

    def wanted(self, targets: Mapping[int, Target]) -> list[Gate]:
        """The gates in which the detector should look closer on this frame."""
        if self._since_look + 1e-6 < _LOOK_SECONDS:
            return []
        live = [t for t in targets.values() if t.is_live and t.seconds_since_detection < _DETECTED_SECONDS]
        known = boxes_of(target for target in live if target.state is TrackState.CONFIRMED)
        return [gate for gate in self.gates if not (len(known) and gate.holds(known).any())]

    def looked(self) -> None:
        """A closer look was taken on this frame."""
        self._since_look = 0.0

    def _remember(self, frame: Frame, targets: Mapping[int, Target]) -> None:
        if self._moments and frame.timestamp_ns <= self._moments[-1].timestamp_ns:
            self._moments.clear()
        while self._moments and self._moments[0].timestamp_ns < frame.timestamp_ns - _LATEST_NS:
            self._moments.popleft()
        live = [target for target in targets.values() if target.is_live]
        boxes = boxes_of(live)
        self._moments.append(_Moment(frame.timestamp_ns, [target.id for target in live], boxes))

    def _take(self, hint: Hint, frame: Frame, targets: Mapping[int, Target]) -> None:
        """Let a hint wait for its frame, or meet it."""
        ahead = hint.timestamp_ns - frame.timestamp_ns
        if 0 < ahead <= _LONGEST_WAIT_NS:
            self._waiting.append(hint)
            return
        moment = min(self._moments, key=lambda item: abs(item.timestamp_ns - hint.timestamp_ns))
        if abs(moment.timestamp_ns - hint.timestamp_ns) > _TOLERANCE_NS:
            self.counts["too early" if ahead > 0 else "too late"] += 1
            return
        gate = self._gate_of(hint, moment.timestamp_ns, frame)
        if gate is None:
            return
        self.counts["used"] += 1
        if hint.friendly:
            self._name(hint.friendly, gate, moment, targets)
        if hint.source:
            self._open = [item for item in self._open if item.hint.source != hint.source]
        self._open.append(_Open(hint))

    def _gate_of(self, hint: Hint, timestamp_ns: int, frame: Frame) -> Gate | None:
        """The hint's gate on a frame, if it says something about that."""
        try:
            gate = hint.gate(timestamp_ns)
        except HintError as error:
            self.trouble = str(error)
            self.counts["unknown"] += 1
            return None
        if gate is None or not np.isfinite(gate.covariance).all() or not np.isfinite(gate.center).all():
            self.counts["outside"] += 1
            return None
        box = gate.box()
        if (box[2:] < 0).any() or box[0] > frame.width or box[1] > frame.height:
            self.counts["outside"] += 1
            return None
        widest = _EDGE * 2 * float(np.sqrt(np.linalg.eigvalsh(gate.covariance)[0]))
        if widest > _WIDEST * float(np.hypot(frame.width, frame.height)):
            self.counts["too wide"] += 1
            return None
        return gate

    def _name(self, text: str, gate: Gate, moment: _Moment, targets: Mapping[int, Target]) -> None:
        """Compare a friendly target's hint with the targets of its time."""
        present = [index for index, identity in enumerate(moment.ids) if identity in targets]
        if not present:
            return
        deviations = gate.deviations(moment.boxes[present])
        for index, deviation in zip(present, deviations.tolist(), strict=True):
            identity = moment.ids[index]
            known = self._names.get(identity)
            if known is not None and known.text == text and deviation > _PARTED:
                del self._names[identity]
        inside = [moment.ids[index] for index, d in zip(present, deviations.tolist(), strict=True) if d <= _EDGE]
        if len(inside) != 1:
            return  # nobody, or nobody can tell who
        known = self._names.get(inside[0])
        if known is None or (known.text != text and not known.is_sure):
            known = self._names[inside[0]] = _Name(text)
        if known.text == text:
            known.agreements += 1
            known.seconds_since = 0.0
