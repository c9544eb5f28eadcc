"""A YOLO detector by its file, in the runtime that computes it; torch and ultralytics are imported if it needs them."""

from __future__ import annotations

from pathlib import Path

from smotracker_ros.detection.detections import DetectorError
from smotracker_ros.detection.yolo_model import YoloModel
from smotracker_ros.models.exports import RUNTIMES
from smotracker_ros.models.runtimes import choose_runtime


def load_yolo(
    weights: Path | None = None, device: str = "cpu", runtime: str = "auto", precision: str = "auto"
) -> YoloModel:
    """Load a YOLO detector.

    Args:
        weights: `.onnx` file, which onnxruntime runs, or `.pt` checkpoint of ultralytics; None: the embedded YOLOv10n.
            Checkpoints are pickles: loading one runs code that it may contain, so use files from sources that you
            trust.
        device: torch device.
        runtime: of the setting of that name.
        precision: of the setting of that name; "int8" is for the embedded detector in onnxruntime on a CPU, the others
            are as good as "auto".

    Raises:
        DetectorError: if the file is missing, broken, or no detection model; if there is no such detector in int8.
        ExportError: if it cannot be run by that runtime.
        MissingExtraError: if a package is missing that it needs.
    """
    runtime = choose_runtime(runtime, "detector", weights is None, device)
    is_onnx = weights is not None and weights.suffix == ".onnx"
    if precision == "int8":
        if weights is not None or runtime != "onnxruntime" or device != "cpu":
            raise DetectorError(
                "precision int8 is that of the embedded detector in onnxruntime on a CPU; of your own, "
                "`smotracker train int8` writes an ONNX file for detector_weights"
            )
        from smotracker_ros.detection.yolo_onnx import EMBEDDED_INT8

        weights, is_onnx = EMBEDDED_INT8, True
    if runtime == "onnxruntime" and weights is not None and not is_onnx:
        from smotracker_ros.detection.yolo import export_detector

        weights = export_detector(weights, runtime)
    if runtime == "onnxruntime" or is_onnx:
        from smotracker_ros.detection.yolo_onnx import OnnxYoloDetector

        return OnnxYoloDetector(weights, device)
    from smotracker_ros.detection.yolo import YoloDetector

    return YoloDetector(weights, device, runtime if runtime in RUNTIMES else "torch")
