"""The torch side of the border: arrays go in and come out, and what is held belongs to one object alone."""

import numpy as np
import torch

from smotracker_ros.masklets.checkpoints import load_network
from smotracker_ros.masklets.network import MaskletNetwork
from smotracker_ros.masklets.torch_network import TorchNetwork


def _decided(network: TorchNetwork) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images = np.random.default_rng(0).integers(0, 255, (3, 96, 96, 3), dtype=np.uint8)
    features = network.encode(images)
    boxes = np.float32([[40, 40, 60, 56]] * 3)
    decoded = network.decode([network.condition(features, None)], features, boxes)
    assert decoded.high.shape == (3, 96, 96) and decoded.low.shape == (3, 24, 24)
    assert {array.dtype for array in (decoded.high, decoded.low, decoded.predicted_iou)} == {np.dtype(np.float32)}
    return network.memorise(features, decoded, [2, 0], True)  # type: ignore[return-value]


def test_it_is_a_masklet_network() -> None:
    network = load_network()
    assert isinstance(network, MaskletNetwork)
    assert (network.runtime, network.device, network.recent_limit, network.pointer_limit) == ("torch", "cpu", 4, 7)


def test_what_is_held_keeps_no_batch_alive() -> None:
    held = _decided(load_network())
    assert len(held) == 2
    for memory, pointer in held:
        assert memory.shape == (32, 6, 6) and memory.dtype == torch.bfloat16 and pointer.shape == (128,)
        for value in (memory, pointer):
            assert value.untyped_storage().nbytes() == value.nbytes
    assert not torch.equal(held[0][0], held[1][0])
