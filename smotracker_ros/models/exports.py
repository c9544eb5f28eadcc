"""Models in formats of other runtimes: where the files lie, and how they are made.

An export is made from its checkpoint once and kept in the user's cache folder under the checkpoint's checksum, so that
it can never be taken for that of another checkpoint.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from smotracker_ros.models.extras import explain

_PACKAGES = {"onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
RUNTIMES = tuple(_PACKAGES)
"""Runtimes that run exports; the others are torch's."""

_logger = logging.getLogger(__name__)


class ExportError(RuntimeError):
    """A model that cannot be exported or run in the runtime that was asked for; the message says what to do."""


class _SignalStack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Give a thread its own stack for signals back when the block ends.

    OpenVINO puts one of its own in place while it compiles a model, and frees it with the model without a word: the
    next signal, such as Ctrl-C or the end of a child process, then ends the process.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)


@contextlib.contextmanager
def openvino_in_float32() -> Iterator[None]:
    """Have OpenVINO compile models for float32 arithmetic, which ultralytics does not ask for.

    By default it takes bfloat16 where the CPU has units for it, and detections come out that no other runtime gives.
    """
    import openvino

    original = openvino.Core.compile_model

    def compile_model(core: Any, model: Any, device_name: Any = None, config: Any = None, **others: Any) -> Any:
        return original(core, model, device_name, {"INFERENCE_PRECISION_HINT": "f32", **(config or {})}, **others)

    openvino.Core.compile_model = compile_model
    try:
        yield
    finally:
        openvino.Core.compile_model = original


def exports_folder() -> Path:
    """Folder of exported models: smotracker/exports in the user's cache folder (XDG_CACHE_HOME, or ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache") / "smotracker" / "exports"


def require(runtime: str) -> None:
    """Check that a runtime's packages are installed.

    Raises:
        ExportError: if one is not.
    """
    for package in _PACKAGES.get(runtime, ()):
        try:
            importlib.import_module(package)
        except ImportError as error:
            what = f"runtime {runtime}"
            raise ExportError(f"{explain(error, what) or f'{what} needs {package} ({error})'}, or use torch") from error


def exported(path: Path, make: Callable[[Path], Path]) -> Path:
    """The exported file or folder at `path`, made if it is not there.

    Args:
        path: final place.
        make: writes an export into the folder that it is given and returns its path.

    Raises:
        ExportError: if it cannot be made or written.
    """
    if path.exists():
        return path
    _logger.warning("%s is made, once", path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            made = make(Path(folder))
            if not path.exists():
                shutil.move(made, path)
    except Exception as error:  # exporters raise almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ExportError(f"{path} cannot be made ({reason}); use runtime torch") from error
    return path
