"""Where clips start, without any model."""

from __future__ import annotations

import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.detector_schedule import ClipSchedule
from smotracker_ros.tracking.target import Target

BOX = np.float32([100, 100, 120, 116])


def target(quality: float = 0.9) -> Target:
    """A confirmed target that is seen, with a mask of this quality after better ones."""
    item = Target.born(1, BOX, np.float32([1, 0]))
    item.state = TrackState.CONFIRMED
    item.frames_since_detection = 12
    for rating in (0.9, 0.9, 0.9, 0.9, quality):
        item.see(MaskPatch(104, 103, np.ones((9, 11), np.bool_)), BOX, rating, 0.0)
    return item


def starts(settings: TrackerSettings, targets: list[Target], frames: int, wanted: bool = False) -> list[int]:
    clips = ClipSchedule()
    found = []
    for frame in range(frames):
        clips.advance(settings)
        if clips.starts(targets, settings, wanted):
            found.append(frame)
    assert clips.passes == len(found)
    return found


def test_clips_have_their_length_while_all_is_well() -> None:
    assert starts(TrackerSettings(clip_length=12), [target()], 40) == [0, 12, 24, 36]


def test_clips_end_early_when_a_masklet_is_uncertain_or_a_crossing_asks() -> None:
    doubtful = starts(TrackerSettings(clip_length=12), [target(0.2)], 13)
    assert doubtful == starts(TrackerSettings(clip_length=12), [target()], 13, wanted=True) == [0, 2, 4, 6, 8, 10, 12]
    assert starts(TrackerSettings(clip_length=12, adaptive_clips=False), [target(0.2)], 13) == [0, 12]
    tentative = target()
    tentative.state, tentative.hits = TrackState.TENTATIVE, 1
    assert starts(TrackerSettings(clip_length=12), [tentative], 8) == [0, 2, 4, 6]
    poor = target(0.2)
    poor.state, poor.hits = TrackState.TENTATIVE, 3
    assert starts(TrackerSettings(clip_length=12), [poor], 8) == [0], "what is never seen well asks for nothing"


def test_what_is_always_rated_low_asks_for_nothing() -> None:
    faint = target(0.2)
    for _ in range(60):
        assert faint.mask is not None
        faint.see(faint.mask, BOX, 0.2, 1 / 30)
    assert starts(TrackerSettings(clip_length=12), [faint], 13) == [0, 12]
    assert faint.mask is not None
    faint.see(faint.mask, BOX, 0.1, 1 / 30)
    assert len(starts(TrackerSettings(clip_length=12), [faint], 13)) == 7, "half of what it is used to is doubtful"


def test_what_has_just_been_detected_is_not_asked_for_again() -> None:
    settings, doubtful = TrackerSettings(clip_length=12), target(0.2)
    clips = ClipSchedule()
    found = []
    for frame in range(14):
        doubtful.frames_since_detection = frame - found[-1] if found else frame
        clips.advance(settings)
        if clips.starts([doubtful], settings, False):
            found.append(frame)
    assert found == [0, 4, 8, 12]


def test_a_birth_is_looked_at_again_in_the_next_frame() -> None:
    settings, newborn = TrackerSettings(clip_length=12), target()
    newborn.state, newborn.hits = TrackState.TENTATIVE, 1
    clips = ClipSchedule()
    found = []
    for frame in range(8):
        newborn.age = frame
        clips.advance(settings)
        if clips.starts([newborn], settings, False):
            found.append(frame)
    assert found == [0, 1, 3, 5, 7]


def test_an_empty_sky_is_searched_more_often() -> None:
    assert starts(TrackerSettings(clip_length=24), [], 30) == [0, 8, 16, 24]


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
def test_the_budget_holds_whatever_happens(share: float) -> None:
    settings = TrackerSettings(clip_length=4, max_detector_share=share)
    found = starts(settings, [target(0.2)], 600, wanted=True)
    assert len(found) <= share * 600 + 3
    # and it is used
    assert len(found) >= share * 600 - 1
    for begin in range(0, 500, 50):
        assert sum(begin <= frame < begin + 100 for frame in found) <= share * 100 + 4


def test_a_fresh_start_asks_at_once() -> None:
    settings = TrackerSettings(clip_length=12)
    clips = ClipSchedule()
    clips.advance(settings)
    assert clips.ends(settings) and clips.starts([], settings, False)
    clips.advance(settings)
    assert not clips.ends(settings) and not clips.starts([target()], settings, False)
    clips.reset()
    clips.advance(settings)
    assert clips.ends(settings) and clips.starts([target()], settings, False)
