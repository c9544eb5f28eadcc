"""Recorder and player killed in mid-stream: what was recorded can be read to the last second. And hostile results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image
from smotracker_ros.msg import Track, TrackArray
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox2D, Detection2DArray

from smotracker_ros.commands.offline import recover_app
from smotracker_ros.io.bags import open_bag
from smotracker_ros.io.message_types import typestore
from smotracker_ros.ros.images import to_image, to_nanoseconds, to_stamp
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

RESULTS = {"tracks": Detection2DArray, "masks": Image, "track_states": TrackArray}

pytestmark = pytest.mark.slow


class Results:
    """Publishes results that answer an image."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._publishers = {
            name: client.node.create_publisher(kind, f"{namespace}/{name}", 100) for name, kind in RESULTS.items()
        }
        self.count = 0

    def answer(self, header: Header, tracks: Sequence[Track] = ()) -> None:
        self._publishers["masks"].publish(to_image(np.zeros((48, 64), np.uint16), header, "mono16"))
        self._publishers["track_states"].publish(TrackArray(header=header, frame_index=self.count, tracks=tracks))
        self._publishers["tracks"].publish(Detection2DArray(header=header))
        self.count += 1


def _stamps(bag: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    with open_bag(bag) as reader:
        for connection, _, raw in reader.messages():
            message: Any = typestore().deserialize_cdr(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append(to_nanoseconds(message.header.stamp))
    return found


def test_a_killed_recorder(client: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    output = tmp_path / "recording"
    arguments = ("-r", "__ns:=/cut", "-p", f"output:={output}", "-p", "overlay:=false", "-p", "record_images:=true")
    recorder = start("recorder", *arguments)
    images = client.node.create_publisher(Image, "/cut/image", 50)
    results = Results(client, "/cut")
    assert client.spin_until(lambda: images.get_subscription_count() > 0, 60), recorder.output
    picture = np.zeros((48, 64, 3), np.uint8)
    sent = []
    end = time.monotonic() + 4
    while time.monotonic() < end:
        sent.append(time.time_ns())
        header = Header(stamp=to_stamp(sent[-1]), frame_id="camera")
        images.publish(to_image(picture, header, "rgb8"))
        results.answer(header)
        client.spin_until(lambda: False, 0.05)
    recorder.kill()
    killed = time.time_ns()

    leftovers = list(output.glob(".bag.*.partial/bag"))
    assert len(leftovers) == 1
    found = _stamps(leftovers[0])
    assert set(found) == {"/cut/image", "/cut/tracks", "/cut/masks", "/cut/track_states"}
    for topic, stamps in found.items():
        assert stamps == sent[: len(stamps)], f"{topic}: none is missing in between"
        assert killed - stamps[-1] < 1e9, f"{topic}: the last second is missing"

    recover_app([str(leftovers[0]), "--output", str(tmp_path / "mended")], standalone_mode=False)
    assert (tmp_path / "mended" / "metadata.yaml").is_file()
    assert _stamps(tmp_path / "mended") == found

    second = start("recorder", *arguments)
    assert client.spin_until(lambda: "was cut off" in second.output, 30), second.output
    assert f"smotracker recover {leftovers[0]}" in second.output


def test_a_killed_player(client: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    write_scene(tmp_path / "scene", SceneSettings(320, 256, 30, 30.0, 2, "static", "infrared"), seed=1)
    video = tmp_path / "scene" / "video.mp4"
    output = tmp_path / "recording"
    recorder = start(
        "recorder", "-r", "__ns:=/torn", "-p", f"output:={output}", "-p", "overlay:=false", "-p", "record_images:=true"
    )
    results = Results(client, "/torn")
    images: list[Image] = []

    def take(message: Image) -> None:
        images.append(message)
        results.answer(message.header)

    client.node.create_subscription(Image, "/torn/image", take, 100)
    player = start("player", "-r", "__ns:=/torn", "-p", f"source:={video}", "-p", "loop:=true", "-p", "subscribers:=2")
    assert client.spin_until(lambda: len(images) >= 45, 60), player.output
    player.kill()
    client.spin_until(lambda: False, 1.0)
    recorder.interrupt()
    assert recorder.wait() == 0, recorder.output
    sent = [to_nanoseconds(message.header.stamp) for message in images]
    # the last image may have been on its way to the recorder when its sender was killed
    if f"recorded {len(sent) - 1} frames" in recorder.output:
        sent.pop()
    assert f"recorded {len(sent)} frames" in recorder.output
    found = _stamps(output / "bag")
    assert (output / "bag" / "metadata.yaml").is_file()
    assert found == dict.fromkeys(("/torn/image", "/torn/tracks", "/torn/masks", "/torn/track_states"), sent)


def test_results_that_cannot_be_true_are_left_out(client: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    recorder = start("recorder", "-r", "__ns:=/hostile", "-p", f"output:={tmp_path / 'out'}", "-p", "idle_seconds:=0.0")
    images = client.node.create_publisher(Image, "/hostile/image", 50)
    results = Results(client, "/hostile")
    assert client.spin_until(lambda: images.get_subscription_count() > 0, 60), recorder.output
    good = Track(id=1, state=Track.CONFIRMED, mask_height=48, mask_width=64, mask_counts="Zn04\\10000000Vj1")
    hostile = [
        Track(state=Track.CONFIRMED, mask_height=2**32 - 1, mask_width=2**32 - 1, mask_counts="Zn04\\10000000Vj1"),
        Track(state=Track.CONFIRMED, mask_height=48, mask_width=64, mask_counts="o" * 1000),
        Track(state=Track.CONFIRMED, mask_height=48, mask_width=64, mask_counts="P" * 2_000_000),
        Track(state=99),
        Track(state=Track.CONFIRMED, box=BoundingBox2D(size_x=float("nan"))),
        Track(state=Track.CONFIRMED, box=BoundingBox2D(size_x=1e300, size_y=1e300)),
    ]
    pairs = [tracks for bad in hostile for tracks in ([bad], [good])]
    for number, tracks in enumerate(pairs):
        header = Header(stamp=to_stamp(10**18 + number * 10**8), frame_id="camera")
        images.publish(to_image(np.full((48, 64, 3), 90, np.uint8), header, "rgb8"))
        results.answer(header, tracks)
        client.spin_until(lambda: False, 0.1)
    assert client.spin_until(lambda: "track states are left out" in recorder.output, 20), recorder.output
    client.spin_until(lambda: False, 1.0)
    recorder.interrupt()
    assert recorder.wait() == 0, recorder.output
    assert f"recorded {len(hostile)} frames" in recorder.output and "Traceback" not in recorder.output
    assert len(_stamps(tmp_path / "out" / "bag")["/hostile/track_states"]) == len(pairs), "the bag holds what was sent"
