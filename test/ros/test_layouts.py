"""The layouts for RViz and Foxglove show topics that the node publishes, of its types and quality of service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSCompatibility, QoSProfile, ReliabilityPolicy, qos_check_compatible
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from smotracker_ros.ros.outputs import TOPICS
from smotracker_ros.ros.qos import result_profile

CONFIG = Path(__file__).resolve().parents[2] / "config"
PUBLISHED: dict[str, Any] = {f"/{topic}": kind for topic, kind in TOPICS.items()} | {"/diagnostics": DiagnosticArray}


def _texts(value: Any) -> Iterator[str]:
    """All strings in nested lists and mappings, keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _topics(value: Any) -> set[str]:
    return {match[0] for text in _texts(value) if (match := re.match(r"/[a-z_/]+", text))}


def test_rviz() -> None:
    layout = yaml.safe_load((CONFIG / "tracker.rviz").read_text(encoding="utf-8"))
    assert _topics(layout) == {"/overlay", "/markers", "/masks"}
    kinds = {"rviz_default_plugins/Image": Image, "rviz_default_plugins/MarkerArray": MarkerArray}
    for display in layout["Visualization Manager"]["Displays"]:
        if "Topic" not in display:
            continue
        topic = display["Topic"]
        assert PUBLISHED[topic["Value"]] is kinds[display["Class"]], display["Name"]
        asked = QoSProfile(depth=topic["Depth"], reliability=ReliabilityPolicy[topic["Reliability Policy"].upper()])
        assert topic["Durability Policy"] == "Volatile", "what is published for every image is not kept for later"
        assert qos_check_compatible(result_profile(), asked)[0] != QoSCompatibility.ERROR, display["Name"]


def test_foxglove() -> None:
    layout = json.loads((CONFIG / "foxglove.json").read_text(encoding="utf-8"))
    panels = layout["configById"]
    assert {text for text in _texts(layout["layout"]) if "!" in text} == set(panels), "each is configured, and shown"
    assert _topics(layout) == {"/overlay", "/markers", "/track_states", "/tracks", "/diagnostics"}
    by_kind = {name.partition("!")[0]: panel for name, panel in panels.items()}
    assert PUBLISHED[by_kind["Image"]["imageMode"]["imageTopic"]] is Image
    assert [PUBLISHED[topic] for topic in by_kind["3D"]["topics"]] == [MarkerArray]
    assert PUBLISHED[by_kind["DiagnosticSummary"]["topicToRender"]] is DiagnosticArray
    for path in (by_kind["RawMessages"]["topicPath"], *(item["value"] for item in by_kind["Plot"]["paths"])):
        topic, field, *rest = path.split(".")
        kind = PUBLISHED[topic].get_fields_and_field_types()[field]
        assert kind.startswith("sequence<") and rest in ([], ["@length"]), path
