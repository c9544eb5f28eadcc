"""Settings of the fusion, each with its meaning and range: the node's parameters and the command's options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smotracker_ros.core.settings import SettingsError


def _setting(default: float | int, description: str, minimum: float, maximum: float) -> Any:
    """A dataclass field with what a user needs to know."""
    metadata = {
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "choices": (),
        "dynamic": False,
        "multiple": 1,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class FusionSettings:
    """What the fusion takes for granted of cameras and targets; times are in seconds of the stamps.

    Each field's metadata holds description, minimum, maximum, choices, dynamic, multiple.

    Raises:
        SettingsError: if a value is out of its range.
    """

    range_min: float = _setting(5.0, "Least distance of a target from a camera, metres.", 0.1, 1e4)
    range_max: float = _setting(3000.0, "Greatest distance of a target from a camera, metres.", 1.0, 1e5)
    speed: float = _setting(12.0, "Speed of a target along each axis (standard deviation), m/s.", 0.1, 1000.0)
    acceleration: float = _setting(3.0, "Acceleration of a target (standard deviation), m/s^2.", 0.01, 1000.0)
    acceleration_seconds: float = _setting(0.5, "How long such an acceleration lasts.", 0.01, 60.0)
    pixel_deviation: float = _setting(0.5, "Error of a box's centre (standard deviation), pixels.", 0.01, 100.0)
    size_deviation: float = _setting(0.05, "The same that grows with the box: share of its longer side.", 0.0, 1.0)
    pixel_angle: float = _setting(
        0.001, "Angle of a pixel where a camera's calibration is not known, radians.", 1e-6, 0.1
    )
    pose_deviation: float = _setting(
        0.1, "Error of a camera's orientation (standard deviation about each axis), degrees.", 0.0, 10.0
    )
    clock_deviation: float = _setting(0.02, "Error of a camera's clock (standard deviation).", 0.0, 1.0)
    min_probability: float = _setting(
        0.5, "Tracks less probable than this, and those out of sight, are not used.", 0.0, 1.0
    )
    hold_seconds: float = _setting(
        0.15, "How long the others' images are waited for; what comes later than that is left out.", 0.0, 5.0
    )
    window_seconds: float = _setting(
        4.0, "Past over which tracks of different cameras are compared; a target unseen for longer is forgotten.",
        0.5, 60.0,
    )  # fmt: skip
    confirm_seconds: float = _setting(0.5, "Age from which on a target is published.", 0.0, 60.0)
    coast_seconds: float = _setting(1.0, "For how long a target that no camera sees is published.", 0.0, 60.0)
    merge_probability: float = _setting(
        0.97, "Probability from which on two cameras' tracks are taken for one target.", 0.5, 0.9999
    )
    max_targets: int = _setting(100, "Targets kept at most; further tracks are left out and counted.", 1, 1000)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, low, high = getattr(self, field.name), field.metadata["minimum"], field.metadata["maximum"]
            if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
                raise SettingsError(f"{field.name} must lie in [{low:g}, {high:g}], not {value!r}")
        if self.range_max < 2 * self.range_min:
            raise SettingsError(
                f"range_max ({self.range_max:g}) must be at least twice range_min ({self.range_min:g}); widen the range"
            )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> FusionSettings:
        """Settings from values by name; numbers may be written as texts.

        Raises:
            SettingsError: if a name is unknown or a value not allowed.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        found: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise SettingsError(f"there is no setting {name}; there are {', '.join(known)}")
            try:
                found[name] = int(value) if isinstance(known[name].default, int) else float(value)
            except (TypeError, ValueError):
                raise SettingsError(f"{name} must be a number, not {value!r}") from None
        return cls(**found)
