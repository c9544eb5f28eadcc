"""The tracker node, a real process, before a plain sky: a camera that jerks, whose turns are known from TF."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from smotracker_ros.msg import TrackArray
from tf2_msgs.msg import TFMessage

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.calibration import read_camera_info
from smotracker_ros.ros.images import frame_to_image, to_stamp
from smotracker_ros.space.poses import OPTICAL_IN_BODY, Pose

pytestmark = [pytest.mark.ros, pytest.mark.slow]

WIDTH, HEIGHT, FOCAL = 640, 360, 800.0
PERIOD_NS = 50_000_000
START_NS = 1_800_000_000_000_000_000
# Transforms are sent so many images ahead, so that none is late on a slow machine; after the last image they end
AHEAD, IMAGES = 10, 60


class JerkingCamera:
    """Sends transforms, calibration and images of a drone before a plain sky."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.images = client.node.create_publisher(Image, "/image", 10)
        self.infos = client.node.create_publisher(CameraInfo, "/camera_info", 10)
        self.tf = client.node.create_publisher(TFMessage, "/tf", 10)
        self.states: list[TrackArray] = client.listen(TrackArray, "/track_states")
        self.info = CameraInfo(width=WIDTH, height=HEIGHT)
        self.info.k = [FOCAL, 0.0, WIDTH / 2 - 0.5, 0.0, FOCAL, HEIGHT / 2 - 0.5, 0.0, 0.0, 1.0]
        self.calibration = read_camera_info(self.info)

    @staticmethod
    def pose(index: int) -> Pose:
        """At rest, then a jerk of 6 degrees within three images, and at rest again."""
        pan = 2.0 * float(np.clip(index - 40, 0, 3))
        return Pose(Rotation.from_euler("Z", pan, degrees=True) * OPTICAL_IN_BODY)

    def send_transform(self, index: int) -> None:
        """That of an image."""
        message = TransformStamped(child_frame_id="camera")
        message.header.stamp, message.header.frame_id = to_stamp(START_NS + index * PERIOD_NS), "map"
        turn = message.transform.rotation
        turn.x, turn.y, turn.z, turn.w = self.pose(index).rotation.as_quat().tolist()
        self.tf.publish(TFMessage(transforms=[message]))

    def step(self, index: int) -> set[int]:
        """An image; the CONFIRMED tracks that lie on the drone."""
        stamp, pose = START_NS + index * PERIOD_NS, self.pose(index)
        for number in range(AHEAD + 1) if index == 0 else [index + AHEAD]:
            if number < IMAGES:
                self.send_transform(number)
        ray = Rotation.from_euler("Z", -1.0 + 0.08 * index, degrees=True).apply([1.0, 0, 0])
        u, v = self.calibration.project(pose.directions_from_world(ray))[0]
        columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        image = 150 + np.random.default_rng(index).normal(0, 1.5, (HEIGHT, WIDTH))
        image -= 90 * np.exp(-(((columns - u) / 6) ** 4 + ((rows - v) / 3.5) ** 4))
        pixels = np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        self.infos.publish(self.info)
        self.client.spin_until(lambda: False, 0.05)
        before = len(self.states)
        self.images.publish(frame_to_image(Frame(pixels, stamp, 0, "camera")))
        assert self.client.spin_until(lambda: len(self.states) > before, 30), "no answer to an image"
        return {
            track.id
            for track in self.states[-1].tracks
            if track.state == track.CONFIRMED
            and abs(track.box.center.position.x - u) < 10
            and abs(track.box.center.position.y - v) < 10
        }


@pytest.mark.parametrize("told", [True, False])
def test_a_jerk_before_a_plain_sky_leaves_the_track_its_id(
    client: Any, start: Any, tracker_of: Any, told: bool
) -> None:
    camera = JerkingCamera(client)
    process = start("tracker", *(("-p", "turn_degrees:=0.02") if told else ()))
    tracker_of(client, process, "/smotracker").wait_until_active()
    client.spin_until(lambda: client.node.count_subscribers("/image") > 0, 20)
    # it begins to listen to TF within a second
    client.spin_until(lambda: client.node.count_subscribers("/tf") > 0 or not told, 20)
    client.spin_until(lambda: False, 2.0)
    before = [camera.step(index) for index in range(40)][-1]
    assert len(before) == 1, process.output
    after = [camera.step(index) for index in range(40, IMAGES)][-1]
    assert (after == before) == told, process.output
    if told:
        assert "turn is not known" not in process.output, process.output
        camera.step(IMAGES)
        camera.step(IMAGES + 1)
        text = "the camera's turn is not known: the transform map -> camera is old"
        assert client.spin_until(lambda: text in process.output, 10), process.output
    process.interrupt()
    assert process.wait(30) == 0, process.output
