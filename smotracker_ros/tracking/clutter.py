"""Telling targets, which fly, from clutter, which stands still: antennas, lamps, hot edges of clouds and roofs."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes, pairwise_iou
from smotracker_ros.tracking.camera_motion import CameraShift

# A detection belongs to a place if it overlaps it so much, and its centre is no farther off than so many pixels or
# sizes
_LEAST_IOU = 0.3
_JITTER_PIXELS = 2.5
_JITTER_SIZES = 0.2
# Places follow their detections slowly, which makes up for small errors of the camera's motion
_GAIN = 0.1
# Detector passes in a row without a detection after which a place is forgotten
_LONGEST_ABSENCE = 15
# Positions are averaged over so many frames before a distance is measured
_TRAVEL_FRAMES = 3
# Frames over which a target shows whether it still moves
_RECENT_FRAMES = 24
# Standard deviations of the camera's motion that a distance may be off by
_SIGMAS = 3.0
# A place is remembered with so many pixels round the target; it is unchanged if it is found again this alike
# (correlation) and this near (pixels, camera motion taken away)
_LANDMARK_RIM = 3
_LEAST_LANDMARK = 5
_LANDMARK_LIKENESS = 0.6
_LANDMARK_SHIFT = 1.5
# A zoom by less does not change a picture
_LEAST_ZOOM = 0.03
# Pixels, and target sizes: what has strayed by less from its first place in the image rides with the camera, if that
# has moved by more pixels than the last
_RIDING_REACH, _RIDING_SIZES, _RIDING_PATH = 2.5, 0.15, 4.0


@dataclass
class Travel:
    """How far a target has moved against the background since it was first seen.

    Clutter - antennas, lamps, cloud edges - looks like a target but stands still for ever, which no flying target does:
    of 491 labelled ones, 97 % moved by 2 pixels within two seconds. Positions are means of a few frames, since those of
    single masks jitter.

    Attributes:
        longest: largest distance from the start so far, in pixels of the current frame.
        farthest: the same of single positions, without means: known two frames sooner, and jittery.
    """

    longest: float = 0.0
    farthest: float = 0.0
    _camera_path: float = 0.0
    _image_start: FloatArray | None = None
    _image_reach: float = 0.0
    _first: FloatArray | None = None
    _variance: float = 0.0
    _start: FloatArray | None = None
    _recent: FloatArray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.float32))

    @property
    def lately(self) -> float:
        """Distance travelled within the last frames, in pixels; infinite while too few are known."""
        if len(self._recent) < _RECENT_FRAMES:
            return float("inf")
        return float(np.linalg.norm(_mean(self._recent[-_TRAVEL_FRAMES:]) - _mean(self._recent[:_TRAVEL_FRAMES])))

    @property
    def drift(self) -> float:
        """How much of the distance may come of small errors of the camera's motion, frame by frame, in pixels."""
        return _SIGMAS * float(np.sqrt(self._variance))

    def rides(self, size: float) -> bool:
        """Whether it, of a size in pixels, has kept its place in the image although the camera has moved, as text does.

        Its travel says nothing then: it may be the camera's. A target that a camera follows strays before long.
        """
        reach = max(_RIDING_REACH, _RIDING_SIZES * size)
        return self._camera_path > _RIDING_PATH and self._image_reach < reach

    def predict(self, shift: CameraShift) -> None:
        """Move on by one frame, with the background."""
        if len(self._recent):
            self._camera_path += float(np.linalg.norm(shift.move(self._recent[-1])[0] - self._recent[-1]))
        self._variance = self._variance * shift.zoom**2 + shift.error**2
        if self._first is not None:
            self._first = shift.move(self._first)[0]
        if self._start is not None:
            self._start = shift.move(self._start)[0]
        if len(self._recent):
            self._recent = shift.move(self._recent)
        self.longest *= shift.zoom
        self.farthest *= shift.zoom

    def measure(self, center: FloatArray) -> None:
        """Take the centre of this frame's mask, (x, y) pixels."""
        if self._first is None:
            self._first = np.asarray(center, dtype=np.float32)
        if self._image_start is None:
            self._image_start = np.asarray(center, dtype=np.float32)
        self._image_reach = max(self._image_reach, float(np.linalg.norm(center - self._image_start)))
        self.farthest = max(self.farthest, float(np.linalg.norm(center - self._first)))
        self._recent = np.concatenate([self._recent[1 - _RECENT_FRAMES :], np.asarray(center, dtype=np.float32)[None]])
        if len(self._recent) < _TRAVEL_FRAMES:
            return
        mean = _mean(self._recent[-_TRAVEL_FRAMES:])
        if self._start is None:
            self._start = mean
        self.longest = max(self.longest, float(np.linalg.norm(mean - self._start)))


def _mean(points: FloatArray) -> FloatArray:
    return np.asarray(points.mean(axis=0), dtype=np.float32)


@dataclass
class Landmark:
    """What was seen at a target's first place, to tell whether it is still there when the target claims to have moved.

    Masks of clutter change their shape and so seem to move; the picture of clutter does not.

    Attributes:
        patch: uint8 grey picture of the place.
        center: middle of the patch in pixels of the current frame, moved with the background, float32 (2,).
        zoom: scale from the frame of the patch to the current one.
    """

    patch: npt.NDArray[np.uint8]
    center: FloatArray
    zoom: float = 1.0

    @staticmethod
    def take(image: UInt8Image, box: FloatArray) -> Landmark | None:
        """Remember the surroundings of a tight box, float32 (4,), as far as the image has them; None: too few."""
        x1, y1 = np.maximum(np.floor(box[:2]).astype(int) - _LANDMARK_RIM, 0)
        x2, y2 = np.minimum(np.ceil(box[2:]).astype(int) + _LANDMARK_RIM, image.shape[1::-1])
        if min(x2 - x1, y2 - y1) < _LEAST_LANDMARK:
            return None
        patch = np.asarray(cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        return Landmark(patch, np.array([(x1 + x2) / 2, (y1 + y2) / 2], dtype=np.float32))

    def predict(self, shift: CameraShift) -> None:
        """Move on by one frame, with the background."""
        self.center = shift.move(self.center)[0]
        self.zoom *= shift.zoom

    def is_unchanged(self, image: UInt8Image, drift: float = 0.0) -> bool | None:
        """Whether the place still looks as it did, without having moved against the background.

        Args:
            image: uint8 RGB (height, width, 3), the current frame.
            drift: pixels by which the camera's motion may be off.

        Returns:
            None where too little of the place is in view to tell.
        """
        patch = self._zoomed()
        left, top = (round(float(c) - side / 2) for c, side in zip(self.center, patch.shape[::-1], strict=True))
        # of a place at the border the part in view is compared: elsewhere it would be found beside where it is
        x1, y1 = max(-left, 0), max(-top, 0)
        patch = patch[y1 : max(image.shape[0] - top, 0), x1 : max(image.shape[1] - left, 0)]
        height, width = patch.shape
        if min(height, width) < _LEAST_LANDMARK:
            return None
        left, top = left + x1, top + y1
        reach = max(4, max(height, width) // 2)
        x1, y1 = max(left - reach, 0), max(top - reach, 0)
        area = image[y1 : top + height + reach, x1 : left + width + reach]
        grey = np.asarray(cv2.cvtColor(area, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        likeness = cv2.matchTemplate(grey, np.ascontiguousarray(patch), cv2.TM_CCOEFF_NORMED)
        _, best, _, place = cv2.minMaxLoc(likeness)
        moved = float(np.hypot(x1 + place[0] - left, y1 + place[1] - top))
        return best > _LANDMARK_LIKENESS and moved <= _LANDMARK_SHIFT + drift

    def _zoomed(self) -> npt.NDArray[np.uint8]:
        """The patch as large as the place is now."""
        if abs(self.zoom - 1) < _LEAST_ZOOM:
            return self.patch
        height, width = (max(round(side * self.zoom), 1) for side in self.patch.shape)
        kind = cv2.INTER_AREA if self.zoom < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self.patch, (width, height), interpolation=kind), dtype=np.uint8)


@dataclass
class ClutterMap:
    """Remembers stationary clutter, so that it costs neither masklets nor false tracks.

    Attributes:
        boxes: float32 (N, 4), xyxy pixels of the current frame.
        absences: int64 (N,), detector passes in a row without a detection there.
    """

    boxes: FloatArray = field(default_factory=lambda: as_boxes([]))
    absences: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def predict(self, shift: CameraShift) -> None:
        """Move on by one frame, with the background."""
        if len(self.boxes):
            corners = shift.move(self.boxes.reshape(-1, 2))
            self.boxes = corners.reshape(-1, 4)

    def add(self, box: FloatArray) -> None:
        """Remember a place, float32 (4,), xyxy pixels in the detector's convention."""
        self.boxes = np.concatenate([self.boxes, as_boxes(box)])
        self.absences = np.append(self.absences, 0)

    def claim(self, detections: FloatArray) -> tuple[npt.NDArray[np.bool_], FloatArray]:
        """Say which detections of a detector pass lie still at a known place. Call it once per pass.

        A detection beside a place's centre is something that has begun to move: the place is given up.

        Args:
            detections: float32 (M, 4), xyxy pixels.

        Returns:
            bool (M,): which lie still at a place; float32 (M,): how far the others have left one, in pixels, or 0.
        """
        claimed = np.zeros(len(detections), dtype=np.bool_)
        travelled = np.zeros(len(detections), dtype=np.float32)
        if not len(self.boxes):
            return claimed, travelled
        self.absences += 1
        if len(detections):
            overlap = pairwise_iou(self.boxes, detections)
            distance = np.linalg.norm(box_centers(self.boxes)[:, None] - box_centers(detections)[None], axis=2)
            limit = np.maximum(_JITTER_PIXELS, _JITTER_SIZES * box_sizes(self.boxes).max(axis=1))
            still = (overlap >= _LEAST_IOU) & (distance <= limit[:, None])
            claimed = still.any(axis=0)
            left = (overlap >= _LEAST_IOU).any(axis=1) & ~still.any(axis=1)
            best = np.where(still, overlap, -1).argmax(axis=1)
            for place in np.flatnonzero(still.any(axis=1)):
                self.boxes[place] += _GAIN * (detections[best[place]] - self.boxes[place])
                self.absences[place] = 0
            travelled = np.where((overlap >= _LEAST_IOU) & left[:, None], distance, 0).max(axis=0).astype(np.float32)
            self.absences[left] = _LONGEST_ABSENCE
        kept = self.absences < _LONGEST_ABSENCE
        self.boxes, self.absences = self.boxes[kept], self.absences[kept]
        return claimed, travelled
