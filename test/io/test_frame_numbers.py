"""A frame's number is its place in the source: what is missing or broken leaves its place free."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from smotracker_ros.io.image_folders import frame_places
from smotracker_ros.io.sources import open_source

Maker = Callable[..., Path]


def picture(number: int) -> np.ndarray:
    """RGB image whose grey level tells its number."""
    return np.full((48, 64, 3), 20 * number, dtype=np.uint8)


def numbers_of(frames: list[np.ndarray]) -> list[int]:
    return [round(float(image.mean()) / 20) for image in frames]


@pytest.mark.parametrize(
    ("names", "length", "places"),
    [
        (["000001", "000002", "000005"], None, [0, 1, 4]),
        (["000001", "000002", "000005"], 5, [0, 1, 4]),
        (["000004", "000005", "000006"], 6, [3, 4, 5]),  # labels count: the first three are missing
        (["000004", "000005", "000006"], None, [0, 1, 2]),  # nothing says where the folder begins
        (["000000", "000001", "000003"], 4, [0, 1, 3]),
        (["000101", "000102", "000104"], 4, [0, 1, 3]),  # a part that was cut out, counted anew by its labels
        (["f0000", "f0010", "f0020", "f0040"], None, [0, 1, 2, 4]),  # every tenth frame of something
        (["cam2_0001_rgb8", "cam2_0002_rgb8", "cam2_0004_rgb8"], None, [0, 1, 3]),
        (["img1", "img2", "img10", "img11"], None, [0, 1, 9, 10]),
        (["img0", "img2", "img10"], None, [0, 1, 2]),
        (["170001", "170038", "170071", "170102"], None, [0, 1, 2, 3]),  # times
        (["3", "8", "21"], None, [0, 1, 2]),  # a choice of frames
        (["1700_1", "1738_2", "1771_4"], None, [0, 1, 3]),  # times, and a count
        (["1_1700", "2_1738", "4_1771"], 9, [0, 1, 3]),
        (["12-59-58_7", "12-59-59_8", "13-00-00_10"], None, [0, 1, 3]),
        (["a", "b", "c"], None, [0, 1, 2]),
        (["a1", "a2", "b7"], None, [0, 1, 2]),
        (["day1_001", "day1_002", "day2_001"], None, [0, 1, 2]),
        (["1", "01", "2"], None, [0, 1, 2]),
        (["7"], None, [0]),
        (["²007", "²008"], None, [0, 1]),
    ],
)
def test_places_by_the_names_of_files(names: list[str], length: int | None, places: list[int]) -> None:
    assert frame_places([Path(f"{name}.png") for name in names], length) == places


def test_missing_and_broken_images_leave_their_places_free(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2, 3, 4, 8, 9, 10):
        cv2.imwrite(str(tmp_path / f"{number:06d}.png"), picture(number))
    (tmp_path / "000003.png").write_bytes(b"broken")
    source = open_source(tmp_path, fps=10)
    with caplog.at_level(logging.WARNING):
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 3, 7, 8, 9]
    assert [frame.timestamp_ns for frame in frames] == [index * 100_000_000 for index in (0, 1, 3, 7, 8, 9)]
    assert numbers_of([frame.image for frame in frames]) == [1, 2, 4, 8, 9, 10]
    assert "3 images are missing" in caplog.text
    assert source.skipped == 1


@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "libx264"), ("clip.avi", "mjpeg")])
@pytest.mark.parametrize("broken", [(3, 4, 7), (0, 1), (10, 11)])
def test_broken_packets_leave_their_places_free(
    tmp_path: Path,
    name: str,
    codec: str,
    broken: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"g": "1", "crf": "5"} if codec == "libx264" else {"qmin": "1", "qmax": "2"}
        for index in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in broken:
        start, size = packets[number]
        data[start : start + size] = b"\xff" * size
    path.write_bytes(bytes(data))
    source = open_source(path)
    with caplog.at_level(logging.WARNING):
        frames = list(source)
    left = [number for number in range(12) if number not in broken]
    assert [frame.index for frame in frames] == numbers_of([frame.image for frame in frames]) == left
    assert [frame.timestamp_ns for frame in frames] == [40_000_000 * number for number in left]
    assert source.skipped == len(broken)
    assert len(caplog.records) == 1
    assert f"{len(broken)} frames cannot be decoded" in caplog.text


def test_gaps_in_the_time_of_a_complete_video_are_no_missing_frames(make_video: Maker) -> None:
    times = [0, 40, 80, 400, 440, 480, 520, 560, 600, 1000, 1040, 1080]
    assert [frame.index for frame in open_source(make_video(times=times))] == list(range(12))


def test_messages_that_are_broken_leave_their_places_free(make_bag: Maker) -> None:
    assert [frame.index for frame in open_source(make_bag(break_at=2))] == [0, 1, 3, 4, 5]


def test_a_video_that_ends_before_its_stated_length_says_so(
    tmp_path: Path, make_video: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video("clip.mkv", frames=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        frames = list(open_source(path))
    assert 0 < len(frames) < 45
    assert "ends early" in caplog.text
