"""Adaptive clips: when the detector sees whole frames, and when the surroundings of doubtful targets, within a budget.

All is counted in seconds, so that a faster camera does not change what is found, only how often it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.target import Target

# Looks at doubtful targets keep this distance, in seconds, or the detector would run on every frame
_EARLY_SECONDS = 1 / 15
# A newborn target is looked at again after so many seconds: a look sooner sees the same picture
_SECOND_LOOK_SECONDS = 1 / 30
# A second detection says much more of a newborn target than a third
_LEAST_HITS = 2
# Passes that may be saved up for when much happens at once
_SAVED_PASSES = 3.0
# Whole frames seen in the time of a clip when nothing is alive
_SEARCHES_PER_CLIP = 2


class DetectorSchedule:
    """Says where clips start, and at whom the detector looks in between.

    Attributes:
        passes: frames so far on which the detector has run and was of use.
        frames_seen: what it has seen on them, in whole frames.
    """

    def __init__(self) -> None:
        self.passes = 0
        self.frames_seen = 0.0
        self._saved = _SAVED_PASSES
        # seconds since the detector has seen a whole frame and anything, None before the first; since the clip's
        # regular end; the last frame's period
        self._since: float | None = None
        self._since_look: float | None = None
        self._turn = 0.0
        self._period = 0.0

    def reset(self) -> None:
        """Start anew with the next frame; the budget goes on."""
        self._since = self._since_look = None

    def advance(self, seconds: float, settings: TrackerSettings) -> None:
        """Move on by one frame, so many seconds after the one before."""
        self._period = seconds
        self._since = None if self._since is None else self._since + seconds
        self._since_look = None if self._since_look is None else self._since_look + seconds
        self._saved = min(self._saved + settings.max_detector_share, _SAVED_PASSES)
        self._turn = 0.0 if self.ends(settings) else self._turn + seconds

    def ends(self, settings: TrackerSettings) -> bool:
        """Whether the regular length of the clip is reached, whatever becomes of the next pass."""
        return self._passed(self._since, settings.clip_seconds)

    def looks(self, interval: float) -> bool:
        """Whether this frame is one of those, so many seconds apart, on which SAM2 looks at all targets of a kind.

        All are looked at on the same frames, as a pass in a batch costs half as much as alone; a frame with a detector
        pass is dearer still.
        """
        if self._turn == 0 or interval <= self._period:
            return True
        # frames are never just so many seconds apart: each takes the moment nearest to it
        now, before = self._turn + self._period / 2, self._turn - self._period / 2
        return int(now / interval) > int(before / interval)

    def starts(self, targets: Sequence[Target], settings: TrackerSettings) -> bool:
        """Whether a clip starts on this frame: the detector sees all of it.

        Args:
            targets: all that are live.
            settings: clip length.
        """
        if settings.prompts == "first_frame":
            return not targets
        if self._passed(self._since, settings.clip_seconds):
            return True
        searches = settings.adaptive_clips and not targets
        return searches and self._passed(self._since, settings.clip_seconds / _SEARCHES_PER_CLIP)

    def doubtful(self, targets: Sequence[Target], settings: TrackerSettings, asked: Sequence[Target]) -> list[Target]:
        """At which targets the detector looks on this frame although no clip starts.

        Args:
            targets: all that are live.
            settings: clip length.
            asked: those of which an occlusion asks where they are, whether they are seen or not.
        """
        if settings.prompts == "first_frame" or not settings.adaptive_clips:
            return []
        found = []
        if self._passed(self._since_look, _SECOND_LOOK_SECONDS):
            found = [target for target in targets if _is_newborn(target)]
        if self._passed(self._since_look, _EARLY_SECONDS):
            found += [*asked, *(target for target in targets if _is_uncertain(target, settings))]
        return list({target.id: target for target in found}.values())

    def spend(self, share: float) -> bool:
        """Whether the budget allows the detector to see that share of this frame; if so, it is spent.

        Ask once for each frame. Parts of frames leave enough for a whole one, or no clip would ever start.
        """
        if self._saved < (share if share >= 1 else share + 1.0):
            return False
        self._saved -= share
        self._since_look = 0.0
        if share >= 1:
            self._since = 0.0
        self.passes += 1
        self.frames_seen += share
        return True

    def spend_aside(self, price: float) -> bool:
        """Whether the budget allows a closer look at that price in whole frames; if so, it is spent.

        It is no part of a clip, and leaves enough for a whole frame.
        """
        if self._saved < price + 1.0:
            return False
        self._saved -= price
        self.frames_seen += price
        return True

    def take_back(self, share: float) -> None:
        """The look of this frame has failed: the next frame starts a clip in its place."""
        self._saved += share
        self._since = self._since_look = None
        self.passes -= 1
        self.frames_seen -= share

    def _passed(self, since: float | None, seconds: float) -> bool:
        """Whether so many seconds have passed, to the nearest frame."""
        return since is None or since + self._period / 2 >= seconds


def _is_unproven(target: Target) -> bool:
    """Whether another detection would say much of a target."""
    return target.state is TrackState.TENTATIVE and target.hits < _LEAST_HITS


def _is_newborn(target: Target) -> bool:
    """Whether a target waits for its second look."""
    return _is_unproven(target) and target.misses == 0


def _is_uncertain(target: Target, settings: TrackerSettings) -> bool:
    """Whether a detector pass may tell more of a target now."""
    if target.state is TrackState.TENTATIVE:
        # what is detected waits for movement or good masks, of which no detector tells
        return _is_unproven(target)
    lately = target.seconds_since_detection < settings.clip_seconds / 3
    unseen = target.mask is None and not target.waits
    return target.misses == 0 and not lately and (unseen or target.is_poorly_rated)
