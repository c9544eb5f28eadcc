"""SAM2's features of boxes, computed once for all peers that want them."""

from __future__ import annotations

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes
from smotracker_ros.evaluation.peer_environment import cpu_seconds
from smotracker_ros.masklets.propagator import Propagator


class SharedAppearance:
    """Describes the boxes of one sequence; what one tracker has asked for, the next gets for nothing.

    Peers work on the same detections, so they ask for the same boxes. What a box has cost at first is told to all
    others, so that their speeds can be compared.

    Args:
        propagator: computes the features.

    Attributes:
        saved_seconds: CPU seconds that known answers would have taken.
    """

    def __init__(self, propagator: Propagator) -> None:
        self._propagator = propagator
        self._known: dict[tuple[int, bytes], tuple[FloatArray, float]] = {}
        self.saved_seconds = 0.0

    def describe(self, frame: Frame, boxes: FloatArray) -> FloatArray:
        """Unit vectors, float32 (N, D), of xyxy boxes, float32 (N, 4); see :meth:`Propagator.describe`."""
        boxes = as_boxes(boxes)
        keys = [(frame.index, box.tobytes()) for box in boxes]
        new = [index for index, key in enumerate(keys) if key not in self._known]
        self.saved_seconds += sum(self._known[key][1] for key in keys if key in self._known)
        if new:
            started = cpu_seconds()
            vectors = self._propagator.describe(frame, boxes[new])
            cost = (cpu_seconds() - started) / len(new)
            for index, vector in zip(new, vectors, strict=True):
                self._known[keys[index]] = vector, cost
        if not keys:
            return np.zeros((0, 0), dtype=np.float32)
        return np.stack([self._known[key][0] for key in keys])
