"""Sliced inference: a detector looks at overlapping parts of a large frame, where small targets keep their pixels.

After Akyon et al. 2022 ("Slicing Aided Hyper Inference and Fine-tuning for Small Object Detection"). Here slices are
merged with regard to where they were cut: a box that ends at a slice's edge may be a part of an object and is joined
with what the neighbouring slice saw of it; what one slice shows apart is never joined, so that close targets stay two.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, pairwise_overlap
from smotracker_ros.detection.detections import Detections, Detector, MotionDetector, PromptedDetector
from smotracker_ros.detection.regions import RegionDetector, Regions, detect_part, look_into

OVERLAP = 0.2
"""Share of a slice that its neighbour shows, too: it should exceed the size of the targets, which are small."""

# A box that ends within so many pixels of a slice's inner edge may go on beyond it
_EDGE = 2.0
# Boxes of two views are one object if the smaller lies on the larger with this share
_SAME_OVERLAP = 0.5
# Whom to believe: the frame about what slices cut, slices about the rest, the frame about what they missed, pieces last
_LARGE, _WHOLE, _MISSED, _PIECE = range(4)


class SlicedDetector:
    """Runs a detector on overlapping slices, and on the whole frame for what is larger than a slice.

    Args:
        detector: looks at each slice.
        size: side of a slice in pixels; a frame that is not larger is not sliced.
        overlap: share of a slice that the next one shows too, in [0, 0.9]; it should exceed the size of the targets.
    """

    def __init__(self, detector: Detector, size: int, overlap: float = OVERLAP) -> None:
        self._detector = detector
        self._size = size
        self._overlap = overlap

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of the classes by number."""
        return self._detector.class_names

    @property
    def name(self) -> str:
        """Name of the model, checksum of its weights, and the slices."""
        return f"{self._detector.name} slices {self._size} px overlap {self._overlap:g}"

    @property
    def motion_seconds(self) -> tuple[float, ...]:
        """As the detector that looks at the slices."""
        return self._detector.motion_seconds if isinstance(self._detector, MotionDetector) else ()

    def set_prompt(self, prompt: str) -> None:
        """Tell the detector of a new prompt, if it takes one."""
        if isinstance(self._detector, PromptedDetector):
            self._detector.set_prompt(prompt)

    def scale(self, width: int, height: int, image_size: int = 0) -> float:
        """That at which a slice is seen; 0 if the detector must see whole frames."""
        if not isinstance(self._detector, RegionDetector):
            return 0.0
        return self._detector.scale(min(width, self._size), min(height, self._size), image_size)

    def detect_in(
        self, frame: Frame, regions: Regions, least_confidence: float = 0.0, image_size: int = 0
    ) -> Detections:
        """Detections that the regions show; see :class:`smotracker_ros.detection.regions.RegionDetector`."""
        scale = self.scale(frame.width, frame.height, image_size)
        return look_into(self._detector, frame, regions, scale, least_confidence)

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        """Detections by falling confidence; see :class:`smotracker_ros.detection.Detector`.

        `image_size` is that at which each slice and the whole frame are seen.
        """
        whole = self._detector.detect(frame, least_confidence, image_size)
        places = slices(frame.width, frame.height, self._size, self._overlap)
        if len(places) == 1:
            return whole
        parts = [whole]
        parts += [detect_part(self._detector, frame, place, least_confidence, image_size) for place in places]
        sides = (whole.boxes[:, 2:] - whole.boxes[:, :2]).max(axis=1, initial=0)
        ranks = [np.where(sides > self._overlap * self._size, _LARGE, _MISSED)]
        for part, place in zip(parts[1:], places, strict=True):
            ranks.append(np.where(_at_inner_edge(part.boxes, place, frame), _PIECE, _WHOLE))
        return _merge(parts, ranks)


def slices(width: int, height: int, size: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """Slices (x1, y1, x2, y2) in pixels that cover an image, row by row; the last are moved inside, not cut off."""
    step = max(1, round(size * (1 - overlap)))

    def starts(length: int) -> list[int]:
        if length <= size:
            return [0]
        return [*range(0, length - size, step), length - size]

    return [(x, y, min(x + size, width), min(y + size, height)) for y in starts(height) for x in starts(width)]


def _at_inner_edge(boxes: FloatArray, view: tuple[int, int, int, int], frame: Frame) -> npt.NDArray[np.bool_]:
    """Which boxes end at an edge of their slice that is no edge of the frame."""
    x1, y1, x2, y2 = view
    cut = np.zeros(len(boxes), dtype=np.bool_)
    for column, edge, inner in (
        (0, x1, x1 > 0),
        (1, y1, y1 > 0),
        (2, x2, x2 < frame.width),
        (3, y2, y2 < frame.height),
    ):
        if inner:
            cut |= np.abs(boxes[:, column] - edge) <= _EDGE
    return cut


def _merge(parts: list[Detections], ranks: list[npt.NDArray[np.int64]]) -> Detections:
    """Greedy merge over all views: by rank, then by falling confidence."""
    boxes = np.concatenate([part.boxes for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    classes = np.concatenate([part.class_ids for part in parts])
    view = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    rank = np.concatenate(ranks)
    kept: list[int] = []
    for index in np.lexsort((-scores, rank)).tolist():
        others = np.array([other for other in kept if view[other] != view[index]], dtype=np.int64)
        overlap = pairwise_overlap(boxes[others], boxes[index])[:, 0]
        if not len(others) or overlap.max() < _SAME_OVERLAP:
            kept.append(index)
            continue
        same = int(others[overlap.argmax()])
        if rank[same] == _PIECE:
            # two pieces make an object that no slice shows whole
            joined = [np.minimum(boxes[same, :2], boxes[index, :2]), np.maximum(boxes[same, 2:], boxes[index, 2:])]
            boxes[same] = np.concatenate(joined)
        scores[same] = max(scores[same], scores[index])
    chosen = np.array(kept, dtype=np.int64)
    order = chosen[np.argsort(-scores[chosen], kind="stable")]
    return Detections(boxes[order], scores[order], classes[order])
