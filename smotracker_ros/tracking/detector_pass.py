"""A detector pass: what is detected goes to the masklets in sight, then to LOST targets; the rest is born."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, box_centers, box_sizes, clip_boxes, lie_on, pairwise_iou
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
from smotracker_ros.tracking.target import Target, boxes_of

# A closer look shows things so many times as large as the detector usually sees them, and believes what is so much less
# sure
_CLOSER, _LESS_SURE = 2.0, 0.5
# The detector looks closer at so many gates on one frame
_MOST_GATES = 4
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
        most_births: targets that there is time to start in a pass; 0: all.
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
        self.most_births = 0

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
        return self._view.regions(boxes_of(targets), settings.detector_image_size)

    def detect(self, regions: Regions, settings: TrackerSettings) -> Detections:
        """Look at regions of the frame of the last :meth:`advance`, and leave out what the user ignores."""
        found = self._view.detect(settings.detector_confidence, settings.detector_image_size, regions)
        return found.select(~self._background.ignores(found.boxes))

    def closer(
        self, frame: Frame, gates: Sequence[FloatArray], settings: TrackerSettings
    ) -> tuple[Regions, TrackerSettings, float] | None:
        """How to look closer at some places: as many of the latest as fit into a frame's price.

        Args:
            frame: the present frame.
            gates: boxes of each place, float32 (N, 4), xyxy pixels; the latest last.
            settings: as for whole frames.

        Returns:
            Regions, the settings with which to look at them, and the price in whole frames' passes. None where a closer
            look is dearer than a whole frame, or the detector sees whole frames only.
        """
        image_size = round(_CLOSER * self._view.scale(settings.detector_image_size) * max(frame.width, frame.height))
        if image_size == 0:
            return None
        for count in range(min(len(gates), _MOST_GATES), 0, -1):
            boxes = clip_boxes(np.concatenate(gates[-count:]), frame.height, frame.width)
            regions = self._view.regions(boxes[(box_sizes(boxes) > 0).all(axis=1)], image_size)
            price = regions.share * _CLOSER**2
            if not regions.is_whole and price <= 1:
                return regions, _closer(settings, image_size), price
        return None

    def run(
        self,
        frame: Frame,
        regions: Regions,
        found: Detections,
        settings: TrackerSettings,
        observe: Observer | None = None,
        within: Callable[[FloatArray], npt.NDArray[np.bool_]] | None = None,
    ) -> dict[int, FloatArray]:
        """Match detections with live masklets, then with lost ones; the rest are born.

        Args:
            frame: the one of the last :meth:`advance`.
            regions: what of it was looked at; targets elsewhere are left as they are.
            found: detections in it, of :meth:`detect`.
            settings: thresholds and limits.
            observe: is told both sides of each association.
            within: which boxes, float32 (N, 4), are spoken of at all; None: all that the regions show.

        Returns:
            By the ids of targets that are new or elsewhere than their masks: the box, float32 (4,), to prompt with.
        """
        seen = self.seen(regions)
        if within is not None:
            found = found.select(within(found.boxes))
            spoken_of = within(boxes_of(seen)).tolist()
            seen = [target for target, is_spoken_of in zip(seen, spoken_of, strict=True) if is_spoken_of]
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
        shown = regions.show(boxes_of(targets))
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
        for index in self._targets.births(found, free, self._occlusions.unsettled, settings, self.most_births):
            target = Target.born(self._targets.next_id, found.boxes[index], appearance[index])
            self._targets.add(target)
            target.displacement.farthest = float(travelled[index])
            _accept(target, found, index, appearance)
            prompts[target.id] = found.boxes[index]
        return prompts


@lru_cache(maxsize=4)
def _closer(settings: TrackerSettings, image_size: int) -> TrackerSettings:
    """Settings of a closer look, at which the frame would be of that size."""
    return dataclasses.replace(
        settings,
        detector_image_size=min(image_size, 4096),
        detector_confidence=_LESS_SURE * settings.detector_confidence,
        birth_confidence=_LESS_SURE * settings.birth_confidence,
    )


def _accept(target: Target, found: Detections, index: int, appearance: FloatArray) -> None:
    """Tell a target of a detection that agrees with it."""
    score, class_id = float(found.scores[index]), int(found.class_ids[index])
    target.detected(found.boxes[index], score, class_id, appearance[index])


def _masklet_side(targets: Sequence[Target]) -> Side:
    return Side(
        boxes_of(targets),
        np.stack([target.appearance for target in targets]),
        np.array([target.reach for target in targets], dtype=np.float32),
    )


def _lie_on_any(detections: FloatArray, targets: Sequence[Target]) -> npt.NDArray[np.bool_]:
    """Which detections, float32 (N, 4), lie on a target that is seen, bool (N,)."""
    return lie_on(detections, boxes_of(target for target in targets if target.mask_box is not None), SAME_PLACE)


def show_several(detections: FloatArray, targets: Sequence[Target]) -> npt.NDArray[np.bool_]:
    """Which detections, float32 (N, 4), are one box round two or more CONFIRMED targets that are seen, bool (N,)."""
    seen = boxes_of(t for t in targets if t.state is TrackState.CONFIRMED and t.mask_box is not None)
    centers = box_centers(seen)
    inside = ((centers >= detections[:, None, :2]) & (centers <= detections[:, None, 2:])).all(axis=2)
    return np.asarray((inside.sum(axis=1) >= 2) & ~(pairwise_iou(detections, seen) >= SAME_PLACE).any(axis=1))
