"""Poses of cameras that stand still, from a YAML file.

    world: map                        # frame in which the cameras stand; map if it is left out
    cameras:
      north:                          # what the camera is called, or the frame_id of its images
        frame_id: north_optical_frame # if the two differ
        position: [0.0, 12.5, 9.8]    # metres in the world
        rpy_degrees: [0, -10, 90]     # roll, pitch, yaw about the world's fixed x, y, z, in this order, as in URDF
        axes: body                    # of the frame that is meant: optical, if it is left out, or body
      south:
        position: [0.0, -12.5, 9.8]
        quaternion: [-0.5, 0.5, -0.5, 0.5]  # x, y, z, w

With `axes: optical` the rotation is that of the optical frame (x to the right of the image, y down, z forward), as TF
has it for the `frame_id` of an image. With `axes: body` it is that of the camera's housing (x forward, y left, z up,
REP 103): yaw is the direction of view, counter-clockwise from the world's x, a negative pitch looks up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from smotracker_ros.core.names import did_you_mean
from smotracker_ros.space.poses import OPTICAL_IN_BODY, FixedPose, Pose, PoseError

DEFAULT_WORLD = "map"

_KEYS = ("frame_id", "position", "quaternion", "rpy_degrees", "axes")
_AXES = ("optical", "body")
_EXAMPLE = "north: {position: [0, 0, 10], rpy_degrees: [0, -10, 90], axes: body}"


class ExtrinsicsError(ValueError):
    """A file of extrinsics that cannot be used; the message, of one line, names it and says why and what to do."""


@dataclass(frozen=True, eq=False)
class Extrinsics:
    """Where cameras stand.

    Attributes:
        cameras: pose of the optical frame in the world by the camera's name.
        world: frame_id of the world.
        frame_ids: frame_id of the images by the camera's name, where it is another.
    """

    cameras: Mapping[str, Pose]
    world: str = DEFAULT_WORLD
    frame_ids: Mapping[str, str] = field(default_factory=dict)

    def pose(self, camera: str) -> Pose:
        """The pose of a camera, by its name or the frame_id of its images.

        Raises:
            PoseError: if there is none; the message names those that are there.
        """
        names = {frame_id: name for name, frame_id in self.frame_ids.items()} | {name: name for name in self.cameras}
        if camera not in names:
            hint = did_you_mean(camera, names) or f"; it has {', '.join(sorted(names))}"
            raise PoseError(f"the extrinsics have no camera {camera!r}{hint}")
        return self.cameras[names[camera]]

    def source(self, camera: str) -> FixedPose:
        """The same at any time, as :class:`smotracker_ros.space.poses.PoseSource` says it.

        Raises:
            PoseError: as :meth:`pose`.
        """
        return FixedPose(self.pose(camera))


def read_extrinsics(path: str | Path) -> Extrinsics:
    """Read a file of extrinsics; the module's description shows one.

    Raises:
        ExtrinsicsError: if it cannot be used.
    """
    path = Path(path).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ExtrinsicsError(f"the extrinsics {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ExtrinsicsError(f"the extrinsics {path} are no text in UTF-8") from error
    except yaml.YAMLError as error:
        raise ExtrinsicsError(f"the extrinsics {path} are no YAML: {' '.join(str(error).split())}") from error
    try:
        return _read(content)
    except (PoseError, ValueError) as error:
        raise ExtrinsicsError(f"the extrinsics {path}: {error}") from error


def write_extrinsics(path: str | Path, extrinsics: Extrinsics) -> None:
    """Write a file that :func:`read_extrinsics` reads, with quaternions of the optical frames."""
    cameras: dict[str, Any] = {}
    for name, pose in extrinsics.cameras.items():
        frame_id = {"frame_id": extrinsics.frame_ids[name]} if name in extrinsics.frame_ids else {}
        cameras[name] = frame_id | {
            "position": pose.position.tolist(),
            "quaternion": pose.rotation.as_quat().tolist(),
            "axes": "optical",
        }
    content = {"world": extrinsics.world, "cameras": cameras}
    Path(path).write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8")


def _read(content: Any) -> Extrinsics:
    cameras = content.get("cameras") if isinstance(content, dict) else None
    if not isinstance(cameras, dict) or not cameras:
        raise ValueError(f"there is no list of cameras; write cameras: {{{_EXAMPLE}}}")
    if unknown := set(content) - {"world", "cameras"}:
        raise ValueError(f"there is no {min(map(str, unknown))}, only world and cameras")
    world = content.get("world", DEFAULT_WORLD)
    if not isinstance(world, str) or not world:
        raise ValueError(f"world is the name of a frame, not {world!r}")
    poses, frame_ids = {}, {}
    for name, entry in cameras.items():
        if not isinstance(entry, dict):
            raise ValueError(f"camera {name} has no position and rotation; write {_EXAMPLE}")
        try:
            poses[str(name)] = _pose(entry)
        except (PoseError, ValueError) as error:
            raise ValueError(f"camera {name}: {error}") from error
        if "frame_id" in entry:
            frame_ids[str(name)] = str(entry["frame_id"])
    return Extrinsics(poses, world, frame_ids)


def _pose(entry: Mapping[str, Any]) -> Pose:
    for key in entry:
        if key not in _KEYS:
            raise ValueError(f"there is no {key}{did_you_mean(str(key), _KEYS) or '; known are ' + ', '.join(_KEYS)}")
    if ("quaternion" in entry) == ("rpy_degrees" in entry):
        raise ValueError("give either quaternion: [x, y, z, w] or rpy_degrees: [roll, pitch, yaw]")
    axes = entry.get("axes", "optical")
    if axes not in _AXES:
        raise ValueError(f"axes are {' or '.join(_AXES)}, not {axes!r}")
    position = _numbers(entry, "position", 3)
    if "quaternion" in entry:
        pose = Pose.from_quaternion(position, _numbers(entry, "quaternion", 4))
    else:
        pose = Pose(Rotation.from_euler("xyz", _numbers(entry, "rpy_degrees", 3), degrees=True), position)
    return pose.compose(Pose(OPTICAL_IN_BODY)) if axes == "body" else pose


def _numbers(entry: Mapping[str, Any], key: str, count: int) -> np.ndarray:
    value = entry.get(key)
    is_numbers = isinstance(value, list) and all(type(item) in (int, float) for item in value)
    if not is_numbers or value is None or len(value) != count or not np.isfinite(value).all():
        raise ValueError(f"{key} is a list of {count} numbers, not {value!r}")
    return np.array(value, dtype=np.float64)
