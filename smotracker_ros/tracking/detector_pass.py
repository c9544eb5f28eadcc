"""A detector pass: what is detected goes to the masklets in sight, then to LOST targets; the rest is born."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, lie_on, pairwise_iou
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.detection import Detections, Detector
from smotracker_ros.detection.motion_stack import DetectorView
from smotracker_ros.detection.regions import Regions
from smotracker_ros.masklets.propagator import Propagator
from smotracker_ros.tracking.association import associate
from smotracker_ros.tracking.background import Background
from smotracker_ros.tracking.camera_motion import CameraShift
from smotracker_ros.tracking.clutter import ClutterMap
from smotracker_ros.tracking.costs import Side, appearance_matters
from smotracker_ros.tracking.occlusion import SAME_PLACE, Occlusions
from smotracker_ros.tracking.population import Population
from smotracker_ros.tracking.target import Target

# Overlap from which a detection says that a masklet has drifted
_DRIFT_IOU = 0.35

Observer = Callable[[Side, Side, bool], None]
"""Is told both sides of an association, masklets and detections, and whether the masklets are of LOST targets."""


class DetectorPass:
    """Confronts targets with what a detector finds.

    Args:
        detector: finds objects.
        propagator: knows appearances, and remembers.
        background: what is no target.
        targets: all that are there.
        occlusions: who of them is who.

    Attributes:
        clutter: places where detections are nothing.
    """

    def __init__(
        self,
        detector: Detector,
        propagator: Propagator,
        background: Background,
        targets: Population,
        occlusions: Occlusions,
    ) -> None:
        self._view = DetectorView(detector)
        self._propagator = propagator
        self._background = background
        self._targets = targets
        self._occlusions = occlusions
        self.clutter = ClutterMap()

    def reset(self) -> None:
        """Forget the stream."""
        self._view.reset()
        self.clutter = ClutterMap()

    def advance(self, frame: Frame, shift: CameraShift) -> None:
        """Move on to the next frame."""
        self._view.push(frame, shift.matrix)
        self.clutter.predict(shift)

    def regions(self, targets: Sequence[Target], settings: TrackerSettings) -> Regions:
        """What of the frame to look at in order to see some targets."""
        return self._view.regions(as_boxes([target.box for target in targets]), settings.detector_image_size)

    def run(
        self, frame: Frame, regions: Regions, settings: TrackerSettings, observe: Observer | None = None
    ) -> dict[int, FloatArray]:
        """Detect, match detections with live masklets, then with lost ones; the rest are born.

        Args:
            frame: the one of the last :meth:`advance`.
            regions: what of it is looked at; targets elsewhere are left as they are.
            settings: thresholds and limits.
            observe: is told both sides of each association.

        Returns:
            By the ids of targets that are new or elsewhere than their masks: the box, float32 (4,), to prompt with.
        """
        found = self._view.detect(settings.detector_confidence, settings.detector_image_size, regions)
        found = found.select(~self._background.ignores(found.boxes))
        seen = self.seen(regions)
        live = [target for target in seen if target.is_live]
        lost = [target for target in seen if target.state is TrackState.LOST]
        # what lies still at a known place of clutter says nothing about a target that flies past
        still, travelled = self.clutter.claim(found.boxes, regions.show(self.clutter.boxes))
        free = np.flatnonzero(~still & ~show_several(found.boxes, live))
        appearance = self._describe(frame, found, free, live, settings)
        moved = self._occlusions.settle(self._targets, found.boxes[free], [target.id for target in seen])
        prompts = {identity: self._targets[identity].box for identity in moved}
        for identity, since in moved.items():
            self._propagator.rewind(identity, since)
        elsewhere = self._occlusions.slipped
        slipped = [target for target in live if target.id in elsewhere]
        live = [target for target in live if target.id not in elsewhere]
        for group in (live, slipped, lost):
            if not group:
                continue
            candidates = free if group is not lost else free[found.scores[free] >= settings.birth_confidence]
            if group is slipped:
                candidates = candidates[~_lie_on_any(found.boxes[candidates], live)]
            sides = _masklet_side(group), Side.in_sight(found.boxes[candidates], appearance[candidates])
            if observe is not None:
                observe(*sides, group is lost)
            result = associate(*sides, lost=group is lost)
            for row, column in result.matches:
                target, index = group[row], int(candidates[column])
                box = found.boxes[index]
                drifted = target.mask is None or (
                    float(pairwise_iou(target.box, box)[0, 0]) < _DRIFT_IOU
                    and found.scores[index] >= settings.birth_confidence
                )
                if drifted:
                    target.restart(box)
                    prompts[target.id] = box
                _accept(target, found, index, appearance)
            for row in result.unmatched_masklets if group is not lost else ():
                group[row].missed()
            matched = candidates[[column for _, column in result.matches]]
            free = free[~np.isin(free, matched)]
        free = free[~self._background.burnt_in(found.boxes[free])]
        return prompts | self._births(found, appearance, free, travelled, settings)

    def seen(self, regions: Regions) -> list[Target]:
        """The targets that some regions show, by id."""
        targets = [self._targets[key] for key in sorted(self._targets)]
        shown = regions.show(as_boxes([target.box for target in targets]))
        return [target for target, is_shown in zip(targets, shown.tolist(), strict=True) if is_shown]

    def _describe(
        self,
        frame: Frame,
        found: Detections,
        free: npt.NDArray[np.int64],
        live: Sequence[Target],
        settings: TrackerSettings,
    ) -> FloatArray:
        """Appearance of detections; zeros, which agree with none, where it would be looked at for nothing.

        It is needed of what may start a target or lies near one.

        Args:
            frame: the current frame.
            found: detections.
            free: indices of those that are no clutter.
            live: live targets.
            settings: what is sure enough to start a target.

        Returns:
            float32 (len(found), D).
        """
        boxes = found.boxes[free]
        useful = found.scores[free] >= settings.birth_confidence
        if live and len(free):
            nowhere = np.zeros((len(free), live[0].appearance.size), dtype=np.float32)
            near = appearance_matters(_masklet_side(live), Side.in_sight(boxes, nowhere))
            useful |= near.any(axis=0)
        described = self._propagator.describe(frame, boxes[useful])
        width = next((target.appearance.size for target in self._targets.values()), described.shape[1])
        appearance = np.zeros((len(found), width), dtype=np.float32)
        if len(described):
            appearance[free[useful]] = described
        return appearance

    def _births(
        self,
        found: Detections,
        appearance: FloatArray,
        free: npt.NDArray[np.int64],
        travelled: FloatArray,
        settings: TrackerSettings,
    ) -> dict[int, FloatArray]:
        """Start targets at detections that nobody claims; returns their prompts."""
        prompts: dict[int, FloatArray] = {}
        for index in self._targets.births(found, free, self._occlusions.unsettled, settings):
            target = Target.born(self._targets.next_id, found.boxes[index], appearance[index])
            self._targets.add(target)
            target.displacement.farthest = float(travelled[index])
            _accept(target, found, index, appearance)
            prompts[target.id] = found.boxes[index]
        return prompts


def _accept(target: Target, found: Detections, index: int, appearance: FloatArray) -> None:
    """Tell a target of a detection that agrees with it."""
    score, class_id = float(found.scores[index]), int(found.class_ids[index])
    target.detected(found.boxes[index], score, class_id, appearance[index])


def _masklet_side(targets: Sequence[Target]) -> Side:
    return Side(
        as_boxes([target.box for target in targets]),
        np.stack([target.appearance for target in targets]),
        np.array([target.reach for target in targets], dtype=np.float32),
    )


def _lie_on_any(detections: FloatArray, targets: Sequence[Target]) -> npt.NDArray[np.bool_]:
    """Which detections, float32 (N, 4), lie on a target that is seen, bool (N,)."""
    return lie_on(detections, as_boxes([target.box for target in targets if target.mask_box is not None]), SAME_PLACE)


def show_several(detections: FloatArray, targets: Sequence[Target]) -> npt.NDArray[np.bool_]:
    """Which detections, float32 (N, 4), are one box round two or more CONFIRMED targets that are seen, bool (N,)."""
    seen = as_boxes([t.box for t in targets if t.state is TrackState.CONFIRMED and t.mask_box is not None])
    centers = box_centers(seen)
    inside = ((centers >= detections[:, None, :2]) & (centers <= detections[:, None, 2:])).all(axis=2)
    return np.asarray((inside.sum(axis=1) >= 2) & ~(pairwise_iou(detections, seen) >= SAME_PLACE).any(axis=1))
