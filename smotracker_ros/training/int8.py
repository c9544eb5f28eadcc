"""A YOLO detector's ONNX file in int8: half the arithmetic, calibrated on what the detector sees while it tracks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.detection.yolo_onnx import OnnxYoloDetector
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.training.clips import Clip

if TYPE_CHECKING:
    import onnx

# So much of each clip is tracked for its inputs
_SECONDS = 2.0
# How the names of the head's last convolutions end, whose results are scores and distances of sides
_LAST_CONVOLUTIONS = ".2/Conv"


class _Recorder(OnnxYoloDetector):
    """Keeps what it is shown."""

    def __init__(self, weights: Path | None) -> None:
        self.seen: list[npt.NDArray[np.float32]] = []
        super().__init__(weights)

    def infer(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """As the detector; the images are kept."""
        self.seen.append(images.copy())
        return super().infer(images)


def calibration_inputs(clips: Iterable[Clip], weights: Path | None = None) -> Iterator[npt.NDArray[np.float32]]:
    """What the detector sees of clips while they are tracked: of each one whole frame, and one part of a frame.

    Args:
        clips: of which the first seconds are tracked, each by itself.
        weights: the detector's ONNX file; None: the embedded one.

    Returns:
        float32 (1, 3, H, W) in [0, 1].
    """
    recorder = _Recorder(weights)
    tracker = build_tracker(load_settings(), recorder)
    for clip in clips:
        tracker.reset()
        recorder.seen.clear()
        for index, image in clip.images():
            if index > _SECONDS * clip.fps:
                break
            tracker.update(Frame(image, round(index / clip.fps * 1e9), index))
        if recorder.seen:
            areas = [images.shape[2] * images.shape[3] for images in recorder.seen]
            whole = [images for images, area in zip(recorder.seen, areas, strict=True) if area == max(areas)]
            parts = [images for images, area in zip(recorder.seen, areas, strict=True) if area < max(areas)]
            yield whole[-1]
            if parts:
                yield parts[len(parts) // 2]


def quantise(source: Path, output: Path, inputs: Iterable[npt.NDArray[np.float32]]) -> None:
    """Write an ONNX detector whose convolutions compute in integers, by onnxruntime's static quantisation.

    Weights have 7 bits per channel: sums of products of 8 and 8 bits overflow on processors without units for them.
    The head's last convolutions and what follows stay in float32, and so do the metadata, which say `precision`, too.

    Args:
        source: ONNX file in float32.
        output: file to write.
        inputs: float32 (1, 3, H, W) in [0, 1], as in :func:`calibration_inputs`.

    Raises:
        MissingExtraError: if the packages of the extra `export` are missing.
    """
    from smotracker_ros.models.exports import require

    require("onnxruntime")
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantise_statically
    from onnxruntime.quantization.shape_inference import quant_pre_process as prepare

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands the inputs out one by one."""

        def __init__(self) -> None:
            self._inputs = iter(inputs)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            images = next(self._inputs, None)
            return None if images is None else {name: images}

    original = onnx.load(source)
    name = original.graph.input[0].name
    with tempfile.TemporaryDirectory() as folder:
        prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        prepare(str(source), str(prepared), skip_symbolic_shape=True)
        quantise_statically(
            str(prepared),
            str(written),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=_kept_in_float(onnx.load(prepared)),
        )
        model = onnx.load(written)
    kept = {item.key: item.value for item in original.metadata_props}
    onnx.helper.set_model_props(model, {**kept, "precision": "int8"})
    onnx.save(model, output)


def _kept_in_float(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes of a YOLO's head that turn features into scores and boxes."""
    stages = [node.name.split("/")[1] for node in model.graph.node if node.name.startswith("/model.")]
    if not stages:
        return []
    head = f"/{max(stages, key=lambda stage: int(stage.partition('.')[2]))}/"
    inside = [node for node in model.graph.node if node.name.startswith(head)]
    return [n.name for n in inside if n.op_type != "Conv" or "/dfl/" in n.name or n.name.endswith(_LAST_CONVOLUTIONS)]
