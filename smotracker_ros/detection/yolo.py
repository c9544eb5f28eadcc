"""YOLO detectors through ultralytics (AGPL-3.0) and torch: any detection checkpoint of that library."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.core.global_state import global_state_kept
from smotracker_ros.detection.detections import Detections, DetectorError
from smotracker_ros.detection.yolo_model import DUPLICATE_IOU, MOST_DETECTIONS, YoloFacts, YoloModel
from smotracker_ros.models.exports import exported, exports_folder, openvino_in_float32, require, signal_stack_kept
from smotracker_ros.models.extras import needed_by
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER, checksum

with needed_by("a .pt checkpoint of a YOLO", "yolo"), global_state_kept():
    # before ultralytics is imported: it would look for a network, send statistics and install packages by itself
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    from ultralytics import YOLO

EMBEDDED_WEIGHTS = EMBEDDED_FOLDER / "yolov10n_small_targets.pt"

# What every onnxruntime that pyproject.toml allows reads
_OPSET = 18
# What ultralytics writes into an ONNX file's metadata of its own, and readers need
_KEPT_METADATA = ("task", "stride", "names", "head")


class YoloDetector(YoloModel):
    """An ultralytics detection model.

    Args:
        weights: `.pt` checkpoint; None: the embedded YOLOv10n. Such files are pickles: loading one runs code that it
            may contain, so use files from sources that you trust.
        device: torch device.
        runtime: torch or openvino; a checkpoint is exported for the latter when it is first used.

    Raises:
        DetectorError: if the file is missing, broken, or no detection model.
        ExportError: if it cannot be run by that runtime.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "torch") -> None:
        path = weights or EMBEDDED_WEIGHTS
        self._model, facts = _load(path)
        super().__init__(facts, runtime)
        self._device = device
        if runtime != "torch":
            self._model = YOLO(str(export_detector(path, runtime)), task="detect")

    def _look(self, image: UInt8Image, side: int, least_confidence: float) -> Detections:
        with contextlib.ExitStack() as stack:
            first = self._model.predictor is None  # the first call loads the runtime's model
            if first:
                stack.enter_context(global_state_kept())
            if self._runtime == "openvino":
                stack.enter_context(signal_stack_kept())
                if first:
                    stack.enter_context(openvino_in_float32())
            result = self._model.predict(
                np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR)),
                imgsz=side,
                conf=least_confidence,
                iou=DUPLICATE_IOU,
                max_det=MOST_DETECTIONS,
                device=self._device,
                verbose=False,
            )[0].boxes
        boxes = as_boxes(result.xyxy.cpu().numpy())
        scores = result.conf.cpu().numpy().astype(np.float32)
        return Detections(boxes, scores, result.cls.cpu().numpy().astype(np.int64) + 1)


def _load(path: Path) -> tuple[Any, YoloFacts]:
    """A checkpoint, and what is known of it.

    Raises:
        DetectorError: if the file is missing, broken, or no detection model.
    """
    if not path.is_file():
        raise DetectorError(f"{path}: no such weight file; give an existing YOLO checkpoint or leave the setting empty")
    try:
        with global_state_kept():
            model = YOLO(str(path), task="detect")
            task = model.task
            names = dict(model.names)
    except Exception as error:  # unpickling broken files raises almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise DetectorError(
            f"{path} cannot be loaded as a YOLO checkpoint ({reason}); it may be truncated or of another library"
        ) from error
    if task != "detect" or not names:
        raise DetectorError(f"{path} is a {task} model; a detection model is needed")
    own = (getattr(model, "ckpt", None) or {}).get("smotracker", {})
    facts = YoloFacts(
        class_names={int(key) + 1: str(value) for key, value in names.items()},
        stem=path.stem,
        checksum=checksum(path)[:16],
        is_own=bool(own),
        is_grey=bool(own.get("grey", False)),
        motion_seconds=tuple(float(age) for age in own.get("motion_seconds", ())),
        sees_one_size=path.suffix != ".pt" or type(model.model).__name__.startswith("RTDETR"),
    )
    return model, facts


def export_detector(weights: Path, runtime: str) -> Path:
    """A checkpoint in a runtime's format, for frames of any size; made if it is not there.

    Args:
        weights: `.pt` checkpoint.
        runtime: onnxruntime or openvino.

    Raises:
        DetectorError: if the checkpoint cannot be used.
        ExportError: if it cannot be made.
    """
    require(runtime)
    ending = ".onnx" if runtime == "onnxruntime" else "_openvino_model"

    def make(place: Path) -> Path:
        if runtime == "onnxruntime":
            return write_onnx(weights, place / "detector.onnx")
        return _export(weights, place, "openvino")

    return exported(exports_folder() / f"{weights.stem}-{checksum(weights)[:16]}{ending}", make)


def write_onnx(weights: Path, target: Path) -> Path:
    """Write a checkpoint as an ONNX file that :class:`smotracker_ros.detection.yolo_onnx.OnnxYoloDetector` runs.

    Batch, height and width are free. The entry `smotracker` of the metadata says of which checkpoint it is, and what
    that expects, as JSON of :class:`YoloFacts`.

    Args:
        weights: `.pt` checkpoint.
        target: file to write; its folder exists.

    Returns:
        The file.

    Raises:
        DetectorError: if the checkpoint cannot be used.
    """
    import onnx

    _, facts = _load(weights)
    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(_export(weights, Path(folder), "onnx", simplify=False, opset=_OPSET))
    kept = {item.key: item.value for item in model.metadata_props if item.key in _KEPT_METADATA}
    onnx.helper.set_model_props(model, {**kept, "smotracker": json.dumps(asdict(facts))})
    # names of the machine and of the tracer's modules
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    onnx.save(model, target)
    return target


def _export(weights: Path, folder: Path, kind: str, **options: Any) -> Path:
    """Let ultralytics export a checkpoint into a folder: onnx, or openvino."""
    # the exporter writes beside the checkpoint
    copy = folder / "copy.pt"
    shutil.copy(weights, copy)
    with global_state_kept():
        warnings.simplefilter("ignore")
        return Path(YOLO(str(copy)).export(format=kind, dynamic=True, verbose=False, **options))
