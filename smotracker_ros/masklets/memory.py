"""What one object remembers, bounded in size, and which frames may enter.

A bank lives as long as its object, across clips and through losses. Its layout is SAM2's: memories of prompted frames
(the first and the newest prompt), of the last frames, and object pointers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from smotracker_ros.masklets.network import Held, Memories


@dataclass(frozen=True)
class Evidence:
    """What speaks for a mask before it is remembered.

    Attributes:
        predicted_iou: the network's estimate of the mask's quality in [0, 1].
        object_score: logit of the object being visible.
        motion_score: agreement of the mask's box with the predicted motion in [0, 1]; 0 means none.
    """

    predicted_iou: float
    object_score: float
    motion_score: float


@dataclass(frozen=True)
class MemoryPolicy:
    """Which frames are remembered, and how their age counts.

    Attributes:
        name: as in the settings.
        selective: remember only frames whose evidence passes; otherwise every frame.
        least_iou: least predicted IoU of a remembered mask.
        anchors: frames with distractors that are remembered for long (:mod:`smotracker_ros.masklets.anchors`).
    """

    name: str
    selective: bool
    least_iou: float = 0.5
    anchors: int = 0

    def accepts(self, evidence: Evidence) -> bool:
        """Whether a frame may enter the bank (SAMURAI's rule, Yang et al. 2024, when selective)."""
        if not self.selective:
            return True
        return evidence.predicted_iou >= self.least_iou and evidence.object_score > 0 and evidence.motion_score > 0


FIFO = MemoryPolicy("fifo", selective=False)
MOTION_AWARE = MemoryPolicy("motion_aware", selective=True)
DISTRACTOR_AWARE = MemoryPolicy("distractor_aware", selective=True, anchors=2)
POLICIES = {policy.name: policy for policy in (FIFO, MOTION_AWARE, DISTRACTOR_AWARE)}


@dataclass(frozen=True)
class Entry:
    """One remembered frame: its number, its memory, and its object pointer."""

    frame: int
    memory: Held
    pointer: Held


@dataclass
class MemoryBank:
    """Bounded memory of one object.

    Attributes:
        recent_limit: memories of unprompted frames kept.
        pointer_limit: pointers of unprompted frames kept.
        prompted: memories of the first and the newest prompted frame.
        recent: memories of unprompted frames, oldest first.
        pointers: (frame, pointer) of unprompted frames, oldest first.
        anchors: memories of unprompted frames that are kept for long, oldest first.
    """

    recent_limit: int
    pointer_limit: int
    prompted: list[Entry] = field(default_factory=list)
    recent: deque[Entry] = field(default_factory=deque)
    pointers: deque[tuple[int, Held]] = field(default_factory=deque)
    anchors: deque[Entry] = field(default_factory=deque)

    @property
    def kept(self) -> list[Entry]:
        """Memories whose age does not count: of prompted frames, and anchors."""
        return [*self.prompted, *self.anchors]

    def anchor(self, frame: int, limit: int) -> None:
        """Keep what has just been written of a frame as an anchor; beyond the limit the oldest anchor goes."""
        self.anchors.extend(entry for entry in self.recent if entry.frame == frame)
        while len(self.anchors) > limit:
            self.anchors.popleft()

    def write(self, entry: Entry, prompted: bool) -> None:
        """Remember a frame. A prompt replaces what the same frame had; beyond the limits the oldest goes."""
        self.forget(entry.frame)
        if prompted:
            self.prompted.append(entry)
            if len(self.prompted) > 2:
                del self.prompted[1]
            return
        self.recent.append(entry)
        self.pointers.append((entry.frame, entry.pointer))
        while len(self.recent) > self.recent_limit:
            self.recent.popleft()
        while len(self.pointers) > self.pointer_limit:
            self.pointers.popleft()

    def forget(self, frame: int) -> None:
        """Remove what was remembered of one frame."""
        self.prompted = [entry for entry in self.prompted if entry.frame != frame]
        self.recent = deque(entry for entry in self.recent if entry.frame != frame)
        self.pointers = deque(item for item in self.pointers if item[0] != frame)
        self.anchors = deque(entry for entry in self.anchors if entry.frame != frame)

    def rewind(self, frame: int) -> None:
        """Forget all frames from one on; the first prompt stays in any case."""
        self.prompted = [*self.prompted[:1], *(entry for entry in self.prompted[1:] if entry.frame < frame)]
        self.recent = deque(entry for entry in self.recent if entry.frame < frame)
        self.pointers = deque(item for item in self.pointers if item[0] < frame)
        self.anchors = deque(entry for entry in self.anchors if entry.frame < frame)

    def expire(self, now: int) -> None:
        """Drop unprompted entries by age, as the stock predictor does."""
        self.recent = deque(entry for entry in self.recent if now - entry.frame <= self.recent_limit)
        self.pointers = deque(item for item in self.pointers if now - item[0] <= self.pointer_limit)

    @property
    def signature(self) -> tuple[int, int, int]:
        """Banks of equal signature can be batched without padding."""
        return len(self.prompted) + len(self.anchors), len(self.recent), len(self.pointers)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes; what is held twice counts once."""
        held = [value for entry in [*self.kept, *self.recent] for value in (entry.memory, entry.pointer)]
        held += [pointer for _, pointer in self.pointers]
        return sum(value.nbytes for value in {id(value): value for value in held}.values())


def batch_memories(banks: Sequence[MemoryBank], now: int, policy: MemoryPolicy) -> Memories:
    """Stack banks; where they hold different numbers of entries, the smaller are filled up with absent ones.

    With a selective policy the slots are ranks (the newest remembered frame is 1, whatever its age) and pointer ages
    stop at the limit, so that a target that was hidden for long is remembered as if it had just been seen; otherwise
    both are ages, as in the stock predictor.

    Args:
        banks: with at least one prompted entry each; of one signature, unless the network can leave absent entries out.
        now: number of the current frame.
        policy: the policy that the banks were written with.
    """
    kept, recent, pointers = (max(sizes) for sizes in zip(*(bank.signature for bank in banks), strict=True))
    rows: list[tuple[list[Held | None], list[Held | None], list[Held | None]]] = []
    slots: list[list[int]] = []
    ages: list[list[int]] = []
    for bank in banks:
        lacking = kept - len(bank.kept), recent - len(bank.recent), pointers - len(bank.pointers)
        rows.append(
            (
                [entry.memory for entry in bank.kept] + [None] * lacking[0],
                [entry.memory for entry in bank.recent] + [None] * lacking[1],
                [entry.pointer for entry in bank.kept]
                + [None] * lacking[0]
                + [pointer for _, pointer in bank.pointers]
                + [None] * lacking[2],
            )
        )
        kept_ages = [now - entry.frame for entry in bank.kept] + [0] * lacking[0]
        bank_ages = kept_ages + [now - frame for frame, _ in bank.pointers] + [0] * lacking[2]
        if policy.selective:
            slots.append([*range(len(bank.recent), 0, -1), *[1] * lacking[1]])
            ages.append([min(age, bank.pointer_limit) for age in bank_ages])
        else:
            slots.append([now - entry.frame for entry in bank.recent] + [1] * lacking[1])
            ages.append(bank_ages)
    prompted_columns, recent_columns, pointer_columns = (
        tuple(zip(*column, strict=True)) for column in zip(*rows, strict=True)
    )
    return Memories(
        prompted=prompted_columns,
        recent=recent_columns,
        recent_slots=np.array(slots, dtype=np.int64).reshape(len(banks), recent).T,
        pointers=pointer_columns,
        pointer_ages=np.array(ages, dtype=np.float32).T,
    )
