"""Frame rates of time stamps as cameras and recorders give them."""

from __future__ import annotations

import numpy as np
import pytest

from smotracker_ros.io.rates import RATE_FRAMES, frame_rate

STEP = 40_000_000
START = 1_700_000_000_000_000_000


def _even(count: int = RATE_FRAMES) -> np.ndarray:
    return START + STEP * np.arange(count, dtype=np.int64)


@pytest.mark.parametrize("count", [2, 3, 5, 9, RATE_FRAMES])
def test_even_steps(count: int) -> None:
    assert frame_rate(_even(count).tolist()) == pytest.approx(25)


def test_stamps_that_do_not_change_the_rate() -> None:
    jitter = np.random.default_rng(0).integers(-5_000_000, 5_000_000, RATE_FRAMES)
    assert frame_rate((_even() + jitter).tolist()) == pytest.approx(25, rel=0.05)
    for count in (9, RATE_FRAMES):
        burst = _even(count)
        burst[1] = burst[0] + 40_000
        assert frame_rate(burst.tolist()) == pytest.approx(25), "two images that a driver had buffered"
        early = _even(count)
        early[0] -= 10_000_000_000
        assert frame_rate(early.tolist()) == pytest.approx(25), "one image long before"
        late = _even(count)
        late[: count // 2] -= START
        assert frame_rate(late.tolist()) == pytest.approx(25), "a clock that is set in between"
        back = _even(count)
        back[count // 2 :] -= 3_600_000_000_000
        assert frame_rate(back.tolist()) == pytest.approx(25), "and one that is set back"


def test_images_that_come_in_pairs() -> None:
    pairs = _even()
    pairs[1::2] = pairs[:-1:2] + 50_000
    assert frame_rate(pairs.tolist()) == pytest.approx(25, rel=0.01)


def test_no_rate_without_time() -> None:
    assert frame_rate([]) is None
    assert frame_rate([START]) is None
    assert frame_rate([START] * 20) is None
    assert frame_rate([START, START + 10]) == 1000
    assert frame_rate([START, START + 60_000_000_000]) == pytest.approx(1 / 60), "a time-lapse camera"
