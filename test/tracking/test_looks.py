"""Who is looked at by SAM2 where there is not time for all."""

from __future__ import annotations

import cv2
import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.camera_motion import STILL
from smotracker_ros.tracking.looks import LookQueue
from smotracker_ros.tracking.population import predict_all
from smotracker_ros.tracking.target import Target

SECONDS = 1 / 30


def _calm(identity: int, state: TrackState = TrackState.CONFIRMED) -> Target:
    """A target that has been seen for a second, and on the last frame."""
    box = np.float32([40 * identity, 100, 40 * identity + 12, 110])
    target = Target.born(identity, box, np.float32([1, 0]))
    target.state, target.seconds_alive = state, 1.0
    target.see(MaskPatch(40 * identity, 100, np.ones((10, 12), np.bool_)), box, 0.9, 0.0)
    predict_all([target], STILL, SECONDS)
    return target


def test_without_a_bound_all_are_looked_at() -> None:
    queue, targets = LookQueue(), {key: _calm(key) for key in range(1, 9)}
    queue.advance(targets, SECONDS)
    assert queue.choose(list(targets.values()), ()) == set(targets)
    assert (queue.newest, queue.taken, queue.postponed) == ((8, 0), 8, 0)


def test_calm_targets_wait_first_then_tentative_ones() -> None:
    targets = {key: _calm(key) for key in range(1, 5)}
    targets[5], targets[6] = _calm(5, TrackState.TENTATIVE), _calm(6, TrackState.TENTATIVE)
    young, unseen, disturbed, asked = _calm(7), _calm(8), _calm(9), _calm(10)
    young.seconds_alive = 0.1
    predict_all([unseen], STILL, SECONDS)
    asked.hinted = True
    targets |= {target.id: target for target in (young, unseen, disturbed, asked)}
    for most, expected in ((4, {7, 8, 9, 10}), (6, {5, 6, 7, 8, 9, 10})):
        queue = LookQueue()
        queue.most = most
        queue.advance(targets, SECONDS)
        assert queue.choose(list(targets.values()), {9}) == expected
        assert queue.newest == (most, 10 - most)


def test_nobody_waits_for_ever() -> None:
    targets = {key: _calm(key) for key in range(1, 21)}
    for key in (3, 4, 5):  # always urgent, and as many as there is time for
        targets[key].seconds_alive = 0.1
    queue, last = LookQueue(), dict.fromkeys(targets, 0)
    longest, queue.most = dict.fromkeys(targets, 0), 3
    for frame in range(1, 601):
        queue.advance(targets, SECONDS)
        for key in queue.choose(list(targets.values()), ()):
            longest[key], last[key] = max(longest[key], frame - last[key]), frame
    assert max(longest[key] for key in (3, 4, 5)) <= 10
    assert max(longest.values()) <= 60
    assert 600 - min(last.values()) <= 60


def _frame(index: int) -> Frame:
    """Twelve hot blobs that fly side by side over a dull sky."""
    grey = 70 + np.random.default_rng(index).normal(0, 1.5, (256, 320)).astype(np.float32)
    y, x = np.mgrid[0:256, 0:320]
    for number in range(12):
        cx, cy = 30 + 75 * (number % 4) + 1.2 * index, 50 + 75 * (number // 4) + 0.3 * index
        grey += 130 * np.exp(-(((x - cx) / 5.5) ** 4 + ((y - cy) / 3.5) ** 4))
    image = cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    return Frame(image, round(index * 1e9 / 30), index)


def test_a_crowd_is_followed_within_the_bound() -> None:
    tracker = build_tracker(load_settings())
    tracker.looks.most = 4
    owners: dict[int, int] = {}
    for index in range(40):
        tracks = tracker.update(_frame(index)).reported
        assert tracker.looks.newest[0] <= 4
        if index >= 25:
            for track in tracks:
                owners[track.id] = owners.get(track.id, 0) + 1
    assert tracker.looks.postponed > 0
    lasting = sorted(owners.values())[-12:]
    assert len(lasting) == 12 and lasting[0] >= 12, f"all are reported on nearly all of 15 frames, {owners}"
    assert len(owners) <= 13
