"""Every peer follows two plain targets with perfect detections, by itself and without a network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, pairwise_iou
from smotracker_ros.detection import Detections
from smotracker_ros.evaluation.peer_environment import (
    REQUIREMENTS,
    EnvironmentUnavailableError,
    cpu_seconds,
    environment_python,
)
from smotracker_ros.evaluation.peer_thresholds import THRESHOLDS
from smotracker_ros.evaluation.peers import PEERS, PeerTracker, PeerUnavailableError
from smotracker_ros.masklets.checkpoints import load_network
from smotracker_ros.masklets.memory import POLICIES
from smotracker_ros.masklets.propagator import Propagator

FRAMES = 12
# Those that need an environment of their own, and so the network when it is made
ELSEWHERE = tuple(REQUIREMENTS)


@pytest.fixture(scope="module")
def propagator() -> Propagator:
    return Propagator(load_network(None, 0, "cpu"), POLICIES["fifo"])


def two_targets() -> Iterator[tuple[Frame, FloatArray]]:
    """A wide bright and a high dark target on a noisy sky, in steady motion; xyxy boxes (2, 4)."""
    noise = np.random.default_rng(0).integers(100, 130, (160, 200, 3)).astype(np.uint8)
    for index in range(FRAMES):
        image = noise.copy()
        boxes = as_boxes([[20 + 3 * index, 30, 44 + 3 * index, 46], [150 - 2 * index, 100, 166 - 2 * index, 124]])
        for box, color in zip(boxes.astype(int).tolist(), ((250, 240, 200), (10, 30, 60)), strict=True):
            cv2.ellipse(
                image,
                ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2),
                ((box[2] - box[0]) // 2, (box[3] - box[1]) // 2),
                0,
                0,
                360,
                color,
                -1,
            )
        yield Frame(image, index * 33_333_333, index), boxes


@pytest.mark.parametrize("name", [name for name in PEERS if name not in ELSEWHERE])
def test_a_peer_keeps_the_ids_of_plain_targets(name: str, propagator: Propagator) -> None:
    tracker = PEERS[name].build(propagator, 30.0, {})
    ids: list[tuple[int, ...]] = []
    for frame, boxes in two_targets():
        found = Detections(boxes, np.array([0.9, 0.85], np.float32), np.array([1, 2]))
        rows = tracker.update(frame, found)
        assert set(rows.frames.tolist()) <= {frame.index}
        assert rows.boxes.dtype == np.float32 and rows.boxes.shape == (len(rows.ids), 4)
        if frame.index >= FRAMES - 4:
            overlap = pairwise_iou(boxes, rows.boxes)
            assert overlap.shape == (2, 2), f"two targets, {len(rows.ids)} tracks in frame {frame.index}"
            assert overlap.max(axis=1).min() > 0.7
            ids.append(tuple(rows.ids[overlap.argmax(axis=1)].tolist()))
            assert rows.class_ids[overlap.argmax(axis=1)].tolist() == [1, 2]
    assert len(set(ids)) == 1 and len(set(ids[0])) == 2


@pytest.mark.parametrize("name", [name for name in PEERS if name not in ELSEWHERE])
def test_a_peer_bears_frames_without_detections(name: str, propagator: Propagator) -> None:
    tracker = PEERS[name].build(propagator, 30.0, {})
    for frame, boxes in two_targets():
        seen = frame.index in (2, 3, 7)
        found = Detections(boxes, np.array([0.9, 0.85], np.float32), np.array([1, 1])) if seen else Detections.empty()
        rows = tracker.update(frame, found)
        assert len(rows.ids) <= 2


@pytest.fixture(scope="module")
def elsewhere(propagator: Propagator) -> dict[str, PeerTracker]:
    """Peers of the user's cache folder; made there if there is a network."""
    try:
        return {name: PEERS[name].build(propagator, 30.0, {}) for name in ELSEWHERE}
    except PeerUnavailableError as error:
        pytest.skip(str(error))


def test_csrt_follows_the_surest_target_of_the_first_frame(elsewhere: dict[str, PeerTracker]) -> None:
    for frame, boxes in two_targets():
        rows = elsewhere["csrt"].update(frame, Detections(boxes, np.array([0.5, 0.9], np.float32), np.array([1, 2])))
        assert rows.ids.tolist() == [1] and rows.class_ids.tolist() == [2]
        assert float(pairwise_iou(boxes[1], rows.boxes[0])[0, 0]) > 0.4


@pytest.mark.parametrize("name", [name for name in ELSEWHERE if name != "csrt"])
def test_a_peer_elsewhere_keeps_the_ids_of_plain_targets(name: str, elsewhere: dict[str, PeerTracker]) -> None:
    before = cpu_seconds() - time.process_time()
    ids = set()
    for frame, boxes in two_targets():
        found = Detections(boxes, np.array([0.9, 0.85], np.float32), np.array([1, 2]))
        rows = elsewhere[name].update(frame, found if frame.index != 5 else Detections.empty())
        if frame.index >= FRAMES - 4:
            overlap = pairwise_iou(boxes, rows.boxes)
            assert overlap.shape == (2, 2) and overlap.max(axis=1).min() > 0.7
            ids.add(tuple(rows.ids[overlap.argmax(axis=1)].tolist()))
    assert len(ids) == 1 and len(set(ids.pop())) == 2
    assert cpu_seconds() - time.process_time() > before, "its work must be charged to the tracker"


def test_an_environment_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(EnvironmentUnavailableError, match=r"opencv-contrib.* cannot be made"):
        environment_python("csrt", tmp_path)
    assert not list(tmp_path.iterdir()), "nothing half-made may stay"


def test_thresholds_to_tune_are_arguments_that_the_peer_takes(propagator: Propagator) -> None:
    assert set(THRESHOLDS) == set(PEERS) - {"csrt"}, "CSRT has nothing to do with detections after the first"
    for name, thresholds in THRESHOLDS.items():
        assert len(thresholds) == 2, name
        if name not in ELSEWHERE:
            PEERS[name].build(propagator, 30.0, {key: values[0] for key, values in thresholds.items()})
    with pytest.raises(TypeError):
        PEERS["bytetrack"].build(propagator, 30.0, {"no_such_threshold": 1.0})
