"""Malformed messages of all input types between good images: the node lives, answers the good ones, counts the rest.

`SMOTRACKER_HOSTILE_MESSAGES=20000` makes the test long; by default it sends a few hundred.
"""

from __future__ import annotations

import array
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2D, Detection2DArray, Detection3D, Detection3DArray, ObjectHypothesisWithPose

from smotracker_ros.core.frames import Frame, FrameError
from smotracker_ros.io.calibration import CalibrationError, read_camera_info
from smotracker_ros.io.encodings import SUPPORTED_ENCODINGS
from smotracker_ros.ros.images import NANOSECONDS, frame_to_image, to_frame

MESSAGES = int(os.environ.get("SMOTRACKER_HOSTILE_MESSAGES", "240"))
PER_GOOD_IMAGE = 10
"""Hostile messages between two good images."""

pytestmark = pytest.mark.slow

# without subnormal numbers: a tracker in this process switches them off for speed
floats = st.floats(width=64, allow_subnormal=False) | st.floats(-1e3, 1e3, allow_subnormal=False)
sizes = st.sampled_from([0, 1, 7, 8, 31, 32, 2**16, 2**31, 2**32 - 1]) | st.integers(0, 64)
stamps = st.builds(
    Time,
    sec=st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]) | st.integers(-(2**31), 2**31 - 1),
    nanosec=st.sampled_from([0, 999_999_999, 1_000_000_000, 2**32 - 1]) | st.integers(0, 2**32 - 1),
)
headers = st.builds(Header, stamp=stamps, frame_id=st.text(max_size=5))
pixels = st.binary(max_size=64).flatmap(lambda seed: st.integers(0, 5000).map(lambda size: (seed * size)[:size]))


@st.composite
def raw_images(draw: st.DrawFn) -> Image:
    """Images whose fields rarely fit together."""
    message = Image(header=draw(headers), is_bigendian=draw(st.integers(0, 255)))
    message.encoding = draw(st.sampled_from([*SUPPORTED_ENCODINGS, "", "nv24", "8UC7", "\x00"]) | st.text(max_size=8))
    message.height, message.width, message.step = draw(sizes), draw(sizes), draw(sizes)
    if draw(st.booleans()) and message.height * message.step <= 50_000:
        message.data = array.array("B", bytes(message.height * message.step))
    else:
        message.data = array.array("B", draw(pixels))
    return message


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    """JPEG and PNG files that are cut off or have wrong bytes, and what is no file at all."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    suffix = draw(st.sampled_from([".jpg", ".png", ".bmp", ".tiff", ".webp"]))
    kind = draw(st.sampled_from([np.uint8, np.uint16])) if suffix == ".png" else np.uint8
    data = bytearray(cv2.imencode(suffix, np.full((height, width), 99, kind))[1].tobytes())
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=4)):
        data[place] = value
    data = data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data
    data = bytearray(draw(pixels)) if draw(st.integers(0, 4)) == 0 else data
    text = draw(st.sampled_from(["jpeg", "png", "16UC1; compressedDepth png", ""]) | st.text(max_size=8))
    return CompressedImage(header=draw(headers), format=text, data=array.array("B", data))


@st.composite
def calibrations(draw: st.DrawFn) -> CameraInfo:
    """Calibrations of no camera."""
    message = CameraInfo(header=draw(headers), height=draw(sizes), width=draw(sizes))
    message.distortion_model = draw(st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", "", "thin"]))
    message.d = draw(st.lists(floats, max_size=15))
    message.k = draw(st.lists(floats, min_size=9, max_size=9))
    message.p = draw(st.lists(floats, min_size=12, max_size=12))
    message.binning_x, message.binning_y = draw(sizes), draw(sizes)
    message.roi.x_offset, message.roi.y_offset = draw(sizes), draw(sizes)
    message.roi.width, message.roi.height = draw(sizes), draw(sizes)
    return message


@st.composite
def cues(draw: st.DrawFn) -> Detection2DArray:
    """Boxes from nowhere; now and then a thousand of them."""
    message = Detection2DArray(header=draw(headers))
    for _ in range(draw(st.integers(0, 3))):
        detection = Detection2D(header=draw(headers), id=draw(st.text(max_size=3)))
        center = detection.bbox.center
        center.position.x, center.position.y, center.theta = draw(floats), draw(floats), draw(floats)
        detection.bbox.size_x, detection.bbox.size_y = draw(floats), draw(floats)
        for _ in range(draw(st.integers(0, 2))):
            result = ObjectHypothesisWithPose()
            result.hypothesis.class_id, result.hypothesis.score = draw(st.text(max_size=3)), draw(floats)
            detection.results.append(result)
        message.detections.append(detection)
    if draw(st.integers(0, 60)) == 0:
        message.detections *= 1000
    return message


frame_ids = st.sampled_from(["map", "camera", "mast", ""]) | st.text(max_size=5)


@st.composite
def cues_3d(draw: st.DrawFn) -> Detection3DArray:
    """Places from nowhere; now and then a thousand of them."""
    message = Detection3DArray(header=draw(headers))
    message.header.frame_id = draw(frame_ids)
    for _ in range(draw(st.integers(0, 3))):
        detection = Detection3D(header=draw(headers), id=draw(st.sampled_from(["friendly:", ""]) | st.text(max_size=3)))
        center = detection.bbox.center.position
        center.x, center.y, center.z = draw(floats), draw(floats), draw(floats)
        for _ in range(draw(st.integers(0, 2))):
            result = ObjectHypothesisWithPose()
            result.pose.covariance = draw(st.lists(floats | st.just(-1.0), min_size=6, max_size=6)) * 6
            detection.results.append(result)
        message.detections.append(detection)
    if draw(st.integers(0, 60)) == 0:
        message.detections *= 1000
    return message


@st.composite
def cue_poses(draw: st.DrawFn) -> PoseWithCovarianceStamped:
    """One place from nowhere."""
    message = PoseWithCovarianceStamped(header=draw(headers))
    message.header.frame_id = draw(frame_ids)
    position = message.pose.pose.position
    position.x, position.y, position.z = draw(floats), draw(floats), draw(floats)
    message.pose.covariance = draw(st.lists(floats, min_size=6, max_size=6)) * 6
    return message


@st.composite
def transforms(draw: st.DrawFn) -> TFMessage:
    """Frames that turn into nothing, go in circles, or are somewhere."""
    message = TFMessage()
    for _ in range(draw(st.integers(0, 3))):
        item = TransformStamped(header=draw(headers), child_frame_id=draw(frame_ids))
        item.header.frame_id = draw(frame_ids)
        place, turn = item.transform.translation, item.transform.rotation
        place.x, place.y, place.z = draw(floats), draw(floats), draw(floats)
        turn.x, turn.y, turn.z, turn.w = (draw(floats | st.sampled_from([0.0, 1.0])) for _ in range(4))
        message.transforms.append(item)
    return message


def _good_frame(index: int) -> Frame:
    """A picture with something that flies; its time is ten seconds after the one before."""
    image = np.full((64, 80, 3), 80, np.uint8)
    cv2.circle(image, (20 + index % 40, 30), 4, (220, 220, 220), -1)
    return Frame(image, (1_000_000_007 + 10 * index) * NANOSECONDS, index, "camera")


def _good_message(index: int, compressed: bool) -> Image | CompressedImage:
    raw = frame_to_image(_good_frame(index))
    if not compressed:
        return raw
    data = cv2.imencode(".png", _good_frame(index).image)[1].tobytes()
    return CompressedImage(header=raw.header, format="png", data=array.array("B", data))


class Attack:
    """Sends what hypothesis makes, and keeps count of what the node is to say about it."""

    def __init__(self, node: Any, compressed: bool) -> None:
        self.node, self.compressed = node, compressed
        self.sent: Counter[str] = Counter()
        self.good = 0
        create = node.client.node.create_publisher
        self._side = {
            CameraInfo: create(CameraInfo, f"{node.name[:-11]}/camera_info", 20),
            Detection2DArray: create(Detection2DArray, f"{node.name[:-11]}/cues", 20),
            Detection3DArray: create(Detection3DArray, f"{node.name[:-11]}/cues_3d", 20),
            PoseWithCovarianceStamped: create(PoseWithCovarianceStamped, f"{node.name[:-11]}/cue_pose", 20),
            TFMessage: create(TFMessage, "/tf", 20),
        }
        ready = node.client.spin_until(lambda: all(p.get_subscription_count() for p in self._side.values()), 20)
        assert ready, node.process.output
        node.client.spin_until(lambda: False, 1.5)  # the node follows the offered quality once per second

    def send(self, message: Any) -> None:
        self.sent["messages"] += 1
        if isinstance(message, CameraInfo):
            try:
                read_camera_info(message)
            except CalibrationError:
                self.sent["bad calibrations"] += 1
        elif isinstance(message, Detection2DArray):
            self.sent["cues"] += len(message.detections)
        elif isinstance(message, Detection3DArray | PoseWithCovarianceStamped):
            self.sent["3D cues"] += len(message.detections) if isinstance(message, Detection3DArray) else 1
        elif isinstance(message, TFMessage):
            self.sent["transforms"] += len(message.transforms)
        else:
            self.sent["images"] += 1
            try:
                to_frame(message, 0)
            except FrameError:
                self.sent["bad images"] += 1
        self._publisher(message).publish(message)
        if self.sent["messages"] % PER_GOOD_IMAGE == 0:
            self.expect_an_answer()

    def send_broken_bytes(self, message: Any, changes: list[tuple[int, int]], length: int) -> None:
        """Send a message whose serialised form is damaged; the middleware may swallow it."""
        data = bytearray(serialize_message(message))
        for place, value in changes:
            data[4 + place % max(len(data) - 4, 1)] = value
        self._publisher(message).publish(bytes(data[: max(len(data) - length, 4)]))
        self.sent["broken"] += 1
        if self.sent["broken"] % PER_GOOD_IMAGE == 0:
            self.expect_an_answer()

    def _publisher(self, message: Any) -> Any:
        return self._side.get(type(message), self.node.publisher)

    def expect_an_answer(self) -> None:
        """Send a good image, which has to be answered."""
        message = _good_message(self.good, self.compressed)
        self.good += 1
        self.sent["images"] += 1
        self.node.publisher.publish(message)
        answered = self.node.client.spin_until(
            lambda: (
                any(answer.header == message.header for answer in self.node.detections) or not self.node.process.running
            )
        )
        assert answered and self.node.process.running, self.node.process.output[-3000:]
        self.node.forget()


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_hostile_messages(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any], transport: str
) -> None:
    compressed = transport == "compressed"
    process = start(
        "tracker", "-r", f"__ns:=/{transport}", "-p", "on_overload:=every_frame", "-p", "reliability:=reliable",
        "-p", f"image_transport:={transport}",
    )  # fmt: skip
    node = tracker_of(client, process, f"/{transport}/smotracker", CompressedImage if compressed else Image)
    node.wait_until_active()
    attack = Attack(node, compressed)
    images = compressed_images() if compressed else raw_images()
    options = settings(
        max_examples=max(MESSAGES // 2, 1), deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @options
    @given(images | images | calibrations() | cues() | cues_3d() | cue_poses() | transforms())
    def attack_with_fields(message: Any) -> None:
        attack.send(message)

    @settings(options, max_examples=max(MESSAGES // 10, 1))
    @given(
        images | calibrations() | cues() | cues_3d() | transforms(),
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
        st.integers(0, 40),
    )
    def attack_with_bytes(message: Any, changes: list[tuple[int, int]], length: int) -> None:
        attack.send_broken_bytes(message, changes, length)

    attack_with_fields()
    for _ in range(20):  # cues wait for the next image, and a message of thousands comes later than the image behind it
        attack.expect_an_answer()
        health = node.health()
        counted = int(health["cues used"]) + int(health["cues refused"])
        counted_3d = int(health["3D cues used"]) + int(health["3D cues refused"])
        if counted >= attack.sent["cues"] and counted_3d >= attack.sent["3D cues"]:
            break
    dropped = {
        key.removeprefix("dropped, "): int(value) for key, value in health.items() if key.startswith("dropped, ")
    }
    print(f"\n{transport}: {dict(attack.sent)}, {attack.good} good images; {health}")
    assert int(health["frames received"]) == attack.sent["images"]
    assert int(health["frames processed"]) + sum(dropped.values()) == attack.sent["images"]
    # a bad image whose time stamp is out of order is not even decoded
    assert 0 < dropped["bad image"] <= attack.sent["bad images"] <= dropped["bad image"] + dropped["out of order"]
    assert dropped["tracking failed"] == dropped["overload"] == dropped["lost on the way"] == 0
    assert int(health["camera_info refused"]) == attack.sent["bad calibrations"]
    assert counted == attack.sent["cues"] > 0
    assert counted_3d == attack.sent["3D cues"] > 0 and attack.sent["transforms"] > 0

    attack_with_bytes()
    attack.expect_an_answer()
    process.interrupt()
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output
