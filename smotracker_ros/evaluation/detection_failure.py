"""Detections taken away in bursts, so that one sees what a tracker does when its detector fails.

A burst belongs to one labelled target and to an interval of time. In it every detection that lies on the target is
gone, whatever its score; detections that lie on no label, and those of other targets, stay. Bursts are chosen on the
cached detections of all frames before any tracker runs, so they are the same for all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.code_version import code_checksum
from smotracker_ros.evaluation.detection_cache import CachedDetections
from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.training.clips import owners

# Shortest and longest burst, in seconds; lengths are log-uniform between them
BURST_SECONDS = (0.3, 3.0)
# Between two bursts of a target it can be seen for at least so long: two that touch would be one of another length
LEAST_SEEN_SECONDS = 0.3
# The share that is gone is counted over detections from this confidence on: this project's tracker starts no target
# from lesser ones, and a failure that takes nothing but those would be none
COUNTED_SCORE = 0.2

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Burst:
    """An interval in which a target is not detected.

    Attributes:
        shot: number of the shot.
        id: of the target, as labelled in that shot.
        start: first frame, 0-based.
        stop: the frame after the last one.
    """

    shot: int
    id: int
    start: int
    stop: int


@dataclass(frozen=True)
class DetectionFailure:
    """How much of the detections is gone.

    Targets are drawn at random; a target that is detected with half the confidence is drawn four times as often. The
    bursts of a smaller share are part of those of a larger one (with the same seed), except that a share's last burst
    ends when the share is reached.

    Attributes:
        share: of the detections on labelled targets from :data:`COUNTED_SCORE` on, in each sequence, in [0, 1).
        seed: of the random choice; sequences differ by their names.

    Raises:
        ValueError: if the share is out of range.
    """

    share: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"the share of detections that are taken away must be in [0, 1), not {self.share}")

    def key(self, sequence: EvaluationSequence) -> str:
        """Of what the missing detections depend on besides the detections themselves."""
        digest = hashlib.sha256(code_checksum("evaluation/detection_failure.py", "training/clips.py").encode())
        digest.update(repr((self, sequence.name, sequence.fps, sequence.cuts)).encode())
        for item in dataclasses.fields(sequence.truth):
            digest.update(np.ascontiguousarray(getattr(sequence.truth, item.name)).tobytes())
        return digest.hexdigest()

    def bursts(self, sequence: EvaluationSequence, cached: CachedDetections) -> list[Burst]:
        """The bursts in the order in which they were drawn.

        Fewer than asked are gone where no burst fits in any more; a warning says so.
        """
        labels = labels_under(sequence, cached)
        targets = list(_targets(sequence, cached, labels))
        total = sum(len(target.counted) for target in targets)
        generator = np.random.default_rng([self.seed, zlib.crc32(sequence.name.encode())])
        wanted, gone = round(self.share * total), 0
        found: list[Burst] = []
        while gone < wanted:
            open_frames = [target.open_frames() for target in targets]
            weights = np.array([len(frames) for frames in open_frames]) * [target.weight for target in targets]
            if not weights.any():
                _logger.warning(
                    "%s: no burst fits in any more, %.1f %% of the detections are gone instead of %.0f %%",
                    sequence.name,
                    100 * gone / total,
                    100 * self.share,
                )
                break
            chosen = int(generator.choice(len(targets), p=weights / weights.sum()))
            target = targets[chosen]
            seen = int(generator.choice(open_frames[chosen]))
            seconds = float(np.exp(generator.uniform(*np.log(BURST_SECONDS))))
            start, stop = target.place(seen, _frames(seconds, sequence.fps))
            stop = target.shorten(start, stop, wanted - gone)
            gone += target.take(start, stop)
            found.append(Burst(target.shot, target.id, start, stop))
        return found

    def thin(self, sequence: EvaluationSequence, cached: CachedDetections) -> CachedDetections:
        """The detections that are left."""
        if not self.share:
            return cached
        return without(sequence, cached, self.bursts(sequence, cached))


def labels_under(sequence: EvaluationSequence, cached: CachedDetections) -> npt.NDArray[np.int64]:
    """Which row of the truth each detection lies on, int64 (K,); -1 for none.

    A detection lies on the nearest label that is not ignored, if their centres are nearer than half of the label's
    longer side (see :func:`~smotracker_ros.training.clips.owners`): on small targets overlap says little.
    """
    truth = sequence.truth
    result = np.full(len(cached.frames), -1, dtype=np.int64)
    for frame in np.unique(cached.frames):
        rows = np.flatnonzero((truth.frames == frame) & ~truth.ignored)
        places = np.flatnonzero(cached.frames == frame)
        own = owners(cached.detections.boxes[places], truth.boxes[rows])
        result[places[own >= 0]] = rows[own[own >= 0]]
    return result


def without(sequence: EvaluationSequence, cached: CachedDetections, bursts: Sequence[Burst]) -> CachedDetections:
    """The detections less those on targets in their bursts."""
    truth = sequence.truth
    labels = labels_under(sequence, cached)
    shots = sequence.shot_of(truth.frames)
    kept = np.ones(len(labels), dtype=np.bool_)
    for burst in bursts:
        on_target = (labels >= 0) & (truth.ids[labels] == burst.id) & (shots[labels] == burst.shot)
        kept &= ~(on_target & (cached.frames >= burst.start) & (cached.frames < burst.stop))
    return CachedDetections(cached.frames[kept], cached.detections.select(kept), cached.seconds_per_frame)


def count_on_targets(
    sequence: EvaluationSequence, cached: CachedDetections, least_confidence: float = COUNTED_SCORE
) -> int:
    """Detections of at least that confidence that lie on labelled targets."""
    return int(np.count_nonzero((labels_under(sequence, cached) >= 0) & (cached.detections.scores >= least_confidence)))


class _Target:
    """What is left of a target's time.

    Args:
        shot: number of the shot.
        identity: of the target.
        counted: int64 (N,), frames of its counted detections.
        score: mean over its detected frames of the best score.
        life: its first labelled frame, and the one after its last.
        shortest: frames of the shortest burst.
        pause: frames between bursts.
    """

    def __init__(
        self,
        shot: int,
        identity: int,
        counted: npt.NDArray[np.int64],
        score: float,
        life: tuple[int, int],
        shortest: int,
        pause: int,
    ) -> None:
        self.shot = shot
        self.id = identity
        self.counted = counted
        self.weight = 1 / score**2
        self._shortest, self._pause = shortest, pause
        # never all of its time: what cannot be seen at all says nothing about trackers
        self._longest = life[1] - life[0] - pause
        self._open = [life] if self._longest >= shortest else []

    def open_frames(self) -> npt.NDArray[np.int64]:
        """Frames of counted detections round which a burst fits."""
        inside = np.zeros(len(self.counted), dtype=np.bool_)
        for start, stop in self._open:
            inside |= (self.counted >= start) & (self.counted < stop)
        return self.counted[inside]

    def place(self, seen: int, length: int) -> tuple[int, int]:
        """First frame, and the one after the last, of a burst that holds the frame `seen`, begun there if it fits."""
        first, last = next(room for room in self._open if room[0] <= seen < room[1])
        length = min(length, self._longest, last - first)
        start = min(seen, last - length)
        return start, start + length

    def shorten(self, start: int, stop: int, most: int) -> int:
        """The end with which a burst takes no more than it needs to take `most`, or `stop`."""
        inside = np.sort(self.counted[(self.counted >= start) & (self.counted < stop)])
        if len(inside) <= most:
            return stop
        return max(int(inside[most - 1]) + 1, start + self._shortest)

    def take(self, start: int, stop: int) -> int:
        """Use up the time of a burst; how many counted detections it takes."""
        rest = []
        for first, last in self._open:
            if not first <= start < last:
                rest.append((first, last))
                continue
            sides = (first, start - self._pause), (stop + self._pause, last)
            rest += [side for side in sides if side[1] - side[0] >= self._shortest]
        self._open = rest
        return int(np.count_nonzero((self.counted >= start) & (self.counted < stop)))


def _targets(
    sequence: EvaluationSequence, cached: CachedDetections, labels: npt.NDArray[np.int64]
) -> Iterator[_Target]:
    """All targets that are detected, shot by shot."""
    truth, scores = sequence.truth, cached.detections.scores
    shots = sequence.shot_of(truth.frames)
    shortest, pause = _frames(BURST_SECONDS[0], sequence.fps), _frames(LEAST_SEEN_SECONDS, sequence.fps)
    for shot, identity in sorted(set(zip(shots.tolist(), truth.ids.tolist(), strict=True))):
        rows = np.flatnonzero((shots == shot) & (truth.ids == identity) & ~truth.ignored)
        own = np.flatnonzero(np.isin(labels, rows))
        if not len(own):
            continue
        best = [float(scores[own[cached.frames[own] == frame]].max()) for frame in np.unique(cached.frames[own])]
        life = int(truth.frames[rows].min()), int(truth.frames[rows].max()) + 1
        counted = cached.frames[own[scores[own] >= COUNTED_SCORE]]
        yield _Target(shot, identity, counted, float(np.mean(best)), life, shortest, pause)


def _frames(seconds: float, fps: float) -> int:
    return max(round(seconds * fps), 1)
