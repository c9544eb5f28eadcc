"""Time that starts anew or stands still within a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from smotracker_ros.io.sources import open_source
from smotracker_ros.io.stream_clock import StreamClock

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


@pytest.mark.parametrize("name", ["clip.avi", "clip.h264"])
def test_frames_of_containers_without_times_of_presentation(
    make_video: Maker, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    frames = list(open_source(make_video(name, frames=30)))
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_allclose(np.diff([frame.timestamp_ns for frame in frames]), PERIOD, atol=2)
    levels = [round((float(frame.image[2, 2].mean()) - 20) / 2) for frame in frames]
    np.testing.assert_allclose(levels, range(30), atol=1)
    assert not caplog.records


def test_time_that_starts_anew() -> None:
    times = [5 + index * 0.04 for index in range(20)] + [index * 0.04 for index in range(20)]
    for later in (0.0, 4.9):
        stamps, remarks = stamps_of([time + later * (time < 2) for time in times])
        np.testing.assert_allclose(np.diff(stamps), PERIOD, atol=2)
        assert len(remarks) == 1


def test_a_step_back_that_was_taken_for_a_full_round_is_one() -> None:
    stamps, remarks = stamps_of([500.0, 500.04, 500.08, 95443.72, 95443.76])
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


def test_time_below_zero_starts_at_zero() -> None:
    assert stamps_of([-0.08, -0.04, 0.0, 0.04])[0] == [0, PERIOD, 2 * PERIOD, 3 * PERIOD]


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


def test_the_rate_of_a_bare_stream_is_its_own(tmp_path: Path) -> None:
    path = tmp_path / "clip.h264"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            image = np.full((48, 64, 3), 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    source = open_source(path)
    assert source.fps == 50
    assert [frame.timestamp_ns for frame in source] == [20_000_000 * index for index in range(20)]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
@pytest.mark.parametrize(
    "times",
    [
        [0, 1, *range(80, 2000, 40)],  # two frames at once when the camera starts
        [0, *range(9000, 11000, 40)],  # one long before the others
        [*range(0, 2000, 40), 9000],  # one long behind them
    ],
)
def test_the_rate_is_that_of_most_frames(
    make_video: Maker, name: str, times: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    source = open_source(make_video(name, frames=len(times), times=times))
    assert source.fps == pytest.approx(25)
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(len(times)))
    assert np.median(np.diff([frame.timestamp_ns for frame in frames])) == pytest.approx(PERIOD, abs=1)
    assert {record.getMessage().rpartition("; ")[2] for record in caplog.records} <= {"time keeps gaps"}
