"""Adaptive clips: on which frames the detector runs, within a budget, and on which SAM2 looks at calm targets.

All is counted in seconds, so that a faster camera does not change what is found, only how often it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.target import Target

# Early detector passes keep this distance, in seconds, so that a clip never degenerates to a detector on every frame
_EARLY_SECONDS = 1 / 15
# A newborn target is looked at again after so many seconds: a pass sooner sees the same picture
_SECOND_LOOK_SECONDS = 1 / 30
# A second detection says much more of a newborn target than a third
_LEAST_HITS = 2
# Passes that may be saved up for when much happens at once
_SAVED_PASSES = 3.0
# Passes of a second when nothing is alive, in clips
_SEARCHES_PER_CLIP = 3


class DetectorSchedule:
    """Says where clips start.

    Attributes:
        passes: detector passes so far that were of use.
    """

    def __init__(self) -> None:
        self.passes = 0
        self._saved = _SAVED_PASSES
        # seconds since the last pass, None before the first; since the clip's regular end; the last frame's period
        self._since: float | None = None
        self._turn = 0.0
        self._period = 0.0

    def reset(self) -> None:
        """Start anew with the next frame; the budget goes on."""
        self._since = None

    def advance(self, seconds: float, settings: TrackerSettings) -> None:
        """Move on by one frame, so many seconds after the one before."""
        self._period = seconds
        self._since = None if self._since is None else self._since + seconds
        self._saved = min(self._saved + settings.max_detector_share, _SAVED_PASSES)
        self._turn = 0.0 if self.ends(settings) else self._turn + seconds

    def ends(self, settings: TrackerSettings) -> bool:
        """Whether the regular length of the clip is reached, whatever becomes of the next pass."""
        return self._has_passed(settings.clip_seconds)

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

    def starts(self, targets: Sequence[Target], settings: TrackerSettings, wanted: bool) -> bool:
        """Whether a clip starts on this frame, and with it the detector runs. Ask once for each frame.

        Args:
            targets: all that are live.
            settings: clip length and budget.
            wanted: an occlusion asks for a pass.
        """
        if not self._is_due(targets, settings, wanted) or self._saved < 1.0:
            return False
        self._saved -= 1.0
        self._since = 0.0
        self.passes += 1
        return True

    def take_back(self) -> None:
        """The pass of this frame has failed: the next frame starts a clip in its place."""
        self._saved += 1.0
        self._since = None
        self.passes -= 1

    def _has_passed(self, seconds: float) -> bool:
        """Whether so many seconds have passed since the last pass, to the nearest frame."""
        return self._since is None or self._since + self._period / 2 >= seconds

    def _is_due(self, targets: Sequence[Target], settings: TrackerSettings, wanted: bool) -> bool:
        if settings.prompts == "first_frame":
            return not targets
        if self._has_passed(settings.clip_seconds):
            return True
        if not settings.adaptive_clips:
            return False
        if self._has_passed(_SECOND_LOOK_SECONDS) and any(_is_newborn(target) for target in targets):
            return True
        if not self._has_passed(_EARLY_SECONDS):
            return False
        if wanted:
            return True
        if not targets:
            return self._has_passed(settings.clip_seconds / _SEARCHES_PER_CLIP)
        return any(_is_uncertain(target, settings) for target in targets)


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
    return target.misses == 0 and not lately and (target.mask is None or target.is_poorly_rated)
