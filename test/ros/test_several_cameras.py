"""Two cameras at once: a node for each, in its own namespace, none of which knows of the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.srv import GetState
from vision_msgs.msg import Detection2DArray

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.sources import open_source
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.ros.conversions import to_detections
from smotracker_ros.ros.images import to_nanoseconds
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

FRAMES = 24
CAMERAS = {"left": 4, "right": 9}
"""Names and scenes."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scenes")
    for camera, seed in CAMERAS.items():
        write_scene(folder / camera, SceneSettings(320, 256, FRAMES, 30.0, 5, "static", "infrared"), seed)
    return {camera: folder / camera / "video.mp4" for camera in CAMERAS}


def test_two_cameras_have_their_own_ids(client: Any, start: Callable[..., Any], videos: dict[str, Path]) -> None:
    answers = {camera: client.listen(Detection2DArray, f"/{camera}/tracks") for camera in CAMERAS}
    players = {}
    for camera in CAMERAS:
        options = ("on_overload:=every_frame", "reliability:=reliable")
        start("tracker", "-r", f"__ns:=/{camera}", *(item for option in options for item in ("-p", option)))
    for camera in CAMERAS:
        # whom a service answers, whose earlier subscriptions it knows: no answer to an image misses this process
        client.call(GetState, f"/{camera}/smotracker/get_state", patience=120)
    for camera, video in videos.items():
        namespace = ("-r", f"__ns:=/{camera}")
        options = (f"source:={video}", "rate:=0.0", "max_in_flight:=3", f"frame_id:={camera}")
        players[camera] = start("player", *namespace, *(item for option in options for item in ("-p", option)))
    done = client.spin_until(lambda: all(len(messages) == FRAMES for messages in answers.values()), 180)
    assert done, "\n".join(player.output for player in players.values())
    found: dict[str, set[str]] = {}
    for camera, video in videos.items():
        # What the other camera sees changes nothing: not an id, not a pixel of a box.
        tracker = build_tracker(load_settings("y-smotracker"))
        ids = set()
        for message, frame in zip(answers[camera], open_source(video), strict=True):
            assert message.header.frame_id == camera
            stamp = to_nanoseconds(message.header.stamp)
            expected = to_detections(tracker.update(Frame(frame.image, stamp, frame.index)), message.header)
            assert message == expected
            ids |= {detection.id for detection in message.detections}
        assert len(ids) >= 2, f"{camera} sees several targets"
        found[camera] = ids
    assert found["left"] & found["right"], "each camera counts for itself"
