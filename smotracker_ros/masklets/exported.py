"""SAM2's image encoder in ONNX, run by onnxruntime or OpenVINO in place of torch.

The encoder is the dearest of SAM2's parts; the other parts change shape with every object's memory and stay in
torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from smotracker_ros.masklets.model import Sam2Steps
from smotracker_ros.models.exports import ExportError, exported, exports_folder, require, signal_stack_kept

_OPSET = 18
_LEVELS = ("level0", "level1", "level2")


class _Levels(nn.Module):
    """The encoder's levels BCHW from fine to coarse, without the positional encodings, which are constants."""

    def __init__(self, model: SAM2Base) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.forward_image(images)["backbone_fpn"])


def encoder_file(steps: Sam2Steps, folder: Path | None = None) -> Path:
    """Where the exported encoder of a network lies, for its checksum and input size."""
    name = f"{steps.name}-{steps.checksum}-{steps.image_size}px.onnx"
    return (folder or exports_folder()) / name


def export_encoder(steps: Sam2Steps, folder: Path | None = None) -> Path:
    """The encoder in ONNX, for batches of any size; made if it is not there.

    Raises:
        ExportError: if it cannot be made.
    """

    def make(place: Path) -> Path:
        example = torch.zeros(2, 3, steps.image_size, steps.image_size, device=steps.device)
        batch = {name: {0: "batch"} for name in ("images", *_LEVELS)}
        target = place / "encoder.onnx"
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the tracer's, about sizes that are constant here
            torch.onnx.export(
                _Levels(steps.model).eval(),
                (example,),
                str(target),
                input_names=["images"],
                output_names=list(_LEVELS),
                dynamic_axes=batch,
                opset_version=_OPSET,
                dynamo=False,
            )
        return target

    require("onnxruntime")
    return exported(encoder_file(steps, folder), make)


def load_encoder(path: Path, runtime: str, device: torch.device) -> Callable[[Tensor], list[Tensor]]:
    """An exported encoder as a function of normalised images (B, 3, S, S), with its levels, each BCHW, as results.

    Args:
        path: of :func:`export_encoder`.
        runtime: onnxruntime or openvino.
        device: where images come from and levels go to. onnxruntime computes on a GPU if it was built for it; OpenVINO
            computes on the CPU.

    Raises:
        ExportError: if the runtime is not installed, or refuses the file.
    """
    require(runtime)
    try:
        with signal_stack_kept():
            infer = _onnxruntime(path, device) if runtime == "onnxruntime" else _openvino(path)
    except Exception as error:  # each runtime has error types of its own
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ExportError(f"{runtime} cannot load {path} ({reason}); delete the file, it will be made anew") from error

    def encode(images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(level).to(device) for level in infer(images.cpu().numpy())]

    return encode


Infer = Callable[[np.ndarray], list[np.ndarray]]


def _onnxruntime(path: Path, device: torch.device) -> Infer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    available = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" and "CUDAExecutionProvider" in available else []
    session = onnxruntime.InferenceSession(str(path), options, providers=[*wanted, "CPUExecutionProvider"])
    return lambda images: list(session.run(list(_LEVELS), {"images": images}))


def _openvino(path: Path) -> Infer:
    import openvino

    core = openvino.Core()
    # the default takes bfloat16 on CPUs that have it, which is no longer the same network
    options = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(str(path)), "CPU", options)

    def infer(images: np.ndarray) -> list[np.ndarray]:
        results = model(images)
        # copied: the next call writes into the same memory
        return [np.array(results[index]) for index in range(len(_LEVELS))]

    return infer
