"""Side information in, side results out: cues, calibration, masks as png, class names, markers, other presets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import ParameterType
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import String
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, VisionInfo
from visualization_msgs.msg import Marker, MarkerArray

from smotracker_ros.core.frames import Frame
from smotracker_ros.ros.conversions import to_bounding_box
from smotracker_ros.ros.images import frame_to_image

START = 1_700_000_000_000_000_000
STEP = 50_000_000
HEIGHT, WIDTH = 200, 240

pytestmark = pytest.mark.slow


def _frame(index: int, *places: tuple[float, float]) -> Frame:
    """Infrared sky with hot blobs."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = 80 + np.random.default_rng(index).normal(0, 1.5, (HEIGHT, WIDTH))
    for cx, cy in places:
        image += 130 * np.exp(-(((x - cx) / 5.5) ** 4 + ((y - cy) / 3.5) ** 4))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Frame(np.repeat(pixels[..., None], 3, axis=2), START + index * STEP, index, "optical")


def _cues(index: int, *boxes: tuple[float, float, float, float]) -> Detection2DArray:
    message = Detection2DArray(header=frame_to_image(_frame(index)).header)
    message.detections = [Detection2D(bbox=to_bounding_box(np.array(box, np.float32))) for box in boxes]
    return message


def _calibration(**changes: Any) -> CameraInfo:
    message = CameraInfo(height=HEIGHT, width=WIDTH, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = [300.0, 0.0, WIDTH / 2 - 0.5, 0.0, 300.0, HEIGHT / 2 - 0.5, 0.0, 0.0, 1.0]
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.fixture(scope="module")
def node(client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any]) -> Iterator[Any]:
    """A node whose detector finds nothing: what it tracks, it has from cues."""
    process = start(
        "tracker", "-r", "__ns:=/side", "-r", "cues:=/radar/boxes", "-p", "on_overload:=every_frame",
        "-p", "detector_confidence:=1.0",
    )  # fmt: skip
    instance = tracker_of(client, process, "/side/smotracker")
    instance.wait_until_active()
    instance.cues = client.node.create_publisher(Detection2DArray, "/radar/boxes", 10)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)
    instance.camera_info = client.node.create_publisher(CameraInfo, "/side/camera_info", latched)
    assert client.spin_until(
        lambda: instance.cues.get_subscription_count() and instance.camera_info.get_subscription_count(), 20
    )
    client.spin_until(lambda: False, 0.5)
    yield instance
    process.interrupt()
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


def _send(node: Any, frame: Frame) -> Any:
    """Publish a frame and wait for its states."""
    count = len(node.states)
    node.publisher.publish(frame_to_image(frame))
    assert node.client.spin_until(lambda: len(node.states) > count, 30), node.process.output
    return node.states[-1]


def test_cues_start_tracks_and_calibrated_cameras_give_bearings(node: Any) -> None:
    markers = node.client.listen(MarkerArray, "/side/markers")
    for index in range(8):
        _send(node, _frame(index, (60 + 2 * index, 80)))
    node.cues.publish(_cues(3, (60, 75, 72, 85)))  # late by four frames
    node.client.spin_until(lambda: False, 0.3)
    states = _send(node, _frame(8, (76, 80)))
    assert len(states.tracks) == 1, node.process.output
    (track,) = states.tracks
    assert abs(track.box.center.position.x - 76) < 4 and abs(track.box.center.position.y - 80) < 4
    assert (track.bearing_x, track.bearing_y, track.bearing_z) == (0, 0, 0)
    assert node.health()["calibrated"] == "False"

    node.camera_info.publish(_calibration(k=[0.0] * 9))
    assert node.client.spin_until(lambda: "the camera is not calibrated" in node.process.output, 10)
    node.camera_info.publish(_calibration())
    node.client.spin_until(lambda: False, 0.3)
    (track,) = _send(node, _frame(9, (78, 80))).tracks
    bearing = np.array([track.bearing_x, track.bearing_y, track.bearing_z])
    center = np.array([track.box.center.position.x - WIDTH / 2, track.box.center.position.y - HEIGHT / 2, 300])
    assert np.allclose(bearing, center / np.linalg.norm(center), atol=1e-5)
    assert node.client.spin_until(lambda: any(message.markers for message in markers), 10)
    rays = [marker for marker in markers[-1].markers if marker.ns == "rays"]
    assert [marker.id for marker in rays] == [track.id] and rays[0].type == Marker.LINE_STRIP
    end = rays[0].points[1]
    assert np.allclose(np.array([end.x, end.y, end.z]) / 10, bearing, atol=1e-5)
    assert {marker.header.frame_id for marker in markers[-1].markers} == {"optical"}
    health = node.health()
    assert (health["calibrated"], health["camera_info refused"], health["cues used"]) == ("True", "1", "1")


def test_an_ideal_equidistant_lens_is_no_pinhole(node: Any) -> None:
    node.camera_info.publish(_calibration(distortion_model="equidistant", d=[0.0] * 4))
    node.client.spin_until(lambda: False, 0.3)
    (track,) = _send(node, Frame(_frame(9, (78, 80)).image, START + 9 * STEP + 1, 0, "optical")).tracks
    center = np.array([track.box.center.position.x - WIDTH / 2, track.box.center.position.y - HEIGHT / 2])
    angle = np.linalg.norm(center) / 300
    expected = [*(center / np.linalg.norm(center) * np.sin(angle)), np.cos(angle)]
    assert np.allclose([track.bearing_x, track.bearing_y, track.bearing_z], expected, atol=1e-5)


def test_a_camera_info_that_cannot_be_used_is_said_once(node: Any) -> None:
    """Each kind of it: not with every message, and not again every half minute."""
    refused = int(node.health()["camera_info refused"])
    for _ in range(20):
        for change in ({"k": [0.0] * 9}, {"distortion_model": "of a maker", "d": []}):
            node.camera_info.publish(_calibration(**change))
            node.client.spin_until(lambda: False, 0.02)
    assert node.client.spin_until(lambda: int(node.health()["camera_info refused"]) == refused + 40, 10)
    for text in ("the camera is not calibrated", "unknown distortion model 'of a maker'"):
        assert node.process.output.count(text) == 1
    node.camera_info.publish(_calibration())


def test_hostile_cues_are_counted_and_tracking_goes_on(node: Any) -> None:
    refused = int(node.health()["cues refused"])
    boxes = [(np.nan, 0, 5, 5), (0, 0, np.inf, 5), (20, 20, 10, 30), (-1e30, -1e30, 1e30, 1e30), (900, 900, 910, 910)]
    node.cues.publish(_cues(9, *boxes))
    node.cues.publish(_cues(9, *[(900.0, 900.0, 910.0, 910.0)] * 1000))
    node.client.spin_until(lambda: False, 0.5)
    assert len(_send(node, _frame(10, (80, 80))).tracks) == 1
    assert int(node.health()["cues refused"]) == refused + 1005


def test_rectified_images_need_no_new_calibration(node: Any) -> None:
    matrix = [600.0, 0.0, WIDTH / 2 - 0.5, 0.0, 0.0, 600.0, HEIGHT / 2 - 0.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    node.camera_info.publish(_calibration(p=matrix))
    node.client.spin_until(lambda: False, 0.3)
    bearings = []
    for number, rectified in enumerate((False, True, False)):
        assert node.set("rectified", ParameterType.PARAMETER_BOOL, bool_value=rectified).successful
        (track,) = _send(node, Frame(_frame(10, (80, 80)).image, START + 10 * STEP + 1 + number, 0, "optical")).tracks
        bearings.append((track.bearing_x / track.bearing_z) / (track.box.center.position.x - WIDTH / 2))
    assert np.allclose(bearings, [1 / 300, 1 / 600, 1 / 300], rtol=1e-4)


def test_a_calibration_of_another_size_gives_no_bearings(node: Any) -> None:
    node.camera_info.publish(_calibration(height=HEIGHT // 2))
    node.client.spin_until(lambda: False, 0.3)
    (track,) = _send(node, _frame(11, (82, 80))).tracks
    assert (track.bearing_x, track.bearing_y, track.bearing_z) == (0, 0, 0)
    assert node.client.spin_until(
        lambda: "camera_info is of 240x100 pixels, the images are of 240x200" in node.process.output, 5
    )


def test_masks_come_as_png_too(node: Any) -> None:
    compressed = node.client.listen(CompressedImage, "/side/masks/compressed")
    node.client.spin_until(lambda: False, 1.0)
    states = _send(node, _frame(12, (84, 80)))
    assert node.client.spin_until(lambda: bool(compressed), 10)
    labels = cv2.imdecode(np.frombuffer(compressed[-1].data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint16 and labels.shape == (HEIGHT, WIDTH)
    assert set(np.unique(labels)) == {0, states.tracks[0].id}
    assert compressed[-1].header == states.header and compressed[-1].format.startswith("mono16; png")


def test_class_names_and_models_are_there_for_those_who_come_late(node: Any) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)
    labels: list[LabelInfo] = []
    models: list[VisionInfo] = []
    node.client.node.create_subscription(LabelInfo, "/side/label_info", labels.append, latched)
    node.client.node.create_subscription(VisionInfo, "/side/vision_info", models.append, latched)
    assert node.client.spin_until(lambda: bool(labels and models), 10)
    assert "drone" in {item.class_name for item in labels[0].class_map}
    assert labels[0].threshold == pytest.approx(1.0)
    assert node.set("detector_confidence", ParameterType.PARAMETER_DOUBLE, double_value=0.75).successful
    _send(node, _frame(13, (86, 80)))
    assert node.client.spin_until(lambda: labels[-1].threshold == 0.75, 10), "what has changed is said anew"
    assert node.health()["device"] == "cpu"
    assert "sha256" in models[0].method and models[0].database_location == "/side/label_info"


def test_a_wrong_type_is_named_at_once(node: Any) -> None:
    node.client.node.destroy_publisher(node.cues)
    wrong = node.client.node.create_publisher(String, "/radar/boxes", 1)
    words = "/radar/boxes is subscribed as vision_msgs/msg/Detection2DArray"
    assert node.client.spin_until(lambda: words in node.process.output, 5), node.process.output
    line = next(line for line in node.process.lines if words in line)
    assert "sends std_msgs/msg/String, reliable, volatile" in line
    node.client.node.destroy_publisher(wrong)


def test_another_preset_without_another_process(node: Any) -> None:
    refused = node.set("preset", ParameterType.PARAMETER_STRING, string_value="samurai")
    assert not refused.successful and "unconfigured" in refused.reason
    before = max(track.id for track in node.states[-1].tracks)
    assert node.change(Transition.TRANSITION_DEACTIVATE) and node.change(Transition.TRANSITION_CLEANUP)
    assert not node.set("preset", ParameterType.PARAMETER_STRING, string_value="nonsense").successful
    assert node.set("preset", ParameterType.PARAMETER_STRING, string_value="samurai").successful
    assert node.set("detector_confidence", ParameterType.PARAMETER_DOUBLE, double_value=0.1).successful
    assert node.change(Transition.TRANSITION_CONFIGURE) and node.change(Transition.TRANSITION_ACTIVATE)
    node.wait_until_active()
    assert node.health()["preset"] == "samurai"
    for index in range(20, 40):
        states = _send(node, _frame(index, (60 + 3 * index, 80), (200 - 3 * index, 150)))
    ids = [track.id for track in states.tracks]
    assert ids and min(ids) > before, "ids go on"


def test_what_class_id_holds_is_found_in_label_info(node: Any) -> None:
    """Follows the test before, whose targets are reported."""
    labels: list[LabelInfo] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE)
    node.client.node.create_subscription(LabelInfo, "/side/label_info", labels.append, latched)
    found = {}
    for index, kind in ((40, "number"), (41, "name")):
        assert node.set("class_id", ParameterType.PARAMETER_STRING, string_value=kind).successful
        node.detections.clear()
        _send(node, _frame(index, (60 + 3 * index, 80), (200 - 3 * index, 150)))
        assert node.client.spin_until(lambda: bool(node.detections) and bool(labels), 10)
        found[kind] = [item.results[0].hypothesis.class_id for item in node.detections[-1].detections]
    names = {str(item.class_id): item.class_name for item in labels[-1].class_map}
    assert found["name"] and [names[number] for number in found["number"]] == found["name"]


def test_a_standing_clock_is_named(client: Any, start: Callable[..., Any]) -> None:
    process = start("tracker", "-r", "__ns:=/still", "-p", "use_sim_time:=true", "-p", "silence_seconds:=0.5")
    assert client.spin_until(lambda: "nobody publishes /clock" in process.output, 60), process.output
    assert re.search(r"no image arrives on /still/image", process.output)
    process.interrupt()
    assert process.wait() == 0, process.output
