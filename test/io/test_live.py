"""Cameras and network streams, served on loopback."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.addresses import failure
from smotracker_ros.io.live import LiveSource
from smotracker_ros.io.live_clock import LiveClock
from smotracker_ros.io.sources import open_source

SECOND = 1_000_000_000
FPS = 25


def _images(count: int, first: int = 0) -> Iterator[np.ndarray]:
    """Grey images that tell their numbers: each is lighter by 3."""
    return (np.full((96, 128, 3), 20 + 3 * (first + number), np.uint8) for number in range(count))


def _number(frame: Frame) -> int:
    return round((float(frame.image.mean()) - 20) / 3)


def test_the_newest_frame_comes_first(http_camera: Callable[..., str], transport_stream: Callable[..., list]) -> None:
    source = open_source(http_camera(transport_stream(_images(75))), patience=1)
    assert (source.fps, source.size, source.length) == (FPS, (96, 128), None)
    frames = []
    for frame in source:
        frames.append(frame)
        time.sleep(0.2)
    numbers = [_number(frame) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 74, "the last one waits for whoever is slow"
    assert 8 <= len(frames) <= 25
    assert source.dropped + len(frames) == 75
    times = np.array([frame.timestamp_ns for frame in frames]) / 1e9
    assert abs(times[-1] - time.time()) < 5
    # what waited when the source was opened came at once, and tells nothing of the time of the rest
    steady = [index for index, number in enumerate(numbers) if number >= 40]
    np.testing.assert_allclose(np.diff(times[steady]), np.diff(np.array(numbers)[steady]) / FPS, atol=0.02)
    places = [frame.index for frame in frames]
    np.testing.assert_allclose(np.array(places), (times - times[0]) * FPS, atol=1)


def test_a_stream_that_breaks_off_comes_back(
    http_camera: Callable[..., str], transport_stream: Callable[..., list], caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    source = open_source(
        http_camera(transport_stream(_images(30)), transport_stream(_images(30, first=45))), patience=3
    )
    frames = list(source)
    took = time.monotonic() - began
    numbers = [_number(frame) for frame in frames]
    before = [frame for frame, number in zip(frames, numbers, strict=True) if number < 30]
    after = [frame for frame, number in zip(frames, numbers, strict=True) if number >= 45]
    assert before and after and len(before) + len(after) == len(frames)
    assert numbers[-1] == 74
    assert source.reconnections == 1
    gap = (after[0].timestamp_ns - before[-1].timestamp_ns) / 1e9
    assert 0.4 < gap < took, "it waits half a second before it connects again"
    assert after[0].index - before[-1].index == pytest.approx(gap * FPS, abs=1), "numbers keep the time of the gap"
    text = caplog.text
    assert "/live has ended, or sends nothing that can be read; check the sender; connecting again in 0.5 s" in text
    assert "/live is back after" in text
    assert "has nothing under this path; check what stands behind the host; connecting again in 1.0 s" in text
    assert "nothing has come for 3 s; it ends here" in text


def test_a_silent_stream_can_be_stopped(http_camera: Callable[..., str], transport_stream: Callable[..., list]) -> None:
    def pieces() -> Iterator[bytes]:
        yield from transport_stream(_images(20))
        time.sleep(20)

    source = open_source(http_camera(pieces()))
    assert isinstance(source, LiveSource)
    threading.Timer(1.5, source.stop).start()
    began = time.monotonic()
    assert list(source)
    assert time.monotonic() - began < 6
    assert list(source) == []


def test_a_reader_ends_with_the_loop(http_camera: Callable[..., str], transport_stream: Callable[..., list]) -> None:
    address = http_camera(transport_stream(_images(75)))
    frames = iter(open_source(address))
    next(frames)
    assert any(address in thread.name for thread in threading.enumerate())
    frames.close()
    assert not any(address in thread.name for thread in threading.enumerate())


def test_pictures_without_a_time_were_taken_when_they_came(http_camera: Callable[..., str]) -> None:
    """What FFmpeg counts from a rate of its own would run at 25 frames per second."""
    pieces = [
        b"--edge\r\nContent-Type: image/jpeg\r\n\r\n" + cv2.imencode(".jpg", image)[1].tobytes() + b"\r\n"
        for image in _images(30)
    ]
    address = http_camera(pieces, seconds=0.1, kind="multipart/x-mixed-replace; boundary=edge")
    frames = list(open_source(address, patience=1))
    numbers = np.array([_number(frame) for frame in frames])
    times = np.array([frame.timestamp_ns for frame in frames]) / 1e9
    steady = numbers >= 10
    assert np.count_nonzero(steady) > 10
    rate = np.polyfit(numbers[steady], times[steady], 1)[0]
    assert rate == pytest.approx(0.1, rel=0.1)


def test_a_file_that_a_web_server_has_is_read_whole(make_video: Callable[..., Path], tmp_path: Path) -> None:
    path = make_video("clip.mp4")
    with (
        av.open(str(path)) as source,
        av.open(str(tmp_path / "web.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = open_source(f"http://127.0.0.1:{server.server_address[1]}/web.mp4")
        assert source.name == "web"
        found = []
        for frame in source:
            found.append(frame)
            time.sleep(0.02)
        server.shutdown()
    expected = list(open_source(path))
    assert [(frame.index, frame.timestamp_ns) for frame in found] == [(f.index, f.timestamp_ns) for f in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.image, other.image)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def udp_sender(transport_stream: Callable[..., list]) -> Iterator[str]:
    """The address at which a transport stream arrives in datagrams."""
    port, ended = _free_port(socket.SOCK_DGRAM), threading.Event()
    pieces = transport_stream(_images(75))

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for piece in pieces:
                for start in range(0, len(piece), 1316):
                    sender.sendto(piece[start : start + 1316], ("127.0.0.1", port))
                if ended.wait(1 / FPS):
                    return

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield f"udp://127.0.0.1:{port}"
    ended.set()
    thread.join()


def test_udp(udp_sender: str) -> None:
    numbers = [_number(frame) for frame in open_source(udp_sender, patience=1)]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] >= 71, "the last pictures wait for what follows them, which nothing does"
    assert len(numbers) > 20


class _RtspCamera(threading.Thread):
    """Just enough of RFC 2326 for one client: a transport stream in RTP, interleaved in the connection."""

    def __init__(self, pieces: list[bytes], password: str = "") -> None:
        super().__init__(daemon=True)
        self._pieces = pieces
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"

    def run(self) -> None:
        with self._listener, self._listener.accept()[0] as client, client.makefile("rb") as requests:
            while request := requests.readline().decode():
                headers = {}
                while line := requests.readline().decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                method = request.split()[0]
                body, extra = "", ""
                if method == "DESCRIBE":
                    body = (
                        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:0\r\n"
                    )
                    extra = "Content-Type: application/sdp\r\n"
                elif method == "SETUP":
                    assert "RTP/AVP/TCP" in headers["transport"], "UDP is often not let through"
                    extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                answer = (
                    f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 7\r\nPublic: DESCRIBE, SETUP, PLAY\r\n"
                )
                client.sendall(f"{answer}{extra}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                if method == "PLAY":
                    self._play(client)
                    return

    def _play(self, client: socket.socket) -> None:
        sequence = 0
        for number, piece in enumerate(self._pieces):
            for start in range(0, len(piece), 1316):
                data = piece[start : start + 1316]
                header = bytes([0x80, 33]) + sequence.to_bytes(2) + (number * 3600).to_bytes(4) + bytes(4)
                client.sendall(b"$\0" + (len(header) + len(data)).to_bytes(2) + header + data)
                sequence += 1
            time.sleep(1 / FPS)


def test_rtsp(transport_stream: Callable[..., list]) -> None:
    camera = _RtspCamera(transport_stream(_images(75)))
    camera.start()
    source = open_source(camera.address, patience=1)
    frames = list(source)
    numbers = [_number(frame) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] >= 73
    assert len(numbers) > 15
    assert source.name == camera.address.removeprefix("rtsp://")


def test_what_does_not_answer(
    http_camera: Callable[..., str], transport_stream: Callable[..., list], tmp_path: Path
) -> None:
    port = _free_port()
    cases = {
        f"http://127.0.0.1:{port}/x": "refuses the connection: nothing listens there; check the port",
        f"rtsp://127.0.0.1:{port}/x": "refuses the connection",
        "rtsp://no-such-camera.invalid/live": r"there is no host no-such-camera\.invalid",
        http_camera(): "has nothing under this path",
        http_camera([b"no video " * 1000], kind="text/plain"): "has ended, or sends nothing that can be read",
        "ftp://host/file": "ftp:// is not read; give a file, or one of rtsp",
        "rtsp://host:many/x": "is no address",
    }
    for address, words in cases.items():
        with pytest.raises(ValueError, match=words) as error:
            open_source(address)
        assert len(str(error.value).splitlines()) == 1


def test_a_stream_of_sound(http_camera: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "sound.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mp2", rate=48000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 48000), np.int16), format="s16", layout="stereo")
        sound.sample_rate = 48000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="/live holds no video stream"):
        open_source(http_camera([path.read_bytes()]))


def test_devices_that_are_no_cameras() -> None:
    with pytest.raises(ValueError, match=r"/dev/video987 does not exist; cameras that are there: "):
        open_source("/dev/video987")
    with pytest.raises(ValueError, match=r"/dev/null is no camera that gives pictures"):
        open_source("/dev/null")
    denied = failure("/dev/video0", PermissionError(13, "Permission denied"), 10)
    assert denied == (
        "/dev/video0 may not be read by this user; join its group (sudo usermod -aG video $USER) and log in again"
    )
    assert "is used by another program" in failure("/dev/video0", OSError(16, "Device or resource busy"), 10)


def test_passwords_are_not_shown(
    http_camera: Callable[..., str], transport_stream: Callable[..., list], caplog: pytest.LogCaptureFixture
) -> None:
    address = http_camera(transport_stream(_images(30))).replace("http://", "http://me:secret@") + "?token=secret"
    source = open_source(address, patience=2)
    assert list(source)
    assert "secret" not in source.name
    assert "has ended" in caplog.text and "has nothing under this path" in caplog.text
    assert "secret" not in caplog.text
    with pytest.raises(ValueError, match="nothing under this path") as error:
        open_source(address)
    assert "secret" not in str(error.value)


def test_options_and_topics_of_other_sources_are_refused(make_video: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="is no stream and no camera, so it takes no options; leave video_size out"):
        open_source(make_video(), options={"video_size": "64x48"})
    with pytest.raises(ValueError, match="is no rosbag2, so it has no topic /x"):
        open_source("udp://127.0.0.1:1234", topic="/x")


def test_the_least_delayed_frame_ties_the_times_together() -> None:
    clock = LiveClock()
    delays = [0.3, 0.5, 0.1, 0.2, 0.4, 0.1]
    stamps = [clock.stamp(7 + k, round((100 + k + delay) * SECOND)) for k, delay in enumerate(delays)]
    np.testing.assert_allclose(np.array(stamps) / SECOND, [100.3, 101.3, 102.1, 103.1, 104.1, 105.1], atol=0.01)


def test_frames_without_a_time_were_taken_when_they_arrived() -> None:
    clock = LiveClock()
    assert [clock.stamp(None, arrived * SECOND) for arrived in (5, 6, 9)] == [5 * SECOND, 6 * SECOND, 9 * SECOND]


@pytest.mark.parametrize("own", [2.0, 500.0, -3.0])
def test_a_stream_whose_time_is_set_goes_on_at_its_arrival(own: float) -> None:
    clock = LiveClock()
    clock.stamp(10.0, 100 * SECOND)
    assert clock.stamp(10.5, 101 * SECOND) == pytest.approx(100.5 * SECOND, abs=SECOND / 1000)
    assert clock.stamp(own, 102 * SECOND) == 102 * SECOND
    assert clock.stamp(own + 1, 103 * SECOND) == 103 * SECOND


def test_time_rises_and_pauses_of_the_sender_count() -> None:
    clock = LiveClock()
    first = clock.stamp(1.0, 100 * SECOND)
    clock.connect()
    assert clock.stamp(1.0, 99 * SECOND) == first + 1, "this machine's clock was set back"
    clock = LiveClock()
    clock.stamp(1.0, 100 * SECOND)
    assert clock.stamp(1.1, 130 * SECOND) == 130 * SECOND, "the sender stood still for half a minute"


def test_a_slow_clock_does_not_fall_behind() -> None:
    """200 parts per million are a second in 83 minutes."""
    clock = LiveClock()
    for second in range(20_000):
        stamp = clock.stamp(second * (1 - 2e-4), second * SECOND)
    assert abs(stamp - 19_999 * SECOND) < SECOND / 100
