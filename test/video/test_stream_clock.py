"""Time that starts anew or stands still within a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.video.sources import open_source
from smotracker_ros.video.stream_clock import StreamClock

Maker = Callable[..., Path]
PERIOD = 40_000_000


def stamps_of(times: Sequence[float | None], fps: float = 25.0) -> tuple[list[int], list[str]]:
    clock = StreamClock(fps)
    stamps, remarks = zip(*(clock.stamp(index, time) for index, time in enumerate(times)), strict=True)
    return list(stamps), [remark for remark in remarks if remark]


def test_joined_recordings_go_on_by_the_period(make_video: Maker, caplog: pytest.LogCaptureFixture) -> None:
    parts = [make_video(f"part{number}.ts", frames=10).read_bytes() for number in range(3)]
    path = make_video("part0.ts", frames=10).with_name("joined.ts")
    path.write_bytes(b"".join(parts))
    frames = list(open_source(path))
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose(np.diff([frame.timestamp_ns for frame in frames]), PERIOD, atol=20_000)
    assert len(caplog.records) == 1
    assert "time starts anew at frame 10" in caplog.text


def test_time_that_starts_anew() -> None:
    times = [5 + index * 0.04 for index in range(20)] + [index * 0.04 for index in range(20)]
    for later in (0.0, 4.9):
        stamps, remarks = stamps_of([time + later * (time < 2) for time in times])
        np.testing.assert_allclose(np.diff(stamps), PERIOD, atol=2)
        assert len(remarks) == 1


def test_the_period_is_that_of_the_frames_and_not_the_stated_one() -> None:
    times = [index * 0.1 for index in range(20)] + [index * 0.1 for index in range(5)]
    stamps, _ = stamps_of(times, fps=1000.0)
    assert np.diff(stamps)[19] == 100_000_000


def test_repeated_times_are_neither_equal_nor_a_nanosecond_apart() -> None:
    stamps, remarks = stamps_of([0, 0.04, 0.04, 0.08, 0.12, 0.12, 0.16])
    assert min(np.diff(stamps)) >= PERIOD // 2
    assert [stamps[index] for index in (0, 1, 3, 4, 6)] == [0, PERIOD, 2 * PERIOD, 3 * PERIOD, 4 * PERIOD]
    assert not remarks


def test_times_that_stand_still_go_on() -> None:
    stamps, _ = stamps_of([0.0] * 40)
    assert min(np.diff(stamps)) >= PERIOD // 2


def test_frames_without_times_have_those_of_their_numbers() -> None:
    assert stamps_of([None] * 3)[0] == [0, PERIOD, 2 * PERIOD]
    clock = StreamClock(25.0)
    assert [clock.stamp(index, time)[0] for index, time in ((0, 1.0), (1, None), (4, None))] == [
        10**9,
        10**9 + PERIOD,
        10**9 + 4 * PERIOD,
    ]


def test_gaps_are_kept_and_large_ones_are_said() -> None:
    times = [0, 0.04, 0.4, 0.44, 30.0, 30.04, 90.0]
    stamps, remarks = stamps_of(times)
    np.testing.assert_allclose(stamps, np.array(times) * 1e9, atol=1)
    assert len(remarks) == 1 and "29.6 s are missing before frame 4" in remarks[0]
