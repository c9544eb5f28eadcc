"""Crossings: while two targets lie over each other, masks say little about who is who, and motion says much.

Where two masklets meet, their motion and size are noted. Until the targets are apart again nothing is remembered of
them, because a mask may already lie on the other one. Then the places where something is seen are given to the two by
what was noted: of 30 crossings of composed clips, a straight flight through the crossing tells 28 right.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from smotracker_ros.core.geometry import (
    FloatArray,
    as_boxes,
    box_centers,
    box_sizes,
    lie_on,
    pairwise_iou,
    pairwise_overlap,
)
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.camera_motion import CameraShift
from smotracker_ros.tracking.kinematics import TargetMotion
from smotracker_ros.tracking.target import Target

# Tight boxes meet when they come this near, in pixels
_MEETING_GAP = 2.0
# Targets need this age, in seconds, to have a motion worth noting
_LEAST_AGE = 0.12
# Straight flight is a good guess for so many seconds
_LONGEST_SECONDS = 1.5
# A crossing is over when the masks have been apart for so many seconds
_PARTED_SECONDS = 0.25
# Detector passes asked for early, per crossing
_MOST_PASSES = 3
# Boxes of which the smaller lies on the larger with this share show one target
_SAME_PLACE = 0.5
# A place is out of the question beyond so many sizes and, per second of the crossing, so many more
_REACH_SIZES = 1.0
_REACH_SIZES_PER_SECOND = 2.0
# What speaks for the masks' own answer, in units of the cost (sizes of distance, or logarithm of the ratio of sizes)
_TRUST_IN_MASKS = 0.25


@dataclass
class _Shadow:
    """A target as it was before the crossing, moved on in a straight line."""

    motion: TargetMotion
    size: FloatArray

    def predict(self, shift: CameraShift, seconds: float) -> None:
        self.motion.predict(shift, seconds)
        self.size = (self.size * shift.zoom).astype(np.float32)

    def arrive(self, place: FloatArray, seconds: float) -> None:
        """Go on from a place (4,) where the target was found again."""
        center = box_centers(place)[0]
        if seconds > 0:
            self.motion.velocity = self.motion.velocity + (center - self.motion.center) / np.float32(seconds)
        self.motion.center = center

    def costs(self, places: FloatArray, seconds: float) -> FloatArray:
        """Cost of having gone to each of the places (N, 4), infinite where out of reach, float32 (N,)."""
        side = max(float(self.size.max()), 8.0)
        distance = np.linalg.norm(box_centers(places) - self.motion.center, axis=1) / side
        shape = np.abs(np.log(np.maximum(box_sizes(places), 1) / np.maximum(self.size, 1))).mean(axis=1)
        out_of_reach = distance > _REACH_SIZES + _REACH_SIZES_PER_SECOND * seconds
        return np.where(out_of_reach, np.inf, distance / (0.5 + seconds) + shape).astype(np.float32)


@dataclass
class Crossing:
    """Two targets that have met.

    Attributes:
        ids: of both, the older first.
        frame: number of the frame on which they met, in the propagator's count.
        seconds: time since then.
        passes: detector passes since they were seen apart again.
        settled: whether it is known who is who, or given up.
        apart: seconds for which the masks have been apart.
    """

    ids: tuple[int, int]
    frame: int
    shadows: tuple[_Shadow, _Shadow]
    seconds: float = 0.0
    passes: int = 0
    settled: bool = False
    apart: float = 0.0


class Crossings:
    """All crossings that are under way."""

    def __init__(self) -> None:
        self._crossings: dict[tuple[int, int], Crossing] = {}

    def reset(self) -> None:
        """Forget all crossings."""
        self._crossings.clear()

    @property
    def unsettled(self) -> set[int]:
        """Ids of targets of which it is open who is who."""
        return {identity for item in self._crossings.values() if not item.settled for identity in item.ids}

    def predict(self, shift: CameraShift, seconds: float) -> None:
        """Move on by one frame."""
        for item in self._crossings.values():
            item.seconds += seconds
            for shadow in item.shadows:
                shadow.predict(shift, seconds)

    def update(self, targets: Mapping[int, Target], frame: int, seconds: float) -> None:
        """Note which live targets meet on this frame and let go of what is over. Call it after propagation.

        Args:
            targets: by id.
            frame: number of this frame.
            seconds: time since the previous one.
        """
        seen = [target for target in targets.values() if target.is_live and target.mask_box is not None]
        boxes = as_boxes([target.mask_box for target in seen if target.mask_box is not None])
        rim = np.array([-1, -1, 1, 1], dtype=np.float32) * np.float32(_MEETING_GAP / 2)
        grown = boxes + rim
        near = np.triu(pairwise_overlap(grown, grown) > 0, 1)
        pairs = [sorted((seen[i], seen[j]), key=lambda t: t.id) for i, j in zip(*np.nonzero(near), strict=True)]
        meeting = {(first.id, second.id): (first, second) for first, second in pairs}
        for key, item in list(self._crossings.items()):
            gone = any(identity not in targets for identity in key)
            if item.seconds > _LONGEST_SECONDS:
                item.settled = True
            meets_again = key in meeting and item.apart > 0
            item.apart = 0.0 if key in meeting else item.apart + seconds
            if gone or (item.settled and item.apart >= _PARTED_SECONDS):
                del self._crossings[key]
            elif item.settled and meets_again:
                # a mask has slipped back; what was noted holds, its present motion does not
                item.settled, item.passes, item.frame, item.seconds = False, 0, frame, 0.0
        for key, (first, second) in meeting.items():
            if key not in self._crossings and min(first.seconds_alive, second.seconds_alive) >= _LEAST_AGE:
                shadows = tuple(_Shadow(copy.deepcopy(target.motion), target.size.copy()) for target in (first, second))
                self._crossings[key] = Crossing(key, frame, (shadows[0], shadows[1]))

    def ripe(self, targets: Mapping[int, Target]) -> Iterator[Crossing]:
        """Crossings that may be settled now: the masks or the straight flights are apart again."""
        for item in self._crossings.values():
            pair = [targets[identity] for identity in item.ids]
            if item.settled or TrackState.REMOVED in (pair[0].state, pair[1].state):
                continue
            side = max(float(shadow.size.max()) for shadow in item.shadows)
            masks = [target.mask_box for target in pair if target.mask_box is not None]
            flights = np.linalg.norm(item.shadows[0].motion.center - item.shadows[1].motion.center)
            apart = bool(flights > 1.2 * side)
            if len(masks) == 2:
                overlap = float(pairwise_overlap(as_boxes(masks[0]), as_boxes(masks[1])).max())
                centers = box_centers(as_boxes(masks))
                apart = apart or bool(overlap == 0 and np.linalg.norm(centers[0] - centers[1]) > 0.8 * side)
            if apart:
                yield item

    def wants_detector(self, targets: Mapping[int, Target]) -> bool:
        """Whether a detector pass would settle a crossing."""
        return any(item.passes < _MOST_PASSES for item in self.ripe(targets))

    def settle(self, targets: Mapping[int, Target], detections: FloatArray) -> dict[int, tuple[FloatArray, Crossing]]:
        """Say who is where after a crossing. Call it at a detector pass, before detections are associated.

        Args:
            targets: by id.
            detections: float32 (M, 4), xyxy pixels.

        Returns:
            The targets that are not where their masks say, with the box of their true place, float32 (4,), and the
            crossing in which they went astray.
        """
        moves: dict[int, tuple[FloatArray, Crossing]] = {}
        for item in list(self.ripe(targets)):
            item.passes += 1
            pair = [targets[identity] for identity in item.ids]
            places, detected = _places(pair, item, targets, detections)
            if len(places) < 2:
                continue
            costs = np.stack([shadow.costs(places, item.seconds) for shadow in item.shadows])
            present = [_nearest(target, places) for target in pair]
            for row, place in enumerate(present):
                if place is not None:
                    costs[row, place] -= _TRUST_IN_MASKS
            total = costs[0][:, None] + costs[1][None]
            total[pairwise_overlap(places, places) >= _SAME_PLACE] = np.inf
            # a place where a mask lies and the detector agrees is not left empty for an explanation farther off
            for place in {place for place in present if place is not None and place < detected}:
                taken = np.zeros_like(total, dtype=np.bool_)
                taken[place, :] = taken[:, place] = True
                total[~taken] = np.inf
            best = np.unravel_index(int(total.argmin()), total.shape)
            if not np.isfinite(total[best]):
                continue
            item.settled = True
            for target, old, new, shadow in zip(pair, present, best, item.shadows, strict=True):
                shadow.arrive(places[new], item.seconds)
                if old != new:
                    moves[target.id] = (places[new], item)
                    target.motion.velocity = shadow.motion.velocity.copy()
        return moves


def _nearest(target: Target, places: FloatArray) -> int | None:
    """Index of the place (N, 4) where a target's mask is; None if it has none there."""
    if target.mask_box is None:
        return None
    overlap = pairwise_iou(target.box, places)[0]
    return int(overlap.argmax()) if overlap.max() > 0 else None


def _places(
    pair: list[Target], crossing: Crossing, targets: Mapping[int, Target], detections: FloatArray
) -> tuple[FloatArray, int]:
    """Boxes where one of the two may be, float32 (N, 4), and how many of them, the first, are detections.

    The others are masks where nothing is detected.
    """
    near = np.zeros(len(detections), dtype=np.bool_)
    if len(detections):
        for shadow in crossing.shadows:
            near |= np.isfinite(shadow.costs(detections, crossing.seconds))
    others = as_boxes([t.box for t in targets.values() if t.id not in crossing.ids and t.mask_box is not None])
    places = detections[near]
    places = places[~lie_on(places, others, _SAME_PLACE)]
    masks = as_boxes([target.box for target in pair if target.mask_box is not None])
    unexplained = masks[~lie_on(masks, places, _SAME_PLACE)]
    return np.concatenate([places, unexplained]), len(places)
