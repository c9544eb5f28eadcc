"""`smotracker fuse`: recorded tracks of two cameras, as the tracker writes them, become targets in space."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.tracks import Track, Tracks, TrackState
from smotracker_ros.io.bag_copy import new_bag
from smotracker_ros.io.bag_reader import bag_messages, open_bag
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.result_messages import RESULT_TYPES, ResultMessages
from smotracker_ros.offline.fusing import BAG, RECORDS, TARGETS, fuse_bags
from smotracker_ros.space.extrinsics import Extrinsics
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.training.space_rig import Rig, SpaceSettings, make_rig

START_NS = 10**12


@pytest.fixture(scope="module")
def rig() -> Rig:
    return make_rig(SpaceSettings(cameras=2, seconds=4.0, targets=1, distance=100.0), seed=2)


@pytest.fixture(scope="module")
def bags(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A bag of each camera, with the topic that `smotracker bag` writes, and a broken message in it."""
    folder, messages, found = tmp_path_factory.mktemp("bags"), ResultMessages(), []
    for camera in rig.cameras:
        found.append(folder / camera.name)
        with new_bag(found[-1], "mcap") as writer:
            kind = RESULT_TYPES["track_states"]
            topic = writer.add_connection("/track_states", kind, typestore=typestore())
            for index, seconds in enumerate(camera.times.tolist()):
                pixel = camera.pixels(rig.flights[0].places([seconds]))[0]
                box = np.concatenate([pixel - 3, pixel + 3]).astype(np.float32)
                mask = MaskPatch(int(box[0]), int(box[1]), np.ones((6, 6), dtype=np.bool_))
                track = Track(
                    7, TrackState.CONFIRMED, box, 0.9, 1, "drone", mask, np.zeros(2, np.float32), index, 0, 0, 0.9
                )
                stamp = START_NS + round(seconds * 1e9)
                tracks = Tracks(stamp, index, camera.calibration.size, (track,))
                data = messages.encode(
                    tracks, stamp, f"{camera.name}_optical", ("track_states",), camera.calibration.bearings(pixel[None])
                )["track_states"]
                writer.write(topic, stamp, data[:40] if index == 5 else data)
    return found


def test_bags_of_two_cameras_become_targets(rig: Rig, bags: list[Path], tmp_path: Path) -> None:
    names = {camera.name: f"{camera.name}_optical" for camera in rig.cameras}
    extrinsics = Extrinsics({camera.name: camera.pose for camera in rig.cameras}, "site", names)
    summary = fuse_bags(bags, extrinsics, tmp_path / "out", FusionSettings(pixel_angle=0.001))
    assert summary.ids == summary.placed == {1}
    assert summary.unusable.total() == 2, "the broken messages are counted, and the rest is fused"
    lines = [json.loads(line) for line in (tmp_path / "out" / RECORDS).read_text().splitlines()]
    last = lines[-1]["targets"][0]
    seconds = (lines[-1]["stamp_ns"] - START_NS) / 1e9
    place, velocity = rig.flights[0].places([seconds])[0], rig.flights[0].velocities([seconds])[0]
    assert np.linalg.norm(np.array(last["position"]) - place) < 1.0
    assert np.linalg.norm(np.array(last["velocity"]) - velocity) < 4.0
    assert {name for name, _ in last["tracks"]} == {"camera_1", "camera_2"}
    with open_bag(tmp_path / "out" / BAG) as reader:
        messages = [
            (connection.topic, typestore().deserialize_cdr(raw, TARGETS)) for connection, _, raw in bag_messages(reader)
        ]
    assert len(messages) == len(lines) and messages[-1][0] == "/targets"
    detection = messages[-1][1].detections[0]
    assert messages[-1][1].header.frame_id == "site" and detection.id == "1"
    point = detection.results[0].pose.pose.position
    np.testing.assert_allclose((point.x, point.y, point.z), last["position"], atol=1e-3)
    np.testing.assert_allclose(
        detection.results[0].pose.covariance.reshape(6, 6)[:3, :3], np.array(last["covariance"])[:3, :3], rtol=1e-3
    )


def test_transforms_in_the_bags_say_where_cameras_are(rig: Rig, bags: list[Path], tmp_path: Path) -> None:
    kinds, kind = typestore().types, "tf2_msgs/msg/TFMessage"
    transforms = []
    for camera in rig.cameras:
        x, y, z, w = camera.pose.rotation.as_quat().tolist()
        place = kinds["geometry_msgs/msg/Vector3"](*camera.pose.position.tolist())
        turn = kinds["geometry_msgs/msg/Quaternion"](x, y, z, w)
        header = kinds["std_msgs/msg/Header"](kinds["builtin_interfaces/msg/Time"](0, 0), "map")
        transform = kinds["geometry_msgs/msg/Transform"](place, turn)
        transforms.append(kinds["geometry_msgs/msg/TransformStamped"](header, f"{camera.name}_optical", transform))
    with new_bag(tmp_path / "tf", "mcap") as writer:
        topic = writer.add_connection("/tf_static", kind, typestore=typestore())
        writer.write(topic, START_NS - 1, bytes(typestore().serialize_cdr(kinds[kind](transforms), kind)))
    summary = fuse_bags([*bags, tmp_path / "tf"], None, tmp_path / "out", FusionSettings())
    assert summary.placed == {1} and summary.unusable.total() == 2
    last = json.loads((tmp_path / "out" / RECORDS).read_text().splitlines()[-1])
    place = rig.flights[0].places([(last["stamp_ns"] - START_NS) / 1e9])[0]
    assert np.linalg.norm(np.array(last["targets"][0]["position"]) - place) < 1.0
    fuse_bags(bags, None, tmp_path / "nowhere", FusionSettings())
    assert not any(json.loads(line)["targets"] for line in (tmp_path / "nowhere" / RECORDS).read_text().splitlines())


def test_what_cannot_be_fused_says_why(rig: Rig, bags: list[Path], tmp_path: Path) -> None:
    strangers = Extrinsics({"elsewhere": rig.cameras[0].pose})
    with pytest.raises(SourceError, match=r"know neither .* nor its frame_id camera_1_optical"):
        fuse_bags(bags, strangers, tmp_path / "a", FusionSettings())
    known = Extrinsics({"camera_1_optical": rig.cameras[0].pose})
    with pytest.raises(SourceError, match="two topics of tracks of the camera camera_1_optical"):
        fuse_bags([bags[0], bags[0]], known, tmp_path / "b", FusionSettings())
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
