"""Devices and number formats: what is chosen, and what is refused with a reason."""

import pytest
import torch

from smotracker_ros.models.hardware import HardwareError, choose_device, choose_precision, fast_precisions


@pytest.mark.parametrize(
    ("kind", "capability", "has_amx", "expected"),
    [
        ("cuda", (9, 0), False, (torch.bfloat16, torch.float16, torch.float32)),
        ("cuda", (8, 0), False, (torch.bfloat16, torch.float16, torch.float32)),
        ("cuda", (7, 5), False, (torch.float16, torch.float32)),
        ("cuda", (6, 1), False, (torch.float32,)),
        ("cpu", (0, 0), True, (torch.bfloat16, torch.float32)),
        ("cpu", (0, 0), False, (torch.float32,)),
        ("mps", (0, 0), True, (torch.float32,)),
    ],
)
def test_half_precision_only_where_there_are_units_for_it(
    kind: str, capability: tuple[int, int], has_amx: bool, expected: tuple[torch.dtype, ...]
) -> None:
    assert fast_precisions(kind, capability, has_amx) == expected


def test_this_machine() -> None:
    amx = torch.cpu._is_amx_tile_supported()
    assert choose_precision("auto", "cpu") == (torch.bfloat16 if amx else torch.float32)
    assert choose_precision("auto", "cpu", 4_000_000) == choose_precision("float32", "cpu") == torch.float32
    with pytest.raises(HardwareError, match=r"precision float16: cpu would have to emulate it.*use auto"):
        choose_precision("float16", "cpu")
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_devices_that_do_not_exist() -> None:
    with pytest.raises(HardwareError, match="must be auto, cpu, cuda or cuda:N"):
        choose_device("gpu7")
    with pytest.raises(HardwareError, match=r"'cuda:63': torch sees \d+ CUDA devices on this machine; use auto or cpu"):
        choose_device("cuda:63")
