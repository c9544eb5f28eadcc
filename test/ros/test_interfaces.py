"""The message interfaces are what others expect, and only ros/ knows of ROS."""

from __future__ import annotations

import ast
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from smotracker_ros.msg import Track
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    Pose2D,
    VisionClass,
    VisionInfo,
)

from smotracker_ros.core.tracks import TrackState
from smotracker_ros.io.message_types import typestore

ROOT = Path(__file__).resolve().parents[2]

# As the ROS distributions build vision_msgs 4: two programs talk only if these agree.
PUBLIC_HASHES = {
    "vision_msgs/msg/Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "vision_msgs/msg/Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "vision_msgs/msg/BoundingBox2D": "RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
}


def _built_hash(type_name: str) -> str:
    package, _, name = type_name.split("/")
    description = json.loads(Path(get_package_share_directory(package), "msg", f"{name}.json").read_text())
    return {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}[type_name]


@pytest.mark.parametrize("type_name", PUBLIC_HASHES)
def test_vision_msgs_are_the_public_ones(type_name: str) -> None:
    assert _built_hash(type_name) == PUBLIC_HASHES[type_name]


@pytest.mark.parametrize(
    "type_name",
    [
        *PUBLIC_HASHES,
        "vision_msgs/msg/Detection3DArray",
        "vision_msgs/msg/LabelInfo",
        "vision_msgs/msg/VisionInfo",
        "tf2_msgs/msg/TFMessage",
        "smotracker_ros/msg/Track",
        "smotracker_ros/msg/TrackArray",
    ],
)
def test_bags_are_written_with_the_same_types(type_name: str) -> None:
    assert typestore().hash_rihs01(type_name) == _built_hash(type_name)


def test_vision_msgs_fields() -> None:
    assert list(Detection2DArray.get_fields_and_field_types()) == ["header", "detections"]
    assert list(Detection2D.get_fields_and_field_types()) == ["header", "results", "bbox", "id"]
    assert list(BoundingBox2D.get_fields_and_field_types()) == ["center", "size_x", "size_y"]
    assert list(Pose2D.get_fields_and_field_types()) == ["position", "theta"]
    assert LabelInfo.get_fields_and_field_types() == {
        "header": "std_msgs/Header",
        "class_map": "sequence<vision_msgs/VisionClass>",
        "threshold": "float",
    }
    assert VisionClass.get_fields_and_field_types() == {"class_id": "uint16", "class_name": "string"}
    assert list(VisionInfo.get_fields_and_field_types()) == [
        "header", "method", "database_location", "database_version",
    ]  # fmt: skip
    assert list(ObjectHypothesisWithPose.get_fields_and_field_types()) == ["hypothesis", "pose"]


def test_state_constants_agree() -> None:
    assert {state.name: int(state) for state in TrackState} == {
        name: getattr(Track, name) for name in ("TENTATIVE", "CONFIRMED", "LOST", "REMOVED")
    }


def test_only_the_ros_folder_imports_ros() -> None:
    forbidden = {"rclpy", "sensor_msgs", "std_msgs", "vision_msgs", "diagnostic_msgs", "std_srvs", "cv_bridge"}
    for file in (ROOT / "smotracker_ros").rglob("*.py"):
        if "ros" in file.relative_to(ROOT / "smotracker_ros").parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.split(".")[0] not in forbidden, f"{file} imports {name}"
                assert not name.startswith(("smotracker_ros.msg", "smotracker_ros.ros")), f"{file} imports {name}"


def test_package_xml_names_what_is_imported() -> None:
    declared = {item.text for item in ElementTree.parse(ROOT / "package.xml").getroot() if item.tag.endswith("depend")}
    imported: set[str] = set()
    for file in [*(ROOT / "smotracker_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
    of_ros = {name for name in imported if name.endswith(("_msgs", "_srvs", "_interfaces"))}
    assert {"builtin_interfaces", "sensor_msgs"} <= of_ros
    of_ros |= imported & {"rclpy", "launch", "launch_ros", "ament_index_python", "cv_bridge"}
    assert of_ros <= declared, f"package.xml lacks {of_ros - declared}"
    assert "ros2launch" in declared, "the documented commands need it"
