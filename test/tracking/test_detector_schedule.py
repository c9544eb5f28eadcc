"""Where clips start, without any model."""

from __future__ import annotations

import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.detector_schedule import DetectorSchedule
from smotracker_ros.tracking.target import Target

BOX = np.float32([100, 100, 120, 116])
SETTINGS = TrackerSettings(clip_seconds=0.4)
SHARE = 0.5


def target(quality: float = 0.9) -> Target:
    """A confirmed target that is seen, with a mask of this quality after better ones."""
    item = Target.born(1, BOX, np.float32([1, 0]))
    item.state = TrackState.CONFIRMED
    item.seconds_since_detection = 0.4
    for rating in (0.9, 0.9, 0.9, 0.9, quality):
        item.see(MaskPatch(104, 103, np.ones((9, 11), np.bool_)), BOX, rating, 0.0)
    return item


def asks(schedule: DetectorSchedule, targets: list[Target], settings: TrackerSettings, wanted: bool) -> bool:
    """Whether the detector sees whole frames or the surroundings of doubtful targets, which are half of a frame."""
    if schedule.starts(targets, settings):
        return schedule.spend(1.0)
    doubtful = schedule.doubtful(targets, settings, [target()] if wanted else [])
    return bool(doubtful) and schedule.spend(SHARE)


def looks(
    settings: TrackerSettings, targets: list[Target], frames: int, wanted: bool = False, rate: float = 30
) -> list[int]:
    schedule = DetectorSchedule()
    found = []
    for frame in range(frames):
        schedule.advance(1 / rate if frame else 0.0, settings)
        if asks(schedule, targets, settings, wanted):
            found.append(frame)
    assert schedule.passes == len(found) >= schedule.frames_seen
    return found


def test_clips_have_their_length_while_all_is_well() -> None:
    assert looks(SETTINGS, [target()], 40) == [0, 12, 24, 36]


@pytest.mark.parametrize("rate", [8, 15, 30, 60, 90])
@pytest.mark.parametrize("busy", [False, True])
def test_passes_per_second_do_not_depend_on_the_frame_rate(rate: int, busy: bool) -> None:
    seconds = 20
    passes = len(looks(SETTINGS, [target(0.2 if busy else 0.9)], seconds * rate, rate=rate)) / seconds
    # what a slower camera cannot give is left out
    expected = min(15.0 if busy else 2.5, rate)
    assert passes == pytest.approx(expected, rel=0.15)


def test_the_detector_runs_on_every_frame_if_clips_have_no_length() -> None:
    assert looks(TrackerSettings(clip_seconds=0.0), [target()], 5) == [0, 1, 2, 3, 4]


def test_clips_end_early_when_a_masklet_is_uncertain_or_an_occlusion_asks() -> None:
    doubtful = looks(SETTINGS, [target(0.2)], 13)
    assert doubtful == looks(SETTINGS, [target()], 13, wanted=True) == [0, 2, 4, 6, 8, 10, 12]
    assert looks(TrackerSettings(clip_seconds=0.4, adaptive_clips=False), [target(0.2)], 13) == [0, 12]
    tentative = target()
    tentative.state, tentative.hits, tentative.misses = TrackState.TENTATIVE, 1, 1
    assert looks(SETTINGS, [tentative], 8) == [0, 2, 4, 6]
    poor = target(0.2)
    poor.state, poor.hits = TrackState.TENTATIVE, 3
    assert looks(SETTINGS, [poor], 8) == [0], "what is never seen well asks for nothing"


def test_what_is_always_rated_low_asks_for_nothing() -> None:
    faint = target(0.2)
    for _ in range(60):
        assert faint.mask is not None
        faint.see(faint.mask, BOX, 0.2, 1 / 30)
    assert looks(SETTINGS, [faint], 13) == [0, 12]
    assert faint.mask is not None
    faint.see(faint.mask, BOX, 0.1, 1 / 30)
    assert len(looks(SETTINGS, [faint], 13)) == 7, "half of what it is used to is doubtful"


def test_what_has_just_been_detected_is_not_asked_for_again() -> None:
    doubtful, schedule = target(0.2), DetectorSchedule()
    found: list[int] = []
    for frame in range(14):
        doubtful.seconds_since_detection = (frame - found[-1] if found else frame) / 30
        schedule.advance(1 / 30 if frame else 0.0, SETTINGS)
        if asks(schedule, [doubtful], SETTINGS, False):
            found.append(frame)
    assert found == [0, 4, 8, 12]


def test_a_birth_is_looked_at_again_at_once() -> None:
    newborn, schedule = target(), DetectorSchedule()
    newborn.state, newborn.hits = TrackState.TENTATIVE, 1
    found = []
    for frame in range(8):
        schedule.advance(1 / 30 if frame else 0.0, SETTINGS)
        if asks(schedule, [newborn], SETTINGS, False):
            found.append(frame)
            newborn.misses = frame  # the second pass has not found it
    assert found == [0, 1, 3, 5, 7]


def test_an_empty_sky_is_searched_more_often() -> None:
    assert looks(TrackerSettings(clip_seconds=0.8), [], 30) == [0, 12, 24]


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
def test_the_budget_holds_whatever_happens(share: float) -> None:
    settings, schedule = TrackerSettings(clip_seconds=0.13, max_detector_share=share), DetectorSchedule()
    seen = []
    for frame in range(600):
        schedule.advance(1 / 30 if frame else 0.0, settings)
        asks(schedule, [target(0.2)], settings, wanted=True)
        seen.append(schedule.frames_seen)
    # it is used, and no more than it
    assert share * 600 - 1 <= seen[-1] <= share * 600 + 3
    assert all(seen[begin + 100] - seen[begin] <= share * 100 + 4 for begin in range(0, 500, 50))


def test_looks_at_doubtful_targets_leave_enough_for_clips() -> None:
    settings, schedule = TrackerSettings(clip_seconds=0.4, max_detector_share=0.1), DetectorSchedule()
    clips = 0
    for frame in range(600):
        schedule.advance(1 / 30 if frame else 0.0, settings)
        if schedule.starts([target(0.2)], settings):
            clips += schedule.spend(1.0)
        elif schedule.doubtful([target(0.2)], settings, []):
            schedule.spend(0.2)
    assert clips >= 600 / 12 - 1


def test_who_is_out_of_sight_is_looked_for_where_an_occlusion_asks() -> None:
    schedule, slipped = DetectorSchedule(), target()
    schedule.advance(0.0, SETTINGS)
    assert schedule.starts([], SETTINGS) and schedule.spend(1.0)
    for _ in range(3):
        schedule.advance(1 / 30, SETTINGS)
    assert schedule.doubtful([], SETTINGS, [slipped]) == [slipped]


def test_a_fresh_start_asks_at_once() -> None:
    schedule = DetectorSchedule()
    schedule.advance(0.0, SETTINGS)
    assert schedule.ends(SETTINGS) and asks(schedule, [], SETTINGS, False)
    schedule.advance(1 / 30, SETTINGS)
    assert not schedule.ends(SETTINGS) and not asks(schedule, [target()], SETTINGS, False)
    schedule.reset()
    schedule.advance(1 / 30, SETTINGS)
    assert schedule.ends(SETTINGS) and asks(schedule, [target()], SETTINGS, False)


@pytest.mark.parametrize(("rate", "expected"), [(8, 8), (15, 10), (30, 10), (60, 10), (90, 10)])
def test_calm_targets_are_looked_at_ten_times_a_second(rate: int, expected: float) -> None:
    schedule, settings = DetectorSchedule(), TrackerSettings(clip_seconds=60.0)
    count = 0
    for frame in range(10 * rate):
        schedule.advance(1 / rate if frame else 0.0, settings)
        asks(schedule, [target()], settings, False)
        count += schedule.looks(0.1)
    assert count / 10 == pytest.approx(expected, rel=0.1)
