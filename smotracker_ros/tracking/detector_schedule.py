"""Adaptive clips: when the detector sees which parts of a frame, and the surroundings of doubtful targets, in a budget.

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
        # seconds since the detector has begun to see all of the frame, and since it has seen anything, None before the
        # first; since the clip's regular end; the last frame's period
        self._since: float | None = None
        self._since_look: float | None = None
        self._turn = 0.0
        self._period = 0.0
        # into how many parts the frame is divided, their price, how many of them are due, and the next one
        self._parts, self._price, self._owed, self._next = 1, 1.0, 0.0, 0

    def reset(self) -> None:
        """Start anew with the next frame; the budget goes on."""
        self._since = self._since_look = None
        self._owed, self._next = 0.0, 0

    def advance(self, seconds: float, settings: TrackerSettings) -> None:
        """Move on by one frame, so many seconds after the one before."""
        self._period = seconds
        self._since = None if self._since is None else self._since + seconds
        self._since_look = None if self._since_look is None else self._since_look + seconds
        self._saved = min(self._saved + settings.max_detector_share, _SAVED_PASSES)
        self._turn = 0.0 if self.ends(settings) else self._turn + seconds

    def ends(self, settings: TrackerSettings) -> bool:
        """Whether all of the frame has been seen since the clip began, as far as time tells."""
        return self._passed(self._since, self._price * settings.clip_seconds)

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

    def due(
        self, targets: Sequence[Target], settings: TrackerSettings, parts: int = 1, price: float = 1.0
    ) -> list[int]:
        """Which parts of the frame are due to be seen. Ask once for each frame.

        The first frame is seen as a whole.

        Args:
            targets: all that are live.
            settings: clip length: so often a whole frame's price is paid.
            parts: into how many the frame is divided.
            price: of all parts together, in whole frames; a round of turns takes as many clips.

        Returns:
            Their numbers, from 0 on, in the order of their turns.
        """
        self._parts, self._price = parts, price
        if settings.prompts == "first_frame":
            return [] if targets else list(range(parts))
        if self._since is None or settings.clip_seconds == 0:
            return list(range(parts))
        searches = settings.adaptive_clips and not targets
        step = parts * self._period / (price * settings.clip_seconds) * (_SEARCHES_PER_CLIP if searches else 1)
        self._owed = min(self._owed + step, float(parts))
        # to the nearest frame; what is overdue because the budget was short comes as the budget allows
        affordable = max(int(self._saved * parts / price), 1)
        count = min(max(int(self._owed + step / 2), 0), parts, affordable)
        return [(self._next + turn) % parts for turn in range(count)]

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

    def spend(self, price: float, turns: Sequence[int] = ()) -> bool:
        """Whether the budget allows the detector a look at this frame; if so, it is spent.

        Ask once for each frame. Looks at doubtful targets leave enough for a whole frame, or no clip would ever start.

        Args:
            price: of the look, in whole frames.
            turns: the parts of the frame that are seen, of :meth:`due`; empty: the surroundings of targets.
        """
        if self._saved < (price if turns or price >= 1 else price + 1.0):
            return False
        self._saved -= price
        self._since_look = 0.0
        if price >= 1:
            # parts that were not due are seen ahead of their time
            self._owed = min(self._owed - self._parts, 0.0) if self._owed >= 1 else 0.0
            self._since, self._next = 0.0, 0
        elif turns:
            self._owed, self._next = self._owed - len(turns), turns[-1] + 1
            if 0 in turns:
                self._since = 0.0
        self.passes += 1
        self.frames_seen += price
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

    def take_back(self, price: float) -> None:
        """The look of this frame has failed: the next frame is seen as a whole in its place."""
        self._saved += price
        self.reset()
        self.passes -= 1
        self.frames_seen -= price

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
