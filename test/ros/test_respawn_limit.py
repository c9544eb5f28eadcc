"""A process that keeps dying is given up."""

from __future__ import annotations

from smotracker_ros.ros.respawn_limit import RespawnLimit


def _deaths(times: list[float], most: int, seconds: float = 600.0) -> list[bool]:
    clock = iter(times)
    limit = RespawnLimit(most, seconds, clock=lambda: next(clock))
    return [limit.reached() for _ in times]


def test_many_deaths_in_a_short_time_are_too_many() -> None:
    assert _deaths([0, 1, 2, 3, 4], 5) == [False, False, False, False, True]


def test_old_deaths_are_forgotten() -> None:
    assert _deaths([0, 500, 1000, 1500, 2000], 3) == [False] * 5
    assert _deaths([0, 500, 1200, 1300, 1400], 3) == [False, False, False, False, True]


def test_no_limit() -> None:
    assert not any(_deaths(list(range(100)), 0))
