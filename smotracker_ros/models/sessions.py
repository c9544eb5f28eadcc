"""ONNX models run by onnxruntime, and in how many threads this process computes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from smotracker_ros.models.extras import MissingExtraError


def thread_count() -> int:
    """Threads in which networks compute: torch's own number where torch is loaded, else what it would choose.

    That is OMP_NUM_THREADS, or the processors that this process may use.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    chosen = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_session(path: Path, device: str = "cpu", threads: int = 0) -> Any:
    """An `onnxruntime.InferenceSession`.

    Args:
        path: of the ONNX file.
        device: as torch names it. A GPU is used if onnxruntime was built for it.
        threads: in which it computes; 0: :func:`thread_count`.

    Raises:
        MissingExtraError: if onnxruntime is not installed.
        Exception: of many types, if the file cannot be loaded.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{path.name} needs onnxruntime ({error}); pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or thread_count()
    # threads that spin take processors from what computes between two calls, and gain nothing beside other work
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    kind, _, index = device.partition(":")
    if kind == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(index or 0)}))
    return onnxruntime.InferenceSession(str(path), options, providers=providers)
