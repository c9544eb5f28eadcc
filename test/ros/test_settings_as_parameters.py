"""Settings as parameters: what the core refuses, the node refuses, too, and says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from smotracker_ros.core.settings import SettingsError
from smotracker_ros.presets import load_settings
from smotracker_ros.ros.parameters import (
    PARAMETERS,
    changed_settings,
    check_changes,
    declare,
    declare_settings,
    setting_parameters,
)

REFUSED = [
    ("masklet_image_size", 100, "multiple of 32|step"),
    ("detector_image_size", 7, "0 or at least 32"),
    ("slice_size", 2, "0 or at least 32"),
    ("device", "meta", "must be auto"),
    ("prompt", " . ", "must name"),
    ("masklet_weights", "/nowhere/sam2.pt", "no such weight file"),
    ("detector_weights", "/nowhere/yolo.pt", "no such weight file"),
    ("birth_confidence", math.nan, "out of range|must lie in"),
    ("lost_seconds", math.inf, "out of|range|must lie in"),
]
NUMBERS = [parameter for parameter in PARAMETERS if isinstance(parameter.default, float)]


@pytest.fixture
def make() -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def node(**overrides: Any) -> Node:
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        nodes.append(rclpy.create_node("settings_under_test", parameter_overrides=values))
        return nodes[-1]

    yield node
    for item in nodes:
        item.destroy_node()


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_refused_at_the_start(make: Callable[..., Node], name: str, value: Any, reason: str) -> None:
    with pytest.raises((SettingsError, ParameterException), match=reason) as caught:
        declare_settings(make(**{name: value}), "y-smotracker")
    assert name in str(caught.value)


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_refused_later(make: Callable[..., Node], name: str, value: Any, reason: str) -> None:
    node = make()
    settings = declare_settings(node, "y-smotracker")
    known = {item.name: item for item in setting_parameters(load_settings())}

    def check(parameters: list[Parameter]) -> SetParametersResult:
        try:
            check_changes(known, parameters, configured=False)
            changed_settings(settings, parameters)
        except SettingsError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    answer = node.set_parameters([Parameter(name, value=value)])[0]
    assert not answer.successful and answer.reason
    assert node.get_parameter(name).value == getattr(settings, name)


@pytest.mark.parametrize("parameter", NUMBERS, ids=lambda parameter: parameter.name)
def test_the_nodes_own_numbers_have_limits(make: Callable[..., Node], parameter: Any) -> None:
    for value in (math.nan, math.inf, parameter.minimum - 1, parameter.maximum + 1):
        with pytest.raises((SettingsError, ParameterException), match=parameter.name):
            declare(make(**{parameter.name: value}), [parameter])
    for value in (parameter.minimum, parameter.maximum):
        assert declare(make(**{parameter.name: value}), [parameter]) == {parameter.name: value}


def test_sizes_of_sam2_tell_their_step(make: Callable[..., Node]) -> None:
    node = make()
    declare_settings(node, "y-smotracker")
    sizes = node.describe_parameter("masklet_image_size").integer_range[0]
    assert (sizes.from_value, sizes.to_value, sizes.step) == (0, 2048, 32)
