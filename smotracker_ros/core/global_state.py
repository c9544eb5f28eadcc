"""What belongs to the whole process, which libraries change when they are imported or used, and is left as it was."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator

import cv2
import numpy as np

from smotracker_ros.models.sessions import thread_count

# Functions of other libraries that ultralytics replaces by its own when it is imported
_REPLACED = (
    ("torch", "save"),
    ("torch", "load"),
    ("PIL.Image", "open"),
    ("cv2", "imread"),
    ("cv2", "imwrite"),
    ("cv2", "imshow"),
)
# So small that a processor which flushes denormal numbers takes it for zero
_DENORMAL = 2.0**-1030
_THREADS = "OMP_NUM_THREADS"


@contextlib.contextmanager
def global_state_kept() -> Iterator[None]:
    """Undo what the block does to the process: ultralytics changes all of this when it is imported or first used.

    Environment, warning filters, how arrays are printed, numbers of threads, random generators, the present GPU,
    replaced functions of other libraries, the level of ultralytics' log. For imports and set-up; not to be used in
    several threads at once.

    What stays is that sam2 registers its configurations with hydra: its own builders need that.
    """
    environment = dict(os.environ)
    import torch

    counts = torch.get_num_threads(), cv2.getNumThreads()
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    generators = random.getstate(), np.random.get_state()
    functions = [(importlib.import_module(module), name) for module, name in _REPLACED]
    originals = [getattr(module, name) for module, name in functions]
    try:
        with (
            warnings.catch_warnings(),
            np.printoptions(),
            torch._tensor_str.printoptions(),
            torch.random.fork_rng(devices=[]),
            quiet("ultralytics", logging.WARNING),
        ):
            yield
    finally:
        for name in [name for name in os.environ if name not in environment]:
            del os.environ[name]
        os.environ.update(environment)
        torch.set_num_threads(counts[0])
        cv2.setNumThreads(counts[1])
        if torch.cuda.is_initialized() and torch.cuda.current_device() != gpu:
            torch.cuda.set_device(gpu)
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        for (module, name), original in zip(functions, originals, strict=True):
            setattr(module, name, original)


@contextlib.contextmanager
def quiet(name: str, level: int) -> Iterator[None]:
    """Let a library log nothing below a level, and its own choice again when the block ends.

    Args:
        name: of its logger.
        level: of :mod:`logging`.
    """
    logger = logging.getLogger(name)
    known, before = name.partition(".")[0] in sys.modules, logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        # what the library has set at its own import is its choice
        if known or logger.level == level:
            logger.setLevel(before)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch, onnxruntime's new sessions and OpenCV compute in so many threads, and as before when the block ends.

    Where torch is not loaded, OMP_NUM_THREADS says so to it, and to onnxruntime's sessions.
    """
    before = thread_count(), cv2.getNumThreads()
    variable = os.environ.get(_THREADS)
    os.environ[_THREADS] = str(count)
    _set_torch_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        if variable is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = variable
        _set_torch_threads(before[0])
        cv2.setNumThreads(before[1])


def _set_torch_threads(count: int) -> None:
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)


@contextlib.contextmanager
def denormals_flushed() -> Iterator[None]:
    """Let this thread take denormal numbers for zero: they slow processors down and carry no information.

    It is torch that can; where it is not loaded, nothing changes.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = _DENORMAL + 0.0 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
