"""Between messages and the fusion, whichever library made the messages: rclpy or rosbags."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from smotracker_ros.core.tracks import TrackState
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.fusion.sightings import FusedTargets, Sighting, TargetEstimate, View
from smotracker_ros.space.poses import Pose

NANOSECONDS = 1_000_000_000

_SEEN = (TrackState.TENTATIVE, TrackState.CONFIRMED)


class NoBearingsError(ValueError):
    """There are tracks, but none has a direction; the message says what to do."""


def pixel_angle(calibration: Calibration | None, settings: FusionSettings) -> float:
    """Angle of a pixel in the middle of a camera's image, radians; that of the settings without a calibration."""
    if calibration is None:
        return settings.pixel_angle
    focal = math.sqrt(float(calibration.matrix[0, 0] * calibration.matrix[1, 1]))
    return max(calibration.binning) / focal


def read_view(message: Any, camera: str, pose: Pose, settings: FusionSettings, angle: float) -> View:
    """What a `smotracker_ros/TrackArray` says of one image.

    Args:
        message: the message.
        camera: name of its camera.
        pose: of the camera at the message's stamp.
        settings: say how exact boxes are.
        angle: of a pixel, radians.

    Raises:
        NoBearingsError: if no track has a direction: the camera's tracker lacks a calibration.
    """
    seen = [track for track in message.tracks if track.state in _SEEN and track.frames_since_seen == 0]
    known = [track for track in seen if track.bearing_x or track.bearing_y or track.bearing_z]
    if seen and not known:
        raise NoBearingsError(
            f"the tracks of {camera} have no bearings: give its tracker a camera_info that fits the images"
        )
    bearings = np.array([(t.bearing_x, t.bearing_y, t.bearing_z) for t in known], dtype=np.float64).reshape(-1, 3)
    sightings = []
    for track, direction in zip(known, pose.directions_to_world(bearings), strict=True):
        side = max(float(track.box.size_x), float(track.box.size_y), 0.0)
        length = float(np.linalg.norm(direction))
        if not (math.isfinite(side) and math.isfinite(length) and length > 0):
            continue
        deviation = angle * math.hypot(settings.pixel_deviation, settings.size_deviation * side)
        sightings.append(
            Sighting(
                int(track.id),
                direction / length,
                deviation,
                str(track.class_name),
                float(track.probability),
                angle * side,
                # bags of older versions have no such field
                str(getattr(track, "friendly", "")),
            )
        )
    stamp = message.header.stamp
    return View(camera, int(stamp.sec) * NANOSECONDS + int(stamp.nanosec), pose.position, tuple(sightings))


def to_record(targets: FusedTargets) -> dict[str, Any]:
    """Targets as plain values, for a line of JSON."""
    return {
        "stamp": targets.timestamp_ns / NANOSECONDS,
        "stamp_ns": targets.timestamp_ns,
        "camera": targets.camera,
        "targets": [_target_record(target) for target in targets.targets],
    }


def _target_record(target: TargetEstimate) -> dict[str, Any]:
    return {
        "id": target.id,
        "class_name": target.class_name,
        "friendly": target.friendly,
        "probability": round(target.probability, 4),
        "range_known": target.range_known,
        "position": [round(float(value), 4) for value in target.position],
        "velocity": [round(float(value), 4) for value in target.velocity],
        "covariance": [[float(f"{value:.6g}") for value in row] for row in target.covariance],
        "tracks": [[name, track] for name, track in target.cameras],
        "seen_ns": target.seen_ns,
        "size": round(target.size, 3),
    }


def detection_array(targets: FusedTargets, world: str, types: Mapping[str, Any]) -> Any:
    """Targets as a `vision_msgs/Detection3DArray`.

    A detection's `results[0].pose` holds place and covariance of the place; its orientation is that of the flight in
    the plane, as REP 103 has it (x forward), or no rotation where the speed is lost in its error. `bbox` is a cube of
    the target's size as far as it is known. `id` is the target's. A friendly target has a second result whose
    `class_id` is "friendly:" and its name. The header of a detection has the time at which the target was last seen.

    Args:
        targets: of one time.
        world: frame of the places.
        types: message classes by name: Time, Header, Detection3D and so on.
    """

    def header(stamp_ns: int) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
        return types["Header"](stamp=types["Time"](sec=seconds, nanosec=nanoseconds), frame_id=world)

    found = []
    for target in targets.targets:
        x, y, z = (float(value) for value in target.position)
        half = _heading(target) / 2
        pose = types["Pose"](
            position=types["Point"](x=x, y=y, z=z),
            orientation=types["Quaternion"](x=0.0, y=0.0, z=math.sin(half), w=math.cos(half)),
        )
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = target.covariance[:3, :3]
        place = types["PoseWithCovariance"](pose=pose, covariance=covariance.ravel())
        names = [target.class_name] + [f"friendly:{target.friendly}"] * bool(target.friendly)
        results = [
            types["ObjectHypothesisWithPose"](
                hypothesis=types["ObjectHypothesis"](class_id=name, score=target.probability), pose=place
            )
            for name in names
        ]
        size = types["Vector3"](x=target.size, y=target.size, z=target.size)
        found.append(
            types["Detection3D"](
                header=header(target.seen_ns),
                results=results,
                bbox=types["BoundingBox3D"](center=pose, size=size),
                id=str(target.id),
            )
        )
    return types["Detection3DArray"](header=header(targets.timestamp_ns), detections=found)


def _heading(target: TargetEstimate) -> float:
    """Direction of flight in the plane, radians from x towards y; 0 where it is not known."""
    velocity, spread = target.velocity[:2], target.covariance[3:5, 3:5]
    if float(velocity @ velocity) < 4 * float(np.trace(spread)):
        return 0.0
    return math.atan2(float(velocity[1]), float(velocity[0]))
