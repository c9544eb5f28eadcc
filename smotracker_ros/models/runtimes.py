"""Which runtime computes a model."""

from __future__ import annotations

from importlib.util import find_spec

# Kinds of embedded models that are shipped in ONNX, beside their checkpoints
_SHIPPED_IN_ONNX = ("detector", "masklets")


def choose_runtime(name: str, kind: str, is_embedded: bool, device: str) -> str:
    """The runtime of a setting for a model.

    Args:
        name: of the setting; "auto": onnxruntime for embedded models on a CPU, where it is faster than torch and its
            start is quicker; torch for the rest.
        kind: of model: "detector" or "masklets".
        is_embedded: whether it is the embedded one of its kind.
        device: torch device.

    Returns:
        torch, torch_compile, onnxruntime or openvino.
    """
    if name != "auto":
        return name
    fits = is_embedded and kind in _SHIPPED_IN_ONNX and device == "cpu"
    return "onnxruntime" if fits and find_spec("onnxruntime") is not None else "torch"
