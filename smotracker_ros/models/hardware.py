"""What the machine can do: the device of a setting, and the number formats that it computes well in."""

from __future__ import annotations

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Compute capabilities of Nvidia's GPUs from which a format has units of its own
_FLOAT16_SINCE, _BFLOAT16_SINCE = (7, 0), (8, 0)
# On a CPU, a network of fewer parameters spends its time in calls rather than in products: half precision only adds
# conversions. Nano (4 million) takes 1.3 to 1.6 times as long in bfloat16, SAM2.1 tiny (39 million) 0.4 to 0.6 times
_LARGE_ON_CPU = 10_000_000


class HardwareError(ValueError):
    """A device or a number format that this machine does not have; the message says which to use."""


def choose_device(name: str) -> str:
    """The torch device of a setting: for "auto" the first GPU if there is one.

    Raises:
        HardwareError: if torch knows no such device, or this machine does not have it.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise HardwareError(f"device must be auto, cpu, cuda or cuda:N, not {name!r}") from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise HardwareError(f"device {name!r}: torch sees {count} CUDA devices on this machine; use auto or cpu")
    return name


def fast_precisions(kind: str, capability: tuple[int, int], has_amx: bool) -> tuple[torch.dtype, ...]:
    """Formats with units of their own, the best first; float32 is always among them.

    Args:
        kind: of device, such as "cpu" or "cuda".
        capability: compute capability of an Nvidia GPU, for "cuda".
        has_amx: whether the CPU multiplies bfloat16 matrices (Intel AMX), for "cpu". Without, bfloat16 is emulated and
            many times slower than float32.
    """
    half: list[torch.dtype] = []
    if kind == "cuda":
        half += [torch.bfloat16] if capability >= _BFLOAT16_SINCE else []
        half += [torch.float16] if capability >= _FLOAT16_SINCE else []
    elif kind == "cpu" and has_amx:
        half += [torch.bfloat16]
    return (*half, torch.float32)


def choose_precision(name: str, device: str, parameters: int = _LARGE_ON_CPU) -> torch.dtype:
    """The number format of a setting on a device: for "auto" the fastest that has units of its own there.

    Args:
        name: auto, or a key of :data:`PRECISIONS`.
        device: torch device.
        parameters: of the network; "auto" takes float32 for a small one on a CPU.

    Raises:
        HardwareError: if the device would have to emulate the format.
    """
    kind = torch.device(device).type
    capability = torch.cuda.get_device_capability(device) if kind == "cuda" else (0, 0)
    fast = fast_precisions(kind, capability, torch.cpu._is_amx_tile_supported())
    if name == "auto":
        return torch.float32 if kind == "cpu" and parameters < _LARGE_ON_CPU else fast[0]
    if PRECISIONS[name] not in fast:
        raise HardwareError(f"precision {name}: {device} would have to emulate it, many times slower; use auto")
    return PRECISIONS[name]
