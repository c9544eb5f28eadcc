"""Cues: boxes that a radar, an operator or another camera gives, and what they may do to targets.

A cue is worth more than a detection, because somebody vouches for it, and comes later, because somebody had to look:

- It belongs to the frame of its time stamp. What it means is decided there, with the boxes of that frame out of a
  short history, and then carried to the present frame.
- On a live masklet it is an agreement: its misses are forgiven, and it is CONFIRMED as soon as its mask is believed,
  without asking the detector and although it may stand still.
- On a lost one it wakes it, under its old id.
- Elsewhere it starts a masklet, for which the same holds. If SAM2 sees nothing in the box, no track is made; a mask
  that SAM2 itself rates low is most likely empty sky, and stays TENTATIVE until it is believed or gone.
- A cued target does not need the detector, which may not know its kind: its misses do not count while its mask is
  believed, or for two seconds after the last cue. Going out of sight makes it LOST, as any other.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes, pairwise_iou
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.camera_motion import CameraShift
from smotracker_ros.tracking.target import Target, boxes_of

MOST_CUES = 128
"""Cues that may come between two frames, those that wait for theirs included; further ones are refused."""

# How far ahead of the newest frame a cue may be
_LONGEST_WAIT_NS = 1_000_000_000
# A cue may miss the stamp of the nearest frame by this much
_TOLERANCE_NS = 100_000_000
# Frames in the history, whatever their rate
_MOST_FRAMES = 120
# Smaller cues, such as a radar's points, are enlarged to this many pixels
_LEAST_SIDE = 4.0
# A cue belongs to a target if they overlap so much, or if the centre of one lies in the other
_LEAST_IOU = 0.2
# Larger patches are not looked for as a whole: their middle tells where they went, at a bounded price
_LARGEST_PATCH = 64
# Correlation from which the place of a patch in the next frame is believed
_LEAST_CORRELATION = 0.6
# How long, in seconds, the last cue speaks for a target whose mask is not believed, and from when it is
_TRUSTED_SECONDS = 2.0
_BELIEVED_QUALITY = 0.7


@dataclass(frozen=True, eq=False)
class Cue:
    """A box that somebody vouches for.

    Attributes:
        box: float32 (4,), xyxy pixels of the image that was taken at `timestamp_ns`.
        timestamp_ns: time of that image; 0: the present one.
        score: confidence in [0, 1].
        class_id: class number of the detector, 0: not known.
    """

    box: FloatArray
    timestamp_ns: int = 0
    score: float = 1.0
    class_id: int = 0


@dataclass(frozen=True, eq=False)
class DueCue:
    """A cue as it stands on the present frame.

    Attributes:
        cue: as it was given.
        target_id: the live or lost target that it means, None: none of them.
        box: float32 (4,), xyxy pixels of the present frame.
    """

    cue: Cue
    target_id: int | None
    box: FloatArray


@dataclass(frozen=True, eq=False)
class _Moment:
    """A past frame: its picture, if pictures are kept, the motion that led to it, and where its targets were."""

    timestamp_ns: int
    grey: UInt8Image | None
    shift: CameraShift
    ids: list[int]
    boxes: FloatArray


class CueBook:
    """Cues that wait, the frames that they may still mean, and the targets that stand under their protection.

    Attributes:
        history_seconds: how late a cue may come. 0, the default, keeps no pictures: cues are for the present frame.
        counts: what became of the cues: "used", "invalid", "too late", "too early", "too many", "no room" (for another
            live target), "nothing there".
    """

    def __init__(self) -> None:
        self.history_seconds = 0.0
        self.counts: Counter[str] = Counter()
        self._moments: deque[_Moment] = deque(maxlen=_MOST_FRAMES)
        self._waiting: list[Cue] = []
        self._since_cue: dict[int, float] = {}

    def reset(self) -> None:
        """Forget frames, waiting cues and protections."""
        if self._waiting:
            self.counts["too late"] += len(self._waiting)
        self._moments.clear()
        self._waiting.clear()
        self._since_cue.clear()

    def due(self, frame: Frame, targets: Mapping[int, Target], cues: Sequence[Cue]) -> list[DueCue]:
        """Take new cues. Call it after :meth:`remember` of the same frame.

        Args:
            frame: the present frame.
            targets: live and lost targets, already moved on to this frame.
            cues: those that have come since the last frame.

        Returns:
            The cues whose frame has come, as they stand on the present frame.
        """
        room = MOST_CUES - len(self._waiting)
        if len(cues) > room:
            self.counts["too many"] += len(cues) - room
        waiting: list[Cue] = []
        due: list[DueCue] = []
        for cue in [*self._waiting, *cues[:room]]:
            ahead = cue.timestamp_ns - frame.timestamp_ns
            if 0 < ahead <= _LONGEST_WAIT_NS:
                waiting.append(cue)
                continue
            box = _usable_box(cue, frame)
            moment = self._moment_of(cue, frame)
            if box is None:
                self.counts["invalid"] += 1
            elif moment is None:
                self.counts["too early" if ahead > 0 else "too late"] += 1
            else:
                target_id = _mate(box, moment, targets)
                box = self._carry(box, moment)
                if target_id is None:  # what it means may have been found since
                    target_id = _mate(box, self._moments[-1], targets)
                strangers = as_boxes([other.box for other in due if other.target_id is None])
                if target_id is None and _nearest(box, strangers) is not None:
                    self.counts["used"] += 1  # a second opinion on what has just been started
                else:
                    due.append(DueCue(cue, target_id, box))
        self._waiting = waiting
        return due

    def postpone(self, cues: Sequence[Cue], frame: Frame) -> None:
        """Let cues wait for the next frame, as this one has failed before they were answered.

        What they mean stays this frame's: on the next one they are late, and may be too late.
        """
        stamped = [replace(cue, timestamp_ns=cue.timestamp_ns or frame.timestamp_ns) for cue in cues]
        room = MOST_CUES - len(self._waiting)
        self.counts["too many"] += len(stamped[room:])
        self._waiting += stamped[:room]

    @staticmethod
    def begin(identity: int, due: DueCue, appearance: FloatArray) -> Target:
        """A new target at a cue; it still has to be seen.

        Args:
            identity: its id.
            due: the cue.
            appearance: of what is in the cue's box, unit vector, float32 (D,).
        """
        target = Target.born(identity, due.box, appearance)
        target.hits, target.score = 1, due.cue.score
        target.record.hit(due.cue.score)
        target.votes[due.cue.class_id] = due.cue.score
        return target

    def answer(self, target: Target) -> None:
        """Take SAM2's answer to a cue's box: a mask, or nothing that could be followed."""
        if target.mask_box is not None:
            # the mask says how large the target is; a cue's box may be as wide as a radar's beam
            target.detected_side = float(box_sizes(target.mask_box).max())
            if target.state is TrackState.LOST:
                target.state = TrackState.CONFIRMED
            self.take(target)
            return
        self.counts["nothing there"] += 1
        if target.age == 0:
            target.state = TrackState.REMOVED

    def take(self, target: Target) -> None:
        """A cue vouches for a live target, which stands under protection from now on."""
        self.counts["used"] += 1
        self._since_cue[target.id] = 0.0
        target.forgive()

    def protect(self, targets: Mapping[int, Target], seconds: float) -> None:
        """Forgive cued targets that the detector does not find them, and confirm those whose mask is believed.

        Call it once per frame, before the detector's pass.

        Args:
            targets: live and lost targets.
            seconds: time since the previous frame.
        """
        self._since_cue = {key: value + seconds for key, value in self._since_cue.items() if key in targets}
        for identity, since in self._since_cue.items():
            target = targets[identity]
            believed = target.mask is not None and target.quality >= _BELIEVED_QUALITY
            if target.is_live and (believed or since <= _TRUSTED_SECONDS):
                # not even the miss of this frame's detector pass counts
                target.vouched = True
            if target.state is TrackState.TENTATIVE and believed:
                target.state = TrackState.CONFIRMED

    def remember(self, frame: Frame, shift: CameraShift, targets: Mapping[int, Target]) -> None:
        """Add the present frame to the history, and let go of what is too old.

        Args:
            frame: the present frame.
            shift: motion of the background that led to it.
            targets: live and lost targets, already moved on to this frame.
        """
        span = int(self.history_seconds * 1e9)
        if self._moments and frame.timestamp_ns <= self._moments[-1].timestamp_ns:
            self._moments.clear()
        while self._moments and self._moments[0].timestamp_ns < frame.timestamp_ns - span:
            self._moments.popleft()
        grey = frame.grey if span else None
        boxes = boxes_of(targets.values())
        self._moments.append(_Moment(frame.timestamp_ns, grey, shift, list(targets), boxes))

    def _moment_of(self, cue: Cue, frame: Frame) -> _Moment | None:
        """The frame of the history that a cue means; None if it is not there."""
        if cue.timestamp_ns == 0:
            return self._moments[-1]
        moment = min(self._moments, key=lambda item: abs(item.timestamp_ns - cue.timestamp_ns))
        within = self._moments[0].timestamp_ns <= cue.timestamp_ns <= frame.timestamp_ns
        return moment if within or abs(moment.timestamp_ns - cue.timestamp_ns) <= _TOLERANCE_NS else None

    def _carry(self, box: FloatArray, moment: _Moment) -> FloatArray:
        """Follow what a box shows from a past frame to the present one; float32 (4,).

        From frame to frame the patch is looked for where the camera's motion puts it (normalised cross-correlation,
        `cv2.matchTemplate`); where nothing resembles it, it stays there.
        """
        moments = list(self._moments)
        for before, after in zip(moments[moments.index(moment) :], moments[moments.index(moment) + 1 :], strict=False):
            moved = after.shift.move(box.reshape(2, 2)).ravel()
            if before.grey is None or after.grey is None:
                box = moved
            else:
                box = moved + _offset(before.grey, after.grey, box, moved)
        return box


def _usable_box(cue: Cue, frame: Frame) -> FloatArray | None:
    """The cue's box, at least so large that something can be seen in it; None if the cue says nothing about the frame.

    Not finite numbers, negative sizes, boxes larger than the image or with their centre outside it are such cues.
    """
    box = np.asarray(cue.box, dtype=np.float32)
    if box.shape != (4,) or not np.isfinite(box).all() or not 0 <= cue.score <= 1:
        return None
    center, size = box_centers(box)[0], box_sizes(box)[0]
    inside = 0 <= center[0] < frame.width and 0 <= center[1] < frame.height
    if not inside or (size < 0).any() or size[0] > frame.width or size[1] > frame.height:
        return None
    half = np.maximum(size, _LEAST_SIDE) / 2
    return np.concatenate([center - half, center + half]).astype(np.float32)


def _mate(box: FloatArray, moment: _Moment, targets: Mapping[int, Target]) -> int | None:
    """Id of the present target that a cue's box, float32 (4,), meant at a moment; None: none of them."""
    known = [index for index, identity in enumerate(moment.ids) if identity in targets]
    mate = _nearest(box, moment.boxes[known])
    return None if mate is None else moment.ids[known[mate]]


def _nearest(box: FloatArray, boxes: FloatArray) -> int | None:
    """Index of the nearest of the boxes (N, 4) that may show the same as `box`; None: none does."""
    if not len(boxes):
        return None
    overlap = pairwise_iou(boxes, box)[:, 0]
    centers, center = box_centers(boxes), box_centers(box)[0]
    inside = ((centers >= box[:2]) & (centers <= box[2:])).all(axis=1)
    inside |= ((center >= boxes[:, :2]) & (center <= boxes[:, 2:])).all(axis=1)
    fits = inside | (overlap >= _LEAST_IOU)
    if not fits.any():
        return None
    distance = np.where(fits, np.linalg.norm(centers - center, axis=1), np.inf)
    return int(distance.argmin())


def _offset(before: UInt8Image, after: UInt8Image, box: FloatArray, moved: FloatArray) -> FloatArray:
    """How far beside `moved` the patch in `box` of one picture lies in the next one, float32 (4,)."""
    nothing = np.zeros(4, dtype=np.float32)
    height, width = before.shape
    side = min(max(int(np.ceil(1.5 * box_sizes(box).max())), 9), _LARGEST_PATCH)
    reach = max(side // 2, 8)
    x, y = np.round(box_centers(box)[0] - side / 2).astype(int)
    next_x, next_y = np.round(box_centers(moved)[0] - side / 2).astype(int) - reach
    search = side + 2 * reach
    if min(x, y, next_x, next_y) < 0 or max(x + side, next_x + search) > width:
        return nothing
    if max(y + side, next_y + search) > height or before.shape != after.shape:
        return nothing
    patch = before[y : y + side, x : x + side]
    if patch.std() < 1.0:
        return nothing
    scores = cv2.matchTemplate(after[next_y : next_y + search, next_x : next_x + search], patch, cv2.TM_CCOEFF_NORMED)
    _, best, _, (column, row) = cv2.minMaxLoc(scores)
    if best < _LEAST_CORRELATION:
        return nothing
    return np.array([column - reach, row - reach] * 2, dtype=np.float32)
