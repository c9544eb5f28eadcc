"""Sources: the right pixels, times and order out; broken input named."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from smotracker_ros.io.bags import BagSource
from smotracker_ros.io.sources import ImageFolderSource, SourceError, VideoSource, open_source

Maker = Callable[..., Path]
Picture = Callable[..., np.ndarray]


def test_video_frames_and_attributes(make_video: Maker, make_picture: Picture) -> None:
    source = open_source(make_video(frames=12))
    assert isinstance(source, VideoSource)
    assert (source.name, source.length, source.size) == ("clip", 12, (48, 64))
    assert source.fps == pytest.approx(25)
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.timestamp_ns for frame in frames] == [index * 40_000_000 for index in range(12)]
    for frame in frames:
        # Compression leaves the inside of flat areas nearly alone.
        assert np.abs(frame.image[5, 5].astype(int) - make_picture(frame.index)[5, 5]).max() <= 4
        red = frame.image[24, 8 + 2 * frame.index].astype(int)
        assert red[0] > 200
        assert red[2] < 90


def test_video_can_be_read_twice(make_video: Maker) -> None:
    source = open_source(make_video())
    first, second = list(source), list(source)
    assert len(first) == len(second) == 12
    np.testing.assert_array_equal(first[-1].image, second[-1].image)


def test_video_timestamps_come_from_the_container(make_video: Maker) -> None:
    times = [0, 40, 80, 400, 440, 480, 520, 560, 600, 1000, 1040, 1080]
    stamps = [frame.timestamp_ns for frame in open_source(make_video(times=times))]
    np.testing.assert_allclose(stamps, np.array(times) * 1e6, atol=1e6)


def test_empty_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(SourceError, match=r"empty\.mp4 is empty"):
        open_source(path)


def test_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("this is not a video\n" * 100)
    with pytest.raises(SourceError, match=r"notes\.mp4 is not a readable video"):
        open_source(path)


def test_video_cut_off_before_its_index(make_video: Maker) -> None:
    path = make_video(frames=30)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(SourceError, match=r"clip\.mp4"):
        open_source(path)


def test_damaged_packets_do_not_stop_a_video(make_video: Maker, caplog: pytest.LogCaptureFixture) -> None:
    path = make_video(name="clip.ts", frames=30)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 376] = b"\x00" * 376
    path.write_bytes(bytes(data))
    assert 15 <= len(list(open_source(path))) <= 30


def test_missing_path() -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_source("/no/such/clip.mp4")


def test_sequence_folder(make_video: Maker, tmp_path: Path) -> None:
    folder = tmp_path / "SEQ_001"
    folder.mkdir()
    shutil.move(make_video(), folder / "video.mp4")
    (folder / "seqinfo.ini").write_text("[Sequence]\nname=SEQ_001\nvideo=video.mp4\nframeRate=25\n")
    source = open_source(folder)
    assert source.name == "SEQ_001"
    assert len(list(source)) == 12
    (folder / "video.mp4").unlink()
    with pytest.raises(SourceError, match=r"names video\.mp4"):
        open_source(folder)


@pytest.mark.parametrize("text", ["no section\n", "[Other]\na=1\n", "[Sequence]\nframeRate=fast\n"])
def test_broken_sequence_description(tmp_path: Path, text: str) -> None:
    (tmp_path / "seqinfo.ini").write_text(text)
    with pytest.raises(SourceError, match=r"seqinfo\.ini"):
        open_source(tmp_path)


def test_image_folder_in_natural_order(tmp_path: Path, make_picture: Picture) -> None:
    for index in (0, 2, 10):
        suffix = {0: "png", 2: "bmp", 10: "tif"}[index]
        cv2.imwrite(str(tmp_path / f"img{index}.{suffix}"), make_picture(index)[:, :, ::-1])
    (tmp_path / "readme.txt").write_text("not an image")
    source = open_source(tmp_path, fps=10)
    assert isinstance(source, ImageFolderSource)
    assert (source.length, source.size, source.fps) == (3, (48, 64), 10)
    frames = list(source)
    for frame, index in zip(frames, (0, 2, 10), strict=True):
        np.testing.assert_array_equal(frame.image, make_picture(index))
    assert [frame.timestamp_ns for frame in frames] == [0, 100_000_000, 200_000_000]


def test_sixteen_bit_images(tmp_path: Path) -> None:
    thermal = np.linspace(8000, 8500, 48 * 64).astype(np.uint16).reshape(48, 64)
    cv2.imwrite(str(tmp_path / "a.png"), thermal)
    frame = next(iter(open_source(tmp_path)))
    assert frame.image.dtype == np.uint8
    assert frame.image[0, 0, 0] == 0
    assert frame.image[-1, -1, 0] == 255


def test_broken_image_is_skipped_and_counted(
    tmp_path: Path, make_picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), make_picture(index)[:, :, ::-1])
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:20])
    source = open_source(tmp_path, fps=10)
    with caplog.at_level(logging.WARNING):
        frames = list(source)
    assert source.skipped == 1
    assert "1.png was skipped" in caplog.text
    assert [frame.index for frame in frames] == [0, 2, 3]
    # The gap in time stays: later images keep the time of their place.
    assert [frame.timestamp_ns for frame in frames] == [0, 200_000_000, 300_000_000]


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds neither images"):
        open_source(tmp_path)


def test_images_and_videos_that_are_too_small_say_so(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4, 3), np.uint8))
    with av.open(str(tmp_path / "tiny.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 4, 4, "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((4, 4, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    for path in (tmp_path, tmp_path / "a.png", tmp_path / "tiny.mkv"):
        with pytest.raises(SourceError, match="only 4x4 pixels"):
            open_source(path)


def test_folder_of_broken_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(SourceError, match="none of the 1 images"):
        open_source(tmp_path)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("kind", ["raw", "compressed"])
def test_bag(make_bag: Maker, make_picture: Picture, storage: str, kind: str) -> None:
    source = open_source(make_bag({"/camera": kind, "/notes": "text"}, storage=storage))
    assert isinstance(source, BagSource)
    assert (source.topic, source.length, source.size) == ("/camera", 6, (48, 64))
    assert source.fps == pytest.approx(20)
    frames = list(source)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, make_picture(index))
        assert frame.timestamp_ns == 1_700_000_000_000_000_000 + index * 50_000_000
        assert frame.frame_id == "camera"
        assert frame.index == index
    assert len(frames) == 6


def test_single_bag_file(make_bag: Maker) -> None:
    file = next(make_bag().glob("*.mcap"))
    assert len(list(open_source(file))) == 6


def test_bag_without_stamps_uses_the_recording_time(make_bag: Maker) -> None:
    frames = list(open_source(make_bag(stamped=False)))
    assert frames[1].timestamp_ns == 1_700_000_000_055_000_000


def test_bag_with_several_image_topics_asks_for_one(make_bag: Maker) -> None:
    path = make_bag({"/left": "raw", "/right": "compressed"})
    with pytest.raises(SourceError, match="/left, /right"):
        open_source(path)
    assert len(list(open_source(path, topic="right"))) == 6


def test_bag_without_the_topic(make_bag: Maker) -> None:
    with pytest.raises(SourceError, match="no image topic /other; there are: /camera/image_raw"):
        open_source(make_bag(), topic="/other")


def test_bag_without_images(make_bag: Maker) -> None:
    with pytest.raises(SourceError, match="its topics: /notes"):
        open_source(make_bag({"/notes": "text"}))


def test_bag_with_an_empty_topic(make_bag: Maker) -> None:
    with pytest.raises(SourceError, match="holds no messages"):
        open_source(make_bag(frames=0))


@pytest.mark.parametrize("kind", ["raw", "compressed"])
def test_broken_message_is_skipped(make_bag: Maker, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    source = open_source(make_bag({"/camera": kind}, break_at=2))
    with caplog.at_level(logging.WARNING):
        frames = list(source)
    assert source.skipped == 1
    assert [frame.index for frame in frames] == [0, 1, 3, 4, 5], "a frame's number is its place on the topic"
    assert "was skipped" in caplog.text


def test_bag_of_an_unknown_encoding(make_bag: Maker) -> None:
    with pytest.raises(SourceError, match="can be decoded"):
        open_source(make_bag(encoding="nv99"))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_broken_bag(make_bag: Maker, storage: str) -> None:
    path = make_bag(storage=storage)
    file = next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
    file.write_bytes(b"rubbish" * 50)
    with pytest.raises(SourceError, match="bag is not a readable rosbag2"):
        open_source(path)
    with pytest.raises(SourceError, match="not a readable rosbag2"):
        open_source(file)


def test_bag_whose_metadata_is_broken(make_bag: Maker, caplog: pytest.LogCaptureFixture) -> None:
    path = make_bag()
    for text in ("{", "", "rosbag2_bagfile_information: 3", "rosbag2_bagfile_information: {relative_file_paths: 5}"):
        (path / "metadata.yaml").write_text(text)
        assert len(list(open_source(path))) == 6
        assert "metadata.yaml cannot be read" in caplog.text
        caplog.clear()


def test_topic_of_something_that_is_no_bag(make_video: Maker) -> None:
    with pytest.raises(SourceError, match="leave the topic out"):
        open_source(make_video(), topic="/camera")
