"""Sinks: what is written can be read back; nothing half-written keeps the final name."""

from __future__ import annotations

import errno
import functools
import os
import resource
import signal
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from rosbags.highlevel import AnyReader

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.ignore_mask import IgnoreMask
from smotracker_ros.core.tracks import Track, Tracks, TrackState
from smotracker_ros.io.message_types import SMOTRACKER_MSGS, VISION_MSGS, typestore
from smotracker_ros.io.overlay import Trails, draw_overlay, track_color
from smotracker_ros.io.pending import SinkError, pending_path
from smotracker_ros.io.rerun_files import RerunWriter
from smotracker_ros.io.sinks import BagWriter, MaskWriter, MotWriter, OverlayWriter, Sink
from smotracker_ros.io.sources import open_source
from smotracker_ros.presets import build_tracker, load_settings

ROOT = Path(__file__).resolve().parents[2]


def _track(track_id: int, x: int, state: TrackState = TrackState.CONFIRMED, seen: bool = True) -> Track:
    return Track(
        id=track_id,
        state=state,
        box=np.array([x - 2.5, 18, x + 10.25, 30], np.float32),
        score=0.876,
        class_id=2,
        class_name="bird",
        mask=MaskPatch(x, 20, np.ones((8, 8), np.bool_)) if seen else None,
        velocity=np.array([60, -3], np.float32),
        age=7,
        frames_since_detection=3,
        frames_since_seen=0 if seen else 2,
    )


def _pair(index: int, height: int = 48, width: int = 64) -> tuple[Frame, Tracks]:
    frame = Frame(np.full((height, width, 3), 90, np.uint8), 5_000_000_000 + index * 40_000_000, index, "camera")
    items = (
        _track(3, 5 + index),
        _track(4, 40, TrackState.TENTATIVE),
        _track(5, 30, TrackState.LOST, seen=False),
        _track(700, 44),
    )
    return frame, Tracks(frame.timestamp_ns, index, (height, width), items, detector_ran=index == 0)


def test_mot_text_of_reported_tracks(tmp_path: Path) -> None:
    with MotWriter(tmp_path / "new" / "tracks.txt") as writer:
        writer.write(*_pair(0))
        writer.write(*_pair(1))
    rows = (tmp_path / "new" / "tracks.txt").read_text().splitlines()
    assert rows[0] == "1,3,2.50,18.00,12.75,12.00,0.88,2,-1"
    assert [row.split(",")[:2] for row in rows] == [["1", "3"], ["1", "700"], ["2", "3"], ["2", "700"]]


def test_mask_images(tmp_path: Path) -> None:
    with MaskWriter(tmp_path / "masks") as writer:
        writer.write(*_pair(0))
        writer.write(*_pair(1))
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["000001.png", "000002.png"]
    labels = cv2.imread(str(tmp_path / "masks" / "000002.png"), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) == {0, 3, 700}
    assert (labels[20:28, 6:14] == 3).all()
    assert np.count_nonzero(labels) == 128


@pytest.mark.parametrize(("size", "expected"), [((48, 64), (96, 128)), ((241, 461), (242, 462))])
def test_overlay_video(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    path = tmp_path / "overlay.mp4"
    with OverlayWriter(path, 25.0, size) as writer:
        for index in range(6):
            writer.write(*_pair(index, *size))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert _boxes(path)[:3] == ["ftyp", "moov", "free"], "browsers begin before all is there"
    source = open_source(path)
    assert (source.size, source.length) == (expected, 6)
    assert source.fps == pytest.approx(25)
    scale = 2 if size == (48, 64) else 1
    last = list(source)[-1].image
    inside = last[24 * scale, 47 * scale].astype(int)
    assert np.abs(inside - 90).max() > 20  # the mask is tinted
    assert np.abs(last[46 * scale, 2 * scale].astype(int) - 90).max() < 10  # the background is not


def _boxes(path: Path) -> list[str]:
    """Kinds of an MP4 file's outermost boxes, in their order."""
    data, kinds, place = path.read_bytes(), [], 0
    while place < len(data):
        kinds.append(data[place + 4 : place + 8].decode())
        place += int.from_bytes(data[place : place + 4])
    return kinds


def test_an_overlay_keeps_the_time_of_missing_frames(tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    with OverlayWriter(path, 25.0) as writer:
        for index in (0, 1, 5, 6, 0, 1):  # a stream that begins anew counts anew
            writer.write(*_pair(index))
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, [0, 0.04, 0.2, 0.24, 0.28, 0.32], atol=1e-3)


def test_overlay_leaves_the_frame_alone_and_marks_reported_tracks_only() -> None:
    frame, tracks = _pair(0, 300, 500)
    before = frame.image.copy()
    image = draw_overlay(frame, tracks)
    np.testing.assert_array_equal(frame.image, before)
    assert image.shape == (300, 500, 3)
    confirmed = image[22, 8].astype(int) - 90
    expected = 0.45 * (np.array(track_color(3)) - 90)
    assert np.abs(confirmed - expected).max() <= 2
    only_tentative = Tracks(0, 0, (300, 500), (_track(4, 40, TrackState.TENTATIVE),))
    np.testing.assert_array_equal(draw_overlay(frame, only_tentative), before)


def test_overlay_shows_what_the_user_ignores(tmp_path: Path) -> None:
    path = tmp_path / "ignored.yaml"
    path.write_text("polygons:\n  - [[0, 0], [100, 0], [100, 50], [0, 50]]\n")
    frame = _pair(0, 300, 500)[0]
    image = draw_overlay(frame, Tracks(0, 0, (300, 500), ignored=IgnoreMask.load(str(path))))
    np.testing.assert_array_equal(image[:50, :100], frame.image[:50, :100] // 2)
    np.testing.assert_array_equal(image[51:], frame.image[51:])
    np.testing.assert_array_equal(image[:50, 101:], frame.image[:50, 101:])


def test_trails_are_bounded_and_forgotten() -> None:
    trails = Trails(length=4)
    for index in range(10):
        trails.update(_pair(index)[1])
    assert trails.points(3).shape == (4, 2)
    np.testing.assert_allclose(trails.points(3)[-1], [(14 - 2.5 + 14 + 10.25) / 2, 24])
    assert trails.points(4).shape == (0, 2)
    trails.update(Tracks(0, 10, (48, 64)))
    assert trails.points(3).shape == (0, 2)


def test_overlay_of_masks_and_boxes_at_the_border() -> None:
    frame = Frame(np.zeros((60, 80, 3), np.uint8), 0)
    edge = _track(9, 76)
    trails = Trails()
    tracks = Tracks(0, 0, (60, 80), (edge,))
    trails.update(tracks)
    assert draw_overlay(frame, tracks, trails).shape == (120, 160, 3)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bag(tmp_path: Path, storage: str) -> None:
    path = tmp_path / "bag"
    with BagWriter(path, storage) as writer:
        for index in range(3):
            writer.write(*_pair(index))
    messages: dict[str, list] = {}
    # The bag must be readable by its own definitions, as any other program reads it.
    with AnyReader([path], default_typestore=typestore()) as reader:
        for connection, recorded, raw in reader.messages():
            messages.setdefault(connection.topic, []).append(reader.deserialize(raw, connection.msgtype))
            assert recorded == 5_000_000_000 + (len(messages[connection.topic]) - 1) * 40_000_000
    assert {topic: len(items) for topic, items in messages.items()} == {"/tracks": 3, "/masks": 3, "/track_states": 3}
    detections, masks, states = (messages[topic][2] for topic in ("/tracks", "/masks", "/track_states"))
    for message in (detections, masks, states):
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == (5, 80_000_000)
        assert message.header.frame_id == "camera"
    assert [item.id for item in detections.detections] == ["3", "700"]
    box = detections.detections[0].bbox
    assert (box.center.position.x, box.center.position.y, box.size_x, box.size_y) == (10.875, 24.0, 12.75, 12.0)
    assert detections.detections[0].results[0].hypothesis.class_id == "bird"
    labels = np.frombuffer(masks.data.tobytes(), "<u2").reshape(48, 64)
    assert masks.encoding == "mono16"
    assert masks.step == 128
    assert (labels[20:28, 7:15] == 3).all()
    assert np.count_nonzero(labels) == 128
    assert [(item.id, item.state) for item in states.tracks] == [(3, 2), (4, 1), (5, 3), (700, 2)]
    assert states.tracks[2].mask_counts == ""
    counts = {"size": [48, 64], "counts": states.tracks[0].mask_counts.encode()}
    np.testing.assert_array_equal(coco_mask.decode(counts), labels == 3)
    assert not states.detector_ran
    assert messages["/track_states"][0].detector_ran


def _fields(text: str) -> list[str]:
    """The lines of a message definition that mean something, comments and spacing left out."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line]


@pytest.mark.parametrize("name", sorted(VISION_MSGS | SMOTRACKER_MSGS))
def test_definitions_equal_the_interface_files(name: str) -> None:
    package, _, message = name.split("/")
    folder = ROOT / "msg" if package == "smotracker_ros" else ROOT / "overlay" / package / "msg"
    expected = [
        line.replace(" Track[]", " smotracker_ros/Track[]").replace("Track[] tracks", "smotracker_ros/Track[] tracks")
        for line in _fields((folder / f"{message}.msg").read_text())
    ]
    assert _fields((VISION_MSGS | SMOTRACKER_MSGS)[name]) == expected


_tracker = functools.cache(lambda: build_tracker(load_settings()))


def _make_sink(kind: str, path: Path) -> Sink:
    return {
        "mot": lambda: MotWriter(path),
        "overlay": lambda: OverlayWriter(path.with_suffix(".mp4"), 25.0),
        "masks": lambda: MaskWriter(path),
        "bag": lambda: BagWriter(path),
        "rerun": lambda: RerunWriter(path.with_suffix(".rrd"), _tracker()),
    }[kind]()


@pytest.mark.parametrize("kind", ["mot", "overlay", "masks", "bag", "rerun"])
def test_nothing_is_left_after_an_error(tmp_path: Path, kind: str) -> None:
    sink = _make_sink(kind, tmp_path / "out")
    with pytest.raises(ZeroDivisionError), sink:
        sink.write(*_pair(0))
        assert list(tmp_path.iterdir()) != []  # it was written somewhere
        assert not sink.path.exists()  # but not under its final name
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["masks", "bag"])
def test_an_older_folder_is_never_replaced(tmp_path: Path, kind: str) -> None:
    """Nobody knows what is in it; it is refused before anything is written, and if it comes later, too."""
    sink = _make_sink(kind, tmp_path / "out")
    with sink:
        sink.write(*_pair(0))
    found = _content(sink.path)
    with pytest.raises(SinkError, match="exists already; remove it"), _make_sink(kind, tmp_path / "out"):
        pass
    sink.path.rename(tmp_path / "first")
    with pytest.raises(SinkError, match="exists already"), _make_sink(kind, tmp_path / "out") as late:
        late.write(*_pair(1))
        (tmp_path / "first").rename(sink.path)
    assert _content(sink.path) == found
    assert list(tmp_path.iterdir()) == [sink.path]


@pytest.mark.parametrize("kind", ["mot", "overlay", "rerun"])
def test_an_older_file_is_replaced_only_on_success(tmp_path: Path, kind: str) -> None:
    def write(index: int, fail: bool = False) -> None:
        with _make_sink(kind, tmp_path / "out") as sink:
            sink.write(*_pair(index))
            if fail:
                raise ZeroDivisionError

    write(0)
    result = next(tmp_path.iterdir())
    first = _content(result)
    with pytest.raises(ZeroDivisionError):
        write(1, fail=True)
    assert _content(result) == first
    write(2)
    assert _content(result) != first
    assert list(tmp_path.iterdir()) == [result]


def _content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {file.name: file.read_bytes() for file in files}


def test_unwritable_folder(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(SinkError, match=r"tracks\.txt cannot be written"), MotWriter(blocker / "tracks.txt"):
        pass


def test_full_disk_is_said_clearly(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    with pytest.raises(SinkError, match=r"no space is left on the disk of .*out\.bin"), pending_path(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["mot", "overlay", "masks", "bag", "rerun"])
def test_write_that_the_system_refuses_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """A limit on file sizes stands in for a disk that fills up while the sink writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    noise = np.random.default_rng(0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100 if kind == "masks" else 4096, hard))
        with pytest.raises(Exception, match=r"."), _make_sink(kind, tmp_path / "out") as sink:
            for index in range(400):
                tracks = _pair(index % 20, 240, 320)[1]
                image = noise.integers(0, 255, (240, 320, 3), dtype=np.uint8)
                sink.write(Frame(image, index, index), tracks)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
