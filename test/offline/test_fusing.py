"""`smotracker fuse`: recorded tracks of two cameras, as the tracker writes them, become targets in space."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.tracks import Track, Tracks, TrackState
from smotracker_ros.evaluation.sway import Sway
from smotracker_ros.io.bag_copy import new_bag
from smotracker_ros.io.bag_reader import bag_messages, open_bag
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.result_messages import RESULT_TYPES, ResultMessages
from smotracker_ros.offline.fusing import BAG, RECORDS, TARGETS, TRANSFORMS, fuse_bags
from smotracker_ros.space.extrinsics import Extrinsics
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.poses import Pose
from smotracker_ros.training.space_rig import Rig, SpaceSettings, make_rig

START_NS = 10**12


@pytest.fixture(scope="module")
def rig() -> Rig:
    return make_rig(SpaceSettings(cameras=2, seconds=4.0, targets=1, distance=100.0), seed=2)


def write_tracks(
    path: Path, rig: Rig, number: int, pose_at: Callable[[float], Pose], broken: int = -1, recorded_late: float = 0.0
) -> Path:
    """A bag of a camera's tracks, as `smotracker bag` writes them.

    Args:
        path: of the bag.
        rig: cameras and the flight that they see.
        number: of the camera.
        pose_at: where it is at a time, seconds.
        broken: number of a message that is cut off.
        recorded_late: seconds from an image to the recording of its tracks.
    """
    camera, messages, kind = rig.cameras[number], ResultMessages(), RESULT_TYPES["track_states"]
    with new_bag(path, "mcap") as writer:
        topic = writer.add_connection("/track_states", kind, typestore=typestore())
        for index, seconds in enumerate(camera.times.tolist()):
            pixel = camera.pixels(rig.flights[0].places([seconds]), pose_at(seconds))[0]
            if not np.isfinite(pixel).all():
                continue
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
            writer.write(topic, stamp + round(recorded_late * 1e9), data[:40] if index == broken else data)
    return path


@pytest.fixture(scope="module")
def bags(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A bag of each camera, with the topic that `smotracker bag` writes, and a broken message in it."""
    folder = tmp_path_factory.mktemp("bags")
    return [
        write_tracks(folder / camera.name, rig, number, lambda _, pose=camera.pose: pose, 5)
        for number, camera in enumerate(rig.cameras)
    ]


def transform(camera: str, seconds: float, pose: Pose) -> Any:
    """A transform of TF."""
    kinds, stamp = typestore().types, START_NS + round(seconds * 1e9)
    place = kinds["geometry_msgs/msg/Vector3"](*pose.position.tolist())
    turn = kinds["geometry_msgs/msg/Quaternion"](*pose.rotation.as_quat().tolist())
    time = kinds["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
    header = kinds["std_msgs/msg/Header"](time, "map")
    stated = kinds["geometry_msgs/msg/Transform"](place, turn)
    return kinds["geometry_msgs/msg/TransformStamped"](header, f"{camera}_optical", stated)


def write_transforms(path: Path, topic: str, messages: Sequence[tuple[float, Sequence[Any]]]) -> Path:
    """A bag of messages of TF: when they were recorded, seconds, and their transforms."""
    with new_bag(path, "mcap") as writer:
        connection = writer.add_connection(topic, TRANSFORMS, typestore=typestore())
        for seconds, transforms in messages:
            message = typestore().types[TRANSFORMS](list(transforms))
            data = bytes(typestore().serialize_cdr(message, TRANSFORMS))
            writer.write(connection, START_NS + round(seconds * 1e9), data)
    return path


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
    transforms = [transform(camera.name, 0.0, camera.pose) for camera in rig.cameras]
    write_transforms(tmp_path / "tf", "/tf_static", [(-0.001, transforms)])
    summary = fuse_bags([*bags, tmp_path / "tf"], None, tmp_path / "out", FusionSettings())
    assert summary.placed == {1} and summary.unusable.total() == 2
    last = json.loads((tmp_path / "out" / RECORDS).read_text().splitlines()[-1])
    place = rig.flights[0].places([(last["stamp_ns"] - START_NS) / 1e9])[0]
    assert np.linalg.norm(np.array(last["targets"][0]["position"]) - place) < 1.0
    fuse_bags(bags, None, tmp_path / "nowhere", FusionSettings())
    assert not any(json.loads(line)["targets"] for line in (tmp_path / "nowhere" / RECORDS).read_text().splitlines())


def sways(pose: Pose, number: int, seconds: float) -> Pose:
    """A mast of five metres that sways by 1.5 degrees."""
    return Sway(1.5).moved(pose, number, seconds)


def drives(pose: Pose, number: int, seconds: float) -> Pose:
    """The first camera is on a vehicle that passes by at 5 m/s, the second one stands."""
    return Pose(pose.rotation, pose.position + np.array([5.0 * (3.0 - seconds) * (number == 0), 0.0, 0.0]))


def error_of(rig: Rig, folder: Path, move: Callable[[Pose, int, float], Pose] | None, late: float = 0.0) -> float:
    """Median distance of the fused target to the truth, metres, with transforms whose stamps are late."""
    found, transforms = [], []
    for number, camera in enumerate(rig.cameras):

        def pose_at(seconds: float, number: int = number, pose: Pose = camera.pose) -> Pose:
            return pose if move is None else move(pose, number, seconds)

        found.append(write_tracks(folder / camera.name, rig, number, pose_at, recorded_late=0.06))
        for seconds in np.arange(-1.0, 8.5, 0.05).tolist():
            transforms.append((seconds, [transform(camera.name, seconds + late, pose_at(seconds))]))
    found.append(write_transforms(folder / "tf", "/tf", sorted(transforms, key=lambda item: item[0])))
    settings = FusionSettings(pixel_angle=0.001)
    assert fuse_bags(found, None, folder / "out", settings).unusable.total() == 0
    errors = []
    for line in (folder / "out" / RECORDS).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        seconds = (record["stamp_ns"] - START_NS) / 1e9
        for target in record["targets"]:
            if seconds > 3.0 and target["range_known"]:
                errors.append(np.linalg.norm(target["position"] - rig.flights[0].places([seconds])[0]))
    assert len(errors) > 100
    return float(np.median(errors))


@pytest.mark.parametrize("move", [sways, drives])
def test_a_moving_camera_is_where_the_transforms_say_at_its_images_stamps(
    tmp_path: Path, move: Callable[[Pose, int, float], Pose]
) -> None:
    rig = make_rig(SpaceSettings(cameras=2, baseline=60.0, seconds=8.0, fps=15.0, targets=1, distance=100.0), seed=2)
    standing, moving, late = (
        error_of(rig, tmp_path / name, *given)
        for name, given in (("standing", (None,)), ("moving", (move,)), ("late", (move, 0.1)))
    )
    assert moving < 1.5 * standing, (standing, moving, late)
    assert late > 3 * moving, (standing, moving, late)


def test_what_cannot_be_fused_says_why(rig: Rig, bags: list[Path], tmp_path: Path) -> None:
    strangers = Extrinsics({"elsewhere": rig.cameras[0].pose})
    with pytest.raises(SourceError, match=r"know neither .* nor its frame_id camera_1_optical"):
        fuse_bags(bags, strangers, tmp_path / "a", FusionSettings())
    known = Extrinsics({"camera_1_optical": rig.cameras[0].pose})
    with pytest.raises(SourceError, match="two topics of tracks of the camera camera_1_optical"):
        fuse_bags([bags[0], bags[0]], known, tmp_path / "b", FusionSettings())
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
