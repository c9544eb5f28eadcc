"""A peer in a Python environment of its own; started as a script by :mod:`smotracker_ros.evaluation.peer_environment`.

It imports nothing of this project, because the environment holds other versions of libraries. Messages are pickles over
stdin and stdout, between two processes of one user on one machine. First comes `{"peer": name, "arguments": {...}}`,
then one message per frame: BGR image, rows of xyxy, confidence and class (float32 (N, 6)), and embeddings (float32
(N, D)). Each is answered by `{"rows": float64 (M, 7), "seconds": CPU seconds}`, with rows of xyxy, id, confidence and
class, or by `{"error": text}`.
"""

from __future__ import annotations

import importlib
import os
import pickle
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

# CSRT starts at the surest detection of the first frame that has one of this confidence
_SURE = 0.3
_NOTHING = np.zeros((0, 7))


class ImprAssoc:
    """ImprAssoc of boxmot 10 (Stadler and Beyerer 2023), with embeddings given in place of its ReID network."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        from boxmot.trackers.imprassoc.impr_assoc_tracker import ImprAssocTrack

        # without ReID at first: its constructor would look for weights in the network
        self._tracker = ImprAssocTrack(None, "cpu", False, with_reid=False, **arguments)
        self._tracker.with_reid, self._tracker.model = True, self
        self._boxes, self._embeddings = np.zeros((0, 4)), np.zeros((0, 1))

    def get_features(self, boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Embeddings of some of the frame's boxes, float32 (N, D)."""
        if not len(boxes):
            return np.zeros((0, self._embeddings.shape[1]), np.float32)
        distances = np.abs(self._boxes[None] - np.asarray(boxes)[:, None]).sum(axis=2)
        return np.asarray(self._embeddings[distances.argmin(axis=1)])

    def update(self, image: np.ndarray, rows: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
        """Rows of the tracks of this frame."""
        self._boxes, self._embeddings = rows[:, :4], embeddings
        found = np.asarray(self._tracker.update(rows, image), dtype=np.float64)
        return found.reshape(len(found), -1)[:, :7] if found.size else _NOTHING


class Csrt:
    """OpenCV's CSRT, started from the first sure detection: a single-target reference."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        import cv2

        cv2.setNumThreads(1)
        contrib: Any = cv2  # the OpenCV of this project has no such name
        self._create = contrib.TrackerCSRT_create
        self._tracker: Any = None
        self._facts = (0.0, 0.0)

    def update(self, image: np.ndarray, rows: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
        """The row of the one track."""
        if self._tracker is None:
            if not len(rows) or rows[:, 4].max() < _SURE:
                return _NOTHING
            x1, y1, x2, y2, *facts = rows[rows[:, 4].argmax()].tolist()
            self._facts = facts[0], facts[1]
            self._tracker = self._create()
            self._tracker.init(image, (round(x1), round(y1), max(round(x2 - x1), 2), max(round(y2 - y1), 2)))
            return np.array([[x1, y1, x2, y2, 1, *self._facts]])
        good, (x, y, width, height) = self._tracker.update(image)
        return np.array([[x, y, x + width, y + height, 1, *self._facts]], dtype=np.float64) if good else _NOTHING


class Roboflow:
    """A tracker of roboflow/trackers.

    Args:
        name: of its class.
        arguments: that differ from its defaults.
    """

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        self._tracker = getattr(importlib.import_module("trackers"), name)(**arguments)
        self._detections = importlib.import_module("supervision").Detections

    def update(self, image: np.ndarray, rows: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
        """Rows of the tracks of this frame."""
        found = self._detections(
            xyxy=rows[:, :4].astype(np.float32), confidence=rows[:, 4], class_id=rows[:, 5].astype(int)
        )
        tracked = self._tracker.update(found, frame=image)
        if not len(tracked):
            return _NOTHING
        columns = [tracked.xyxy, tracked.tracker_id, tracked.confidence, tracked.class_id]
        result = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
        return result[result[:, 4] >= 0]  # -1: not yet sure


PEERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "imprassoc": ImprAssoc,
    "csrt": Csrt,
    "roboflow-bytetrack": partial(Roboflow, "ByteTrackTracker"),
    "roboflow-ocsort": partial(Roboflow, "OCSORTTracker"),
    "roboflow-botsort": partial(Roboflow, "BoTSORTTracker"),
    "roboflow-cbiou": partial(Roboflow, "CBIoUTracker"),
}


def main() -> None:
    """Answer messages until there are none."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    tracker: Any = None
    while True:
        try:
            message = pickle.load(requests)
        except EOFError:
            return
        started = time.process_time()
        try:
            if tracker is None:
                tracker = PEERS[message["peer"]](message["arguments"])
                answer: dict[str, Any] = {"rows": _NOTHING, "seconds": 0.0}
            else:
                answer = {"rows": tracker.update(*message), "seconds": time.process_time() - started}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
