"""Presets: what each does with targets of the first frame, and with those that come later."""

from collections import Counter

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER
from smotracker_ros.presets import PRESETS, build_detector, build_tracker, load_settings
from smotracker_ros.tracking.existence import ExistenceModel
from smotracker_ros.tracking.target import Target

LATE = 20


def sky(index: int) -> Frame:
    """Two hot blobs in an infrared sky; the second enters at frame LATE."""
    generator = np.random.default_rng(index)
    image = np.full((256, 320), 70.0) + np.linspace(-15, 15, 256)[:, None] + generator.normal(0, 1.5, (256, 320))
    places = [(60 + 2 * index, 80.0)] + ([(250 - 2 * (index - LATE), 170.0)] if index >= LATE else [])
    y, x = np.mgrid[0:256, 0:320]
    for cx, cy in places:
        image += 130 * np.exp(-(((x - cx) / 5.5) ** 4 + ((y - cy) / 3.5) ** 4))
    return Frame(np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2), index * 33_333_333, index)


@pytest.mark.parametrize("preset", ["y-smotracker", "sam2", "samurai"])
def test_only_smotracker_finds_what_enters_late(preset: str) -> None:
    tracker = build_tracker(load_settings(preset))
    seen: Counter[int] = Counter()
    late = 0
    for index in range(60):
        for track in tracker.update(sky(index)).reported:
            seen[track.id] += 1
            late += bool(track.box[1] > 140)
    if preset == "y-smotracker":
        assert len(seen) == 2 and late > 25
        assert tracker.detector_passes >= 5
    else:
        assert seen == {1: 60}, "the target of the first frame, on every frame, from the first one on"
        assert late == 0 and tracker.detector_passes == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_only_smotracker_asks_what_speaks_for_a_target_before_it_believes_in_it(preset: str) -> None:
    box = np.float32([100, 100, 120, 116])
    target = Target.born(1, box, np.float32([1, 0]))
    for step in range(8):
        place = box + np.float32([step, 0, step, 0])
        target.see(MaskPatch(int(place[0]), 100, np.ones((16, 20), np.bool_)), place, 0.1, 1 / 30)
        target.detected(place, 0.1, 1, np.float32([1, 0]))
    target.judge(load_settings(preset), ExistenceModel.load(), np.zeros((256, 320, 3), np.uint8))
    expected = TrackState.TENTATIVE if preset.endswith("smotracker") else TrackState.CONFIRMED
    assert target.state is expected


def test_first_frame_prompts_wait_for_the_first_detections_and_keep_what_goes_out_of_sight() -> None:
    tracker = build_tracker(load_settings("sam2"))
    blank = np.full((256, 320, 3), 70, np.uint8)
    for index in range(3):
        assert tracker.update(Frame(blank, index * 33_333_333, index)).detector_ran
    times = [33_333_333 * number for number in range(3, 63)]
    assert tracker.update(Frame(sky(0).image, times[0], 3)).reported
    hidden = [tracker.update(Frame(blank, time, number)) for number, time in enumerate(times[1:40], start=4)]
    assert all(not tracks.detector_ran for tracks in hidden)
    assert [track.state for track in hidden[-1]] == [TrackState.CONFIRMED]
    assert tracker.detector_passes == 4
    tracker.reset()
    assert tracker.update(Frame(sky(0).image, times[41], 50)).detector_ran


def test_warming_up_leaves_no_trace() -> None:
    """With the compiler itself switched off, which would take minutes."""
    import torch._dynamo

    plain = build_tracker(load_settings(overrides={"runtime": "torch"}))
    with torch._dynamo.config.patch(disable=True):
        warm = build_tracker(load_settings(overrides={"runtime": "torch_compile"}))
        assert warm.memory_bytes == 0
        for index in range(4):
            expected, found = plain.update(sky(index)), warm.update(sky(index))
            assert len(found) == len(expected) > 0
            for one, two in zip(expected, found, strict=True):
                assert one.id == two.id
                np.testing.assert_allclose(one.box, two.box, atol=0.01)


def test_presets_have_allowed_settings_and_an_unknown_one_is_refused() -> None:
    for name in PRESETS:
        assert load_settings(name).replace({}) == load_settings(name)
    with pytest.raises(SettingsError, match=r"unknown preset 'sam3'; there are: .*sam2, samurai"):
        load_settings("sam3")


def test_what_is_set_for_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    embedded = EMBEDDED_FOLDER / "yolov10n_small_targets.pt"
    build_detector(load_settings(overrides={"detector_weights": str(embedded), "trusted_weights": "/nowhere"}))
    assert [record.getMessage() for record in caplog.records if record.name == "smotracker_ros.presets"] == [
        "trusted_weights names /nowhere, which is no folder",
    ]
