"""Memory banks stay bounded and obey their policies."""

from collections import deque

import numpy as np

from smotracker_ros.masklets.anchors import AnchorRule
from smotracker_ros.masklets.memory import (
    DISTRACTOR_AWARE,
    FIFO,
    MOTION_AWARE,
    Entry,
    Evidence,
    MemoryBank,
    batch_memories,
)


def _entry(frame: int) -> Entry:
    return Entry(frame, np.full((4, 2, 2), frame, dtype=np.float16), np.full(8, frame, dtype=np.float32))


def _bank() -> MemoryBank:
    bank = MemoryBank(recent_limit=3, pointer_limit=5)
    bank.write(_entry(0), prompted=True)
    for frame in range(1, 10):
        bank.write(_entry(frame), prompted=False)
    return bank


def test_bank_keeps_the_newest_within_its_limits() -> None:
    bank = _bank()
    assert [entry.frame for entry in bank.recent] == [7, 8, 9]
    assert [frame for frame, _ in bank.pointers] == [5, 6, 7, 8, 9]
    assert bank.signature == (1, 3, 5)


def test_first_and_newest_prompt_are_kept() -> None:
    bank = _bank()
    for frame in (10, 20, 30):
        bank.write(_entry(frame), prompted=True)
    assert [entry.frame for entry in bank.prompted] == [0, 30]


def test_prompt_replaces_what_its_frame_had_added() -> None:
    bank = _bank()
    bank.write(_entry(9), prompted=True)
    assert [entry.frame for entry in bank.recent] == [7, 8]
    assert [frame for frame, _ in bank.pointers] == [5, 6, 7, 8]
    assert [entry.frame for entry in bank.prompted] == [0, 9]


def test_expiry_is_by_age() -> None:
    bank = _bank()
    bank.expire(now=11)
    assert [entry.frame for entry in bank.recent] == [8, 9]
    bank.expire(now=40)
    assert bank.signature == (1, 0, 0)


def test_bytes_are_those_of_the_tensors() -> None:
    bank = MemoryBank(3, 5)
    bank.write(_entry(0), prompted=True)
    assert bank.nbytes == 4 * 2 * 2 * 2 + 8 * 4


def test_what_is_held_twice_counts_once() -> None:
    bank = MemoryBank(3, 5)
    for frame in range(2):
        bank.write(_entry(frame), prompted=not frame)
    assert bank.recent[0].pointer is bank.pointers[0][1]
    bank.anchor(1, limit=2)
    assert bank.nbytes == 2 * (4 * 2 * 2 * 2 + 8 * 4)


def test_smaller_banks_are_filled_up_with_absent_entries() -> None:
    small = MemoryBank(3, 5)
    small.write(_entry(0), prompted=True)
    memories = batch_memories([_bank(), small], 10, MOTION_AWARE)
    assert [len(column) for column in (memories.prompted, memories.recent, memories.pointers)] == [1, 3, 6]
    assert all(first is not None and second is None for first, second in memories.recent)
    assert memories.absent is not None
    np.testing.assert_array_equal(memories.absent, [[False] * 10, [False] + [True] * 3 + [False] + [True] * 5])
    assert batch_memories([_bank(), _bank()], 10, MOTION_AWARE).absent is None


def test_fifo_counts_ages_and_selective_policy_counts_ranks() -> None:
    bank = MemoryBank(3, 5)
    bank.write(_entry(0), prompted=True)
    for frame in (5, 9):
        bank.write(_entry(frame), prompted=False)
    by_age = batch_memories([bank, bank], 10, FIFO)
    assert by_age.recent_slots[:, 0].tolist() == [5, 1]
    assert by_age.pointer_ages[:, 1].tolist() == [10.0, 5.0, 1.0]
    by_rank = batch_memories([bank], 10, MOTION_AWARE)
    assert by_rank.recent_slots[:, 0].tolist() == [2, 1]
    assert by_rank.pointer_ages[:, 0].tolist() == [5.0, 5.0, 1.0]


def test_motion_aware_policy_needs_all_three_kinds_of_evidence() -> None:
    good = Evidence(0.8, 1.0, 0.5)
    assert MOTION_AWARE.accepts(good)
    for bad in (Evidence(0.4, 1.0, 0.5), Evidence(0.8, -1.0, 0.5), Evidence(0.8, 1.0, 0.0)):
        assert not MOTION_AWARE.accepts(bad)
        assert FIFO.accepts(bad)


def test_anchors_stay_when_their_frames_are_old() -> None:
    bank = MemoryBank(recent_limit=2, pointer_limit=3)
    bank.write(_entry(0), prompted=True)
    for frame in range(1, 10):
        bank.write(_entry(frame), prompted=False)
        if frame in (2, 5, 7):
            bank.anchor(frame, limit=2)
    assert [entry.frame for entry in bank.kept] == [0, 5, 7]
    assert bank.signature == (3, 2, 3)
    memories = batch_memories([bank], 10, DISTRACTOR_AWARE)
    assert [float(np.ravel(memory)[0]) for (memory,) in memories.prompted] == [0, 5, 7]
    assert len(memories.pointers) == 6
    bank.rewind(6)
    assert [entry.frame for entry in bank.kept] == [0, 5]
    bank.forget(5)
    assert [entry.frame for entry in bank.kept] == [0]


def test_a_frame_is_an_anchor_if_something_similar_was_told_apart() -> None:
    box = np.float32([10, 10, 20, 20])
    other, same = np.float32([40, 10, 50, 20]), np.float32([10, 10, 20, 21])

    def rule() -> AnchorRule:
        return AnchorRule(deque([100] * 10))

    assert rule().admits(20, 0.9, 110, box, [same, other])
    assert not rule().admits(20, 0.9, 110, box, [same])
    assert not rule().admits(20, 0.9, 110, box, [])
    assert not rule().admits(20, 0.8, 110, box, [other])
    assert not rule().admits(20, 0.9, 130, box, [other])
    assert not rule().admits(20, 0.9, 70, box, [other])
    assert not AnchorRule().admits(0, 0.9, 100, box, [other])
    known = rule()
    assert known.admits(20, 0.9, 100, box, [other])
    assert not known.admits(24, 0.9, 100, box, [other])
    assert known.admits(25, 0.9, 100, box, [other])
