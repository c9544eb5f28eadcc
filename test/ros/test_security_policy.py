"""The SROS2 policy allows each node what it really does, and nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter
from vision_msgs.msg import Detection3DArray

from smotracker_ros.ros.parameters import declare_settings
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

POLICY = Path(__file__).resolve().parents[2] / "config" / "sros2" / "policy.xml"
NODES = {
    "tracker": "smotracker",
    "follow": "follow",
    "fusion": "fusion",
    "player": "bag_player",
    "recorder": "recorder",
}
KINDS = {
    ("topics", "publish"): "get_publisher_names_and_types_by_node",
    ("topics", "subscribe"): "get_subscriber_names_and_types_by_node",
    ("services", "reply"): "get_service_names_and_types_by_node",
    ("services", "request"): "get_client_names_and_types_by_node",
}


def _allowed(node: str) -> dict[tuple[str, str], set[str]]:
    """Full names by kind and direction."""
    profile = ElementTree.parse(POLICY).find(f".//profile[@node='{node}']")
    assert profile is not None and profile.get("ns") == "/"
    found: dict[tuple[str, str], set[str]] = {kind: set() for kind in KINDS}
    for group in profile:
        directions = {direction for direction, value in group.attrib.items() if value == "ALLOW"}
        assert directions == set(group.attrib), "only permissions"
        for direction in directions:
            for item in group:
                name = (item.text or "").strip().replace("~", f"/{node}")
                found[group.tag, direction].add(name if name.startswith("/") else f"/{name}")
    return found


@pytest.mark.slow
def test_the_policy_is_what_the_nodes_do(client: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    write_scene(tmp_path / "scene", SceneSettings(320, 256, 2, 30.0, 2, "static", "infrared"), seed=1)
    video = tmp_path / "scene" / "video.mp4"
    start("tracker", "-p", "use_sim_time:=true")
    start("follow", "-p", "use_sim_time:=true")
    start("fusion", "-p", "use_sim_time:=true", "-p", "cameras:=front,rear")
    client.node.create_publisher(Detection3DArray, "/cues_3d", 1)  # for which the tracker listens to TF
    start("recorder", "-p", f"output:={tmp_path / 'out'}", "-p", "use_sim_time:=true")
    start("player", "-p", f"source:={video}", "-p", "clock:=true", "-p", "max_in_flight:=2", "-p", "subscribers:=9")

    def graph(node: str) -> dict[tuple[str, str], set[str]]:
        found = {}
        for kind, method in KINDS.items():
            try:
                found[kind] = {name for name, _ in getattr(client.node, method)(node, "/")}
            except Exception:  # not there yet
                return {}
        return found

    def differences() -> dict[str, Any]:
        different = {}
        for node in NODES.values():
            there, allowed = graph(node), _allowed(node)
            for kind in KINDS:
                missing, needless = there.get(kind, set()) - allowed[kind], allowed[kind] - there.get(kind, set())
                if missing or needless:
                    different[f"{node} {kind}"] = {"not allowed": missing, "not used": needless}
        return different

    client.spin_until(lambda: not differences(), 120)
    assert not differences(), repr(differences())


def test_nobody_else_can_declare_a_file_trusted(client: Any) -> None:
    declare_settings(client.node, "y-smotracker")
    changes = (("trusted_weights", "anywhere"), ("trusted_weights", "/tmp"), ("detector_weights", "a.pt"))
    results = client.node.set_parameters([Parameter(name, value=value) for name, value in changes])
    assert [result.successful for result in results] == [False, False, True]
    assert "read-only" in results[0].reason
