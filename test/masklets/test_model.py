"""Checkpoints: the official layout loads strictly, and what does not fit is refused; devices and number formats."""

from pathlib import Path

import numpy as np
import pytest
import torch

from smotracker_ros.masklets.checkpoints import (
    NANO_CONFIG,
    NANO_WEIGHTS,
    ModelError,
    config_for,
    instantiate_config,
    load_steps,
)
from smotracker_ros.masklets.model import DecodedTensors, MemoryTensors, Sam2Steps


def test_the_embedded_model_loads_and_is_small() -> None:
    steps = load_steps()
    assert steps.name == "sam2-nano"
    assert steps.dense_box_prompt
    assert steps.image_size == 96
    assert NANO_WEIGHTS.stat().st_size < 12e6


@pytest.mark.parametrize("size", ["t", "s", "b+", "l"])
@pytest.mark.parametrize("version", ["2", "2.1"])
def test_the_configuration_is_found_from_the_keys(version: str, size: str) -> None:
    import sam2

    path = Path(sam2.__path__[0]) / "configs" / f"sam{version}" / f"sam{version}_hiera_{size}.yaml"
    state = instantiate_config(path).state_dict()
    assert config_for(state) == (f"sam{version}-hiera-{size}", path)


def test_an_official_checkpoint_loads_strictly_at_another_input_size(tmp_path: Path) -> None:
    import sam2

    path = Path(sam2.__path__[0]) / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml"
    model = instantiate_config(path)
    torch.save({"model": model.state_dict()}, tmp_path / "tiny.pt")
    steps = load_steps(tmp_path / "tiny.pt", image_size=256)
    assert steps.name == "sam2.1-hiera-t"
    assert steps.image_size == 256
    assert not steps.dense_box_prompt
    for key, value in steps.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.pt: no such weight file"):
        load_steps(tmp_path / "absent.pt")


def test_truncated_file(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(NANO_WEIGHTS.read_bytes()[:100_000])
    with pytest.raises(ModelError, match=r"broken\.pt cannot be read .* fetch it again"):
        load_steps(broken)


def test_other_content(tmp_path: Path) -> None:
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="not a SAM2 checkpoint"):
        load_steps(tmp_path / "other.pt")


STEM = "image_encoder.trunk.patch_embed.proj.weight"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (STEM, 3, "holds 'image_encoder.*', a int"),
        ("epoch", 12, "holds 'epoch', a int"),
        ("history", [1.0, 2.0], "a list"),
        ("optimizer", {"step": torch.zeros(1)}, "a dict"),
        ("note", "made on Monday", "a str"),
        ("nothing", None, "a NoneType"),
        (7, torch.zeros(1), "holds 7, a Tensor"),
        ("counts", torch.arange(3), "int64"),
        ("phases", torch.zeros(2, dtype=torch.complex64), "complex64"),
        ("sparse", torch.eye(2).to_sparse(), "sparse"),
        ("broken", torch.tensor([1.0, torch.nan]), "not made of finite"),
        ("broken", torch.tensor([torch.inf]), "not made of finite"),
        (STEM, torch.tensor(1.0), "is not a SAM2 checkpoint"),
    ],
)
def test_what_is_no_tensor_of_numbers_gives_one_clear_error(
    tmp_path: Path, name: object, value: object, reason: str
) -> None:
    path = tmp_path / "odd.pt"
    torch.save({"model": {**instantiate_config(NANO_CONFIG).state_dict(), name: value}}, path)
    with pytest.raises(ModelError, match=reason) as caught:
        load_steps(path)
    assert str(path) in str(caught.value)


def test_a_note_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save({"model": instantiate_config(NANO_CONFIG).state_dict(), "smotracker": ["dense"]}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match="no dictionary"):
        load_steps(tmp_path / "odd.pt")


def test_renamed_key_and_wrong_shape(tmp_path: Path) -> None:
    state = instantiate_config(NANO_CONFIG).state_dict()
    renamed = {("x." + key if "obj_ptr_proj" in key else key): value for key, value in state.items()}
    torch.save({"model": renamed}, tmp_path / "renamed.pt")
    with pytest.raises(ModelError, match="looks like sam2-nano but does not fit"):
        load_steps(tmp_path / "renamed.pt")
    shape = {**state, "image_encoder.trunk.patch_embed.proj.weight": torch.zeros(50, 3, 7, 7)}
    torch.save({"model": shape}, tmp_path / "shape.pt")
    with pytest.raises(ModelError, match="no SAM2 size known"):
        load_steps(tmp_path / "shape.pt")


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {marker}",)

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError):
        load_steps(tmp_path / "evil.pt")
    assert not marker.exists()


@pytest.fixture(scope="module")
def tiny_state() -> dict[str, torch.Tensor]:
    """State of an official tiny model with random weights."""
    import sam2

    path = Path(sam2.__path__[0]) / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml"
    return instantiate_config(path).state_dict()


def test_official_files_that_do_not_fit_give_one_clear_error(
    tiny_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    renamed = {key.replace("no_mem_embed", "no_memory_embed"): value for key, value in tiny_state.items()}
    key = "sam_mask_decoder.iou_token.weight"
    resized = {**tiny_state, key: torch.zeros(1, 128)}
    for name, state in (("renamed", renamed), ("resized", resized)):
        torch.save({"model": state}, tmp_path / f"{name}.pt")
        with pytest.raises(
            ModelError, match=rf"{name}.*looks like sam2.1-hiera-t but does not fit it.*(no_mem|iou_token)"
        ):
            load_steps(tmp_path / f"{name}.pt")
    whole = (tmp_path / "resized.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"cut\.pt cannot be read as a checkpoint"):
        load_steps(tmp_path / "cut.pt")


def _pass_through(steps: Sam2Steps) -> tuple[DecodedTensors, torch.Tensor]:
    """All four steps: a prompted frame, and one that is conditioned on its memory."""
    generator = np.random.default_rng(0)
    side = steps.image_size
    images = generator.integers(0, 255, (2, side, side, 3), dtype=np.uint8)
    boxes = torch.tensor([[40.0, 40.0, 70.0, 60.0]] * 2, device=steps.device)
    features = steps.encode(steps.normalise(images))
    first = steps.decode(steps.condition(features, None), features, boxes)
    memory = steps.memorise(features, first.high, first.object_score, True)
    memories = MemoryTensors(
        (memory.to(torch.bfloat16),), (), torch.zeros(0, 2, dtype=torch.int64, device=steps.device),
        first.pointer[None], torch.ones(1, 2, device=steps.device),
    )  # fmt: skip
    return steps.decode(steps.condition(features, memories), features, None, every_mask=True), memory


@pytest.mark.parametrize("official", [False, True])
@torch.inference_mode()
def test_every_tensor_follows_the_device(official: bool, tiny_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """On torch's meta device, which refuses to be mixed with any other, as a GPU would."""
    weights = None
    if official:
        weights = tmp_path / "tiny.pt"
        torch.save({"model": tiny_state}, weights)
    steps = load_steps(weights, 256 if official else 0, "meta")
    decoded, memory = _pass_through(steps)
    side = steps.image_size
    assert {decoded.high.device.type, memory.device.type, steps.device.type} == {"meta"}
    assert decoded.high.shape == (2, 1, side, side)
    assert decoded.candidates is not None and decoded.candidates.high.shape[1] == (3 if official else 1)


def test_the_input_is_larger_on_a_gpu(tiny_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"model": tiny_state}, tmp_path / "tiny.pt")
    assert load_steps(tmp_path / "tiny.pt").image_size == 256
    assert load_steps(tmp_path / "tiny.pt", device="meta").image_size == 512


@torch.inference_mode()
def test_half_precision_changes_masks_a_little_only() -> None:
    """Under CPU autocast, which is slow but goes the way of a GPU's."""
    exact, _ = _pass_through(load_steps())
    steps = load_steps()
    steps.compute_in(torch.bfloat16)
    half, memory = _pass_through(steps)
    assert memory.dtype == torch.bfloat16 and exact.high.dtype == half.high.dtype == torch.float32
    agreeing = ((exact.high > 0) == (half.high > 0)).float().mean()
    assert 0.98 < float(agreeing) <= 1.0
    assert not torch.equal(exact.high, half.high)


@torch.inference_mode()
def test_weights_converted_beforehand_give_what_autocast_gives() -> None:
    steps = load_steps()
    steps.precision = torch.bfloat16  # autocast converts weights in every call
    expected, expected_memory = _pass_through(steps)
    converted = load_steps()
    converted.compute_in(torch.bfloat16)
    assert converted.model.memory_attention.layers[0].linear1.weight.dtype == torch.bfloat16
    found, memory = _pass_through(converted)
    torch.testing.assert_close(found.high, expected.high, rtol=0, atol=0)
    torch.testing.assert_close(memory, expected_memory, rtol=0, atol=0)
