"""Gliding: a calm target's mask is moved along with its picture instead of being made anew.

A pass of SAM2 is what a masklet costs. Where a target flies alone, is seen well, and looks in this frame as it did in
the last one, such a pass tells nothing new: finding the target's picture again near its expected place costs a
hundredth of it. If the picture is not found again, SAM2 looks at once. What a clip has not confirmed, most likely
clutter, rests: it is moved in the same way, and looked at where clips start, with the detector.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, MaskPatch, pairwise_overlap
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.looks import LookQueue
from smotracker_ros.tracking.target import Target, boxes_of

# A picture reaches so many pixels over the tight box
_RIM = 4
# How far from the expected place a picture is looked for, in pixels and in sizes of the target
_LEAST_REACH = 3
_REACH_SIZES = 0.35
# A picture is found again if its correlation is at least this
_LIKENESS = 0.7
# A target that is not calm - just born, doubtful, or standing where the detector misses it - is looked at once in so
# many seconds
_RESTLESS_SECONDS = 1 / 15
# Neighbours within so many sizes disturb
_LONELY_SIZES = 0.5


@dataclass(frozen=True)
class _Picture:
    """A target as SAM2 has seen it last.

    Attributes:
        patch: uint8 grey, its surroundings.
        corner: column and row of the patch in that frame.
        center: of the target in that frame, as it was reported, float32 (2,).
        mask: in that frame.
        mask_box: in that frame, float32 (4,).
    """

    patch: UInt8Image
    corner: tuple[int, int]
    center: FloatArray
    mask: MaskPatch
    mask_box: FloatArray


class Gliding:
    """Decides for each frame which targets need a pass of SAM2, and moves the masks of the others."""

    def __init__(self) -> None:
        self._pictures: dict[int, _Picture] = {}

    def reset(self) -> None:
        """Forget all pictures."""
        self._pictures.clear()

    def carry(
        self,
        targets: Mapping[int, Target],
        image: UInt8Image,
        seconds: float,
        looks: Callable[[float], bool],
        settings: TrackerSettings,
        disturbed: Collection[int],
        queue: LookQueue,
    ) -> set[int]:
        """Move the masks of lonely targets to this frame. Call it after their prediction, before propagation.

        Where there is not time for all that SAM2 should look at, the masks of others are moved, too; whose picture is
        not found then waits unseen (:attr:`Target.waits`).

        Args:
            targets: by id.
            image: uint8 RGB (height, width, 3), the current frame.
            seconds: time since the previous frame.
            looks: whether SAM2 looks on this frame at targets that it sees once in so many seconds.
            settings: seconds within which a calm target is looked at (`masklet_seconds`); doubtful ones are sooner,
                those that wait to be confirmed once per clip.
            disturbed: ids of targets that may not glide.
            queue: chooses at whom SAM2 looks.

        Returns:
            Ids of the targets that have been moved.
        """
        live = [target for target in targets.values() if target.is_live]
        self._pictures = {key: picture for key, picture in self._pictures.items() if key in targets}
        boxes = boxes_of(live)
        rims = np.array([[target.longer_side * _LONELY_SIZES / 2] for target in live], dtype=np.float32).reshape(-1, 1)
        tight = boxes - np.array([target.margins for target in live], dtype=np.float32).reshape(-1, 4)
        grown = np.hstack([tight[:, :2] - rims, tight[:, 2:] + rims])
        # what rests disturbs where it touches only: it does not move towards anybody
        rests = np.array([_rests(target, settings) for target in live], dtype=np.bool_)
        near = (pairwise_overlap(grown, grown) > 0) & (~rests | (pairwise_overlap(boxes, boxes) > 0))
        lonely = (near | np.eye(len(live), dtype=np.bool_)).sum(axis=1) <= 1
        carried = set()
        missed = set()
        wanting: list[Target] = []
        for target, alone, resting in zip(live, lonely.tolist(), rests.tolist(), strict=True):
            due = looks(settings.clip_seconds if resting else _interval(target, settings.masklet_seconds))
            undisturbed = target.id not in disturbed and (alone or resting)
            may_glide = not due and undisturbed and target.frames_since_seen == 1
            if not may_glide:
                wanting.append(target)
            elif self._move(target, image, seconds):
                carried.add(target.id)
            else:
                missed.add(target.id)
                wanting.append(target)
        chosen = queue.choose(wanting, disturbed)
        for target in wanting:
            if target.id in chosen:
                continue
            may_glide = target.id not in missed and target.id not in disturbed and target.frames_since_seen == 1
            if may_glide and self._move(target, image, seconds):
                carried.add(target.id)
            else:
                target.waits = True
        return carried

    def remember(self, target: Target, image: UInt8Image) -> None:
        """Take the picture of a target whose mask SAM2 has just made."""
        self._pictures.pop(target.id, None)
        if target.mask is None or target.mask_box is None:
            return
        x1, y1 = (int(value) for value in np.floor(target.mask_box[:2]) - _RIM)
        x2, y2 = (int(value) for value in np.ceil(target.mask_box[2:]) + _RIM)
        if x1 < 0 or y1 < 0 or x2 > image.shape[1] or y2 > image.shape[0]:
            return  # at the border it may leave at any moment
        patch = np.asarray(cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        center = target.motion.center.copy()
        self._pictures[target.id] = _Picture(patch, (x1, y1), center, target.mask, target.mask_box.copy())

    def _move(self, target: Target, image: UInt8Image, seconds: float) -> bool:
        """Find a target's picture again and put its mask there; False if it is not found."""
        picture = self._pictures.get(target.id)
        if picture is None:
            return False
        height, width = picture.patch.shape
        reach = max(_LEAST_REACH, round(_REACH_SIZES * target.longer_side))
        expected = np.round(target.motion.center - picture.center).astype(int)
        x, y = picture.corner[0] + int(expected[0]) - reach, picture.corner[1] + int(expected[1]) - reach
        if x < 0 or y < 0 or x + width + 2 * reach > image.shape[1] or y + height + 2 * reach > image.shape[0]:
            return False
        area = cv2.cvtColor(image[y : y + height + 2 * reach, x : x + width + 2 * reach], cv2.COLOR_RGB2GRAY)
        likeness = cv2.matchTemplate(np.asarray(area, dtype=np.uint8), picture.patch, cv2.TM_CCOEFF_NORMED)
        _, best, _, (column, row) = cv2.minMaxLoc(likeness)
        at_rim = column in (0, 2 * reach) or row in (0, 2 * reach)
        if best < _LIKENESS or at_rim:
            return False
        moved = expected - reach + np.array([column, row])
        exact = moved + np.array([_peak(likeness[row, :], column), _peak(likeness[:, column], row)])
        mask = MaskPatch(picture.mask.x + int(moved[0]), picture.mask.y + int(moved[1]), picture.mask.pixels)
        box = picture.mask_box + np.tile(exact, 2).astype(np.float32)
        target.see(mask, box.astype(np.float32), target.quality, seconds)
        return True


def _rests(target: Target, settings: TrackerSettings) -> bool:
    """Whether a target has waited to be confirmed for a clip, and is as likely clutter."""
    long = settings.masklet_seconds < settings.clip_seconds <= target.seconds_alive
    return target.state is TrackState.TENTATIVE and long


def _interval(target: Target, interval: float) -> float:
    """Seconds within which SAM2 looks at a target whatever happens."""
    trusted = target.misses == 0 or target.is_on_the_move
    calm = target.state is TrackState.CONFIRMED and trusted and not target.is_poorly_rated
    return interval if calm else min(interval, _RESTLESS_SECONDS)


def _peak(values: FloatArray, index: int) -> float:
    """Where the peak lies between the samples, from a parabola through the highest one and its neighbours."""
    left, middle, right = (float(values[index + step]) for step in (-1, 0, 1))
    curvature = left - 2 * middle + right
    return 0.5 * (left - right) / curvature if curvature < 0 else 0.0
