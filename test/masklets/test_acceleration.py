"""The accelerated network gives what the official modules give."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import sam2
import torch
from sam2.modeling.sam.transformer import RoPEAttention

from smotracker_ros.core.frames import Frame
from smotracker_ros.masklets.acceleration import MemoryReader, PackedLinear, accelerate, can_accelerate
from smotracker_ros.masklets.checkpoints import instantiate_config, load_network, load_steps
from smotracker_ros.masklets.memory import FIFO, MOTION_AWARE, Entry, MemoryBank, batch_memories
from smotracker_ros.masklets.network import MaskletNetwork
from smotracker_ros.masklets.propagator import Guess, Propagator
from smotracker_ros.masklets.torch_network import TorchNetwork
from smotracker_ros.presets import build_network, load_settings

CPU = torch.device("cpu")
BOXES = {1: np.float32([30, 40, 50, 60]), 2: np.float32([82, 12, 98, 28])}

pytestmark = pytest.mark.skipif(not can_accelerate(CPU, torch.float32), reason="torch has no oneDNN on this machine")


def _official(path: Path) -> Path:
    torch.manual_seed(0)
    model = instantiate_config(Path(sam2.__path__[0]) / "configs/sam2.1/sam2.1_hiera_t.yaml", official=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pred_obj_score" in name and name.endswith("layers.2.bias"):
                parameter.add_(3.0)
            if "output_hypernetworks_mlps" in name and name.endswith("layers.2.weight"):
                parameter.mul_(4.0)
    torch.save({"model": model.state_dict()}, path)
    return path


def _logits(network: MaskletNetwork, mode: str, frames: int) -> list[np.ndarray]:
    """Of every frame after the prompt, for both objects."""
    generator = np.random.default_rng(0)
    background = cv2.GaussianBlur(generator.integers(0, 255, (128, 160, 3)).astype(np.uint8), (0, 0), 5)
    propagator = Propagator(network, FIFO, mode)
    found = []
    for index in range(frames):
        image = background.copy()
        cv2.circle(image, (40 + index, 50), 8, (255, 255, 255), -1)
        cv2.circle(image, (90, 20 + index), 6, (0, 0, 0), -1)
        frame = Frame(image, index, index)
        guesses = {1: Guess(np.float32([40 + index, 50]), 20.0), 2: Guess(np.float32([90, 20 + index]), 16.0)}
        propagator.step(frame, guesses=guesses)
        if index == 0:
            propagator.prompt(frame, BOXES)
        else:
            found.append(np.stack([propagator.logits[identity] for identity in BOXES]))
    return found


@pytest.mark.parametrize(("kind", "mode", "frames"), [("nano", "windows", 12), ("official", "windows", 6)])
def test_masks_are_those_of_the_official_modules(kind: str, mode: str, frames: int, tmp_path: Path) -> None:
    weights = None if kind == "nano" else _official(tmp_path / "tiny.pt")
    expected = _logits(load_network(weights), mode, frames)
    network = load_network(weights)
    accelerate(network.steps.model)
    found = _logits(network, mode, frames)
    span = float(max(item.max() for item in expected) - min(item.min() for item in expected if item.min() > -1000))
    largest = max(float(np.abs(one - two).max()) for one, two in zip(expected, found, strict=True))
    assert span > 0.1
    assert largest < 1e-3 * span, (largest, span)


@pytest.mark.parametrize("excluded", [0, 8])
def test_large_attention_is_the_official_one(excluded: int) -> None:
    torch.manual_seed(0)
    attention = RoPEAttention(
        embedding_dim=64, num_heads=1, downsample_rate=1, kv_in_dim=16, rope_k_repeat=True, feat_sizes=(16, 16)
    ).eval()
    queries, memories = torch.randn(2, 256, 64), torch.randn(2, 3 * 256 + excluded, 16)
    positions = torch.randn_like(memories)
    with torch.inference_mode():
        expected = attention(queries, memories + positions, memories, excluded)
        found = MemoryReader(attention)(queries, memories + positions, memories, excluded)
    assert torch.allclose(expected, found, atol=1e-5)


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_a_packed_layer_is_the_layer_and_its_activation(activation: str) -> None:
    layer, given = torch.nn.Linear(24, 40), torch.randn(2, 5, 24)
    function = {"none": torch.nn.Identity(), "relu": torch.nn.ReLU(), "gelu": torch.nn.GELU()}[activation]
    with torch.inference_mode():
        assert torch.allclose(PackedLinear.of(layer, activation)(given), function(layer(given)), atol=1e-5)


def test_presets_accelerate_where_it_can_be_done() -> None:
    network = build_network(load_settings(overrides={"runtime": "torch"}))
    assert isinstance(network, TorchNetwork)
    assert any(isinstance(module, PackedLinear) for module in network.steps.model.modules())
    assert not any(type(module) is torch.nn.Linear for module in network.steps.model.image_encoder.modules())
    assert not can_accelerate(torch.device("cuda"), torch.float32)
    assert not can_accelerate(CPU, torch.bfloat16)


def _bank(generator: torch.Generator, prompts: int, recent: int) -> MemoryBank:
    bank = MemoryBank(4, 7)
    for frame in range(prompts + recent):
        entry = Entry(frame, torch.randn(32, 6, 6, generator=generator), torch.randn(128, generator=generator))
        bank.write(entry, prompted=frame < prompts)
    return bank


@torch.inference_mode()
def test_objects_with_fewer_memories_share_a_call_as_if_they_were_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    network = build_network(load_settings(overrides={"runtime": "torch"}))
    assert isinstance(network, TorchNetwork)
    assert network.leaves_out_absent
    banks = [_bank(generator, *counts) for counts in ((1, 0), (1, 2), (2, 4), (1, 9))]
    assert len({bank.signature for bank in banks}) == 4
    features = network.encode(np.random.default_rng(0).integers(0, 255, (4, 96, 96, 3), dtype=np.uint8))
    together = network.condition(features, batch_memories(banks, 12, MOTION_AWARE))
    for index, bank in enumerate(banks):
        alone = network.condition(network.select(features, [index]), batch_memories([bank], 12, MOTION_AWARE))
        torch.testing.assert_close(together[index], alone[0], atol=1e-4, rtol=1e-4)
    filled = [_bank(generator, *counts) for counts in ((2, 4), (1, 0), (1, 2), (1, 9))]
    others = network.condition(features, batch_memories([*banks[:1], *filled[1:]], 12, MOTION_AWARE))
    torch.testing.assert_close(others[0], together[0], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(others[1], together[1], atol=1e-2)


def test_large_attentions_do_not_share_calls_of_unequal_memories(tmp_path: Path) -> None:
    steps = load_steps(_official(tmp_path / "tiny.pt"), 256)
    steps.readers = accelerate(steps.model)
    assert steps.readers and not steps.leaves_out_absent
