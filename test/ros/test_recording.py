"""The recorder's files: completed however a recording ends, and never in place of an earlier recording."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from smotracker_ros.msg import TrackArray
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from smotracker_ros.commands.offline import recover_app
from smotracker_ros.core.frames import Frame
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.io.bags import open_bag
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.pending import SinkError
from smotracker_ros.io.sources import open_source
from smotracker_ros.ros.bag_recorder import BagRecorder
from smotracker_ros.ros.images import to_image, to_nanoseconds, to_stamp
from smotracker_ros.ros.recorder import MAX_WAITING, Recorder
from smotracker_ros.ros.recording import Recording

KINDS = {"tracks": Detection2DArray, "masks": Image, "track_states": TrackArray}


def _message(number: int) -> bytes:
    header = Header(stamp=to_stamp(number + 1), frame_id="camera")
    return bytes(serialize_message(Detection2DArray(header=header)))


def _write(bag: BagRecorder, numbers: range) -> None:
    for number in numbers:
        bag.write("/tracks", "vision_msgs/msg/Detection2DArray", number + 1, _message(number))


def _stamps(path: Path) -> list[int]:
    with open_bag(path) as reader:
        return [
            to_nanoseconds(typestore().deserialize_cdr(raw, c.msgtype).header.stamp) for c, _, raw in reader.messages()
        ]


START = 1_700_000_000_000_000_000


def _frame(number: int) -> tuple[Frame, Tracks]:
    image = np.random.default_rng(number).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    return Frame(image, number * 40_000_000 + 1, number), Tracks(number, number, (96, 128), (), False)


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Limits the size of files: stands in for a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_bag_is_completed_after_an_error_of_others(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), BagRecorder(tmp_path / "bag") as bag:
        _write(bag, range(30))
        raise ZeroDivisionError
    assert (tmp_path / "bag" / "metadata.yaml").is_file()
    assert _stamps(tmp_path / "bag") == list(range(1, 31))
    assert list(tmp_path.iterdir()) == [tmp_path / "bag"]


def test_a_bag_without_messages_leaves_nothing(tmp_path: Path) -> None:
    with BagRecorder(tmp_path / "bag"):
        pass
    with pytest.raises(ZeroDivisionError), BagRecorder(tmp_path / "bag"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_bag_that_cannot_be_written_on_keeps_what_it_has(tmp_path: Path, small_files: Callable[[int], None]) -> None:
    bag = BagRecorder(tmp_path / "bag")
    with pytest.raises(SinkError, match=r"bag cannot be written on: .*`smotracker recover ") as failure, bag:
        _write(bag, range(100))
        bag.flush()
        small_files(1 << 16)
        _write(bag, range(100, 200_000))
    small_files(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    left = next(tmp_path.glob(".bag.*.partial/bag"))
    assert str(left) in str(failure.value)
    assert not (tmp_path / "bag").exists()
    with BagRecorder(tmp_path / "bag") as second:
        assert second.leftovers == [left]
    recover_app([str(left), "--output", str(tmp_path / "mended")], standalone_mode=False)
    assert _stamps(tmp_path / "mended")[:100] == list(range(1, 101))


def test_a_running_recorder_is_not_taken_for_a_dead_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with BagRecorder(Path("bag")) as first, BagRecorder(tmp_path / "link" / "bag") as second:
        _write(first, range(3))
        assert first.leftovers == [] and second.leftovers == []
    assert _stamps(tmp_path / "bag") == [1, 2, 3]


def test_text_and_video_are_completed_after_an_error(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "out", with_bag=False, overlay=True, fps=0.0)
    with pytest.raises(ZeroDivisionError), recording:
        for number in range(5):
            recording.add(*_frame(number))
        raise ZeroDivisionError
    assert recording.frames == 5 and not recording.failed
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tracks.txt", "overlay.mp4"}
    source = open_source(tmp_path / "out" / "overlay.mp4")
    assert source.fps == pytest.approx(25) and sum(1 for _ in source) == 5


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    with Recording(tmp_path, with_bag=False, overlay=True, fps=0.0) as recording:
        recording.add(*_frame(0))
    assert sum(1 for _ in open_source(tmp_path / "overlay.mp4")) == 1


def test_a_video_that_cannot_be_written_does_not_end_the_rest(
    tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    with Recording(tmp_path, with_bag=True, overlay=True, fps=25.0) as recording:
        assert recording.bag is not None
        small_files(1 << 15)
        for number in range(150):
            recording.add(*_frame(number))
            _write(recording.bag, range(number, number + 1))
    small_files(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert recording.failed == {"overlay.mp4"} and recording.frames == 150
    assert {path.name for path in tmp_path.iterdir()} == {"bag", "tracks.txt"}
    assert len(_stamps(tmp_path / "bag")) == 150


@pytest.mark.parametrize("count", [4, 9, 30])
@pytest.mark.parametrize("shift", [-39_960_000, 10_000_000_000])
def test_the_first_two_stamps_alone_do_not_make_the_rate(tmp_path: Path, count: int, shift: int) -> None:
    """The first image handed out just before the second, or long before it; also where the recording is short."""
    with Recording(tmp_path, with_bag=False, overlay=True, fps=0.0) as recording:
        for number in range(count):
            frame, tracks = _frame(number)
            early = shift if number == 0 else 0
            recording.add(Frame(frame.image, START + frame.timestamp_ns - early, number), tracks)
    source = open_source(tmp_path / "overlay.mp4")
    assert source.fps == pytest.approx(25)
    assert sum(1 for _ in source) == count


def test_an_earlier_recording_is_moved_aside(tmp_path: Path) -> None:
    for number in range(3):
        with Recording(tmp_path, with_bag=True, overlay=False, fps=0.0) as recording:
            assert recording.bag is not None
            _write(recording.bag, range(number, number + 1))
            recording.add(*_frame(number))
    assert _stamps(tmp_path / "bag") == [3]
    assert _stamps(tmp_path / "earlier" / "1" / "bag") == [1]
    assert _stamps(tmp_path / "earlier" / "2" / "bag") == [2]
    assert (tmp_path / "earlier" / "2" / "tracks.txt").is_file()


class Results:
    """Publishes results for a recorder in another process."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._publishers = {
            name: client.node.create_publisher(kind, f"{namespace}/{name}", 100) for name, kind in KINDS.items()
        }

    def answer(self, header: Header) -> None:
        self._publishers["masks"].publish(to_image(np.zeros((48, 64), np.uint16), header, "mono16"))
        self._publishers["track_states"].publish(TrackArray(header=header))
        self._publishers["tracks"].publish(Detection2DArray(header=header))


@pytest.mark.slow
def test_results_without_images_are_kept(client: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    recorder = start("recorder", "-r", "__ns:=/blind", "-p", f"output:={tmp_path / 'out'}")
    results = Results(client, "/blind")
    images = client.node.create_publisher(CompressedImage, "/blind/image", 50)
    assert client.spin_until(lambda: "the types differ" in recorder.output, 60), recorder.output
    for number in range(20):
        results.answer(Header(stamp=to_stamp(10**18 + number), frame_id="camera"))
        client.spin_until(lambda: False, 0.02)
    client.node.destroy_publisher(images)
    assert recorder.wait() == 1, "ends by itself when the images' publisher has gone"
    assert "only the bag is written, with 60 messages" in recorder.output
    assert "set image_transport:=compressed" in recorder.output and "Traceback" not in recorder.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bag"}
    assert len(_stamps(tmp_path / "out" / "bag")) == 60


@pytest.mark.slow
def test_compressed_images(client: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    options = (f"output:={tmp_path / 'out'}", "image_transport:=compressed", "record_images:=true")
    recorder = start("recorder", "-r", "__ns:=/packed", *(item for option in options for item in ("-p", option)))
    results = Results(client, "/packed")
    images = client.node.create_publisher(CompressedImage, "/packed/image", 50)
    assert client.spin_until(lambda: images.get_subscription_count() > 0, 60), recorder.output
    picture = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    for number in range(10):
        header = Header(stamp=to_stamp(10**18 + number * 10**8), frame_id="camera")
        images.publish(CompressedImage(header=header, format="jpeg", data=picture))
        results.answer(header)
        client.spin_until(lambda: False, 0.05)
    client.spin_until(lambda: False, 0.5)
    recorder.interrupt()
    assert recorder.wait() == 0, recorder.output
    assert "recorded 10 frames" in recorder.output
    assert sum(1 for _ in open_source(tmp_path / "out" / "overlay.mp4")) == 10
    assert len(_stamps(tmp_path / "out" / "bag")) == 40


@pytest.fixture
def recorder(ros_environment: None, tmp_path: Path) -> Iterator[Recorder]:
    """A recorder in this process, to hand messages to."""
    from rclpy.parameter import Parameter

    values = [Parameter("output", value=str(tmp_path / "own")), Parameter("overlay", value=False)]
    with ExitStack() as stack:
        node = Recorder(stack, namespace="/own", parameter_overrides=values)
        yield node
        node.destroy_node()


def _image(stamp: int) -> bytes:
    header = Header(stamp=to_stamp(stamp), frame_id="camera")
    return bytes(serialize_message(to_image(np.zeros((12, 16, 3), np.uint8), header, "rgb8")))


def _state(stamp: int) -> bytes:
    return bytes(serialize_message(TrackArray(header=Header(stamp=to_stamp(stamp)))))


def test_images_that_the_tracker_skips_do_not_pile_up(recorder: Recorder) -> None:
    for stamp in range(1, 601):
        recorder._take_image(_image(stamp))
        if stamp % 3 == 0:
            recorder._take_result("track_states", TrackArray, _state(stamp))
    assert recorder.recording.frames == 200
    assert len(recorder._images) == 0 and len(recorder._states) == 0
    for stamp in range(1000, 1000 + 2 * MAX_WAITING):
        recorder._take_image(_image(stamp))
    assert len(recorder._images) == MAX_WAITING


def test_images_without_time_stamps_go_to_the_bag_only(recorder: Recorder) -> None:
    for _ in range(3):
        recorder._take_image(_image(0))
        recorder._take_result("track_states", TrackArray, _state(0))
    assert recorder.recording.frames == 0 and recorder.recording.messages == 3
