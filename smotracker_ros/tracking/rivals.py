"""Rivals: where two masklets have come to lie on the same pixels, what is not CONFIRMED has no claim to them.

Where a target passes clutter, or is born twice, SAM2 is apt to give both the same mask. It then belongs to the
CONFIRMED one, or to the older one; the other has slipped and flies on unseen until SAM2 finds it elsewhere or the
detector shows it. Two CONFIRMED targets may lie over each other: that is a crossing, and
:mod:`~smotracker_ros.tracking.crossings` says afterwards who is who.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, lie_on, pairwise_iou
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.masklets.propagator import Masklet
from smotracker_ros.tracking.target import Target

# Tight boxes of this IoU show the same
_SAME_MASK_IOU = 0.5
# A detector pass is asked for when a masklet has slipped for so many seconds, and again after so many more
_PATIENCE = 0.1
_INTERVAL = 0.2
# A detection lies on a target if the smaller of the two boxes is covered with this share
_SAME_PLACE = 0.5
# A detection of this IoU with a target is of that target, whatever else is in its box
_OWN_IOU = 0.6


class Rivals:
    """Knows which live masklets have slipped onto another's target."""

    def __init__(self) -> None:
        # for how long each has slipped, and had at the frame before
        self._seconds: dict[int, tuple[float, float]] = {}

    def reset(self) -> None:
        """Forget all rivals."""
        self._seconds.clear()

    @property
    def slipped(self) -> set[int]:
        """Ids of the targets whose mask of this frame was another's; none of them is CONFIRMED."""
        return set(self._seconds)

    @property
    def wants_detector(self) -> bool:
        """Whether a detector pass may show if there is one target or two."""
        return any(_turns(now) > _turns(before) for now, before in self._seconds.values())

    def judge(
        self, targets: Mapping[int, Target], masklets: Mapping[int, Masklet], gliding: Collection[int], seconds: float
    ) -> set[int]:
        """Say whose masks of this frame are another's.

        Args:
            targets: by id, moved on to this frame; those of `masklets` are not yet corrected by their masks.
            masklets: this frame's, by id.
            gliding: ids of the targets that have got their masks without SAM2.
            seconds: time since the previous frame.

        Returns:
            Ids of the targets that have slipped.
        """
        masks = {identity: targets[identity].mask_box for identity in gliding}
        for identity, masklet in masklets.items():
            if masklet.box is not None and targets[identity].owns(masklet.box, masklet.predicted_iou):
                masks[identity] = masklet.box
        claims = [(identity, box) for identity, box in masks.items() if box is not None]
        # the strongest claim first
        claims.sort(key=lambda claim: (targets[claim[0]].state is not TrackState.CONFIRMED, claim[0]))
        boxes = as_boxes([box for _, box in claims])
        same = np.triu(pairwise_iou(boxes, boxes) > _SAME_MASK_IOU, 1)
        slipped: set[int] = set()
        for stronger, weaker in zip(*np.nonzero(same), strict=True):
            first, second = claims[stronger][0], claims[weaker][0]
            if first not in slipped and targets[second].state is not TrackState.CONFIRMED:
                slipped.add(second)
        before = {identity: self._seconds.get(identity, (0.0, 0.0))[0] for identity in slipped}
        self._seconds = {identity: (value + seconds, value) for identity, value in before.items()}
        return slipped


def _turns(seconds: float) -> int:
    """How many passes have been asked for within a time."""
    return int((seconds - _PATIENCE) / _INTERVAL) + 1 if seconds >= _PATIENCE else 0


def lies_on_any(detections: FloatArray, targets: Sequence[Target]) -> npt.NDArray[np.bool_]:
    """Which detections, float32 (N, 4), lie on a target that is seen, bool (N,)."""
    seen = as_boxes([target.box for target in targets if target.mask_box is not None])
    return lie_on(detections, seen, _SAME_PLACE)


def show_several(detections: FloatArray, targets: Sequence[Target]) -> npt.NDArray[np.bool_]:
    """Which detections, float32 (N, 4), are one box round two or more CONFIRMED targets that are seen, bool (N,)."""
    seen = as_boxes([t.box for t in targets if t.state is TrackState.CONFIRMED and t.mask_box is not None])
    if len(seen) < 2 or not len(detections):
        return np.zeros(len(detections), dtype=np.bool_)
    centers = box_centers(seen)
    inside = ((centers >= detections[:, None, :2]) & (centers <= detections[:, None, 2:])).all(axis=2)
    return np.asarray((inside.sum(axis=1) >= 2) & (pairwise_iou(detections, seen).max(axis=1) < _OWN_IOU))
