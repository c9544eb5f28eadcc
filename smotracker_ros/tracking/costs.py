"""Costs of association: each measures, in its own way, how unlikely a masklet and a detection are the same object.

A cost is a plain function of the two sides that returns float32 (N, M), 0 for certain and 1 for impossible. Their
weighted sum is the log-odds of a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import FloatArray, box_centers, box_sizes, pairwise_iou, pairwise_wasserstein


@dataclass(frozen=True)
class Side:
    """Masklets or detections of one frame, as the costs see them.

    Attributes:
        boxes: float32 (N, 4), xyxy pixels, in the detector's convention on both sides.
        appearance: float32 (N, D), unit vectors.
        reach: float32 (N,), how far in pixels the true centre may be from the box's; 0 where the object is seen.
    """

    boxes: FloatArray
    appearance: FloatArray
    reach: FloatArray

    @staticmethod
    def in_sight(boxes: FloatArray, appearance: FloatArray) -> Side:
        """What is just where its box is, as detections are."""
        return Side(boxes, appearance, np.zeros(len(boxes), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.boxes)


# What nobody claims near an object that has just gone out of sight is far likelier the object, jerked away with the
# camera, than a newcomer: births are rare. So distances from what is out of sight count as so many times smaller
_JERKS = 2.0


def _center_distance(first: Side, second: Side) -> FloatArray:
    """Distance of centres beyond the reach, in units of the pair's mean size, (N, M); less where out of sight."""
    a, b = box_centers(first.boxes), box_centers(second.boxes)
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    reach = first.reach[:, None] + second.reach[None]
    distance = np.maximum(distance - reach, 0) / np.where(reach > 0, _JERKS, 1.0)
    size_a, size_b = box_sizes(first.boxes).mean(axis=1), box_sizes(second.boxes).mean(axis=1)
    return np.asarray(distance / np.maximum((size_a[:, None] + size_b[None]) / 2, 4.0), dtype=np.float32)


def overlap_cost(first: Side, second: Side) -> FloatArray:
    """IoU made for tiny boxes: the larger of IoU and normalised Wasserstein similarity.

    Where an object was out of sight, only the distance beyond its reach counts.
    """
    similarity = np.maximum(pairwise_iou(first.boxes, second.boxes), pairwise_wasserstein(first.boxes, second.boxes))
    unseen = (first.reach[:, None] + second.reach[None]) > 0
    return np.asarray(np.where(unseen, 1 - np.exp(-_center_distance(first, second)), 1 - similarity), dtype=np.float32)


def appearance_matters(first: Side, second: Side) -> npt.NDArray[np.bool_]:
    """Pairs within three sizes of each other, six where out of sight, bool (N, M): the sky is full of look-alikes."""
    return np.asarray(_center_distance(first, second) <= 3.0)


def appearance_cost(first: Side, second: Side) -> FloatArray:
    """Cosine distance of SAM2 features, impossible where :func:`appearance_matters` not."""
    cosine = first.appearance @ second.appearance.T
    far = ~appearance_matters(first, second)
    return np.asarray(np.where(far, 1.0, np.clip((1 - cosine) * 2, 0, 1)), dtype=np.float32)


def shape_cost(first: Side, second: Side) -> FloatArray:
    """Difference of width and height on a log scale, impossible beyond 1.5 sizes of distance, 3 where out of sight."""
    a, b = np.log(np.maximum(box_sizes(first.boxes), 1)), np.log(np.maximum(box_sizes(second.boxes), 1))
    difference = np.abs(a[:, None] - b[None]).max(axis=2)
    far = _center_distance(first, second) > 1.5
    return np.asarray(np.where(far, 1.0, 1 - np.exp(-difference)), dtype=np.float32)


COSTS: Mapping[str, Callable[[Side, Side], FloatArray]] = {
    "place": overlap_cost,
    "appearance": appearance_cost,
    "shape": shape_cost,
}
"""Cost functions by name, each in [0, 1]."""


@dataclass(frozen=True)
class Affinity:
    """Log-odds of a masklet and a detection being the same object, linear in the costs.

    Attributes:
        bias: of a pair without any cost.
        weights: added per unit of each cost, by its name.
        lost: added if the masklet is of a LOST target, whose place says less.
    """

    bias: float
    weights: Mapping[str, float]
    lost: float = 0.0

    def log_odds(self, masklets: Side, detections: Side, lost: bool = False) -> FloatArray:
        """Of each pair, float32 (N, M)."""
        total = np.full((len(masklets), len(detections)), self.bias + (self.lost if lost else 0.0))
        for name, weight in self.weights.items():
            total += weight * COSTS[name](masklets, detections)
        return total.astype(np.float32)


# Fitted by `smotracker train affinity` on 799 pairs of 11 clips (docs/training/affinity.json), but for `lost`: the six
# pairs of LOST targets, for which the fit says -4, are too few
AFFINITY = Affinity(6.372, {"place": -5.996, "appearance": -2.277, "shape": -4.23}, lost=-2.0)
"""As shipped."""
