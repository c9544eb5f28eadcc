"""Hints in space out of messages, whether rclpy or rosbags has read them: one rule for nodes and bags."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.space.frame_poses import Poses, stamp_of
from smotracker_ros.space.hints import HintErrors, SpaceHint
from smotracker_ros.space.poses import PoseError
from smotracker_ros.tracking.gates import MOST_HINTS, GateBook

FRIENDLY = "friendly:"
"""What stands before the name of a friendly target in `id` or `class_id`."""

# ROS messages say by -1 as the first element of a covariance that something is not known: here the range
_NO_RANGE = -1.0
_FARTHEST = 1e6


@dataclass(frozen=True)
class HintOptions:
    """What hints do not say, as the node's parameters and the command's options have it.

    Attributes:
        deviation: standard deviation in metres of a hint whose covariance is all zero.
        direction_degrees: standard deviation of a direction, degrees.
        pose_friendly: name of the friendly target whose pose comes on `cue_pose`; empty: it is none.
        errors: of poses, and of what has passed since.
    """

    deviation: float = 10.0
    direction_degrees: float = 1.0
    pose_friendly: str = ""
    errors: HintErrors = field(default_factory=HintErrors)


@dataclass(frozen=True, eq=False)
class _Stated:
    """A hint as its message states it."""

    frame_id: str
    timestamp_ns: int
    position: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    source: str
    friendly: str


class HintInbox:
    """Hints that came since the last frame; safe to use from several threads.

    Attributes:
        counts: hints that did not reach the tracker: "invalid", "too many", "no pose", "not calibrated".
        trouble: what kept the latest hints from being used; None: nothing did.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.trouble: str | None = None
        self._lock = threading.Lock()
        self._stated: list[_Stated] = []

    def put(self, message: Any) -> None:
        """Take what a radar or another tracker has found: a `vision_msgs/Detection3DArray`."""
        for detection in message.detections:
            self._keep(_of_detection(detection, message))

    def put_pose(self, message: Any, friendly: str) -> None:
        """Take the place of one target, such as a friendly drone's own, as a `geometry_msgs/PoseWithCovarianceStamped`.

        Its orientation is of no use.
        """
        pose, header = message.pose.pose, message.header
        covariance = np.array(message.pose.covariance, dtype=np.float64).reshape(6, 6)[:3, :3]
        position = np.array([pose.position.x, pose.position.y, pose.position.z])
        self._keep(_Stated(header.frame_id, stamp_of(header), position, covariance, "cue_pose", friendly))

    def take_all(
        self, frame: Frame, calibration: Calibration | None, poses: Poses | None, options: HintOptions
    ) -> list[SpaceHint]:
        """The hints that came since the last call, for the tracker.

        Args:
            frame: the one that is tracked next.
            calibration: of its camera, if it is known.
            poses: where frames are.
            options: what hints do not say.
        """
        with self._lock:
            stated, self._stated = self._stated, []
        if not stated:
            return []
        if calibration is None or calibration.size != frame.image.shape[:2]:
            self.counts["not calibrated"] += len(stated)
            self.trouble = "the camera has no camera_info that fits its images"
            return []
        found, self.trouble = [], None
        for item in stated:
            try:
                if poses is None:
                    raise PoseError("nothing has come on /tf yet")
                found.append(_to_hint(item, frame, calibration, poses, options))
            except PoseError as error:
                self.counts["no pose"] += 1
                self.trouble = str(error)
        return found

    def outcome(self, book: GateBook) -> tuple[int, dict[str, int]]:
        """How many hints a tracker's book has used, and how many were refused here or there, by the reason."""
        refused = Counter(book.counts) + self.counts
        used = refused.pop("used", 0)
        return used, dict(sorted(refused.items()))

    def clear(self) -> None:
        """Forget what has come."""
        with self._lock:
            self._stated = []

    def _keep(self, item: _Stated) -> None:
        is_direction = item.covariance[0, 0] == _NO_RANGE
        variances = np.diag(item.covariance)
        is_finite = np.isfinite(item.position).all() and np.abs(item.position).max() <= _FARTHEST
        if not is_finite or (not is_direction and not (variances >= 0).all()):
            self.counts["invalid"] += 1
            return
        with self._lock:
            if len(self._stated) >= MOST_HINTS:
                self.counts["too many"] += 1
                return
            self._stated.append(item)


def _of_detection(detection: Any, array: Any) -> _Stated:
    """A hint out of a detection: its box's centre, with the covariance of its first hypothesis."""
    center, covariance, class_id = detection.bbox.center.position, np.zeros((3, 3)), ""
    if detection.results:
        first = detection.results[0]
        covariance = np.array(first.pose.covariance, dtype=np.float64).reshape(6, 6)[:3, :3]
        class_id = first.hypothesis.class_id
        if not (center.x or center.y or center.z):
            center = first.pose.pose.position
    names = [text.removeprefix(FRIENDLY) for text in (class_id, detection.id) if text.startswith(FRIENDLY)]
    header = detection.header if detection.header.frame_id else array.header
    stamp = stamp_of(detection.header) or stamp_of(array.header)
    position = np.array([center.x, center.y, center.z])
    source = f"{header.frame_id}/{detection.id}" if detection.id else ""
    return _Stated(header.frame_id, stamp, position, covariance, source, next(iter(names), ""))


def _to_hint(item: _Stated, frame: Frame, calibration: Calibration, poses: Poses, options: HintOptions) -> SpaceHint:
    """A hint in the world.

    Raises:
        PoseError: if it is not known where the hint's frame or the camera is.
    """
    stamp = item.timestamp_ns or frame.timestamp_ns
    here = poses.source(item.frame_id).at(stamp)
    is_direction = item.covariance[0, 0] == _NO_RANGE
    covariance = np.zeros((3, 3)) if is_direction else np.nan_to_num(item.covariance, posinf=_FARTHEST**2)
    if not covariance.any():
        covariance = options.deviation**2 * np.eye(3)
    turned = here.rotation.as_matrix()
    return SpaceHint(
        stamp,
        here.points_to_world(item.position)[0],
        turned @ ((covariance + covariance.T) / 2) @ turned.T,
        poses.source(frame.frame_id),
        calibration,
        item.source,
        item.friendly,
        here.position,
        options.direction_degrees if is_direction else None,
        options.errors,
    )
