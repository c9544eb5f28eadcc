"""YOLO detectors in ONNX, run by onnxruntime alone: the embedded YOLOv10n, and what ultralytics exports."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.detection.detections import Detections, DetectorError
from smotracker_ros.detection.letterbox import Letterbox
from smotracker_ros.detection.yolo_model import DUPLICATE_IOU, MOST_DETECTIONS, STRIDE, YoloFacts, YoloModel
from smotracker_ros.models.extras import MissingExtraError
from smotracker_ros.models.sessions import open_session
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER, checksum

EMBEDDED_ONNX = EMBEDDED_FOLDER / "yolov10n_small_targets.onnx"
EMBEDDED_INT8 = EMBEDDED_FOLDER / "yolov10n_small_targets-int8.onnx"
"""The same in int8; see :mod:`smotracker_ros.training.int8`."""

_KNOWN = "known are ultralytics' exports of YOLO detectors: one input (N, 3, H, W), one output (N, boxes, 6) of an "
_KNOWN += "end-to-end head, or (N, 4 + classes, boxes)"


class OnnxYoloDetector(YoloModel):
    """A YOLO detection model in ONNX.

    Args:
        weights: `.onnx` file as ultralytics exports it; None: the embedded YOLOv10n.
        device: as torch names it; a GPU is used if onnxruntime was built for it.

    Raises:
        DetectorError: if the file is missing, broken, or of a kind that is not known.
        MissingExtraError: if onnxruntime is not installed.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        path = weights or EMBEDDED_ONNX
        if not path.is_file():
            raise DetectorError(f"{path}: no such weight file; give an existing ONNX file or leave the setting empty")
        try:
            self._session = open_session(path, device)
        except MissingExtraError:
            raise
        except Exception as error:  # onnxruntime has error types of its own
            reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
            raise DetectorError(
                f"{path} cannot be loaded as an ONNX model ({reason}); it may be truncated, or made for a newer "
                "onnxruntime"
            ) from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            raise DetectorError(f"{path} takes or gives other things than a YOLO detector; {_KNOWN}")
        self._input = inputs[0].name
        height, width = inputs[0].shape[2:]
        # free sides have names
        self._fixed = (width, height) if isinstance(width, int) and isinstance(height, int) else None
        super().__init__(
            _facts(path, metadata, self._fixed is not None),
            " ".join(["onnxruntime", *filter(None, [metadata.get("precision")])]),
        )
        # the first pass also says what comes out
        place = Letterbox.into(64, 64, self._fixed or (64, 64))
        shape = self.infer(place.tensor(np.zeros((64, 64, 3), np.uint8))).shape
        if not self._is_end_to_end(shape) and shape[1:2] != (4 + len(self.class_names),):
            raise DetectorError(f"{path} gives an output of shape {shape}; {_KNOWN}")

    @staticmethod
    def _is_end_to_end(shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[2] == 6

    def infer(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The network's output, float32 (N, ., .), for float32 (N, 3, H, W) in [0, 1]."""
        return np.asarray(self._session.run(None, {self._input: images})[0], dtype=np.float32)

    def _look(self, image: UInt8Image, side: int, least_confidence: float) -> Detections:
        height, width = image.shape[:2]
        if self._fixed is None:
            place = Letterbox.into(width, height, (side, side), STRIDE)
        else:
            place = Letterbox.into(width, height, self._fixed)
        output = self.infer(place.tensor(image))
        found = _of_pairs(output[0]) if self._is_end_to_end(output.shape) else _of_anchors(output[0])
        found = found.select(found.scores > np.float32(least_confidence))
        if not self._is_end_to_end(output.shape):
            found = _best_of_class(found)
        found = found.select(np.arange(min(len(found), MOST_DETECTIONS)))
        return Detections(place.to_picture(found.boxes), found.scores, found.class_ids)


def _of_pairs(rows: npt.NDArray[np.float32]) -> Detections:
    """Detections of an end-to-end head, (N, 6): box xyxy, score, class."""
    return Detections(as_boxes(rows[:, :4]), rows[:, 4], rows[:, 5].astype(np.int64) + 1)


def _of_anchors(rows: npt.NDArray[np.float32]) -> Detections:
    """Candidates of a head without an end, (4 + classes, N): box as centre and size, score of each class."""
    sizes = rows[2:4] / 2
    boxes = np.concatenate([rows[:2] - sizes, rows[:2] + sizes]).T
    classes = rows[4:].argmax(axis=0)
    return Detections(as_boxes(boxes), rows[4:].max(axis=0), classes.astype(np.int64) + 1)


def _best_of_class(found: Detections) -> Detections:
    """Of candidates of one class that overlap the most confident, by falling confidence."""
    if len(found) == 0:
        return found
    rectangles = np.column_stack([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]])
    numbers = found.class_ids.astype(np.int32).tolist()
    kept = cv2.dnn.NMSBoxesBatched(rectangles.tolist(), found.scores.tolist(), numbers, 0.0, DUPLICATE_IOU)
    indices = np.asarray(kept, dtype=np.int64).ravel()
    return found.select(indices[np.argsort(-found.scores[indices], kind="stable")])


def _facts(path: Path, metadata: Mapping[str, str], is_fixed: bool) -> YoloFacts:
    """What an ONNX file's metadata say.

    Raises:
        DetectorError: if they are not those of a YOLO detector.
    """
    try:
        if "smotracker" in metadata:
            return _own_facts(json.loads(metadata["smotracker"]))
        names = {int(key) + 1: str(name) for key, name in dict(ast.literal_eval(metadata["names"])).items()}
    except (KeyError, ValueError, TypeError, SyntaxError) as error:
        raise DetectorError(f"{path} does not name its classes in its metadata; {_KNOWN}") from error
    task = metadata.get("task", "detect")
    if task != "detect":
        raise DetectorError(f"{path} is a {task} model; a detection model is needed")
    if any("detr" in metadata.get(key, "").lower() for key in ("head", "description")):
        raise DetectorError(f"{path} is an RT-DETR; give its .pt checkpoint. In ONNX, {_KNOWN}")
    return YoloFacts(names, path.stem, checksum(path)[:16], sees_one_size=True)


def _own_facts(entry: dict[str, Any]) -> YoloFacts:
    names = {int(number): str(name) for number, name in entry["class_names"].items()}
    return YoloFacts(**{**entry, "class_names": names, "motion_seconds": tuple(entry["motion_seconds"])})
