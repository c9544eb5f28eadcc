"""How many looks of SAM2 the camera's rate leaves time for."""

from __future__ import annotations

import math

# A frame may take this share of the time between two images; the rest is for what comes in between
_SHARE = 0.9
# The bound is eased where a frame takes less than this share of what it may, and grows by such a factor, and by one
_EASY, _GROWTH = 0.8, 1.25
# The bound is judged after so many seconds of images: several clips, so that it does not follow single frames
_SECONDS = 1.0
# No fewer looks, and no less than this share of those that are wanted: below, skipping images costs no more and loses
# fewer targets (docs/benchmarks_speed.md)
_LEAST, _LEAST_SHARE = 8, 0.5
# A gap in the stream says nothing of its rate
_LONGEST_GAP = 1.0


class Pace:
    """Bounds the looks of SAM2 so that frames take no longer than the time from image to image, as far as that helps.

    What takes longer still is left to the queue, which skips images. Wall time decides: other programs count.

    Attributes:
        bound: looks per frame; 0: none is needed.
        last_arrival: when the last image has come, in seconds; None: there was none.
    """

    def __init__(self) -> None:
        self.bound = 0
        self.last_arrival: float | None = None
        self._forget()

    def _forget(self) -> None:
        self._waiting, self._arrivals = 0.0, 0
        self._working, self._frames, self._looks, self._wanted = 0.0, 0, 0, 0

    def arrived(self, now: float) -> None:
        """An image has come, also one that is not tracked, at that time in seconds."""
        if self.last_arrival is not None and now - self.last_arrival < _LONGEST_GAP:
            self._waiting += now - self.last_arrival
            self._arrivals += 1
        self.last_arrival = now

    def tracked(self, seconds: float, looks: int, wanted: int) -> int:
        """A frame is done; returns the bound for the next one.

        Args:
            seconds: that it has taken.
            looks: of SAM2 on it.
            wanted: looks that would have been taken without a bound.
        """
        self._working += seconds
        self._frames += 1
        self._looks += looks
        self._wanted += wanted
        if self._waiting < _SECONDS or not self._arrivals:
            return self.bound
        took, allowed = self._working / self._frames, _SHARE * self._waiting / self._arrivals
        looks_mean, wanted_mean = self._looks / self._frames, self._wanted / self._frames
        if took > allowed:
            # as if looks were all that costs: what is saved too little is saved the next time
            least = max(_LEAST, math.ceil(_LEAST_SHARE * wanted_mean))
            self.bound = max(int(looks_mean * allowed / took), least) if wanted_mean > _LEAST else 0
        elif self.bound and took < _EASY * allowed:
            self.bound = int(_GROWTH * self.bound) + 1
            if self.bound > 2 * wanted_mean:
                self.bound = 0
        self._forget()
        return self.bound
