"""How many looks of SAM2 the camera's rate leaves time for."""

from __future__ import annotations

from smotracker_ros.ros.pace import Pace

RATE = 25.0


def _live(pace: Pace, seconds: float, base: float, per_look: float, wanted: int) -> float:
    """A camera before a machine on which a frame takes `base` and a look `per_look` seconds; the last frame's time."""
    took, busy_until = 0.0, 0.0
    start = 0.0 if pace.last_arrival is None else pace.last_arrival + 1 / RATE
    for index in range(round(seconds * RATE)):
        now = start + index / RATE
        pace.arrived(now)
        if now >= busy_until:  # else the image is skipped
            looks = min(wanted, pace.bound) if pace.bound else wanted
            took = base + per_look * looks
            busy_until = now + took
            pace.tracked(took, looks, wanted)
    return took


def test_what_fits_needs_no_bound() -> None:
    pace = Pace()
    _live(pace, 10, 0.010, 0.001, 20)
    assert pace.bound == 0


def test_looks_are_cut_until_frames_fit_and_come_back_when_there_is_time() -> None:
    pace = Pace()
    took = _live(pace, 20, 0.012, 0.0016, 20)
    assert 10 <= pace.bound < 18
    assert took <= 1 / RATE
    _live(pace, 30, 0.012, 0.0016, 8)
    assert pace.bound == 0, "eight fit without one"


def test_a_few_targets_are_always_looked_at() -> None:
    pace = Pace()
    _live(pace, 10, 0.200, 0.001, 3)
    assert pace.bound == 0, "a bound would save nothing"
    _live(pace, 10, 0.200, 0.001, 30)
    assert pace.bound == 15, "no fewer than half of them; the rest is for the queue to skip"


def test_a_gap_says_nothing_of_the_rate() -> None:
    pace = Pace()
    for _ in range(5):
        _live(pace, 1, 0.012, 0.0016, 20)
        assert pace.last_arrival is not None
        pace.last_arrival += 60
    _live(pace, 5, 0.012, 0.0016, 20)
    assert 10 <= pace.bound < 18
