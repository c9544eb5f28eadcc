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
from smotracker_ros.tracking.clutter import ClutterMap
from smotracker_ros.tracking.existence import ExistenceModel
from smotracker_ros.tracking.occlusion import SAME_PLACE
from smotracker_ros.tracking.target import LOST_SHARE, Target

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
        self, found: Detections, free: npt.NDArray[np.int64], unsettled: Collection[int], settings: TrackerSettings
    ) -> list[int]:
        """Which detections start targets, as indices.

        Args:
            found: detections.
            free: indices of those that nobody claims.
            unsettled: ids of targets that lie over others, so that it is open who is who.
            settings: limits.
        """
        live = self.live
        boxes = as_boxes([target.box for target in live])
        seen = as_boxes([target.box for target in live if target.mask is not None])
        occluded = as_boxes([target.box for target in live if target.id in unsettled])
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
        return chosen[: max(self.room(settings), 0)]

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
            if target.is_live and target.mask is None and settings.prompts != "first_frame":
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
