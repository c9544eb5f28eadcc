"""How a detector looks at a frame: all of it at once, in parts that take turns, or at the surroundings of some targets.

A look at all of a frame at once is by far the dearest thing that a tracker does. In turns it costs as much in the long
run, and no frame waits for more than a part of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, box_centers
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.detection import Detections
from smotracker_ros.detection.motion_stack import DetectorView
from smotracker_ros.detection.regions import Regions


@dataclass(frozen=True)
class Look:
    """One look of a detector at a frame.

    Attributes:
        regions: what of the frame is looked at.
        settings: thresholds, and the size at which the frame is seen.
        price: in whole frames' passes.
        within: which boxes, float32 (N, 4), xyxy pixels, are spoken of at all; None: all that the regions show.
        cut: which boxes are too large for all parts of the frame, of which the regions are some; None: they are none.
    """

    regions: Regions
    settings: TrackerSettings
    price: float
    within: Callable[[FloatArray], npt.NDArray[np.bool_]] | None = None
    cut: Callable[[FloatArray], npt.NDArray[np.bool_]] | None = None

    @staticmethod
    def at(regions: Regions, settings: TrackerSettings) -> Look:
        """A look at some regions at the scale of the whole frame."""
        return Look(regions, settings, regions.share)

    @staticmethod
    def whole(frame: Frame, settings: TrackerSettings) -> Look:
        """A look at all of a frame at once."""
        return Look.at(Regions.whole(frame.width, frame.height), settings)

    def detect(self, view: DetectorView) -> Detections:
        """What a detector finds by it in the newest frame; where the regions are parts, what they cut, too."""
        regions = self.regions if self.cut is None else dataclasses.replace(self.regions, rim=0.0)
        return view.detect(self.settings.detector_confidence, self.settings.detector_image_size, regions)

    def speaks_of(self, boxes: FloatArray) -> npt.NDArray[np.bool_]:
        """Of which boxes, float32 (N, 4), xyxy pixels, it says whether something is there; bool (N,)."""
        shown = self.regions.show(boxes)
        return shown if self.within is None else shown & self.within(boxes)

    def again(self, view: DetectorView, found: Detections, known: FloatArray) -> Look | None:
        """A look round what is too large for the frame's parts, but for some of it; None: nothing is.

        Args:
            view: of the newest frame.
            found: what :meth:`detect` has found.
            known: where targets are, float32 (N, 4), xyxy pixels.
        """
        if self.cut is None:
            return None
        pieces = found.boxes[found.scores >= self.settings.birth_confidence]
        centers = np.tile(box_centers(known), 2)
        here = known[dataclasses.replace(self.regions, rim=0.0).show(centers)]
        places = np.concatenate([pieces, here])
        places = places[self.cut(places)]
        if not len(places):
            return None
        regions = view.regions(places, self.settings.detector_image_size)
        return Look(regions, self.settings, regions.share, self.cut)


@dataclass(frozen=True)
class FrameParts:
    """The parts in which a frame is seen in turns.

    Attributes:
        strips: that show all of the frame; a single one is the whole frame.
    """

    strips: tuple[Regions, ...]

    @staticmethod
    def of(view: DetectorView, frame: Frame, settings: TrackerSettings) -> FrameParts:
        """Those of the newest frame; one where the detector must see whole frames, or is to."""
        scale = view.scale(settings.detector_image_size) if settings.adaptive_clips else 0.0
        if scale == 0 or settings.prompts == "first_frame":
            return FrameParts((Regions.whole(frame.width, frame.height),))
        return FrameParts(Regions.strips(frame.width, frame.height, scale))

    @property
    def count(self) -> int:
        """Number of the parts."""
        return len(self.strips)

    @property
    def price(self) -> float:
        """Of all of them, in whole frames' passes: some places are shown twice."""
        return sum(strip.share for strip in self.strips)

    def look(self, turns: Sequence[int], frame: Frame, settings: TrackerSettings) -> Look:
        """A look at the parts of these numbers; at the whole frame where that is no dearer."""
        regions = Regions.joined([self.strips[number] for number in turns])
        if regions.share >= 1:
            return Look.whole(frame, settings)
        return Look(regions, settings, regions.share, cut=self._cut)

    def _cut(self, boxes: FloatArray) -> npt.NDArray[np.bool_]:
        """Which boxes, float32 (N, 4), xyxy pixels, no strip shows whole; bool (N,)."""
        return ~np.any([strip.show(boxes) for strip in self.strips], axis=0)
