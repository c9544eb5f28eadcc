"""Cues: prompts with rules of their own, late ones, and such as say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sam2.modeling.backbones.image_encoder import ImageEncoder
from torch.nn.modules.module import register_module_forward_pre_hook

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.tracks import Track, Tracks, TrackState
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.external_boxes import MOST_CUES, Cue
from smotracker_ros.tracking.tracker import SmoTracker

STEP_NS = 33_333_333
START_NS = 1_700_000_000_000_000_000


def _frame(index: int, *places: tuple[float, float]) -> Frame:
    """Infrared sky with hot blobs, and clouds that tell where the camera looks."""
    y, x = np.mgrid[0:200, 0:240]
    image = 80 + 12 * np.sin(x / 17.0) * np.cos(y / 23.0) + np.random.default_rng(index).normal(0, 1.5, (200, 240))
    for cx, cy in places:
        image += 130 * np.exp(-(((x - cx) / 5.5) ** 4 + ((y - cy) / 3.5) ** 4))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Frame(np.repeat(pixels[..., None], 3, axis=2), START_NS + index * STEP_NS, index, "camera")


def _cue(x: float, y: float, index: int | None = None, side: float = 12.0) -> Cue:
    """A cue at a place, of the frame with this index; None: of the present one."""
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
    return Cue(box, 0 if index is None else START_NS + index * STEP_NS)


@pytest.fixture(scope="module")
def blind() -> SmoTracker:
    """A tracker whose detector finds nothing: whatever it tracks, it has from cues."""
    return build_tracker(load_settings(overrides={"detector_confidence": 1.0}))


@pytest.fixture
def tracker(blind: SmoTracker) -> SmoTracker:
    blind.reset()
    blind.cues.counts.clear()
    blind.cues.history_seconds = 1.0
    return blind


def _center(track: Track) -> np.ndarray:
    return (track.box[:2] + track.box[2:]) / 2


def _only(tracks: Tracks) -> Track:
    assert len(tracks.reported) == 1, tracks
    return tracks.reported[0]


def test_a_cue_starts_a_confirmed_track_without_the_detector(tracker: SmoTracker) -> None:
    assert not len(tracker.update(_frame(0, (60, 80))))
    first = _only(tracker.update(_frame(1, (60, 80)), [_cue(61, 79)]))
    assert first.state is TrackState.CONFIRMED and first.age == 0
    assert np.abs(_center(first) - (60, 80)).max() < 3
    # twelve passes of the detector do not find it, and it stands still: either would end another track
    tracker.settings = tracker.settings.replace({"clip_seconds": 0.0})
    for index in range(2, 14):
        last = _only(tracker.update(_frame(index, (60, 80))))
    assert last.id == first.id and np.abs(_center(last) - (60, 80)).max() < 3
    assert tracker.cues.counts == {"used": 1}


def test_a_cued_target_out_of_sight_is_lost_and_a_cue_wakes_it_under_its_id(tracker: SmoTracker) -> None:
    first = _only(tracker.update(_frame(0, (60, 80)), [_cue(60, 80)]))
    for index in range(1, 6):
        tracker.update(_frame(index, (60, 80)))
    for index in range(6, 40):
        tracks = tracker.update(_frame(index))
    assert [track.state for track in tracks] == [TrackState.LOST]
    again = _only(tracker.update(_frame(40, (64, 82)), [_cue(64, 82)]))
    assert again.id == first.id
    assert np.abs(_center(again) - (64, 82)).max() < 4


@pytest.mark.slow
def test_empty_sky_is_not_reported_whatever_a_cue_says(tracker: SmoTracker) -> None:
    tracker.update(_frame(0))
    for index in range(1, 120):
        tracks = tracker.update(_frame(index), [_cue(150, 100)] if index == 1 else [])
        assert not tracks.reported
    assert not len(tracks), "and what was tried is given up"


def test_a_cue_confirms_what_detections_have_begun() -> None:
    tracker = build_tracker(load_settings(overrides={"confirm_probability": 1.0}))
    for index in range(4):
        tracks = tracker.update(_frame(index, (60 + 2 * index, 80)))
    assert [track.state for track in tracks] == [TrackState.TENTATIVE]
    cued = _only(tracker.update(_frame(4, (68, 80)), [_cue(68, 80)]))
    assert cued.id == next(iter(tracks)).id
    assert tracker.cues.counts == {"used": 1}


@pytest.mark.parametrize("pan", [0, 2])
def test_a_late_cue_is_carried_from_its_frame_to_the_present_one(tracker: SmoTracker, pan: int) -> None:
    def moving(index: int) -> Frame:
        frame = _frame(index, (40 + 3 * index, 100 - index))
        return Frame(np.roll(frame.image, pan * index, axis=1), frame.timestamp_ns, index, "camera")

    for index in range(20):
        tracker.update(moving(index))
    found = _only(tracker.update(moving(20), [_cue(40 + (3 + pan) * 5, 95, index=5)]))
    assert np.abs(_center(found) - (100 + pan * 20, 80)).max() < 4
    assert tracker.cues.counts == {"used": 1}


def test_a_late_cue_means_the_target_that_was_there(tracker: SmoTracker) -> None:
    for index in range(20):
        cues = [_cue(50, 100)] if index == 0 else []
        tracks = tracker.update(_frame(index, (50 + 3 * index, 100)), cues)
    later = tracker.update(_frame(20, (110, 100)), [_cue(65, 100, index=5)])
    assert [track.id for track in later] == [track.id for track in tracks]
    assert tracker.cues.counts == {"used": 2}


@pytest.mark.slow
def test_cues_wait_for_their_frame_and_others_are_refused(tracker: SmoTracker) -> None:
    for index in range(60):
        tracker.update(_frame(index, (60, 80)))
    waiting, too_late, too_early = _cue(60, 80, 63), _cue(60, 80, 10), _cue(60, 80, 500)
    # the one that waits stands in front of those that are settled at once
    assert not len(tracker.update(_frame(60, (60, 80)), [waiting, too_late, too_early]))
    assert tracker.cues.counts == {"too late": 1, "too early": 1}
    assert not len(tracker.update(_frame(61, (60, 80))))
    assert not len(tracker.update(_frame(62, (60, 80))))
    _only(tracker.update(_frame(63, (60, 80))))
    assert tracker.cues.counts["used"] == 1


def test_without_a_history_late_cues_are_refused(tracker: SmoTracker) -> None:
    tracker.cues.history_seconds = 0.0
    for index in range(10):
        tracker.update(_frame(index, (60, 80)))
    tracker.update(_frame(10, (60, 80)), [_cue(60, 80, 0)])
    assert tracker.cues.counts == {"too late": 1}


@pytest.mark.parametrize(
    "box",
    [
        [np.nan, 0, 10, 10],
        [10, 10, np.inf, 20],
        [30, 30, 20, 40],
        [30, 40, 40, 30],
        [-1e30, -1e30, 1e30, 1e30],
        [-50, 50, 400, 60],
        [300, 20, 310, 30],
        [-30, 20, -10, 40],
    ],
)
def test_boxes_that_say_nothing_are_refused(tracker: SmoTracker, box: list[float]) -> None:
    assert not len(tracker.update(_frame(0, (60, 80)), [Cue(np.array(box, np.float32))]))
    assert tracker.cues.counts == {"invalid": 1}


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.5, float("inf")])
def test_scores_that_are_none_are_refused(tracker: SmoTracker, score: float) -> None:
    cue = Cue(_cue(60, 80).box, score=score)
    assert not len(tracker.update(_frame(0, (60, 80)), [cue]))
    assert tracker.cues.counts == {"invalid": 1}


def test_a_flood_is_bounded_and_a_good_cue_in_it_is_used(tracker: SmoTracker) -> None:
    tracker.update(_frame(0, (60, 80)))
    flood = [_cue(60, 80), *(_cue(-50, 20) for _ in range(5000))]
    _only(tracker.update(_frame(1, (60, 80)), flood))
    counts = tracker.cues.counts
    assert counts == {"used": 1, "invalid": MOST_CUES - 1, "too many": 5001 - MOST_CUES}


def test_several_cues_on_one_new_target_start_one_track(tracker: SmoTracker) -> None:
    _only(tracker.update(_frame(0, (60, 80)), [_cue(60, 80), _cue(61, 81), _cue(59, 80, side=16)]))
    assert tracker.cues.counts == {"used": 3}


def test_the_limit_of_live_tracks_holds_for_cues() -> None:
    tracker = build_tracker(load_settings(overrides={"detector_confidence": 1.0, "max_live_tracks": 1}))
    places = [(60.0, 80.0), (150.0, 120.0)]
    _only(tracker.update(_frame(0, *places), [_cue(*place) for place in places]))
    assert tracker.cues.counts == {"used": 1, "no room": 1}


def test_cues_that_wait_are_counted_when_the_stream_begins_anew(tracker: SmoTracker) -> None:
    tracker.update(_frame(0, (60, 80)), [_cue(60, 80, 5)])
    tracker.reset()
    assert tracker.cues.counts == {"too late": 1}


def test_many_cues_are_seen_in_one_pass_of_the_encoder() -> None:
    # in torch, whose modules can be watched
    tracker = build_tracker(load_settings(overrides={"detector_confidence": 1.0, "runtime": "torch"}))
    tracker.update(_frame(0))
    batches: list[int] = []

    def count(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, ImageEncoder):
            batches.append(len(given[0]))

    cues = [_cue(15.0 + 28 * column, 12.0 + 25 * row) for column in range(8) for row in range(8)]
    handle = register_module_forward_pre_hook(count)
    try:
        tracker.update(_frame(1), cues)
    finally:
        handle.remove()
    assert batches == [64]
    assert tracker.cues.counts["used"] + tracker.cues.counts["nothing there"] == 64
