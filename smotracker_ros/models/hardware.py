"""What the machine can do: the device of a setting, and the number formats that it computes well in."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from smotracker_ros.models.extras import needed_by

if TYPE_CHECKING:
    import torch

# Compute capabilities of Nvidia's GPUs from which a format has units of its own
_FLOAT16_SINCE, _BFLOAT16_SINCE = (7, 0), (8, 0)
# On a CPU, a network of fewer parameters spends its time in calls rather than in products: half precision only adds
# conversions. Nano (4 million) takes 1.3 to 1.6 times as long in bfloat16, SAM2.1 tiny (39 million) 0.4 to 0.6 times
_LARGE_ON_CPU = 10_000_000


class HardwareError(ValueError):
    """A device or a number format that this machine does not have; the message says which to use."""


def choose_device(name: str) -> str:
    """The torch device of a setting: for "auto" the first GPU if there is one.

    torch, whose import takes seconds, is asked only where the machine has a driver for its GPUs.

    Raises:
        HardwareError: if it is no name of a device, or this machine does not have it.
        MissingExtraError: if a GPU is asked for, and torch is not installed.
    """
    if name == "cpu":
        return name
    if name == "auto":
        return "cuda" if _has_gpu() else "cpu"
    number = re.fullmatch(r"cuda(?::(\d+))?", name)
    if number is None:
        raise HardwareError(f"device must be auto, cpu, cuda or cuda:N, not {name!r}")
    with needed_by(f"device {name!r}"):
        import torch
    count = torch.cuda.device_count()
    if int(number[1] or 0) >= count:
        raise HardwareError(f"device {name!r}: torch sees {count} CUDA devices on this machine; use auto or cpu")
    return name


def _has_gpu() -> bool:
    """Whether torch can compute on a GPU of this machine; False if torch is not installed."""
    if "torch" not in sys.modules and not _has_gpu_driver():
        return False
    try:
        import torch
    except ModuleNotFoundError:
        return False
    return torch.cuda.is_available()


def _has_gpu_driver() -> bool:
    """Whether there may be a GPU that torch can use: from Nvidia's or AMD's driver, or on a system not known here."""
    if not sys.platform.startswith("linux") or Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def fast_precisions(kind: str, capability: tuple[int, int], has_amx: bool) -> tuple[torch.dtype, ...]:
    """Formats with units of their own, the best first; float32 is always among them.

    Args:
        kind: of device, such as "cpu" or "cuda".
        capability: compute capability of an Nvidia GPU, for "cuda".
        has_amx: whether the CPU multiplies bfloat16 matrices (Intel AMX), for "cpu". Without, bfloat16 is emulated and
            many times slower than float32.
    """
    import torch

    half: list[torch.dtype] = []
    if kind == "cuda":
        half += [torch.bfloat16] if capability >= _BFLOAT16_SINCE else []
        half += [torch.float16] if capability >= _FLOAT16_SINCE else []
    elif kind == "cpu" and has_amx:
        half += [torch.bfloat16]
    return (*half, torch.float32)


def choose_precision(name: str, device: str, parameters: int = _LARGE_ON_CPU) -> torch.dtype:
    """The number format of a setting on a device: for "auto" and "int8" the fastest that has units of its own there.

    Args:
        name: auto, float32, bfloat16, float16, or int8, which is meant for the embedded detector.
        device: torch device.
        parameters: of the network; "auto" takes float32 for a small one on a CPU.

    Raises:
        HardwareError: if the device would have to emulate the format.
    """
    import torch

    kind = torch.device(device).type
    capability = torch.cuda.get_device_capability(device) if kind == "cuda" else (0, 0)
    fast = fast_precisions(kind, capability, torch.cpu._is_amx_tile_supported())
    if name in ("auto", "int8"):
        return torch.float32 if kind == "cpu" and parameters < _LARGE_ON_CPU else fast[0]
    precision: torch.dtype = getattr(torch, name)
    if precision not in fast:
        raise HardwareError(f"precision {name}: {device} would have to emulate it, many times slower; use auto")
    return precision
