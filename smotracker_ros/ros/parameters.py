"""Node parameters: the tracker's settings, derived from their one definition, and the node's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from smotracker_ros.presets import load_settings
from smotracker_ros.settings import SettingsError, TrackerSettings


@dataclasses.dataclass(frozen=True)
class NodeParameter:
    """A parameter of a node itself.

    Attributes:
        name: as on the command line.
        default: also fixes the type.
        description: one sentence for `ros2 param describe`.
        minimum: smallest number allowed; None: not a number.
        maximum: largest number allowed.
        choices: strings allowed; empty: any.
        dynamic: whether it may change while the node runs.
    """

    name: str
    default: bool | int | float | str
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False

    def check(self, value: Any) -> None:
        """Refuse a value that is not allowed.

        Raises:
            SettingsError: naming the parameter, the value and what is allowed.
        """
        if self.choices and value not in self.choices:
            raise SettingsError(f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}")


def _descriptor(parameter: NodeParameter) -> ParameterDescriptor:
    """What `ros2 param describe` shows; ranges are enforced by rclpy, choices by our own check."""
    descriptor = ParameterDescriptor(description=parameter.description, read_only=not parameter.dynamic)
    if parameter.choices:
        descriptor.additional_constraints = "one of " + ", ".join(parameter.choices)
    if parameter.minimum is not None and parameter.maximum is not None:
        if isinstance(parameter.default, float):
            limits = FloatingPointRange(from_value=float(parameter.minimum), to_value=float(parameter.maximum))
            descriptor.floating_point_range = [limits]
        else:
            descriptor.integer_range = [
                IntegerRange(from_value=int(parameter.minimum), to_value=int(parameter.maximum), step=1)
            ]
    return descriptor


def declare(node: Node, parameters: Iterable[NodeParameter]) -> dict[str, Any]:
    """Declare parameters and return the values they got, by name.

    Raises:
        SettingsError: if a value given from outside is not one of the choices.
    """
    values = {}
    for parameter in parameters:
        values[parameter.name] = node.declare_parameter(parameter.name, parameter.default, _descriptor(parameter)).value
        parameter.check(values[parameter.name])
    return values


def setting_parameters(defaults: TrackerSettings) -> tuple[NodeParameter, ...]:
    """One parameter per setting, with the values of `defaults`, descriptions and ranges from the settings' metadata."""
    return tuple(
        NodeParameter(
            name=field.name,
            default=getattr(defaults, field.name),
            description=field.metadata["description"],
            minimum=field.metadata["minimum"],
            maximum=field.metadata["maximum"],
            choices=field.metadata["choices"],
            dynamic=field.metadata["dynamic"],
        )
        for field in dataclasses.fields(TrackerSettings)
    )


def declare_settings(node: Node, preset: str) -> TrackerSettings:
    """Declare the tracker's settings with a preset's values as defaults; returns the settings with all overrides.

    Raises:
        SettingsError: if the preset is unknown or an override is not allowed.
    """
    defaults = load_settings(preset, {})
    return defaults.replace(declare(node, setting_parameters(defaults)))


def changed_settings(settings: TrackerSettings, parameters: Iterable[Parameter]) -> TrackerSettings:
    """The settings after parameters have changed; parameters that are no settings are passed over.

    Raises:
        SettingsError: if a value is not allowed.
    """
    names = {field.name for field in dataclasses.fields(TrackerSettings)}
    return settings.replace({parameter.name: parameter.value for parameter in parameters if parameter.name in names})
