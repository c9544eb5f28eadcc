"""Adaptive clips: on which frames the detector runs, within a budget."""

from __future__ import annotations

from collections.abc import Sequence

from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.target import Target

# Early detector passes keep this distance, in frames, so that a clip never degenerates to a detector on every frame
_EARLY_PASS_DISTANCE = 2
# Passes that may be saved up for when much happens at once
_SAVED_PASSES = 3.0


class ClipSchedule:
    """Says where clips start.

    Attributes:
        passes: detector passes so far that were of use.
        turn: frames since a clip last came to its regular end.
    """

    def __init__(self) -> None:
        self.passes = 0
        self.turn = 0
        self._saved = _SAVED_PASSES
        self._since: int | None = None

    def reset(self) -> None:
        """Start anew with the next frame; the budget goes on."""
        self._since = None

    def advance(self, settings: TrackerSettings) -> None:
        """Move on by one frame."""
        self._since = None if self._since is None else self._since + 1
        self._saved = min(self._saved + settings.max_detector_share, _SAVED_PASSES)
        self.turn = 0 if self.ends(settings) else self.turn + 1

    def ends(self, settings: TrackerSettings) -> bool:
        """Whether the regular length of the clip is reached, whatever becomes of the next pass."""
        return self._since is None or self._since >= settings.clip_length

    def starts(self, targets: Sequence[Target], settings: TrackerSettings, wanted: bool) -> bool:
        """Whether a clip starts on this frame, and with it the detector runs. Ask once for each frame.

        Args:
            targets: all that are live.
            settings: clip length and budget.
            wanted: a crossing asks for a pass.
        """
        if not self._is_due(targets, settings, wanted) or self._saved < 1.0:
            return False
        self._saved -= 1.0
        self._since = 0
        self.passes += 1
        return True

    def take_back(self) -> None:
        """The pass of this frame has failed: the next frame starts a clip in its place."""
        self._saved += 1.0
        self._since = None
        self.passes -= 1

    def _is_due(self, targets: Sequence[Target], settings: TrackerSettings, wanted: bool) -> bool:
        since = self._since
        if settings.prompts == "first_frame":
            return not targets
        if since is None or since >= settings.clip_length:
            return True
        if not settings.adaptive_clips:
            return False
        # once more at once after a birth: a second detection there is what confirms it
        if any(_is_unproven(target, settings) and target.age == 1 for target in targets):
            return True
        if since < _EARLY_PASS_DISTANCE:
            return False
        if wanted:
            return True
        if not targets:
            return since >= max(settings.clip_length // 3, _EARLY_PASS_DISTANCE)
        return any(_is_uncertain(target, settings) for target in targets)


def _is_unproven(target: Target, settings: TrackerSettings) -> bool:
    """Whether a newborn target still needs detections."""
    return target.state is TrackState.TENTATIVE and target.hits < settings.confirmations


def _is_uncertain(target: Target, settings: TrackerSettings) -> bool:
    """Whether a detector pass may tell more of a target now."""
    if target.state is TrackState.TENTATIVE:
        # what is detected waits for movement or good masks, of which no detector tells
        return _is_unproven(target, settings)
    lately = target.frames_since_detection < settings.clip_length // 3
    return target.misses == 0 and not lately and (target.mask is None or target.is_poorly_rated)
