"""Rivals: where two masklets have come to lie on the same pixels, at most one of them is right.

Where two targets pass, SAM2 is apt to give both the same mask, of one of them or of both together. It then belongs to
the one whose flight leads there; the other is hidden, or its masklet has slipped, and it flies on unseen until it is
seen apart or the detector shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from smotracker_ros.geometry import FloatArray, as_boxes, box_centers, pairwise_iou
from smotracker_ros.target import Target
from smotracker_ros.tracks import TrackState

# Tight boxes of which this share is common show the same
_SAME_MASK_IOU = 0.5


_DOUBT = 1.0
_SLIPPED = 0.5
# A detector pass is asked for when a masklet has slipped for so many frames, and again after so many more
_PATIENCE = 3
_INTERVAL = 6


class Rivals:
    """Knows which live masklets have slipped onto another's target."""

    def __init__(self) -> None:
        self._frames: Counter[int] = Counter()

    def reset(self) -> None:
        """Forget all rivals."""
        self._frames.clear()

    @property
    def slipped(self) -> set[int]:
        """Ids of the targets whose mask of this frame was another's."""
        return set(self._frames)

    @property
    def wants_detector(self) -> bool:
        """Whether a detector pass may show where a hidden target is."""
        return any(frames % _INTERVAL == _PATIENCE for frames in self._frames.values())

    def judge(self, targets: Mapping[int, Target], boxes: Mapping[int, FloatArray], qualities: Mapping[int, float]) -> set[int]:
        """Say whose masks of this frame are another's.

        Args:
            targets: by id, moved on to this frame but not yet corrected by its masks.
            boxes: tight boxes of this frame's masks by id, float32 (4,), xyxy pixels.

        Returns:
            Ids of the targets that have slipped.
        """
        losers = self._losers(targets, boxes, qualities)
        self._frames = Counter({identity: self._frames[identity] + 1 for identity in losers})
        return losers

    def _losers(self, targets: Mapping[int, Target], boxes: Mapping[int, FloatArray], qualities: Mapping[int, float]) -> set[int]:
        ids = sorted(boxes)
        array = as_boxes([boxes[identity] for identity in ids])
        same = np.triu(pairwise_iou(array, array) > _SAME_MASK_IOU, 1)
        claims = []
        for identity, center in zip(ids, box_centers(array), strict=True):
            target = targets[identity]
            error = float(np.linalg.norm(center - target.motion.center)) / max(target.longer_side, 8.0)
            doubt = max(target.mean_quality - qualities[identity], 0.0)
            cost = error + _DOUBT * doubt + _SLIPPED * (identity in self._frames)
            claims.append((target.state is not TrackState.CONFIRMED, cost, identity))
        losers: set[int] = set()
        for pair in zip(*np.nonzero(same), strict=True):
            if not any(ids[index] in losers for index in pair):
                losers.add(ids[max(pair, key=lambda index: claims[index])])
        return losers
