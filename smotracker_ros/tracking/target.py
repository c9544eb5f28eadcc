"""One object's life: what the tracker knows of it, and the rules by which its state changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, MaskPatch, as_boxes, box_centers, box_sizes
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import Track, TrackState, score_probability
from smotracker_ros.tracking.camera_motion import CameraShift, TargetMotion
from smotracker_ros.tracking.clutter import Landmark, Travel

# Share of a new measurement in the running averages of margins, score and appearance
_MARGIN_GAIN = 0.3
_SCORE_GAIN = 0.3
# The same for the network's quality, once there have been enough masks for a plain mean to be as slow
_QUALITY_GAIN = 0.05
SIZE_GAIN = 0.03
"""Share of a mask's size in the reported size, per frame: masks breathe more in a second than targets do (measured on
val/, 30 frames per second)."""
# The same for a detection's size, which is what labels mean by size
_DETECTED_SIZE_GAIN = 0.1
# Misses count so many times for a masklet that its own network rates low: it has drifted onto clutter
_DOUBTFUL_QUALITY = 0.55
_DOUBTFUL_WEIGHT = 2
# A mask wider than so many times the last detection's box has leaked into the background
_LARGEST_GROWTH = 1.6
# Largest distance of a detection's centre from its mask's, in sizes, that is taken for a habit of the detector
_LARGEST_SHIFT = 0.12
# A centre farther from its prediction than so many sizes is not speed but a jump of the mask
_LARGEST_ERROR = 0.6
# Masks of larger targets jitter more: a target flies if it moved by so many of its sizes, too
_LEAST_TRAVEL_SIZES = 0.06
# The background's velocity in reports is averaged over about so many seconds
_BACKGROUND_SECONDS = 0.1
# Who is so far from the first place, in pixels and in sizes, has flown: no mask jitters by that much
_FAR_PIXELS = 4.0
_FAR_SIZES = 0.25
# Where its first place cannot be looked at, it must have moved so many times as far
_UNSEEN_PLACE_TRAVEL = 2.0
# A masklet that goes undetected so many times while it moves by fewer pixels is stranded
_STRANDED_MISSES = 2
_STRANDED_TRAVEL = 2.0
# A mask rated below this share of the mean of the target's masks shows something else, once so many masks are known
_LEAST_QUALITY = 0.35
_KNOWN_MASKS = 5
# A mask is rated poorly below this, unless the target's masks are always rated so
_POOR_QUALITY = 0.4
_POOR_SHARE = 0.8
# Detections needed before their mean confidence says something
_SURE_HITS = 3
# A position may be off by this many sizes per second out of sight, on top of the prediction
_REACH_PER_SECOND = 1.5


def box_margins(box: FloatArray, mask_box: FloatArray) -> FloatArray:
    """What a detection's box adds to the tight box of the same target, float32 (4,), xyxy pixels.

    Both are centred on the target, so a large shift between their centres is an error of this frame (a neighbour's
    detection, half a mask) and must not be carried on; a large difference in size means the same.

    Args:
        box: detection, float32 (4,).
        mask_box: tight box of the mask, float32 (4,).
    """
    size = np.maximum(box_sizes(box)[0], 4.0)
    shift = np.clip(box_centers(box)[0] - box_centers(mask_box)[0], -_LARGEST_SHIFT * size, _LARGEST_SHIFT * size)
    half = np.clip((box_sizes(box)[0] - box_sizes(mask_box)[0]) / 2, -size / 2, size / 2)
    return np.concatenate([shift - half, shift + half]).astype(np.float32)


@dataclass
class Target:
    """A live or lost object.

    Attributes:
        id: as reported.
        state: as reported.
        motion: position and velocity; its centre is that of the reported box.
        size: width and height in pixels of the reported box, float32 (2,).
        margins: what the detector's box adds to the mask's box, float32 (4,), xyxy pixels.
        appearance: unit vector, float32 (D,).
        detected_side: longer side in pixels of the last agreeing detection.
        mask: pixels in this frame, None where not seen.
        mask_box: tight box in this frame, None where not seen.
        votes: summed confidence by class.
        score: running mean of the detections' confidence.
        age: frames since birth.
        hits: detections that agreed.
        masks_seen: masks so far.
        misses: detector passes in a row without one; those of a doubtful mask count double.
        frames_since_detection: frames since the last agreeing detection.
        frames_since_seen: frames since the mask was last visible.
        seconds_unseen: the same in seconds.
        seconds_alive: seconds since birth.
        quality: the network's estimate of the current mask's IoU.
        mean_quality: running mean of the same over the masks so far.
        background_velocity: of the background behind it in the image, pixels per second, float32 (2,), averaged.
        travel: how far it has moved against the background.
        landmark: the picture of its first place, while it is TENTATIVE.
    """

    id: int
    motion: TargetMotion
    size: FloatArray
    margins: FloatArray
    appearance: FloatArray
    detected_side: float
    state: TrackState = TrackState.TENTATIVE
    mask: MaskPatch | None = None
    mask_box: FloatArray | None = None
    votes: dict[int, float] = field(default_factory=dict)
    score: float = 0.0
    age: int = 0
    hits: int = 0
    misses: int = 0
    frames_since_detection: int = 0
    frames_since_seen: int = 0
    seconds_unseen: float = 0.0
    seconds_alive: float = 0.0
    quality: float = 0.0
    mean_quality: float = 0.0
    masks_seen: int = 0
    background_velocity: FloatArray = field(default_factory=lambda: np.zeros(2, dtype=np.float32))
    travel: Travel = field(default_factory=Travel)
    landmark: Landmark | None = None

    @staticmethod
    def born(identity: int, box: FloatArray, appearance: FloatArray) -> Target:
        """A new target at a detection's box, float32 (4,)."""
        center = box_centers(box)[0]
        return Target(
            id=identity,
            motion=TargetMotion(center, np.zeros(2, dtype=np.float32)),
            size=box_sizes(box)[0],
            margins=np.zeros(4, dtype=np.float32),
            appearance=appearance,
            detected_side=float(box_sizes(box)[0].max()),
        )

    @property
    def box(self) -> FloatArray:
        """Box in the detector's convention, float32 (4,), xyxy pixels; predicted where the target is not seen."""
        half = self.size / 2
        return np.concatenate([self.motion.center - half, self.motion.center + half]).astype(np.float32)

    @property
    def longer_side(self) -> float:
        """Longer side of the box in pixels."""
        return float(self.size.max())

    @property
    def reach(self) -> float:
        """How far the target may be from its predicted centre, in pixels; 0 while it is seen."""
        return _REACH_PER_SECOND * self.seconds_unseen * max(self.longer_side, 8.0)

    @property
    def is_live(self) -> bool:
        """Whether its masklet is propagated."""
        return self.state in (TrackState.TENTATIVE, TrackState.CONFIRMED)

    @property
    def is_on_the_move(self) -> bool:
        """Whether it has lately moved against the background, which what stays behind a target does not."""
        return self.travel.lately >= _STRANDED_TRAVEL

    @property
    def is_poorly_rated(self) -> bool:
        """Whether the network rates the last mask low, and lower than it is used to rate this target's."""
        return self.quality < min(_POOR_QUALITY, _POOR_SHARE * self.mean_quality)

    @property
    def class_id(self) -> int:
        """Class with the most votes; the lower number at a tie."""
        return min(self.votes, key=lambda key: (-self.votes[key], key)) if self.votes else 0

    def predict(self, shift: CameraShift, seconds: float, passed: float | None = None) -> None:
        """Move on to the next frame.

        Args:
            shift: the camera's motion.
            seconds: time step of motion.
            passed: time since the previous frame, if that is longer: the target ages by it. None: `seconds`.
        """
        passed = seconds if passed is None else passed
        if not self.is_live:
            # nobody flies straight for seconds: the expectation slows down while the reach grows
            self.motion.velocity = (self.motion.velocity * np.exp(-1.5 * seconds)).astype(np.float32)
        if seconds > 0:
            background = (shift.move(self.motion.center)[0] - self.motion.center) / np.float32(seconds)
            gain = np.float32(1 - np.exp(-seconds / _BACKGROUND_SECONDS))
            self.background_velocity = self.background_velocity + gain * (background - self.background_velocity)
        self.motion.predict(shift, seconds)
        self.travel.predict(shift)
        if self.landmark is not None:
            self.landmark.predict(shift)
        self.size = (self.size * shift.zoom).astype(np.float32)
        self.margins = (self.margins * shift.zoom).astype(np.float32)
        self.detected_side *= shift.zoom
        self.age += 1
        self.frames_since_detection += 1
        self.frames_since_seen += 1
        self.seconds_unseen += passed
        self.seconds_alive += passed
        self.mask, self.mask_box = None, None

    def wait_inside(self, width: int, height: int) -> None:
        """Expect a LOST target that has left an image of that size where it left: there it may come back."""
        if self.state is TrackState.LOST:
            self.motion.center = np.clip(self.motion.center, 0, (width, height)).astype(np.float32)

    def agrees(self, mask_box: FloatArray) -> float:
        """Agreement of a mask's box with the expected motion in [0, 1]; 0 is a jump that no target makes."""
        distance = float(np.linalg.norm(box_centers(mask_box)[0] - self.motion.center))
        limit = max(1.5 * self.longer_side, 10.0) + self.reach
        too_large = float(box_sizes(mask_box)[0].max()) > _LARGEST_GROWTH * max(self.detected_side, 4.0)
        return 0.0 if too_large else max(0.0, 1.0 - distance / limit)

    def owns(self, mask_box: FloatArray, predicted_iou: float) -> bool:
        """Whether a mask may be the target's own: where it can have flown, and rated about as its masks are used to be.

        Args:
            mask_box: tight box of the mask, float32 (4,), xyxy pixels.
            predicted_iou: the network's estimate.
        """
        rated = self.masks_seen < _KNOWN_MASKS or predicted_iou >= _LEAST_QUALITY * self.mean_quality
        return rated and self.agrees(mask_box) > 0

    def see(self, mask: MaskPatch, mask_box: FloatArray, quality: float, seconds: float) -> None:
        """Take a visible mask of this frame."""
        self.mask, self.mask_box, self.quality = mask, mask_box, quality
        self.masks_seen += 1
        gain = max(_QUALITY_GAIN, 1.0 / self.masks_seen)
        self.mean_quality += gain * (quality - self.mean_quality)
        box = as_boxes(mask_box)[0] + self.margins
        elapsed = max(self.seconds_unseen, seconds) if seconds > 0 else 0.0
        self.motion.measure(box_centers(box)[0], elapsed, _LARGEST_ERROR * max(self.longer_side, 8.0))
        self.travel.measure(box_centers(as_boxes(mask_box))[0])
        self.size = ((1 - SIZE_GAIN) * self.size + SIZE_GAIN * box_sizes(box)[0]).astype(np.float32)
        self.frames_since_seen = 0
        self.seconds_unseen = 0.0

    def restart(self, box: FloatArray) -> None:
        """Put the target where a detection found it, before its masklet is prompted there."""
        self.motion.center = box_centers(box)[0]
        self.size = box_sizes(box)[0]
        self.margins = np.zeros(4, dtype=np.float32)
        self.mask, self.mask_box = None, None

    def detected(self, box: FloatArray, score: float, class_id: int, appearance: FloatArray) -> None:
        """Take an agreeing detection.

        Args:
            box: float32 (4,), xyxy pixels.
            score: confidence.
            class_id: class number.
            appearance: unit vector, float32 (D,).
        """
        self.hits += 1
        self.misses = 0
        self.frames_since_detection = 0
        self.detected_side = float(box_sizes(box)[0].max())
        self.votes[class_id] = self.votes.get(class_id, 0.0) + score
        self.score = score if self.hits == 1 else (1 - _SCORE_GAIN) * self.score + _SCORE_GAIN * score
        mixed = 0.8 * self.appearance + 0.2 * appearance
        self.appearance = (mixed / max(float(np.linalg.norm(mixed)), 1e-6)).astype(np.float32)
        if self.mask_box is not None:
            gain = max(_MARGIN_GAIN, 1.0 / self.hits)
            margins = box_margins(box, self.mask_box)
            self.margins = ((1 - gain) * self.margins + gain * margins).astype(np.float32)
            corrected = self.mask_box + self.margins
            self.motion.center = box_centers(corrected)[0]
            gain = max(_DETECTED_SIZE_GAIN, 1.0 / self.hits)
            self.size = ((1 - gain) * self.size + gain * box_sizes(box)[0]).astype(np.float32)
        if self.state is TrackState.LOST:
            self.state = TrackState.CONFIRMED

    def judge(self, settings: TrackerSettings, image: UInt8Image) -> None:
        """Confirm a tentative target if enough detections agree and it flies or is sure to be one.

        Args:
            settings: thresholds.
            image: uint8 RGB (height, width, 3), the current frame.
        """
        if self.state is not TrackState.TENTATIVE or self.hits < settings.confirmations:
            return
        if self.mean_quality < settings.least_quality or self.score < settings.birth_confidence:
            return
        if self.travel.rides(self.longer_side):
            return
        if settings.least_travel == 0 or self._flies(settings, image) or self._is_sure(settings):
            self.state = TrackState.CONFIRMED
            self.landmark = None

    def _flies(self, settings: TrackerSettings, image: UInt8Image) -> bool:
        """Whether it has moved against the background, more than the camera's motion may be off, and left its place."""
        least = max(settings.least_travel, _LEAST_TRAVEL_SIZES * self.longer_side) + self.travel.drift
        far = max(_FAR_PIXELS, _FAR_SIZES * self.longer_side) + self.travel.drift
        if self.travel.longest < least and self.travel.farthest < max(far, least):
            return False
        if self.landmark is None:
            return True
        unchanged = self.landmark.is_unchanged(image, self.travel.drift)
        return not unchanged if unchanged is not None else self.travel.longest >= _UNSEEN_PLACE_TRAVEL * least

    def _is_sure(self, settings: TrackerSettings) -> bool:
        """Whether it is a target even if it stands still: beyond doubt, or small, sharp and detected often.

        Of what three detections had not confirmed in 97 training clips, 10 targets and 1 other were small and sharp;
        7 targets and 39 others were not.
        """
        if self.hits < _SURE_HITS:
            return False
        sharp = self.mean_quality >= settings.hover_quality and self.longer_side <= settings.hover_size
        return self.score >= settings.sure_confidence or (sharp and self.score >= settings.hover_confidence)

    def is_clutter(self, settings: TrackerSettings) -> bool:
        """Whether it has been detected often enough to be a target but has waited too long to be confirmed."""
        return (
            self.state is TrackState.TENTATIVE
            and self.hits >= settings.confirmations
            and self.seconds_alive >= settings.clutter_seconds
        )

    def missed(self, settings: TrackerSettings) -> None:
        """A detector pass found nothing here."""
        doubtful = self.mask is None or self.quality < _DOUBTFUL_QUALITY
        self.misses += _DOUBTFUL_WEIGHT if doubtful else 1
        if self.state is TrackState.TENTATIVE and self.misses >= settings.tentative_misses:
            self.state = TrackState.REMOVED
        elif self.state is TrackState.CONFIRMED:
            # a masklet whose target has left stays on the background behind it
            stranded = not self.is_on_the_move and self.misses >= _STRANDED_MISSES
            if stranded or self.misses >= settings.confirmed_misses:
                self.state = TrackState.LOST

    def report(self, names: Mapping[int, str], settings: TrackerSettings) -> Track:
        """The target as users see it."""
        score = float(np.clip(self.score, 0.0, 1.0))
        tight = settings.box_convention == "mask" and self.mask_box is not None
        return Track(
            id=self.id,
            state=self.state,
            box=self.mask_box if tight and self.mask_box is not None else self.box,
            score=score_probability(score, settings.score_offset, settings.score_slope),
            class_id=self.class_id,
            class_name=names.get(self.class_id, ""),
            mask=self.mask,
            velocity=(self.motion.velocity + self.background_velocity).astype(np.float32),
            age=self.age,
            frames_since_detection=self.frames_since_detection,
            frames_since_seen=self.frames_since_seen,
        )
