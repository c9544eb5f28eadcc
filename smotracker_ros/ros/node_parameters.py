"""Parameters of any node: what is known of each, how they are declared, and what was given but is not used."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter

from smotracker_ros.core.parameter_files import parameter_file_arguments, unused_files
from smotracker_ros.core.retired_settings import about_unknown
from smotracker_ros.core.settings import SettingsError

GIVEN_AT_START = ("trusted_weights",)
"""What files may run code is for whoever starts the process to say, not for everybody who can set its parameters."""


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
        dynamic: whether it may change at any time.
        multiple: whole numbers must be multiples of it.
    """

    name: str
    default: bool | int | float | str
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False
    multiple: int = 1

    def fit(self, value: Any) -> Any:
        """The value in the parameter's type where nothing is lost by it: a whole number as text or floating point."""
        if type(value) is int and isinstance(self.default, float | str):
            return type(self.default)(value)
        return value

    def check(self, value: Any) -> None:
        """Refuse a value that is not allowed.

        Raises:
            SettingsError: naming the parameter, the value and what is allowed.
        """
        if self.choices and value not in self.choices:
            raise SettingsError(f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}")
        # rclpy's own check of ranges lets "not a number" through
        if self.minimum is None or self.maximum is None or not isinstance(value, int | float):
            return
        if not self.minimum <= value <= self.maximum:
            raise SettingsError(f"{self.name} must lie in [{self.minimum}, {self.maximum}], not {value!r}")


def _descriptor(parameter: NodeParameter, has_lifecycle: bool) -> ParameterDescriptor:
    """What `ros2 param describe` shows; ranges are enforced by rclpy, choices and states by our own checks."""
    fixed = not parameter.dynamic
    read_only = (fixed and not has_lifecycle) or parameter.name in GIVEN_AT_START
    descriptor = ParameterDescriptor(description=parameter.description, read_only=read_only)
    constraints = ["one of " + ", ".join(parameter.choices)] if parameter.choices else []
    if fixed and not read_only:
        constraints.append("may change while the node is unconfigured")
    descriptor.additional_constraints = "; ".join(constraints)
    if parameter.minimum is not None and parameter.maximum is not None:
        if isinstance(parameter.default, float):
            limits = FloatingPointRange(from_value=float(parameter.minimum), to_value=float(parameter.maximum))
            descriptor.floating_point_range = [limits]
        else:
            low, high = int(parameter.minimum), int(parameter.maximum)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=parameter.multiple)]
    return descriptor


def declare(node: Node, parameters: Iterable[NodeParameter], has_lifecycle: bool = False) -> dict[str, Any]:
    """Declare parameters and return the values they got, by name.

    Args:
        node: whose parameters they are.
        parameters: what to declare.
        has_lifecycle: those that are not dynamic may change while the node is unconfigured (see
            :func:`check_changes`); otherwise never.

    Raises:
        SettingsError: if a value given from outside is of another type, or not one of the choices.
    """
    values = {}
    for parameter in parameters:
        descriptor = _descriptor(parameter, has_lifecycle)
        try:
            values[parameter.name] = node.declare_parameter(parameter.name, parameter.default, descriptor).value
        except InvalidParameterTypeException:
            given = node.declare_parameter(parameter.name, descriptor=ParameterDescriptor(dynamic_typing=True)).value
            node.undeclare_parameter(parameter.name)
            value = parameter.fit(given)
            if type(value) is not type(parameter.default):
                wanted, there = type(parameter.default).__name__, type(given).__name__
                remedy = f"; put it in quotes to keep it as text, '{given}'" if wanted == "str" else ""
                raise SettingsError(
                    f"{parameter.name} must be of type {wanted}, not {there} ({given!r}){remedy}"
                ) from None
            if isinstance(value, str):
                node.get_logger().warning(
                    f"{parameter.name} is given as a number and taken as the text {value!r}; put it in quotes to keep "
                    "leading zeros"
                )
            node.declare_parameter(parameter.name, value, descriptor, ignore_override=True)
            values[parameter.name] = value
        parameter.check(values[parameter.name])
    return values


def report_unused(node: Node) -> None:
    """Warn of parameters given from outside that nothing uses: misspelt ones, and files for nodes of other names.

    Call it when all parameters are declared.
    """
    known = [name for name in node.get_parameters_by_prefix("") if name != "start_type_description_service"]
    # What was given by arguments and files, as rcl has matched it with the node's name; rclpy has no public way to it.
    given: Mapping[str, Any] = node._parameter_overrides
    found = [
        f"there is no parameter {name}{about_unknown(name, known, '; `ros2 param list` lists them')}"
        for name in given
        if not node.has_parameter(name)
    ]
    found += unused_files(parameter_file_arguments(sys.argv), node.get_fully_qualified_name())
    for text in found:
        node.get_logger().warning(text)


class TolerantParameters:
    """For a node class: setting a parameter to the value that it has is no change, even if it may not change now.

    So a node takes what `ros2 param dump` wrote for it. Whole numbers are taken for floating-point ones.
    """

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy's; also what the parameter services call."""
        node: Any = self
        changes = []
        for parameter in parameter_list:
            before = node.get_parameter(parameter.name).value if node.has_parameter(parameter.name) else None
            value = parameter.value
            if type(before) is float and type(value) is int:
                value = float(value)
                parameter = Parameter(parameter.name, value=value)
            if type(before) is not type(value) or before != value:
                changes.append(parameter)
        if not changes:
            return SetParametersResult(successful=True)
        return super().set_parameters_atomically(changes)  # type: ignore[misc,no-any-return]
