"""TOPICTrack's idea from our own parts: motion and appearance associate in parallel, and the amount of motion decides.

Cao et al. 2025 ("TOPIC: A Parallel Association Paradigm for Multi-Object Tracking under Complex Motions and Diverse
Scenes") let both cues propose matches at the same time and settle conflicts by how much the objects move: where motion
is small, motion is believed, where it is large, appearance. This is a short re-implementation of that paradigm with a
constant-velocity Kalman filter, not the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes
from smotracker_ros.detection import Detections
from smotracker_ros.evaluation.metrics import TrackRows
from smotracker_ros.tracking.association import assign
from smotracker_ros.tracking.costs import Side, appearance_cost, overlap_cost

Describe = Callable[[Frame, FloatArray], FloatArray]

_NOISE_POSITION, _NOISE_VELOCITY, _NOISE_MEASURED = 1.0, 0.5, 2.0


@dataclass
class _Track:
    id: int
    state: np.ndarray  # x, y, vx, vy
    covariance: np.ndarray
    size: np.ndarray
    appearance: FloatArray
    score: float
    class_id: int
    hits: int = 1
    missed: int = 0

    def predict(self) -> None:
        transition = np.eye(4)
        transition[0, 2] = transition[1, 3] = 1.0
        self.state = transition @ self.state
        noise = np.diag([_NOISE_POSITION, _NOISE_POSITION, _NOISE_VELOCITY, _NOISE_VELOCITY])
        self.covariance = transition @ self.covariance @ transition.T + noise

    def correct(self, center: np.ndarray) -> None:
        gain = self.covariance[:, :2] @ np.linalg.inv(self.covariance[:2, :2] + _NOISE_MEASURED * np.eye(2))
        self.state = self.state + gain @ (center - self.state[:2])
        self.covariance = self.covariance - gain @ self.covariance[:2]

    @property
    def box(self) -> FloatArray:
        return np.concatenate([self.state[:2] - self.size / 2, self.state[:2] + self.size / 2]).astype(np.float32)


class TopicTrack:
    """Tracker by detection with parallel association.

    Args:
        describe: unit vectors of boxes of a frame.
        fps: frames per second.
        high: confidence that starts a track.
        low: confidence below which detections are ignored.
        motion_level: mean speed, in sizes per frame, from which appearance wins conflicts.
    """

    def __init__(
        self, describe: Describe, fps: float, high: float = 0.4, low: float = 0.1, motion_level: float = 0.15
    ) -> None:
        self._describe = describe
        self._high, self._low, self._motion_level = high, low, motion_level
        self._patience = round(fps)
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, frame: Frame, detections: Detections) -> TrackRows:
        """Tracks of this frame that a detection supports."""
        found = detections.select(detections.scores >= self._low)
        appearance = self._describe(frame, found.boxes)
        for track in self._tracks:
            track.predict()
            track.missed += 1
        for row, column in self._match(found, appearance):
            track = self._tracks[row]
            track.correct(box_centers(found.boxes[column])[0].astype(np.float64))
            track.size = 0.5 * track.size + 0.5 * box_sizes(found.boxes[column])[0]
            mixed = 0.9 * track.appearance + 0.1 * appearance[column]
            track.appearance = (mixed / max(float(np.linalg.norm(mixed)), 1e-6)).astype(np.float32)
            track.score, track.missed, track.hits = float(found.scores[column]), 0, track.hits + 1
        self._tracks = [track for track in self._tracks if track.missed <= self._patience]
        shown = [track for track in self._tracks if track.missed == 0 and track.hits >= 2]
        return TrackRows(
            np.full(len(shown), frame.index, dtype=np.int64),
            np.array([track.id for track in shown], dtype=np.int64),
            as_boxes([track.box for track in shown]),
            np.array([track.score for track in shown], dtype=np.float32),
            np.array([track.class_id for track in shown], dtype=np.int64),
        )

    def _match(self, found: Detections, appearance: FloatArray) -> list[tuple[int, int]]:
        """Pairs of both proposals; conflicts go to the cue that the amount of motion favours. Starts new tracks."""
        matches: list[tuple[int, int]] = []
        if self._tracks and len(found):
            boxes = as_boxes([track.box for track in self._tracks])
            nothing = np.zeros(len(boxes), np.float32)
            tracks = Side(boxes, np.stack([track.appearance for track in self._tracks]), nothing)
            seen = Side(found.boxes, appearance, np.zeros(len(found), np.float32))
            speed = np.linalg.norm([track.state[2:] / max(track.size.max(), 4.0) for track in self._tracks], axis=1)
            by_motion = assign(overlap_cost(tracks, seen), 0.75)
            by_appearance = assign(appearance_cost(tracks, seen), 0.4)
            first, second = by_motion, by_appearance
            if float(speed.mean()) > self._motion_level:
                first, second = second, first
            for row, column in [*(pair for pair in first if pair in second), *first, *second]:
                if all(row != other[0] and column != other[1] for other in matches):
                    matches.append((row, column))
        taken = {column for _, column in matches}
        for column in range(len(found)):
            if column not in taken and found.scores[column] >= self._high:
                center = box_centers(found.boxes[column])[0].astype(np.float64)
                size = box_sizes(found.boxes[column])[0].astype(np.float64)
                state, covariance = np.concatenate([center, np.zeros(2)]), np.diag([4.0, 4.0, 25.0, 25.0])
                score, class_id = float(found.scores[column]), int(found.class_ids[column])
                fresh = _Track(self._next_id, state, covariance, size, appearance[column], score, class_id)
                self._tracks.append(fresh)
                self._next_id += 1
        return matches
