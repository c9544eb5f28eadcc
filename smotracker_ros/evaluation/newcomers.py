"""Targets that enter late: whether a tracker finds what was not there when it began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from smotracker_ros.core.geometry import pairwise_iou
from smotracker_ros.evaluation.metrics import TrackRows
from smotracker_ros.evaluation.sequences import EvaluationSequence

# A target is late if it is first seen so many frames after its shot's first target
_LATE_FRAMES = 10
# A box covers a target from this IoU on: labels are loose
_COVERS = 0.2
# A target is found if it is covered on this share of its frames
_FOUND = 0.5


@dataclass(frozen=True)
class Newcomer:
    """One target that enters late.

    Attributes:
        sequence: name of the sequence.
        id: of the truth.
        first_frame: 0-based.
        frames: on which it is labelled.
        covered: of these, on which a reported box covers it.
    """

    sequence: str
    id: int
    first_frame: int
    frames: int
    covered: int

    @property
    def found(self) -> bool:
        """Whether it is covered on at least half of its frames."""
        return self.covered >= _FOUND * self.frames


def newcomers(sequence: EvaluationSequence, rows: TrackRows) -> list[Newcomer]:
    """The targets of a sequence that enter late, and how long a tracker covers each."""
    truth = sequence.truth
    shots = sequence.shot_of(truth.frames)
    result: list[Newcomer] = []
    for shot in np.unique(shots):
        valid = (shots == shot) & ~truth.ignored
        if not valid.any():
            continue
        start = int(truth.frames[valid].min())
        for identity in np.unique(truth.ids[valid]).tolist():
            own = np.flatnonzero(valid & (truth.ids == identity))
            first = int(truth.frames[own].min())
            if first <= start + _LATE_FRAMES:
                continue
            covered = sum(
                _is_covered(truth.boxes[index], rows.boxes[rows.frames == truth.frames[index]]) for index in own
            )
            result.append(Newcomer(sequence.name, identity, first, len(own), covered))
    return result


def _is_covered(box: np.ndarray, boxes: np.ndarray) -> bool:
    return bool(len(boxes) and float(pairwise_iou(box, boxes).max()) >= _COVERS)


def summarise(found: Iterable[Newcomer]) -> dict[str, int]:
    """Numbers for metrics.json: late targets, those found, their frames, and the frames on which they are covered."""
    items = list(found)
    return {
        "targets": len(items),
        "found": sum(item.found for item in items),
        "frames": sum(item.frames for item in items),
        "covered": sum(item.covered for item in items),
    }
