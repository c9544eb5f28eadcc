"""All targets that are there: who gets an id, how many there may be, and who goes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import as_boxes, lie_on, pairwise_iou, pairwise_overlap
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.detection import Detections
from smotracker_ros.tracking import kinematics
from smotracker_ros.tracking.camera_motion import CameraShift
from smotracker_ros.tracking.clutter import ClutterMap
from smotracker_ros.tracking.displacement import Displacement
from smotracker_ros.tracking.existence import ExistenceModel
from smotracker_ros.tracking.occlusion import SAME_PLACE
from smotracker_ros.tracking.target import LOST_SHARE, Target, boxes_of

# The background's velocity in reports is averaged over about so many seconds
_BACKGROUND_SECONDS = 0.1
# A masklet out of sight this long, in seconds, is lost
_UNSEEN_LIMIT = 0.7
# A detection of this IoU with a target, or of which so much lies on one that is seen, starts none beside it
_SAME_TARGET_IOU = 0.4
_SAME_TARGET_OVERLAP = 0.6


class Population(dict[int, Target]):
    """Live and lost targets by id, in the order of their birth.

    Attributes:
        next_id: id of the next new target; an id is never used twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.next_id = 1

    @property
    def live(self) -> list[Target]:
        """Targets whose masklets are propagated."""
        return [target for target in self.values() if target.is_live]

    def room(self, settings: TrackerSettings) -> int:
        """How many more targets may be started; below 1: none."""
        return settings.max_live_tracks - len(self.live)

    def births(
        self,
        found: Detections,
        free: npt.NDArray[np.int64],
        unsettled: Collection[int],
        settings: TrackerSettings,
        most: int = 0,
    ) -> list[int]:
        """Which detections start targets, as indices.

        Args:
            found: detections.
            free: indices of those that nobody claims.
            unsettled: ids of targets that lie over others, so that it is open who is who.
            settings: limits.
            most: how many there is time for, the surest first; 0: as many as there are.
        """
        live = self.live
        boxes = boxes_of(live)
        seen = boxes_of(target for target in live if target.mask is not None)
        occluded = boxes_of(target for target in live if target.id in unsettled)
        chosen: list[int] = []
        for index in free[found.scores[free] >= settings.birth_confidence].tolist():
            box = found.boxes[index]
            if len(boxes) and float(pairwise_iou(boxes, box).max()) > _SAME_TARGET_IOU:
                continue  # a second box on a target that has one already
            if len(seen) and float(pairwise_overlap(seen, as_boxes(box)).max()) > _SAME_TARGET_OVERLAP:
                continue  # the same target, a part of it, or a box much too large
            if lie_on(box, occluded, SAME_PLACE)[0]:
                continue  # one box round two targets, or one of them that its masklet has left
            chosen.append(index)
        return chosen[: max(min(self.room(settings), most or len(chosen)), 0)]

    def add(self, target: Target) -> None:
        """Take in a target that has been born with the next id."""
        self[target.id] = target
        self.next_id = target.id + 1

    def retire(
        self,
        frame: Frame,
        settings: TrackerSettings,
        existence: ExistenceModel,
        clutter: ClutterMap,
        lost_share: float = LOST_SHARE,
    ) -> None:
        """At the end of a frame: confirm what deserves it, live targets out of sight become lost, lost ones expire.

        Args:
            frame: the current frame.
            settings: limits; masklets that are left to themselves (`prompts: first_frame`) are never lost.
            existence: says how probable targets are.
            clutter: is told of places that turned out to be clutter.
            lost_share: of `confirm_probability`, below which CONFIRMED targets are LOST.
        """
        for target in self.values():
            target.judge(settings, existence, frame.image, lost_share)
            if target.has_waited(settings):
                if target.hits > 1:
                    clutter.add(target.box)
                target.state = TrackState.REMOVED
            if target.is_live and target.mask is None and not target.waits and settings.prompts != "first_frame":
                x, y = target.motion.center
                outside = not (0 <= x < frame.width and 0 <= y < frame.height)
                if outside or target.seconds_unseen > _UNSEEN_LIMIT:
                    lost = target.state is TrackState.CONFIRMED
                    target.state = TrackState.LOST if lost else TrackState.REMOVED
            if target.state is TrackState.LOST and target.seconds_unseen > settings.lost_seconds:
                target.state = TrackState.REMOVED
        lost_targets = [target for target in self.values() if target.state is TrackState.LOST]
        lost_targets.sort(key=lambda target: (target.seconds_unseen, target.id))
        for target in lost_targets[settings.max_live_tracks :]:
            target.state = TrackState.REMOVED

    def bury(self) -> list[int]:
        """Forget all that are REMOVED; returns their ids."""
        removed = [target.id for target in self.values() if target.state is TrackState.REMOVED]
        for identity in removed:
            del self[identity]
        return removed


def predict_all(targets: Collection[Target], shift: CameraShift, seconds: float, passed: float | None = None) -> None:
    """Move targets on to the next frame, all at once, as the calls cost more than the numbers.

    Args:
        targets: live and lost ones.
        shift: the camera's motion.
        seconds: time step of motion.
        passed: time since the previous frame, if that is longer: targets age by it. None: `seconds`.
    """
    if not targets:
        return
    passed = seconds if passed is None else passed
    if seconds > 0:
        centers = np.array([target.motion.center for target in targets])
        background = (shift.move(centers) - centers) / np.float32(seconds)
        velocities = np.array([target.background_velocity for target in targets])
        gain = np.float32(1 - np.exp(-seconds / _BACKGROUND_SECONDS))
        for target, velocity in zip(targets, velocities + gain * (background - velocities), strict=True):
            target.background_velocity = velocity
    zoom = shift.zoom
    sizes = np.array([target.size for target in targets])
    kinematics.predict_all(
        [target.motion for target in targets],
        shift,
        seconds,
        sizes.max(axis=1).astype(np.float64),
        np.array([not target.is_live for target in targets]),
    )
    Displacement.predict_all([target.displacement for target in targets], shift, passed)
    margins = np.array([target.margins for target in targets])
    for target, size, margin in zip(targets, sizes * np.float32(zoom), margins * np.float32(zoom), strict=True):
        target.size, target.margins = size, margin
        target.record.predict(passed)
        if target.first_place is not None:
            target.first_place.predict(shift)
        target.detected_side *= zoom
        target.usual_side *= zoom
        target.age += 1
        target.frames_since_detection += 1
        target.frames_since_seen += 1
        target.seconds_unseen += passed
        target.seconds_alive += passed
        target.seconds_since_detection += passed
        target.mask, target.mask_box = None, None
        target.vouched = target.hinted = target.waits = False
