"""A detector in int8: what it keeps of the one that it is made from, and what is shipped."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from smotracker_ros.commands.training import app
from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import pairwise_iou
from smotracker_ros.detection.detections import DetectorError
from smotracker_ros.detection.yolo_loading import load_yolo
from smotracker_ros.detection.yolo_onnx import EMBEDDED_INT8, EMBEDDED_ONNX, OnnxYoloDetector
from smotracker_ros.models.weight_files import checksum, known_files
from smotracker_ros.presets import build_detector, build_network, load_settings
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings, render_scene

SCENE = SceneSettings(width=320, height=256, frames=40, targets=8, modality="infrared", camera="static")


def _metadata(path: Path) -> dict[str, str]:
    return {item.key: item.value for item in onnx.load(path).metadata_props}


def _share_found_alike(first: OnnxYoloDetector, second: OnnxYoloDetector) -> tuple[float, int]:
    """Of the confident detections of one, the share that the other has, too, nearly as confident; and their number."""
    alike = []
    for number, item in enumerate(render_scene(SCENE, 3)):
        if number % 4:
            continue
        frame = Frame(item.image, 0)
        one, other = (detector.detect(frame, 0.05) for detector in (first, second))
        for box, score in zip(one.boxes[one.scores > 0.3], one.scores[one.scores > 0.3], strict=True):
            near = pairwise_iou(box[None], other.boxes)[0] > 0.6
            alike.append(bool((np.abs(other.scores[near] - score) < 0.2).any()))
    return float(np.mean(alike)), len(alike)


def test_the_shipped_file_comes_from_the_shipped_checkpoint() -> None:
    assert json.loads(_metadata(EMBEDDED_INT8)["smotracker"]) == json.loads(_metadata(EMBEDDED_ONNX)["smotracker"])
    entry = known_files()["yolov10n_small_targets_int8"]
    assert entry.path == EMBEDDED_INT8 and entry.sha256 == checksum(EMBEDDED_INT8)
    assert EMBEDDED_INT8.stat().st_size < EMBEDDED_ONNX.stat().st_size / 3


def test_it_finds_what_the_detector_in_float32_finds() -> None:
    share, count = _share_found_alike(OnnxYoloDetector(), OnnxYoloDetector(EMBEDDED_INT8))
    assert count >= 10 and share > 0.8


def test_the_precision_chooses_it_for_the_embedded_detector_alone() -> None:
    exact, fast = (build_detector(load_settings(overrides={"precision": name})) for name in ("auto", "int8"))
    assert fast.name.endswith("onnxruntime int8") and "int8" not in exact.name
    for refused in ({"runtime": "torch"}, {"weights": EMBEDDED_ONNX}):
        with pytest.raises(DetectorError, match="smotracker train int8"):
            load_yolo(**refused, precision="int8")


def test_masklets_are_as_without_it() -> None:
    network = build_network(load_settings(overrides={"precision": "int8"}))
    assert network.runtime == "onnxruntime" and network.name == build_network(load_settings()).name


@pytest.mark.slow
def test_the_command_makes_one_from_clips(tmp_path: Path) -> None:
    write_scene(tmp_path / "clips" / "IR_SCENE_001", SCENE, seed=5)
    output = tmp_path / "out" / "own-int8.onnx"
    options = ["int8", "--data", str(tmp_path / "clips"), "--offset", "0", "--output", str(output)]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    assert f"sha256: {checksum(output)}" in done.output.replace("\n", "")
    assert _metadata(output) == {**_metadata(EMBEDDED_ONNX), "precision": "int8"}
    share, count = _share_found_alike(OnnxYoloDetector(), OnnxYoloDetector(output))
    assert count >= 10 and share > 0.7


def test_clips_that_are_not_there_are_said(tmp_path: Path) -> None:
    write_scene(tmp_path / "clips" / "IR_SCENE_001", SceneSettings(width=64, height=64, frames=2), seed=5)
    done = CliRunner().invoke(app, ["int8", "--data", str(tmp_path / "clips"), "--output", str(tmp_path / "x.onnx")])
    assert done.exit_code == 2 and "no clip number 4" in " ".join(done.output.replace("│", "").split())
