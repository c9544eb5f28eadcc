"""Occlusion: while targets lie over each other, masks say little about who is who, and motion says much.

Live targets whose masks touch have met. Those of two or more that have met, directly or through others, form a cluster
while it is open who is who. Nothing is remembered of its members, because a mask may already lie on another. When they
are apart again, the places where something is seen are given to them so that all together is likeliest, by size and by
straight flight since the meeting: of 30 crossings of composed clips, a straight flight tells 28 right. Appearance has
no say: with the weight that it has in association it changed none of 17 answers on composed clips.

Where masks are the same, a claim decides (:func:`_claim`). What is not CONFIRMED has no claim to the mask of a target
with a better one: it has slipped, and flies on unseen until SAM2 finds it elsewhere or the detector shows it. Two
masklets that stay on the same pixels, of which the detector feeds only one, are one object: the weaker claim goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from smotracker_ros.core.geometry import FloatArray, as_boxes, lie_on, pairwise_iou, pairwise_overlap
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.camera_motion import CameraShift
from smotracker_ros.tracking.kinematics import StraightFlight
from smotracker_ros.tracking.target import Target, boxes_of

# The same place: an IoU of two masks, or the share of the smaller of two boxes that lies on the larger: most of both
SAME_PLACE = 0.5
# Masks touch when their tight boxes come this near, in pixels: each edge is sure to a pixel
_GAP = 2.0
# Who is younger, in seconds, has no velocity worth noting: of less than four positions at 30 Hz
_LEAST_AGE = 0.12
# Straight flight is a good guess for so many seconds; then a cluster is given up
_LONGEST_SECONDS = 1.5
# Masks flicker: who has not touched the other for so many seconds has parted
_PARTED_SECONDS = 0.25
# A mask that has slipped for a frame or two comes back by itself; so many seconds later the detector is asked
_PATIENCE = 0.1
# A detector pass that has answered nothing is asked for again after so many seconds: sooner, it sees the same picture
_INTERVAL = 0.2
# Two targets that cross lie on the same pixels for less than so many seconds
_DUPLICATE_SECONDS = 0.5
# What the masks' own answer is worth, in the unit of a flight's error
_TRUST_IN_MASKS = 0.25
# Costs of what may not be and of what must be: greater than all others together
_IMPOSSIBLE, _DEMANDED = 1e6, -1e3


@dataclass
class _Note:
    """A target as it was when it met another.

    Attributes:
        flight: goes on in a straight line from there.
        frame: number of the first frame, in the propagator's count, whose memory may be of the other.
    """

    flight: StraightFlight
    frame: int


@dataclass
class _Pair:
    """Two targets that have met.

    Attributes:
        seconds: since then.
        apart: seconds in a row for which they have not touched.
        same: seconds in a row for which their masks have been the same.
        settled: whether it is known who is who, or given up.
    """

    seconds: float = 0.0
    apart: float = 0.0
    same: float = 0.0
    settled: bool = False


class Occlusions:
    """Knows which targets lie over each other, and says who is who."""

    def __init__(self) -> None:
        self._notes: dict[int, _Note] = {}
        self._pairs: dict[tuple[int, int], _Pair] = {}
        # who touches whom on this frame, and whether their masks are the same
        self._touching: dict[tuple[int, int], bool] = {}
        self._slipped: set[int] = set()
        # seconds until the detector is asked about a target that has slipped, or about a cluster that may be settled
        self._questions: dict[tuple[int, ...], float] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._notes.clear()
        self._pairs.clear()
        self._touching.clear()
        self._slipped.clear()
        self._questions.clear()

    @property
    def unsettled(self) -> set[int]:
        """Ids of the members of all clusters: it is open who of them is who."""
        return {identity for ids, pair in self._pairs.items() if not pair.settled for identity in ids}

    @property
    def slipped(self) -> set[int]:
        """Ids of the targets whose mask of this frame is another's; none of them is CONFIRMED."""
        return set(self._slipped)

    @property
    def asked(self) -> set[int]:
        """Ids of targets of which the detector may tell where they are."""
        return {identity for ids, wait in self._questions.items() if wait <= 0 for identity in ids}

    def predict(self, shift: CameraShift, seconds: float) -> None:
        """Move on by one frame."""
        for pair in self._pairs.values():
            pair.seconds += seconds
        for note in self._notes.values():
            note.flight.predict(shift, seconds)

    def compare(self, targets: Mapping[int, Target], seen: Mapping[int, FloatArray], gliding: Collection[int]) -> None:
        """Compare the masks of a frame, before the targets see them.

        Args:
            targets: by id, moved on to this frame.
            seen: tight boxes of this frame's masks that may be the targets' own, float32 (4,), by id.
            gliding: ids of the targets that have got their masks without SAM2.
        """
        glided = {identity: targets[identity].mask_box for identity in gliding}
        masks = {identity: box for identity, box in glided.items() if box is not None} | dict(seen)
        claims = sorted(masks, key=lambda identity: _claim(targets[identity]))
        boxes = as_boxes([masks[identity] for identity in claims])
        same = pairwise_iou(boxes, boxes) > SAME_PLACE
        self._slipped = without_claim([targets[identity] for identity in claims], same)
        self._touching = {}
        for row, column in zip(*np.nonzero(np.triu(_touch(boxes, boxes), 1)), strict=True):
            first, second = sorted((claims[row], claims[column]))
            if self._slipped.isdisjoint((first, second)):
                self._touching[first, second] = bool(same[row, column])

    def update(self, targets: Mapping[int, Target], frame: int, seconds: float) -> None:
        """Note who has met and let go of what is over. Call it when the targets have seen their masks.

        Args:
            targets: by id.
            frame: number of this frame, in the propagator's count.
            seconds: time since the previous one.
        """
        for ids, pair in list(self._pairs.items()):
            meets_again = ids in self._touching and pair.apart > 0
            pair.apart = 0.0 if ids in self._touching else pair.apart + seconds
            pair.same = pair.same + seconds if self._touching.get(ids, False) else 0.0
            pair.settled = pair.settled or pair.seconds > _LONGEST_SECONDS
            gone = any(identity not in targets for identity in ids)
            if gone or (pair.settled and (meets_again or pair.apart >= _PARTED_SECONDS)):
                del self._pairs[ids]
        members = self.unsettled
        for ids in self._touching:
            if ids in self._pairs or min(targets[identity].seconds_alive for identity in ids) < _LEAST_AGE:
                continue
            self._pairs[ids] = _Pair()
            for identity in ids:
                self._note(targets[identity], frame, identity in members)
        self._notes = {key: note for key, note in self._notes.items() if any(key in ids for ids in self._pairs)}
        ripe = [ids for ids, pair in self._pairs.items() if not pair.settled and self._is_ripe(ids, targets)]
        clusters = _joined(ids for ids, pair in self._pairs.items() if not pair.settled)
        waits: dict[tuple[int, ...], float] = {(identity,): _PATIENCE for identity in sorted(self._slipped)}
        waits |= {tuple(sorted(cluster)): 0.0 for cluster in clusters if any(cluster.issuperset(ids) for ids in ripe)}
        self._questions = {ids: self._questions.get(ids, wait) - seconds for ids, wait in waits.items()}

    def settle(self, targets: Mapping[int, Target], detections: FloatArray, seen: Collection[int]) -> dict[int, int]:
        """Say who is where, as far as it can be told. Call it at a detector pass, before detections are associated.

        Args:
            targets: by id; those that are not where their masks say are restarted in their true places.
            detections: float32 (M, 4), xyxy pixels.
            seen: ids of the targets at which the detector has looked; clusters with others wait.

        Returns:
            By the ids of those that were restarted: the frame since which they may remember another.
        """
        moved: dict[int, int] = {}
        for ids in _joined(ids for ids, pair in self._pairs.items() if not pair.settled):
            members = [targets[key] for key in sorted(ids) if targets[key].state is not TrackState.REMOVED]
            if len(members) > 1 and ids <= set(seen):
                moved |= self._settle(members, targets, detections)
        answered = {ids: _INTERVAL for ids in self._questions if set(ids) <= set(seen)}
        self._questions |= answered
        return moved

    def merge(self, targets: Mapping[int, Target], seen: Collection[int]) -> None:
        """After a detector pass, remove one of each two masklets that have long lain on the same pixels.

        Two objects that cross are detected apart again; of two masklets on one object, only one gets the detection.
        Whichever of them that was, the one with the better claim stays.

        Args:
            targets: by id.
            seen: ids of the targets at which the detector has looked.
        """
        members = self.unsettled
        for ids, pair in self._pairs.items():
            if not set(ids) <= set(seen):
                continue
            kept, extra = sorted((targets[identity] for identity in ids), key=_claim)
            undetected = max(kept.frames_since_detection, extra.frames_since_detection) > 0
            long = pair.same >= _DUPLICATE_SECONDS and not members.intersection(ids)
            if long and undetected and kept.is_live and extra.is_live:
                kept.absorb(extra)

    def _note(self, target: Target, frame: int, is_member: bool) -> None:
        """Note a target that has met another; what is known of it from before that still holds is kept."""
        note = self._notes.get(target.id)
        if note is None or (not is_member and note.flight.seconds > _LONGEST_SECONDS):
            self._notes[target.id] = _Note(StraightFlight.of(target.motion, target.size), frame)
        elif not is_member:
            note.frame = frame  # a mask has slipped back; its present motion is the other's

    def _is_ripe(self, ids: tuple[int, int], targets: Mapping[int, Target]) -> bool:
        """Whether two that have met may be told apart: their masks are apart, or their straight flights have passed."""
        apart = ids not in self._touching and all(targets[identity].mask_box is not None for identity in ids)
        first, second = (self._notes[identity].flight for identity in ids)
        return apart or (first.leaves(second) and not _touch(first.box, second.box)[0, 0])

    def _settle(
        self, members: Sequence[Target], targets: Mapping[int, Target], detections: FloatArray
    ) -> dict[int, int]:
        """Settle one cluster."""
        places, detected = self._places(members, targets, detections)
        if len(places) < 2:
            return {}
        notes = [self._notes[target.id] for target in members]
        costs = np.stack([note.flight.costs(places) for note in notes])
        present = [_nearest(target, places) for target in members]
        for row, place in enumerate(present):
            if place is not None:
                costs[row, place] -= _TRUST_IN_MASKS
        # with fewer places than members none is left empty, and some are shared; with enough of them, one where a mask
        # lies and the detector agrees is not left empty for an explanation farther off
        shares = max(len(members) - len(places), 0)
        demanded = np.array([bool(shares) or (detected[place] and place in present) for place in range(len(places))])
        offered = np.hstack([costs + np.where(demanded, _DEMANDED, 0.0), *[costs] * shares])
        _, columns = linear_sum_assignment(np.where(np.isfinite(offered), offered, _IMPOSSIBLE))
        taken = [int(column) % len(places) for column in columns]
        chosen = [place if np.isfinite(costs[row, place]) else None for row, place in enumerate(taken)]
        if not set(np.flatnonzero(demanded).tolist()) <= set(chosen):
            return {}
        # who shares a place is known to be there only if the mask says so too: nobody can be moved to where two are
        alone = [chosen.count(place) == 1 for place in chosen]
        rows = [r for r, place in enumerate(chosen) if place is not None and (alone[r] or place == present[r])]
        known = {members[row].id: row for row in rows}
        settled: set[int] = set()
        for ids, pair in self._pairs.items():
            both = [known[identity] for identity in ids if identity in known]
            where = [taken[row] for row in both]
            if pair.settled or len(both) < 2 or _touch(places[where[:1]], places[where[1:]])[0, 0]:
                continue
            # where the masks show one place and the detector two, nobody needs to wait until they have passed
            shown = {present[row] for row in both} - {None}
            if self._is_ripe(ids, targets) or (len(shown) < 2 and detected[where].all()):
                pair.settled = True
                settled |= set(ids)
        moved: dict[int, int] = {}
        for row in rows:
            target, note, place = members[row], notes[row], taken[row]
            if target.id in settled and alone[row]:
                note.flight.arrive(places[place])
                if place != present[row]:
                    target.restart(places[place], note.flight.motion.velocity)
                    moved[target.id] = note.frame
        return moved

    def _places(
        self, members: Sequence[Target], targets: Mapping[int, Target], detections: FloatArray
    ) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Where members of a cluster may be: detections near, and masks where nothing is detected.

        Returns:
            Boxes, float32 (N, 4), of which none lies on another; bool (N,): which are detections.
        """
        flights = [self._notes[target.id].flight for target in members]
        ids = {target.id for target in members}
        seen = [target for target in targets.values() if target.mask_box is not None]
        masks = boxes_of(target for target in seen if target.id in ids)
        others = boxes_of(target for target in seen if target.id not in ids)
        near = np.isfinite([flight.costs(detections) for flight in flights]).any(axis=0)
        found = detections[near & ~lie_on(detections, others, SAME_PLACE)]
        places = np.concatenate([found, masks[~lie_on(masks, found, SAME_PLACE)]])
        # of places that lie on each other the likeliest stays
        kept: list[int] = []
        for place in np.min([flight.costs(places) for flight in flights], axis=0).argsort(kind="stable").tolist():
            if not lie_on(places[place], places[kept], SAME_PLACE)[0]:
                kept.append(place)
        return places[kept], np.array(kept) < len(found)


def _claim(target: Target) -> tuple[bool, bool, bool, int]:
    """Sorts by the claim to what is seen, the best first.

    What is CONFIRMED goes before what is not, what this pass has detected before what it has not, what the last pass
    has detected, or an external box vouches for, before what was missed, and the older before the younger.
    """
    return target.state is not TrackState.CONFIRMED, target.frames_since_detection > 0, target.misses > 0, target.id


def without_claim(targets: Sequence[Target], same: npt.NDArray[np.bool_]) -> set[int]:
    """Ids of those whose mask is that of one with a better claim.

    Args:
        targets: the best claim first.
        same: bool (N, N), whose masks are the same.
    """
    slipped: set[int] = set()
    for stronger, weaker in zip(*np.nonzero(np.triu(same, 1)), strict=True):
        if targets[stronger].id not in slipped and targets[weaker].state is not TrackState.CONFIRMED:
            slipped.add(targets[weaker].id)
    return slipped


def _touch(first: FloatArray, second: FloatArray) -> npt.NDArray[np.bool_]:
    """Which tight boxes (N, 4) come near which others (M, 4), bool (N, M)."""
    rim = np.array([-1, -1, 1, 1], dtype=np.float32) * np.float32(_GAP / 2)
    return np.asarray(pairwise_overlap(as_boxes(first) + rim, as_boxes(second) + rim) > 0)


def _joined(pairs: Iterable[tuple[int, int]]) -> list[set[int]]:
    """Clusters: who is in a pair with whom, directly or through others."""
    clusters: list[set[int]] = []
    for ids in pairs:
        met = [cluster for cluster in clusters if not cluster.isdisjoint(ids)]
        clusters = [cluster for cluster in clusters if cluster.isdisjoint(ids)] + [set(ids).union(*met)]
    return clusters


def _nearest(target: Target, places: FloatArray) -> int | None:
    """Index of the place (N, 4) where a target's mask is; None if it has none there."""
    if target.mask_box is None:
        return None
    overlap = pairwise_iou(target.box, places)[0]
    return int(overlap.argmax()) if overlap.max() > 0 else None
