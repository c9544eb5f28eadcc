"""Settings: ranges, types, names."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.overrides import parse_overrides
from smotracker_ros.core.retired_settings import RETIRED
from smotracker_ros.core.settings import SettingsError, TrackerSettings, check_setting
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.tracker import SmoTracker

FIELDS = dataclasses.fields(TrackerSettings)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_setting_is_documented_and_its_default_allowed(field: dataclasses.Field[Any]) -> None:
    assert field.metadata["description"].endswith(".")
    assert (field.metadata["minimum"] is None) == (field.metadata["maximum"] is None)
    check_setting(field, field.default)
    if type(field.default) in (int, float):
        assert field.metadata["minimum"] is not None, "a number needs a range"


def test_there_are_no_more_settings_than_a_user_can_survey() -> None:
    assert len(FIELDS) <= 30


@pytest.mark.parametrize("field", [f for f in FIELDS if f.metadata["minimum"] is not None], ids=lambda f: f.name)
def test_range_limits(field: dataclasses.Field[Any]) -> None:
    kind = type(field.default)
    low, high = kind(field.metadata["minimum"]), kind(field.metadata["maximum"])
    for value in (low, high):
        assert getattr(TrackerSettings().replace({field.name: value}), field.name) == value
        assert parse_overrides([f"{field.name}={value}"]) == {field.name: value}
    beyond = [low - 1, high + 1]
    if kind is float:
        beyond += [np.nextafter(low, -np.inf).item(), np.nextafter(high, np.inf).item(), np.nan, np.inf, -np.inf]
    for value in beyond:
        with pytest.raises(SettingsError, match=f"{field.name} must lie in"):
            TrackerSettings().replace({field.name: value})
        with pytest.raises(SettingsError, match=f"{field.name} must lie in"):
            load_settings(overrides=parse_overrides([f"{field.name}={value}"]))


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_no_value_of_another_type_is_taken(field: dataclasses.Field[Any]) -> None:
    others: list[Any] = [None, [], {}, b"1", 1j, np.float32(1), "" if type(field.default) is not str else 0]
    for value in others:
        with pytest.raises(SettingsError, match=f"{field.name} must be of type"):
            TrackerSettings().replace({field.name: value})
    if type(field.default) is not str:
        for text in ("", "one", "1,5", "0x10", "1 2", "None"):
            with pytest.raises(SettingsError, match=field.name):
                parse_overrides([f"{field.name}={text}"])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("masklet_image_size", 100, "multiple of 32"),
        ("masklet_image_size", 16, "multiple of 32"),
        ("masklet_image_size", 2047, "multiple of 32"),
        ("detector_image_size", 1, "0 or at least 32"),
        ("detector_image_size", 31, "0 or at least 32"),
        ("slice_size", 1, "0 or at least 32"),
        ("device", "gpu", "must be auto"),
        ("device", "meta", "must be auto"),
        ("device", "mps", "must be auto"),
        ("device", "cuda:", "must be auto"),
        ("device", "cuda:-1", "must be auto"),
        ("device", "", "must be auto"),
        ("prompt", " . ", "must name"),
        ("prompt", "drone . - .", "must name"),
        ("prompt", "drone\n.", "must name"),
        ("prompt", "drone" * 100, "must name"),
        ("detector_weights", "absent.pt", r"absent\.pt: no such weight file"),
        ("detector_weights", "a/b\0.pt", "no such weight file"),
        ("masklet_weights", "/nowhere/sam2.pt", r"/nowhere/sam2\.pt: no such weight file"),
    ],
)
def test_what_would_fail_later_is_refused_where_it_is_set(name: str, value: Any, reason: str) -> None:
    for refuse in (
        lambda: TrackerSettings().replace({name: value}),
        lambda: load_settings(overrides={name: value}),
        lambda: load_settings(overrides=parse_overrides([f"{name}={value}"])),
    ):
        with pytest.raises(SettingsError, match=reason) as caught:
            refuse()
        assert name in str(caught.value)


@pytest.mark.parametrize("weights", ["/nowhere/dino", "no-owner", "a/b/c", str(Path(__file__))])
def test_weights_that_are_nothing_for_grounding_dino_are_refused_where_they_are_set(weights: str) -> None:
    for preset, overrides in (("g-smotracker", {}), ("y-smotracker", {"detector": "grounding_dino"})):
        with pytest.raises(SettingsError, match="detector_weights of grounding_dino must be an existing folder"):
            load_settings(preset, {**overrides, "detector_weights": weights})


def test_another_kind_of_detector_needs_other_weights(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.touch()
    for before, weights, after in (("yolo", str(file), "grounding_dino"), ("grounding_dino", "owner/name", "yolo")):
        settings = TrackerSettings().replace({"detector": before, "detector_weights": weights})
        assert settings.detector_weights == weights
        with pytest.raises(SettingsError, match="detector_weights"):
            settings.replace({"detector": after})
        assert settings.replace({"detector": after, "detector_weights": ""}).detector == after
    assert load_settings("g-smotracker", {"detector_weights": str(tmp_path)}).detector_weights == str(tmp_path)


def test_a_file_that_has_gone_since_does_not_stop_other_changes(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.touch()
    settings = TrackerSettings().replace({"masklet_weights": str(weights)})
    weights.unlink()
    assert settings.replace({"max_live_tracks": 6, "masklet_weights": str(weights)}).max_live_tracks == 6


def test_a_setting_is_given_once() -> None:
    with pytest.raises(SettingsError, match="max_live_tracks is set twice, to 3 and to 4"):
        parse_overrides(["max_live_tracks=3", "device=cpu", "max_live_tracks=4"])


@pytest.fixture(scope="module")
def tracker() -> SmoTracker:
    return build_tracker(load_settings())


@pytest.mark.parametrize(
    "field", [f for f in FIELDS if f.metadata["dynamic"] and f.metadata["minimum"] is not None], ids=lambda f: f.name
)
def test_the_tracker_works_at_every_limit(tracker: SmoTracker, field: dataclasses.Field[Any]) -> None:
    kind = type(field.default)
    values = [kind(field.metadata["minimum"]), kind(field.metadata["maximum"])]
    if field.metadata["least"]:
        values = [0, field.metadata["least"]]  # the greatest size takes minutes
    for value in values:
        tracker.settings = TrackerSettings().replace({field.name: value})
        for index, frame in enumerate(_frames()):
            assert tracker.update(frame).frame_index == index
        tracker.reset()


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [{"masklet_image_size": 32}, {"masklet_image_size": 160}, {"slice_size": 32}, {"slice_size": 128}],
    ids=str,
)
def test_the_tracker_works_with_sizes_at_their_limits(overrides: dict[str, Any]) -> None:
    tracker = build_tracker(load_settings(overrides=overrides))
    for index, frame in enumerate(_frames()):
        assert tracker.update(frame).frame_index == index


def _frames() -> list[Frame]:
    """Three frames with something bright that moves."""
    images = np.full((3, 128, 160, 3), 60, np.uint8)
    for index, image in enumerate(images):
        image[60:68, 70 + 2 * index : 80 + 2 * index] = 220
    return [Frame(image, index * 33_333_333, index) for index, image in enumerate(images)]


def test_replace_leaves_the_original() -> None:
    settings = TrackerSettings()
    changed = settings.replace({"max_live_tracks": 30, "device": "cpu"})
    assert (changed.max_live_tracks, changed.device) == (30, "cpu")
    assert settings.max_live_tracks == TrackerSettings().max_live_tracks != 30


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting max_live_trakcs.*max_live_tracks"):
        TrackerSettings().replace({"max_live_trakcs": 3})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_live_tracks", 3.0),
        ("max_live_tracks", "3"),
        ("max_live_tracks", True),
        ("adaptive_clips", 1),
        ("device", None),
        ("detector_confidence", "high"),
        ("detector_confidence", True),
    ],
)
def test_wrong_types(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be of type"):
        TrackerSettings().replace({name: value})


def test_whole_numbers_serve_as_floats() -> None:
    assert TrackerSettings().replace({"lost_seconds": 4}).lost_seconds == 4


@pytest.mark.parametrize("name", ["masklet_mode", "memory_policy", "box_convention"])
def test_choices(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be one of"):
        TrackerSettings().replace({name: "other"})


def test_not_a_number_is_out_of_range() -> None:
    with pytest.raises(SettingsError, match="must lie in"):
        TrackerSettings().replace({"birth_confidence": float("nan")})


@pytest.mark.parametrize("name", sorted(RETIRED))
def test_a_retired_setting_is_refused_with_what_became_of_it(name: str) -> None:
    assert name not in {field.name for field in FIELDS}
    with pytest.raises(SettingsError, match=f"unknown setting {name} any more: ") as refused:
        TrackerSettings().replace({name: 1})
    told = set(re.findall(r"\w+", str(refused.value)))
    assert told & {field.name for field in FIELDS}, "it says which setting to use instead"
    assert not (told & set(RETIRED)) - {name}
    with pytest.raises(SettingsError, match=f"unknown setting {name} any more"):
        parse_overrides([f"{name}=1"])
