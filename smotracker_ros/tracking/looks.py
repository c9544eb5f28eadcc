"""Who is looked at by SAM2 where there is not time for all.

A pass of SAM2 is what a target costs. With a bound on the looks of a frame, targets stand in a queue: the one that has
waited longest, in units of its patience, is the first. Who must not be lost has little patience: targets that lie over
others or are out of sight, that somebody asks about, and that have just been born; then TENTATIVE ones; most have those
that are CONFIRMED and calm. So calm targets are looked at more rarely first, and nobody waits for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.target import Target

# Patience in seconds, the least first: who must not be lost; TENTATIVE ones; CONFIRMED ones that are calm
_URGENT, _TENTATIVE, _CALM = 1 / 30, 0.2, 0.4
# A target is young for so many seconds: its memory holds little
_YOUNG_SECONDS = 0.3


class LookQueue:
    """Chooses at whom SAM2 looks on a frame.

    Attributes:
        most: looks on a frame that there is time for, and targets that a detector pass may start; 0: all. Who drives
            the tracker may change it with every frame.
        newest: masklets that SAM2 has looked at on the last frame, prompts left out, and those that had to wait.
        taken: masklets that SAM2 has looked at so far, prompts left out.
        postponed: looks so far that would have been taken had there been time.
    """

    def __init__(self) -> None:
        self.most = 0
        self.newest = 0, 0
        self.taken = self.postponed = 0
        # seconds since SAM2 looked, by id
        self._waited: dict[int, float] = {}
        self._asked: set[int] = set()

    def reset(self) -> None:
        """Forget who waits."""
        self._waited.clear()
        self._asked.clear()

    def advance(self, targets: Mapping[int, Target], seconds: float) -> None:
        """Move on to the next frame; call it before the targets are moved on.

        Args:
            targets: by id, as they were at the end of the last frame.
            seconds: time since that.
        """
        self._waited = {key: self._waited.get(key, 0.0) + seconds for key in targets}
        self._asked = {key for key, target in targets.items() if target.hinted or target.vouched}

    def choose(self, wanting: Sequence[Target], disturbed: Collection[int]) -> set[int]:
        """Ids of those who are looked at on this frame. Call it once per frame.

        Args:
            wanting: targets at which SAM2 would look.
            disturbed: ids of targets that lie over others.
        """
        chosen = [target.id for target in wanting]
        if 0 < self.most < len(wanting):
            urgent = {*disturbed, *self._asked}
            overdue = {t.id: self._waited.get(t.id, 0.0) / _patience(t, t.id in urgent) for t in wanting}
            chosen = sorted(chosen, key=lambda identity: (-overdue[identity], identity))[: self.most]
        self._waited.update(dict.fromkeys(chosen, 0.0))
        self.newest = len(chosen), len(wanting) - len(chosen)
        self.taken += self.newest[0]
        self.postponed += self.newest[1]
        return set(chosen)


def _patience(target: Target, is_urgent: bool) -> float:
    """Seconds between two looks that a target bears."""
    if is_urgent or target.frames_since_seen > 1 or target.seconds_alive < _YOUNG_SECONDS:
        return _URGENT
    return _TENTATIVE if target.state is TrackState.TENTATIVE else _CALM
