"""Duplicates: two masklets that have long lain on the same pixels are one object."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from smotracker_ros.core.geometry import as_boxes, pairwise_overlap
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.target import Target

# The smaller of the two lies on the larger with this share, for so many seconds in a row
_OVERLAP = 0.6
_SECONDS = 0.5


class Duplicates:
    """Counts for how many seconds in a row each two live masklets have lain on the same pixels."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, int], float] = {}

    def reset(self) -> None:
        """Forget all counts."""
        self._seconds.clear()

    def count(self, targets: Iterable[Target], seconds: float) -> None:
        """Take the masks of a frame, so many seconds after the one before."""
        seen = sorted((t for t in targets if t.is_live and t.mask_box is not None), key=lambda t: t.id)
        overlapping: dict[tuple[int, int], float] = {}
        if len(seen) > 1:
            boxes = as_boxes([target.mask_box for target in seen if target.mask_box is not None])
            overlap = pairwise_overlap(boxes, boxes)
            for older, younger in zip(*np.nonzero(np.triu(overlap > _OVERLAP, 1)), strict=True):
                pair = (seen[older].id, seen[younger].id)
                overlapping[pair] = self._seconds.get(pair, 0.0) + seconds
        self._seconds = overlapping

    def merge(self, targets: Mapping[int, Target], unsettled: Collection[int]) -> None:
        """After a detector pass, remove one of each two masklets that have long lain on the same pixels.

        Two objects that cross are detected apart again; of two masklets on one object, only one gets the detection.
        The one with the better claim to the object stays (:func:`_claim`), with the fewer misses of the two: whichever
        of them the detector has found, it was this object.

        Args:
            targets: by id.
            unsettled: ids of targets in crossings that are under way.
        """
        for ids, seconds in self._seconds.items():
            pair = sorted((targets[identity] for identity in ids), key=_claim)
            if seconds < _SECONDS or any(identity in unsettled for identity in ids):
                continue
            undetected = any(target.frames_since_detection > 0 for target in pair)
            if undetected and all(target.is_live for target in pair):
                kept, removed = pair
                kept.misses = min(kept.misses, removed.misses)
                removed.state = TrackState.REMOVED


def _claim(target: Target) -> tuple[bool, bool, bool, int]:
    """Sorts by the claim to what is seen, the best first.

    What is CONFIRMED goes before what is not, what this pass has detected before what it has not, what an external box
    vouches for before what nobody does, and the older before the younger.
    """
    return target.state is not TrackState.CONFIRMED, target.frames_since_detection > 0, target.misses > 0, target.id
