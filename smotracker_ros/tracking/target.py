"""One object's life: what the tracker knows of it, and the rules by which its state changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, MaskPatch, as_boxes, box_centers, box_sizes, scaled_boxes
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import Track, TrackState
from smotracker_ros.tracking.box_offset import box_margins, with_margins
from smotracker_ros.tracking.displacement import BackgroundTemplate, Displacement
from smotracker_ros.tracking.existence import MOST_MISSED, TERMS, Belief, DetectionRecord, ExistenceModel
from smotracker_ros.tracking.kinematics import TargetMotion

LOST_SHARE = 0.5
"""A CONFIRMED target below this share of `confirm_probability` is LOST: what was sure may be in doubt for a while."""

# The usual size follows within about so many seconds
_USUAL_SECONDS = 3.0
# Share of a new measurement in the running averages of margins, score and appearance
_MARGIN_GAIN = 0.3
_SCORE_GAIN = 0.3
# The same for the network's quality, once there have been enough masks for a plain mean to be as slow
_QUALITY_GAIN = 0.05
# The reported size follows the masks' within about so many seconds: masks breathe faster than targets grow (val/)
_SIZE_SECONDS = 1.1
# The same for a detection's size, which is what labels mean by size
_DETECTED_SIZE_GAIN = 0.1
# A mask wider than so many times the last detection's box has leaked into the background
_LARGEST_GROWTH = 1.6
# Whether a target lies on what is fixed in the image is averaged over about so many seconds
_FIXED_SECONDS = 0.5
# Who has moved by fewer pixels within 0.8 s stands still
_LEAST_LATELY = 2.0
# Who is so many standard deviations from the first place says that it has moved
_MOVED_DEVIATIONS = 2.0
# One detection may be anything; the second comes within a thirtieth of a second
_LEAST_HITS = 2
# Below this probability a TENTATIVE target costs more than it promises
_HOPELESS = 0.02
# Who waits to be CONFIRMED costs a masklet: the less probable, the shorter it may wait, in seconds. Of those that had
# to go by this on clips of the composed and other cameras none would have been CONFIRMED
_SHORTEST_WAIT, _LONGEST_WAIT = 0.5, 3.0
# A mask rated below this share of the mean of the target's masks shows something else, once so many masks are known
_LEAST_QUALITY = 0.35
_KNOWN_MASKS = 5
# A mask is rated poorly below this, unless the target's masks are always rated so
_POOR_QUALITY = 0.4
_POOR_SHARE = 0.8
# A target out of sight is looked for within so many standard deviations of its predicted place, at no cost
_SIGMAS = 2.0


def size_gain(seconds: float) -> float:
    """Share of a mask's size in the reported size, so many seconds after the mask before."""
    return float(1 - np.exp(-seconds / _SIZE_SECONDS))


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
        usual_side: running mean of its longer side in pixels, slow.
        mask: pixels in this frame, None where not seen.
        mask_box: tight box in this frame, None where not seen.
        votes: summed confidence by class.
        score: running mean of the detections' confidence.
        age: frames since birth.
        hits: detections that agreed.
        masks_seen: masks so far.
        misses: detector passes in a row without one.
        frames_since_detection: frames since the last agreeing detection.
        frames_since_seen: frames since the mask was last visible.
        seconds_unseen: the same in seconds.
        seconds_alive: seconds since birth.
        seconds_since_detection: seconds since the last agreeing detection.
        quality: the network's estimate of the current mask's IoU.
        mean_quality: running mean of the same over the masks so far.
        background_velocity: of the background behind it in the image, pixels per second, float32 (2,), averaged.
        displacement: how far it has moved against the background.
        first_place: the picture of its first place, until it has left that.
        place_unchanged: whether its first place still looks as it did although it has moved; None: nobody can tell.
        fixed: share of its latest masks that lay on what is fixed in the image while the camera moves.
        record: what detector passes have said of it.
        probability: of it being a target that is there; at least `confirm_probability` while an external box vouches.
        vouched: whether an external box says on this frame that it is a target.
        waits: whether SAM2 should have looked at it on this frame, and there was no time.
        hinted: whether it lies in a gate on this frame (:mod:`smotracker_ros.tracking.gates`).
        friendly: name of the friendly target that it is; empty: not known to be one.
    """

    id: int
    motion: TargetMotion
    size: FloatArray
    margins: FloatArray
    appearance: FloatArray
    detected_side: float
    usual_side: float
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
    seconds_since_detection: float = 0.0
    quality: float = 0.0
    mean_quality: float = 0.0
    masks_seen: int = 0
    background_velocity: FloatArray = field(default_factory=lambda: np.zeros(2, dtype=np.float32))
    displacement: Displacement = field(default_factory=Displacement)
    first_place: BackgroundTemplate | None = None
    place_unchanged: bool | None = None
    fixed: float = 0.0
    record: DetectionRecord = field(default_factory=DetectionRecord)
    probability: float = 0.0
    vouched: bool = False
    waits: bool = False
    hinted: bool = False
    friendly: str = ""
    _belief: Belief = field(default_factory=Belief)

    @staticmethod
    def born(identity: int, box: FloatArray, appearance: FloatArray) -> Target:
        """A new target at a detection's box, float32 (4,)."""
        center = box_centers(box)[0]
        return Target(
            id=identity,
            motion=TargetMotion.born(center, float(box_sizes(box)[0].max())),
            size=box_sizes(box)[0],
            margins=np.zeros(4, dtype=np.float32),
            appearance=appearance,
            detected_side=float(box_sizes(box)[0].max()),
            usual_side=float(box_sizes(box)[0].max()),
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
        return _SIGMAS * self.motion.deviation(self.longer_side) if self.seconds_unseen > 0 else 0.0

    @property
    def is_live(self) -> bool:
        """Whether its masklet is propagated."""
        return self.state in (TrackState.TENTATIVE, TrackState.CONFIRMED)

    @property
    def is_on_the_move(self) -> bool:
        """Whether it has lately moved against the background, which what stays behind a target does not."""
        return self.displacement.lately >= _LEAST_LATELY

    @property
    def is_poorly_rated(self) -> bool:
        """Whether the network rates the last mask low, and lower than it is used to rate this target's."""
        return self.quality < min(_POOR_QUALITY, _POOR_SHARE * self.mean_quality)

    @property
    def class_id(self) -> int:
        """Class with the most votes; the lower number at a tie."""
        return min(self.votes, key=lambda key: (-self.votes[key], key)) if self.votes else 0

    def wait_inside(self, width: int, height: int) -> None:
        """Expect a LOST target that has left an image of that size where it left: there it may come back."""
        if self.state is TrackState.LOST:
            self.motion.center = np.clip(self.motion.center, 0, (width, height)).astype(np.float32)

    def agrees(self, mask_box: FloatArray) -> float:
        """Agreement of a mask's box with the expected motion in [0, 1]; 0 is a jump that no target makes."""
        distance = float(np.linalg.norm(box_centers(mask_box)[0] - self.motion.center))
        limit = self.motion.model.gate * self.motion.deviation(self.longer_side)
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
        box = with_margins(as_boxes(mask_box)[0], self.margins)
        elapsed = max(self.seconds_unseen, seconds) if seconds > 0 else 0.0
        if elapsed > 0:
            self.motion.measure(box_centers(box)[0], self.longer_side, elapsed)
        else:
            self.motion.center = box_centers(box)[0]
        self.displacement.measure(box_centers(as_boxes(mask_box))[0])
        gain = size_gain(elapsed)
        self.size = ((1 - gain) * self.size + gain * box_sizes(box)[0]).astype(np.float32)
        self.usual_side += (1 - float(np.exp(-elapsed / _USUAL_SECONDS))) * (self.longer_side - self.usual_side)
        self.frames_since_seen = 0
        self.seconds_unseen = 0.0

    def lie(self, on_fixed: bool, seconds: float) -> None:
        """Note whether a mask lies on what is fixed in the image, so many seconds after the one before."""
        gain = 1 - float(np.exp(-max(seconds, self.seconds_unseen) / _FIXED_SECONDS)) if self.masks_seen else 1.0
        self.fixed += gain * (float(on_fixed) - self.fixed)

    def restart(self, box: FloatArray, velocity: FloatArray | None = None) -> None:
        """Put the target where a detection found it, before its masklet is prompted there.

        Args:
            box: float32 (4,), xyxy pixels.
            velocity: pixels per second relative to the background, float32 (2,); None: as it was.
        """
        self.size = box_sizes(box)[0]
        if velocity is None and self.mask is None:
            # it has flown on unseen
            self.motion.measure(box_centers(box)[0], self.longer_side, self.seconds_unseen)
        else:
            self.motion.place(box_centers(box)[0], self.longer_side, velocity)
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
        self.record.hit(score)
        self.frames_since_detection = 0
        self.seconds_since_detection = 0.0
        self.detected_side = float(box_sizes(box)[0].max())
        self.votes[class_id] = self.votes.get(class_id, 0.0) + score
        self.score = score if self.hits == 1 else (1 - _SCORE_GAIN) * self.score + _SCORE_GAIN * score
        mixed = 0.8 * self.appearance + 0.2 * appearance
        self.appearance = (mixed / max(float(np.linalg.norm(mixed)), 1e-6)).astype(np.float32)
        if self.mask_box is not None:
            gain = max(_MARGIN_GAIN, 1.0 / self.hits)
            margins = box_margins(box, self.mask_box)
            self.margins = ((1 - gain) * self.margins + gain * margins).astype(np.float32)
            corrected = with_margins(self.mask_box, self.margins)
            self.motion.center = box_centers(corrected)[0]
            gain = max(_DETECTED_SIZE_GAIN, 1.0 / self.hits)
            self.size = ((1 - gain) * self.size + gain * box_sizes(box)[0]).astype(np.float32)
        if self.state is TrackState.LOST:
            self.state = TrackState.CONFIRMED
            self._belief.renew()

    @property
    def evidence(self) -> npt.NDArray[np.float64]:
        """Values of the terms of :data:`smotracker_ros.tracking.existence.TERMS`, float64 (len(TERMS),)."""
        size, record, way = self.longer_side, self.record, self.displacement
        lately = way.deviations_lately(size)
        seen = self.masks_seen > 0
        values = {
            "bias": 1.0,
            "score": record.score,
            "missed": min(record.missed, MOST_MISSED),
            "displacement": np.log1p(way.deviations(size)),
            "displacement_lately": 0.0 if lately is None else np.log1p(lately),
            "place_unchanged": float(self.place_unchanged is True),
            "fixed": self.fixed,
            "rides": np.log1p(way.camera_path / (way.image_reach + 0.5 + 0.05 * size)),
            "unseen": min(self.seconds_unseen, 1.0),
            "mask_quality": self.mean_quality - 0.6 if seen else 0.0,
            "mask_change": min(self.quality / max(self.mean_quality, 0.1), 1.5) - 1 if seen else 0.0,
            "size_change": abs(float(np.log(max(size, 1.0) / max(self.usual_side, 1.0)))),
            "unsupported": np.log1p(self.seconds_since_detection),
        }
        return np.array([values[name] for name in TERMS], dtype=np.float64)

    def judge(
        self, settings: TrackerSettings, model: ExistenceModel, image: UInt8Image, lost_share: float = LOST_SHARE
    ) -> None:
        """Say how probable the target is, and change its state by that.

        Args:
            settings: the probability from which it is CONFIRMED.
            model: weighs what has been seen of it.
            image: uint8 RGB (height, width, 3), the current frame.
            lost_share: below this share of that probability a CONFIRMED one is LOST.
        """
        moved = self.displacement.deviations(self.longer_side) >= _MOVED_DEVIATIONS
        if self.first_place is not None and moved:
            self.place_unchanged = self.first_place.is_unchanged(image, self.displacement.drift)
            if self.place_unchanged is False:
                self.first_place = None  # it has left
        confirmed = self.state is not TrackState.TENTATIVE
        self.probability = self._belief.follow(model.log_odds(self.evidence, confirmed), self.seconds_alive)
        if self.vouched:
            self.probability = max(self.probability, settings.confirm_probability)
            self.forgive()
        if self.state is TrackState.TENTATIVE:
            known = self.hits >= _LEAST_HITS or settings.confirm_probability == 0
            if known and self.probability >= settings.confirm_probability:
                self.state = TrackState.CONFIRMED
            elif self.probability < _HOPELESS:
                self.state = TrackState.REMOVED
        elif self.state is TrackState.CONFIRMED and self.probability < lost_share * settings.confirm_probability:
            self.state = TrackState.LOST

    def has_waited(self, settings: TrackerSettings) -> bool:
        """Whether it has waited to be CONFIRMED for as long as its probability is worth."""
        if self.state is not TrackState.TENTATIVE:
            return False
        worth = self.probability / max(settings.confirm_probability, 1e-6)
        return self.seconds_alive >= min(max(_LONGEST_WAIT * worth, _SHORTEST_WAIT), _LONGEST_WAIT)

    def missed(self) -> None:
        """A detector pass found nothing here."""
        if not (self.vouched or self.hinted):
            self.misses += 1
            self.record.miss()

    def absorb(self, duplicate: Target) -> None:
        """Take over from another of the same object, which goes: what has been detected as either was this."""
        self.misses = min(self.misses, duplicate.misses)
        duplicate.state = TrackState.REMOVED

    def forgive(self) -> None:
        """Forget the misses: somebody else knows that the target is there."""
        self.misses = 0
        self.record.forgive()

    def report(self, names: Mapping[int, str], settings: TrackerSettings) -> Track:
        """The target as users see it."""
        confidence = min(max(self.score, 0.0), 1.0)
        box = self.mask_box if settings.box_convention == "mask" and self.mask_box is not None else self.box
        return Track(
            id=self.id,
            state=self.state,
            box=scaled_boxes(box, 1 + settings.box_margin),
            score=self.probability if settings.reported_score == "probability" else confidence,
            class_id=self.class_id,
            class_name=names.get(self.class_id, ""),
            mask=self.mask,
            velocity=(self.motion.velocity + self.background_velocity).astype(np.float32),
            age=self.age,
            frames_since_detection=self.frames_since_detection,
            frames_since_seen=self.frames_since_seen,
            probability=self.probability,
            friendly=self.friendly,
        )


def boxes_of(targets: Iterable[Target]) -> FloatArray:
    """Boxes of several targets, float32 (N, 4); see :attr:`Target.box`."""
    chosen = list(targets)
    centers = np.array([target.motion.center for target in chosen], dtype=np.float32).reshape(-1, 2)
    half = np.array([target.size for target in chosen], dtype=np.float32).reshape(-1, 2) / 2
    return np.concatenate([centers - half, centers + half], axis=1)
