"""3D cues of the tracker node, a real process: poses from TF and a file, friends, nonsense, kill, jumping stamps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from smotracker_ros.msg import TrackArray
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from smotracker_ros.core.frames import Frame
from smotracker_ros.ros.images import frame_to_image, to_stamp
from smotracker_ros.space.poses import OPTICAL_IN_BODY

pytestmark = [pytest.mark.ros, pytest.mark.slow]

WIDTH, HEIGHT, FOCAL = 320, 200, 400.0
PERIOD_NS = 50_000_000


class Scene:
    """A hot blob that flies before a camera, a radar that sees it, and what the node says of both."""

    def __init__(self, client: Any) -> None:
        node = client.node
        self.client, self.index, self.start_ns = client, 0, 1_800_000_000_000_000_000
        self.images = node.create_publisher(Image, "/image", 10)
        self.info = node.create_publisher(CameraInfo, "/camera_info", 10)
        self.cues = node.create_publisher(Detection3DArray, "/cues_3d", 10)
        self.pose = node.create_publisher(PoseWithCovarianceStamped, "/cue_pose", 10)
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.tf_static = node.create_publisher(TFMessage, "/tf_static", latched)
        self.states: list[TrackArray] = client.listen(TrackArray, "/track_states")

    @property
    def stamp_ns(self) -> int:
        return self.start_ns + self.index * PERIOD_NS

    def place(self) -> np.ndarray:
        """The blob in the world, which is the camera's housing: 100 m ahead, to and fro."""
        return np.array([100.0, 25.0 - 0.7 * abs((self.index + 70) % 140 - 70), 3.0])

    def cue(self, **change: Any) -> Detection3DArray:
        """What the radar has found, at the time of the image that comes next."""
        given = {"place": self.place(), "id": "friendly:ALPHA", "variances": (4.0, 4.0, 4.0), "frame": "map"} | change
        result = ObjectHypothesisWithPose()
        covariance = np.zeros((6, 6))
        covariance[:3, :3] = np.diag(given["variances"])
        result.pose.covariance = covariance.ravel()
        found = Detection3D(results=[result], id=given["id"])
        center = found.bbox.center.position
        center.x, center.y, center.z = map(float, given["place"])
        array = Detection3DArray(detections=[found])
        array.header.stamp, array.header.frame_id = to_stamp(self.stamp_ns), given["frame"]
        return array

    def step(self, *cues: Detection3DArray) -> TrackArray | None:
        """Send calibration, cues and an image; returns its tracks."""
        x, y, z = self.place()
        u, v = WIDTH / 2 - FOCAL * y / x, HEIGHT / 2 - FOCAL * z / x
        columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        image = 80 + 12 * np.sin(columns / 17) * np.cos(rows / 23)
        image += np.random.default_rng(self.index).normal(0, 1.5, image.shape)
        image += 130 * np.exp(-(((columns - u) / 5.5) ** 4 + ((rows - v) / 3.5) ** 4))
        pixels = np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        info = CameraInfo(width=WIDTH, height=HEIGHT)
        info.k = [FOCAL, 0.0, WIDTH / 2 - 0.5, 0.0, FOCAL, HEIGHT / 2 - 0.5, 0.0, 0.0, 1.0]
        self.info.publish(info)
        for cue in cues:
            self.cues.publish(cue)
        self.client.spin_until(lambda: False, 0.03)
        before = len(self.states)
        self.images.publish(frame_to_image(Frame(pixels, self.stamp_ns, 0, "camera")))
        self.index += 1
        arrived = self.client.spin_until(lambda: len(self.states) > before, 10)
        return self.states[-1] if arrived else None

    def fly(self, steps: int, cued: Callable[[], list[Detection3DArray]] = list) -> list[str]:
        """Names of the tracks on the last image; a cue with every fourth one."""
        for number in range(steps):
            last = self.step(*(cued() if number % 4 == 0 else []))
        assert last is not None
        return [track.friendly for track in last.tracks if track.state == 2]

    def send_transforms(self) -> None:
        camera = TransformStamped(child_frame_id="camera")
        radar = TransformStamped(child_frame_id="radar")
        quaternion = camera.transform.rotation
        quaternion.x, quaternion.y, quaternion.z, quaternion.w = map(float, OPTICAL_IN_BODY.as_quat())
        radar.transform.translation.x = 40.0
        camera.header.frame_id = radar.header.frame_id = "map"
        broken = TransformStamped(child_frame_id="broken")
        broken.header.frame_id, broken.transform.rotation.w = "map", 0.0
        self.tf_static.publish(TFMessage(transforms=[camera, broken, radar]))


@pytest.fixture(scope="module")
def scene(client: Any) -> Scene:
    return Scene(client)


def test_poses_from_tf_friends_and_nonsense(scene: Scene, client: Any, start: Any, tracker_of: Any) -> None:
    process = start("tracker")
    tracker = tracker_of(client, process, "/smotracker")
    tracker.wait_until_active()
    # before anybody says where the camera is
    assert scene.fly(9, lambda: [scene.cue()]) in ([], [""])
    assert process.output.count("3D cues are not used: there is no transform") == 1, process.output
    scene.send_transforms()
    client.spin_until(lambda: False, 1.0)
    assert scene.fly(40, lambda: [scene.cue()]) == ["ALPHA"]
    assert "3D cues can be used again" in process.output
    assert "broken: a transform is not taken: a rotation is a unit quaternion" in process.output
    used = int(tracker.health()["3D cues used"])
    assert used >= 8
    # from the radar's own frame, as a direction without range, and as one pose
    scene.step(scene.cue(place=scene.place() - [40, 0, 0], frame="radar"))
    scene.step(scene.cue(frame="", variances=(-1.0, 0.0, 0.0)))
    message = PoseWithCovarianceStamped()
    message.header.stamp, message.header.frame_id = to_stamp(scene.stamp_ns), "map"
    position = message.pose.pose.position
    position.x, position.y, position.z = map(float, scene.place())
    message.pose.covariance = np.diag([4.0] * 6).ravel()
    scene.pose.publish(message)
    scene.step()
    health = tracker.health()
    assert int(health["3D cues used"]) == used + 3, health["3D cues refused because"]
    # nonsense is counted, and the stream goes on
    nan = float("nan")
    bad = [scene.cue(place=(nan, 0, 0)), scene.cue(variances=(nan, 1, 1)), scene.cue(frame="nowhere")]
    crowd = scene.cue()
    crowd.detections = crowd.detections * 500
    assert scene.step(*bad, crowd) is not None
    health = tracker.health()
    assert int(health["3D cues refused"]) >= 3 + 400 and "invalid" in health["3D cues refused because"]
    assert "nobody sends 'nowhere'" in process.output
    # stamps that jump back by an hour: everything begins anew, cues too
    scene.start_ns -= 3600 * 10**9
    assert scene.fly(40, lambda: [scene.cue()]) == ["ALPHA"]
    process.kill()


def test_poses_from_a_file_after_a_kill(scene: Scene, client: Any, start: Any, tracker_of: Any, tmp_path: Path) -> None:
    file = tmp_path / "extrinsics.yaml"
    file.write_text("cameras: {camera: {position: [0, 0, 0], rpy_degrees: [0, 0, 0], axes: body}}", encoding="utf-8")
    process = start("tracker", "-p", f"extrinsics:={file}")
    tracker_of(client, process, "/smotracker").wait_until_active()
    while scene.step() is None:
        pass
    assert scene.fly(30, lambda: [scene.cue()]) == ["ALPHA"]
    process.interrupt()
    assert process.wait(30) == 0
    file.write_text("cameras: {}", encoding="utf-8")
    refused = start("tracker", "-p", f"extrinsics:={file}")
    assert refused.wait(60) == 1
    assert "there is no list of cameras; write cameras:" in refused.output
