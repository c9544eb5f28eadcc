"""Anchors: frames on which an object was told apart from something that looks like it, remembered for long.

After DAM4SAM (Videnovic et al. 2025, "A Distractor-Aware Memory for Visual Object Tracking with SAM2"): a frame becomes
an anchor if the mask is sure and of its usual size while the network also offers a mask of something else. What is
remembered of it shows both, and which of them is the object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from smotracker_ros.core.geometry import FloatArray, as_boxes, pairwise_iou

_LEAST_IOU = 0.8
_USUAL_AREA = (0.8, 1.2)
_AREAS = 10
_LEAST_DISTANCE = 5
_LARGEST_OVERLAP = 0.7


@dataclass
class AnchorRule:
    """Decides which frames of one object become anchors.

    Attributes:
        areas: of the masks of the last frames that it remembers and was visible on, in pixels.
        last: number of the last anchor's frame; None: there is none.
    """

    areas: deque[int] = field(default_factory=lambda: deque(maxlen=_AREAS))
    last: int | None = None

    def admits(
        self, frame: int, predicted_iou: float, area: int, box: FloatArray, alternatives: Sequence[FloatArray]
    ) -> bool:
        """Whether a frame becomes an anchor; call it once for each frame that the object remembers
        and is visible on.

        Args:
            frame: number of the frame.
            predicted_iou: the network's estimate of the mask's quality in [0, 1].
            area: of the mask, in pixels.
            box: tight box of the mask, float32 (4,), xyxy.
            alternatives: tight boxes of the other masks that the network offers, in the same coordinates.
        """
        usual = float(np.median(self.areas)) if self.areas else 0.0
        self.areas.append(area)
        if predicted_iou <= _LEAST_IOU or not _USUAL_AREA[0] * usual <= area <= _USUAL_AREA[1] * usual:
            return False
        if self.last is not None and frame - self.last < _LEAST_DISTANCE:
            return False
        if not len(alternatives) or float(pairwise_iou(box, as_boxes(alternatives)).min()) > _LARGEST_OVERLAP:
            return False
        self.last = frame
        return True
