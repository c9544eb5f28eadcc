"""The layouts for RViz and Foxglove show topics that the node publishes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from smotracker_ros.ros.outputs import TOPICS

CONFIG = Path(__file__).resolve().parents[2] / "config"
PUBLISHED = {f"/{topic}" for topic in TOPICS} | {"/diagnostics"}


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
    assert _topics(layout) == {"/overlay", "/markers", "/masks"} <= PUBLISHED


def test_foxglove() -> None:
    layout = json.loads((CONFIG / "foxglove.json").read_text(encoding="utf-8"))
    assert _topics(layout) == {"/overlay", "/markers", "/track_states", "/tracks", "/diagnostics"} <= PUBLISHED
    panels = {text for text in _texts(layout["layout"]) if "!" in text}
    assert panels == set(layout["configById"]), "every panel is configured, and shown"
