"""YOLO detectors through ultralytics (AGPL-3.0): the embedded YOLOv10n, or any detection checkpoint of that library."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.core.global_state import global_state_kept
from smotracker_ros.detection.detections import Detections, DetectorError
from smotracker_ros.detection.regions import Regions, look_into
from smotracker_ros.models.exports import exported, exports_folder, openvino_in_float32, require, signal_stack_kept
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER

with global_state_kept():
    # before ultralytics is imported: it would look for a network, send statistics and install packages by itself
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    from ultralytics import YOLO

EMBEDDED_WEIGHTS = EMBEDDED_FOLDER / "yolov10n_small_targets.pt"

# Two classes on one target are one target; end-to-end heads such as YOLOv10's leave such pairs in
_DUPLICATE_IOU = 0.4
_MOST_DETECTIONS = 300
# Longer side in pixels at which this project's own detectors see a frame: small ones are enlarged
_LEAST_SIDE, _MOST_SIDE = 640, 1280


class YoloDetector:
    """An ultralytics detection model.

    Args:
        weights: `.pt` checkpoint; None: the embedded YOLOv10n. Such files are pickles: loading one runs code that it
            may contain, so use files from sources that you trust.
        device: torch device.
        runtime: torch, onnxruntime or openvino; a checkpoint is exported for the latter two when it is first used.

    Raises:
        DetectorError: if the file is missing, broken, or no detection model.
        ExportError: if it cannot be run by that runtime.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu", runtime: str = "torch") -> None:
        path = weights or EMBEDDED_WEIGHTS
        if not path.is_file():
            raise DetectorError(
                f"{path}: no such weight file; give an existing YOLO checkpoint or leave the setting empty"
            )
        try:
            with global_state_kept():
                self._model = YOLO(str(path), task="detect")
                task = self._model.task
                names = dict(self._model.names)
        except Exception as error:  # unpickling broken files raises almost anything
            reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
            raise DetectorError(
                f"{path} cannot be loaded as a YOLO checkpoint ({reason}); it may be truncated or of another library"
            ) from error
        if task != "detect" or not names:
            raise DetectorError(f"{path} is a {task} model; a detection model is needed")
        facts = (getattr(self._model, "ckpt", None) or {}).get("smotracker", {})
        self._is_own, self._is_grey = bool(facts), bool(facts.get("grey", False))
        self._motion_seconds = tuple(float(age) for age in facts.get("motion_seconds", ()))
        self._names = {int(key) + 1: str(value) for key, value in names.items()}
        self._device = device
        with path.open("rb") as file:
            self._checksum = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        self._stem = path.stem
        checkpoint = path.suffix == ".pt"
        self._sees_one_size = not checkpoint or type(self._model.model).__name__.startswith("RTDETR")
        self._runtime = runtime if checkpoint else "torch"
        if self._runtime != "torch":
            self._model = YOLO(str(export_detector(path, self._checksum, runtime)), task="detect")

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names by class number; numbers start at 1, 0 is nothing."""
        return self._names

    @property
    def name(self) -> str:
        """File stem, checksum, and the runtime if it is not torch."""
        return f"{self._stem} sha256:{self._checksum}" + ("" if self._runtime == "torch" else f" {self._runtime}")

    @property
    def motion_seconds(self) -> tuple[float, ...]:
        """What the checkpoint's metadata says; see :class:`smotracker_ros.detection.MotionDetector`."""
        return self._motion_seconds

    def _natural_size(self, longer: int) -> int:
        """Longer side at which a frame is seen by default: its own within limits, as small targets need their pixels.

        Models that others trained see what their trainers mostly take, up to 640 pixels.
        """
        if not self._is_own:
            return min(longer, 640)
        return int(np.clip(longer, _LEAST_SIDE, _MOST_SIDE))

    def scale(self, width: int, height: int, image_size: int = 0) -> float:
        """Pixels of the network per pixel of a frame of that size; 0 for files that somebody exported, and for RT-DETR.

        Those may take inputs of one size only, and transformers know positions of the size that they were trained at.
        """
        if self._sees_one_size:
            return 0.0
        longer = max(width, height)
        return (image_size or self._natural_size(longer)) / longer

    def detect_in(
        self, frame: Frame, regions: Regions, least_confidence: float = 0.0, image_size: int = 0
    ) -> Detections:
        """Detections that the regions show; see :class:`smotracker_ros.detection.regions.RegionDetector`."""
        return look_into(self, frame, regions, self.scale(frame.width, frame.height, image_size), least_confidence)

    def _input(self, image: UInt8Image) -> UInt8Image:
        """A frame as ultralytics wants it, BGR; grey where the model was trained so."""
        if self._is_grey:
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), dtype=np.uint8)

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        """Detections by falling confidence; see :class:`smotracker_ros.detection.Detector`."""
        size = image_size or self._natural_size(max(frame.height, frame.width))
        with contextlib.ExitStack() as stack:
            first = self._model.predictor is None  # the first call loads the runtime's model
            if first:
                stack.enter_context(global_state_kept())
            if self._runtime == "openvino":
                stack.enter_context(signal_stack_kept())
                if first:
                    stack.enter_context(openvino_in_float32())
            result = self._model.predict(
                self._input(frame.image),
                imgsz=int(np.ceil(size / 32) * 32),
                conf=max(least_confidence, 0.001),
                iou=_DUPLICATE_IOU,
                max_det=_MOST_DETECTIONS,
                device=self._device,
                verbose=False,
            )[0].boxes
        boxes = as_boxes(result.xyxy.cpu().numpy())
        scores = result.conf.cpu().numpy().astype(np.float32)
        classes = result.cls.cpu().numpy().astype(np.int64) + 1
        return Detections(boxes, scores, classes).without_duplicates(_DUPLICATE_IOU)


def export_detector(weights: Path, checksum: str, runtime: str) -> Path:
    """A checkpoint in a runtime's format, for frames of any size; made if it is not there.

    Args:
        weights: `.pt` checkpoint.
        checksum: of that file.
        runtime: onnxruntime or openvino.

    Raises:
        ExportError: if it cannot be made.
    """
    require(runtime)
    ending, kind = (".onnx", "onnx") if runtime == "onnxruntime" else ("_openvino_model", "openvino")

    def make(place: Path) -> Path:
        # the exporter writes beside the checkpoint
        copy = place / "detector.pt"
        shutil.copy(weights, copy)
        with global_state_kept():
            warnings.simplefilter("ignore")
            # onnxruntime simplifies graphs by itself
            options = {"simplify": False} if kind == "onnx" else {}
            return Path(YOLO(str(copy)).export(format=kind, dynamic=True, verbose=False, **options))

    return exported(exports_folder() / f"{weights.stem}-{checksum}{ending}", make)
