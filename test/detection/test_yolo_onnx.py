"""YOLO detectors in ONNX, run by onnxruntime alone: equal to ultralytics and torch, and refused with a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.detection import DetectorError
from smotracker_ros.detection.letterbox import Letterbox
from smotracker_ros.detection.motion_stack import DetectorView
from smotracker_ros.detection.yolo import EMBEDDED_WEIGHTS, YoloDetector
from smotracker_ros.detection.yolo_loading import load_yolo
from smotracker_ros.detection.yolo_onnx import EMBEDDED_ONNX, OnnxYoloDetector
from smotracker_ros.models.weight_files import checksum, known_files
from smotracker_ros.training.scenes import SceneSettings, render_scene

onnx = pytest.importorskip("onnx", reason="pip install 'smotracker_ros[export]'")
STILL = np.eye(3)[:2]


@pytest.fixture(scope="module")
def in_torch() -> YoloDetector:
    return YoloDetector()


@pytest.fixture(scope="module")
def in_onnx() -> OnnxYoloDetector:
    return OnnxYoloDetector()


def _view(detector: YoloDetector | OnnxYoloDetector, images: list[UInt8Image]) -> DetectorView:
    view = DetectorView(detector)
    for index, image in enumerate(images):
        view.push(Frame(image, index * 33_333_333, index), STILL)
    return view


@pytest.mark.parametrize("size", [(640, 512), (1280, 720), (333, 217), (120, 501)], ids=str)
@pytest.mark.parametrize("sensor", ["infrared", "visible"])
def test_the_embedded_detector_answers_as_in_torch(
    in_torch: YoloDetector, in_onnx: OnnxYoloDetector, size: tuple[int, int], sensor: str
) -> None:
    scene = SceneSettings(*size, 8, 30.0, 6, "static", sensor, sizes=(8.0, 20.0), contrasts=(90.0, 150.0))
    images = [item.image for item in render_scene(scene, 4)]
    ours, theirs = _view(in_onnx, images), _view(in_torch, images)
    expected = theirs.detect(0.01)
    assert len(expected) > 0
    regions = theirs.regions(expected.boxes[:2])
    for image_size, part in ((0, None), (320, None), (0, regions)):
        expected = theirs.detect(0.01, image_size, part)
        found = ours.detect(0.01, image_size, part)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.1)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
        np.testing.assert_array_equal(found.class_ids, expected.class_ids)


def test_what_is_known_of_it_is_what_the_checkpoint_says(in_torch: YoloDetector, in_onnx: OnnxYoloDetector) -> None:
    assert in_onnx.class_names == in_torch.class_names
    assert in_onnx.motion_seconds == in_torch.motion_seconds == (0.1, 0.2)
    assert in_onnx.name == f"{in_torch.name} onnxruntime"
    for size in ((320, 256), (1920, 1080), (700, 300)):
        assert in_onnx.scale(*size) == in_torch.scale(*size) > 0
        assert in_onnx.scale(*size, 320) == in_torch.scale(*size, 320)


def test_the_shipped_file_is_that_of_the_shipped_checkpoint() -> None:
    model = onnx.load(EMBEDDED_ONNX)
    facts = json.loads({item.key: item.value for item in model.metadata_props}["smotracker"])
    assert facts["checksum"] == checksum(EMBEDDED_WEIGHTS)[:16]
    assert facts["motion_seconds"] == [0.1, 0.2] and facts["is_own"] and not facts["is_grey"]
    assert [item.version for item in model.opset_import] == [18] and model.ir_version <= 10, (
        "what onnxruntime 1.20 reads"
    )
    entry = known_files()["yolov10n_small_targets_onnx"]
    assert entry.path == EMBEDDED_ONNX and entry.size == EMBEDDED_ONNX.stat().st_size
    assert entry.sha256 == checksum(EMBEDDED_ONNX)


def test_it_needs_neither_torch_nor_ultralytics() -> None:
    script = """
import sys
for name in ("torch", "ultralytics", "onnx"):
    sys.modules[name] = None
import numpy as np
from smotracker_ros.core.frames import Frame
from smotracker_ros.presets import load_settings
from smotracker_ros.detection.yolo_loading import load_yolo
detector = load_yolo(runtime=load_settings().runtime)
detector.detect(Frame(np.zeros((64, 96, 3), np.uint8), 0))
print(detector.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip().endswith("onnxruntime"), done.stderr


@pytest.mark.parametrize(("architecture", "dynamic"), [("yolo11n", True), ("yolo11n", False), ("yolov10n", False)])
def test_exports_of_other_detectors_answer_as_in_torch(architecture: str, dynamic: bool, tmp_path: Path) -> None:
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    path = tmp_path / f"{architecture}.pt"
    model = YOLO(f"{architecture}.yaml")
    # as they are, random weights see the same everywhere
    for module in model.model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad:
            torch.nn.init.kaiming_normal_(module.weight)
            if module.bias is not None and module.out_channels == 80:
                module.bias.data.fill_(-2.0)  # of the classes' scores
    model.save(path)
    exported = Path(YOLO(path).export(format="onnx", dynamic=dynamic, imgsz=160, verbose=False, simplify=False))
    image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    # an export of one size sees the whole square
    frame = Frame(image if dynamic else np.repeat(image, [1] * 80 + [2] * 40, axis=0), 0)
    theirs, ours = YoloDetector(path), load_yolo(exported)
    assert isinstance(ours, OnnxYoloDetector) and ours.class_names == theirs.class_names
    assert ours.scale(640, 512) == 0, "an export may take one size only"
    expected, found = theirs.detect(frame, 0.05, 160), ours.detect(frame, 0.05, 160)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.1)


def test_a_letterbox_and_back() -> None:
    place = Letterbox.into(333, 217, (640, 640), 32)
    assert (place.full_width, place.full_height) == (640, 448) and (place.seen_width, place.seen_height) == (640, 417)
    assert (place.left, place.top) == (0, 15), "the odd row is below"
    tensor = place.tensor(np.full((217, 333, 3), 255, np.uint8))
    assert tensor.shape == (1, 3, 448, 640) and tensor[0, :, 15:432].min() == 1 and tensor[0, :, :15].max() < 0.5
    corners = np.float32([[0, 15, 640, 432], [-9, 0, 700, 500]])
    np.testing.assert_allclose(place.to_picture(corners), [[0, 0, 333, 217]] * 2, atol=1e-3)
    thin = Letterbox.into(3000, 1, (640, 640), 32)
    assert (thin.seen_width, thin.seen_height, thin.full_height) == (640, 1, 32)


def test_what_it_does_not_know_is_refused(tmp_path: Path) -> None:
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT

    def write(name: str, shape: list[int], **metadata: str) -> Path:
        constant = helper.make_tensor("value", floats, shape, np.zeros(int(np.prod(shape)), np.float32))
        graph = helper.make_graph(
            [helper.make_node("Constant", [], ["out"], value=constant)],
            "graph",
            [helper.make_tensor_value_info("images", floats, ["n", 3, "h", "w"])],
            [helper.make_tensor_value_info("out", floats, shape)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    names = "{0: 'drone', 1: 'bird'}"
    known = r"known are ultralytics' exports .* \(N, boxes, 6\) .* \(N, 4 \+ classes, boxes\)"
    for path, message in (
        (write("shape.onnx", [1, 9, 21], names=names), rf"shape\.onnx gives an output of shape \(1, 9, 21\); {known}"),
        (write("nameless.onnx", [1, 300, 6]), rf"nameless\.onnx does not name its classes in its metadata; {known}"),
        (write("detr.onnx", [1, 300, 6], names=names, head="RTDETRDecoder"), r"is an RT-DETR; give its \.pt"),
        (write("mask.onnx", [1, 6, 21], names=names, task="segment"), r"is a segment model; a detection model"),
        (tmp_path / "absent.onnx", r"absent\.onnx: no such weight file"),
    ):
        with pytest.raises(DetectorError, match=message):
            load_yolo(path)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(EMBEDDED_ONNX.read_bytes()[:20_000])
    with pytest.raises(DetectorError, match=r"broken\.onnx cannot be loaded as an ONNX model .*truncated"):
        load_yolo(broken)
