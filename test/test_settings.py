"""Settings: ranges, types, names."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from smotracker_ros.settings import SettingsError, TrackerSettings, check_setting

FIELDS = dataclasses.fields(TrackerSettings)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_setting_is_documented_and_its_default_allowed(field: dataclasses.Field[Any]) -> None:
    assert field.metadata["description"].endswith(".")
    assert (field.metadata["minimum"] is None) == (field.metadata["maximum"] is None)
    check_setting(field, field.default)
    if type(field.default) in (int, float):
        assert field.metadata["minimum"] is not None, "a number needs a range"


@pytest.mark.parametrize("field", [f for f in FIELDS if f.metadata["minimum"] is not None], ids=lambda f: f.name)
def test_range_limits(field: dataclasses.Field[Any]) -> None:
    kind = type(field.default)
    low, high = kind(field.metadata["minimum"]), kind(field.metadata["maximum"])
    for value in (low, high):
        assert getattr(TrackerSettings().replace({field.name: value}), field.name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(SettingsError, match=f"{field.name} must lie in"):
            TrackerSettings().replace({field.name: value})


def test_replace_leaves_the_original() -> None:
    settings = TrackerSettings()
    changed = settings.replace({"clip_length": 30, "device": "cpu"})
    assert (changed.clip_length, changed.device) == (30, "cpu")
    assert settings.clip_length == TrackerSettings().clip_length != 30


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"unknown setting clip_lenght.*clip_length"):
        TrackerSettings().replace({"clip_lenght": 3})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clip_length", 3.0),
        ("clip_length", "3"),
        ("clip_length", True),
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
    assert TrackerSettings().replace({"window_factor": 4}).window_factor == 4


@pytest.mark.parametrize("name", ["masklet_mode", "memory_policy", "box_convention"])
def test_choices(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be one of"):
        TrackerSettings().replace({name: "other"})


def test_not_a_number_is_out_of_range() -> None:
    with pytest.raises(SettingsError, match="must lie in"):
        TrackerSettings().replace({"birth_confidence": float("nan")})
