"""Tracks: what the tracker reports for one frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import FloatArray, MaskPatch
from smotracker_ros.core.ignore_mask import IgnoreMask


class TrackState(IntEnum):
    """Life of a track; the values are those of `msg/Track.msg`."""

    TENTATIVE = 1
    CONFIRMED = 2
    LOST = 3
    REMOVED = 4


@dataclass(frozen=True)
class Track:
    """One object in one frame.

    Attributes:
        id: positive, never reused by the same tracker.
        state: see :class:`TrackState`. LOST tracks carry their last box moved on by camera and target motion.
        box: float32 (4,), xyxy in pixels of the source image, in the tracker's box convention, scaled by `box_margin`.
        score: confidence in [0, 1], or the probability (`reported_score` of the settings).
        class_id: class number of the detector.
        class_name: class name of the detector.
        mask: pixels of the object; None where the object is not seen in this frame.
        velocity: float32 (2,), pixels per second in the image, camera motion included.
        age: frames since birth, 0 in the first.
        frames_since_detection: frames since a detection last agreed.
        frames_since_seen: frames since the masklet was last visible, 0 if it is now.
        probability: of being a target that is there, in [0, 1].
        friendly: name of the friendly target that it is, as a hint from elsewhere says; empty: not known to be one.
    """

    id: int
    state: TrackState
    box: FloatArray
    score: float
    class_id: int
    class_name: str
    mask: MaskPatch | None
    velocity: FloatArray
    age: int
    frames_since_detection: int
    frames_since_seen: int
    probability: float = 0.0
    friendly: str = ""

    @property
    def caption(self) -> str:
        """What pictures call it: its id, and its name if it is friendly, else its class."""
        return f"{self.id} {self.friendly or self.class_name}".rstrip()


@dataclass(frozen=True)
class Tracks:
    """All live and lost tracks of one frame, by increasing id.

    Attributes:
        timestamp_ns: timestamp of the frame they belong to.
        frame_index: index of that frame.
        image_size: (height, width) of that frame in pixels.
        items: the tracks; iterate over this object to get them.
        detector_ran: whether the detector saw this frame, or a part of it.
        ignored: places in which nothing is looked for, as the user has said.
    """

    timestamp_ns: int
    frame_index: int
    image_size: tuple[int, int]
    items: tuple[Track, ...] = field(default=())
    detector_ran: bool = False
    ignored: IgnoreMask = field(default=IgnoreMask(), compare=False, repr=False)

    def __iter__(self) -> Iterator[Track]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def reported(self) -> tuple[Track, ...]:
        """The tracks that downstream users get: CONFIRMED and visible in this frame."""
        return tuple(t for t in self.items if t.state is TrackState.CONFIRMED and t.mask is not None)


def label_image(tracks: Tracks) -> npt.NDArray[np.uint16]:
    """Label image of the reported tracks, uint16 (height, width): pixel = track id, 0 = background.

    Smaller masks are painted last, so that a small target in front of a large one stays visible. Ids above 65535 wrap
    round within 1..65535.
    """
    image = np.zeros(tracks.image_size, dtype=np.uint16)
    for track in sorted(tracks.reported, key=lambda t: -(t.mask.area if t.mask is not None else 0)):
        if track.mask is not None:
            track.mask.paint(image, label(track))
    return image


def label(track: Track) -> int:
    """Value of a track's pixels in :func:`label_image`."""
    return (track.id - 1) % 65535 + 1
