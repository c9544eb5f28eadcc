"""Peer trackers: boxmot's, OpenCV's CSRT, and a re-implementation of TOPICTrack's idea, behind one protocol.

Peers see the detector's boxes of every frame. boxmot (https://github.com/mikel-brostrom/boxmot) is used as a library
with the defaults that it publishes. Trackers that want a ReID network get SAM2's features of each box instead
(:meth:`Propagator.describe`), because no ReID weights come with this project; their notes say so.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes
from smotracker_ros.detection import Detections
from smotracker_ros.evaluation.detection_cache import LEAST_CONFIDENCE
from smotracker_ros.evaluation.metrics import TrackRows
from smotracker_ros.evaluation.peer_environment import EnvironmentUnavailableError, PeerProcess
from smotracker_ros.evaluation.topictrack import TopicTrack


class PeerUnavailableError(RuntimeError):
    """A peer that cannot run here; the message says why."""


class Appearance(Protocol):
    """What describes boxes, such as a :class:`~smotracker_ros.masklets.propagator.Propagator`."""

    def describe(self, frame: Frame, boxes: FloatArray) -> FloatArray:
        """Unit vectors, float32 (N, D), of xyxy boxes, float32 (N, 4)."""


class PeerTracker(Protocol):
    """A tracker by detection."""

    def update(self, frame: Frame, detections: Detections) -> TrackRows:
        """Tracks of this frame from its detections."""


@dataclass(frozen=True)
class Peer:
    """How a peer is built.

    Attributes:
        build: makes a fresh tracker; takes what describes boxes, the frame rate, and overrides of arguments.
        note: for its row in the tables.
    """

    build: Callable[[Appearance, float, Mapping[str, Any]], PeerTracker]
    note: str = ""


class _Sam2Appearance:
    """SAM2's features behind the interface of a ReID model: `get_features(boxes, image)`."""

    def __init__(self, source: Appearance) -> None:
        self._source = source
        self.frame: Frame | None = None

    def get_features(self, boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 (N, D), of xyxy boxes of the current frame."""
        if self.frame is None or not len(boxes):
            return np.zeros((0, 1), dtype=np.float32)
        corners = as_boxes(np.asarray(boxes)[:, :4])
        height, width = self.frame.height, self.frame.width
        corners = np.clip(corners, 0, [width, height, width, height]).astype(np.float32)
        corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)
        return self._source.describe(self.frame, corners)


class _Boxmot:
    def __init__(self, tracker: Any, appearance: _Sam2Appearance | None) -> None:
        self._tracker = tracker
        self._appearance = appearance

    def update(self, frame: Frame, detections: Detections) -> TrackRows:
        """Tracks of this frame; boxmot takes BGR images and rows of xyxy, confidence, class."""
        if self._appearance is not None:
            self._appearance.frame = frame
        rows = np.column_stack([detections.boxes, detections.scores, detections.class_ids]).astype(np.float32)
        found = self._tracker.update(rows.reshape(-1, 6), np.ascontiguousarray(frame.image[:, :, ::-1]))
        # trackers that have nothing to say return an empty array of any shape
        array = np.asarray(found, dtype=np.float64)
        array = array.reshape(len(array), -1) if array.size else np.zeros((0, 8))
        return track_rows(frame.index, array[:, 4], array[:, :4], array[:, 5], array[:, 6])


def track_rows(frame: int, ids: np.ndarray, boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray) -> TrackRows:
    """Rows of one frame from plain arrays."""
    return TrackRows(
        np.full(len(ids), frame, dtype=np.int64),
        np.asarray(ids, dtype=np.int64),
        as_boxes(boxes),
        np.asarray(scores, dtype=np.float32),
        np.asarray(class_ids, dtype=np.int64),
    )


def _boxmot(name: str, appearance: bool = False, **fixed: Any) -> Callable[..., PeerTracker]:
    def build(appearances: Appearance, fps: float, overrides: Mapping[str, Any]) -> PeerTracker:
        try:
            module = importlib.import_module("boxmot")
        except ImportError as error:
            raise PeerUnavailableError(f"boxmot is not installed ({error}); pip install 'boxmot>=25'") from error
        if not hasattr(module, name):
            raise PeerUnavailableError(f"boxmot {getattr(module, '__version__', '')} has no {name} any more")
        model = _Sam2Appearance(appearances) if appearance else None
        arguments = {**fixed, **overrides}
        if model is not None:
            arguments["reid_model"] = model
        return _Boxmot(getattr(module, name)(**arguments), model)

    return build


class _Elsewhere:
    """A peer in an environment of its own; see :mod:`smotracker_ros.evaluation.peer_environment`."""

    def __init__(self, process: PeerProcess, appearance: _Sam2Appearance | None) -> None:
        self._process = process
        self._appearance = appearance

    def update(self, frame: Frame, detections: Detections) -> TrackRows:
        """Tracks of this frame."""
        rows = np.column_stack([detections.boxes, detections.scores, detections.class_ids]).astype(np.float32)
        image = np.ascontiguousarray(frame.image[:, :, ::-1])
        embeddings = np.zeros((len(rows), 1), np.float32)
        if self._appearance is not None:
            self._appearance.frame = frame
            embeddings = self._appearance.get_features(rows, image)
        found = self._process.update(image, rows.reshape(-1, 6), embeddings)
        return track_rows(frame.index, found[:, 4], found[:, :4], found[:, 5], found[:, 6])


def _elsewhere(name: str, appearance: bool = False) -> Callable[..., PeerTracker]:
    def build(appearances: Appearance, fps: float, overrides: Mapping[str, Any]) -> PeerTracker:
        try:
            process = PeerProcess(name, overrides)
        except EnvironmentUnavailableError as error:
            raise PeerUnavailableError(str(error)) from error
        return _Elsewhere(process, _Sam2Appearance(appearances) if appearance else None)

    return build


def _topictrack(appearances: Appearance, fps: float, overrides: Mapping[str, Any]) -> PeerTracker:
    return TopicTrack(appearances.describe, fps, **overrides)


_APPEARANCE = "SAM2 features in place of a ReID network"
PEERS: dict[str, Peer] = {
    "bytetrack": Peer(_boxmot("ByteTrack")),
    "ocsort": Peer(_boxmot("OcSort")),
    "botsort": Peer(_boxmot("BotSort", appearance=True), _APPEARANCE),
    "deepocsort": Peer(_boxmot("DeepOcSort", appearance=True), _APPEARANCE),
    "strongsort": Peer(_boxmot("StrongSort", appearance=True), _APPEARANCE),
    "hybridsort": Peer(_boxmot("HybridSort", appearance=True), _APPEARANCE),
    "boosttrack": Peer(_boxmot("BoostTrack"), "without embeddings, its default"),
    "boosttrack++": Peer(
        _boxmot("BoostTrack", appearance=True, use_rich_s=True, use_sb=True, use_vt=True, use_embeddings=True),
        f"BoostTrack with the three options of its ++ version; {_APPEARANCE}",
    ),
    "imprassoc": Peer(_elsewhere("imprassoc", appearance=True), f"of boxmot 10.0.83; {_APPEARANCE}"),
    "occluboost": Peer(_boxmot("OccluBoost", appearance=True), _APPEARANCE),
    "sfsort": Peer(_boxmot("SFSORT")),
    "topictrack": Peer(_topictrack, f"our own parts after TOPICTrack's idea; {_APPEARANCE}"),
    "roboflow-bytetrack": Peer(_elsewhere("roboflow-bytetrack"), "of roboflow/trackers 2.6.1"),
    "roboflow-ocsort": Peer(_elsewhere("roboflow-ocsort"), "of roboflow/trackers 2.6.1"),
    "roboflow-botsort": Peer(_elsewhere("roboflow-botsort"), "of roboflow/trackers 2.6.1, without ReID"),
    "roboflow-cbiou": Peer(_elsewhere("roboflow-cbiou"), "of roboflow/trackers 2.6.1"),
    "csrt": Peer(_elsewhere("csrt"), "one target only, started from the first detection"),
}


def peer_detections(detector: Any, frame: Frame) -> Detections:
    """All detections of a frame; every peer applies thresholds of its own."""
    found: Detections = detector.detect(frame, LEAST_CONFIDENCE)
    return found
