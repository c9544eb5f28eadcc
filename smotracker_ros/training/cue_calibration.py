"""Calibration of the association's cues: from a cue's cost to the probability that both sides are the same object.

The tracker runs on labelled clips, and tells both sides of every association. A pair is the same object if masklet and
detection lie on the same label. :func:`smotracker_ros.training.curves.fit_curve` makes a curve of these pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.progress import track as progress

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.tracking.costs import CUES, Side
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.clips import Clip, owners


@dataclass(frozen=True)
class CuePairs:
    """Pairs of masklets and detections that a cue holds possible.

    Attributes:
        costs: float32 (N,), below 1.
        same: bool (N,).
    """

    costs: FloatArray
    same: npt.NDArray[np.bool_]


def collect_pairs(clips: Sequence[Clip], tracker: SmoTracker) -> dict[str, CuePairs]:
    """Pairs of every cue, by its name.

    Args:
        clips: labelled.
        tracker: any; it is reset before each shot.
    """
    costs: dict[str, list[FloatArray]] = {cue.name: [] for cue in CUES}
    same: dict[str, list[npt.NDArray[np.bool_]]] = {cue.name: [] for cue in CUES}
    for clip in progress(clips, description="cues"):
        for index, image in clip.images():
            if index == 0 or index in clip.cuts:
                tracker.reset()
            labels = clip.labels[index]

            def note(masklets: Side, detections: Side, labels: FloatArray = labels.boxes) -> None:
                first, second = owners(masklets.boxes, labels), owners(detections.boxes, labels)
                # of what lies on no label, on both sides, nobody knows
                known = (first[:, None] >= 0) | (second[None] >= 0)
                equal = first[:, None] == second[None]
                for cue in CUES:
                    cost = cue.function(masklets, detections)
                    chosen = known & (cost < 1)
                    costs[cue.name].append(cost[chosen])
                    same[cue.name].append(equal[chosen])

            tracker.observe = note
            tracker.update(Frame(image, round(index / clip.fps * 1e9), index))
    tracker.observe = None
    return {
        cue.name: CuePairs(
            np.concatenate([np.zeros(0, np.float32), *costs[cue.name]]),
            np.concatenate([np.zeros(0, np.bool_), *same[cue.name]]),
        )
        for cue in CUES
    }
