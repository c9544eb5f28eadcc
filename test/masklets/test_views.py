"""Each window of a frame is encoded once, and its features do not depend on who else asked."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from smotracker_ros.core.frames import Frame
from smotracker_ros.masklets.torch_network import TorchNetwork
from smotracker_ros.masklets.views import Views
from smotracker_ros.masklets.windows import Window, window_around
from smotracker_ros.presets import build_network, load_settings

WINDOWS = [window_around(np.float32(center), 48.0) for center in ((60, 50), (120, 90), (200, 150))]
BOXES = np.float32([[50, 40, 70, 60], [110, 80, 130, 100]])


@pytest.fixture(scope="module")
def network() -> TorchNetwork:
    network = build_network(load_settings(overrides={"runtime": "torch"}))
    assert isinstance(network, TorchNetwork)
    return network


@pytest.fixture
def batches(network: TorchNetwork) -> Iterator[list[int]]:
    """How many windows each pass of the encoder has had."""
    sizes: list[int] = []
    handle = network.steps.model.image_encoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    yield sizes
    handle.remove()


def _frame(seed: int = 0) -> Frame:
    return Frame(np.random.default_rng(seed).integers(0, 255, (240, 320, 3)).astype(np.uint8), seed, seed)


def test_a_window_is_encoded_once(network: TorchNetwork, batches: list[int]) -> None:
    frame, views = _frame(), Views(network)
    views.encode(frame, WINDOWS[:2])
    mixed = views.encode(frame, [WINDOWS[2], WINDOWS[1], WINDOWS[1], WINDOWS[2]])
    assert batches == [2, 1]
    alone = Views(network)
    for index, window in enumerate((WINDOWS[2], WINDOWS[1], WINDOWS[1], WINDOWS[2])):
        expected = alone.encode(frame, [window])
        for level, other in zip(mixed.levels, expected.levels, strict=True):
            torch.testing.assert_close(level[:, index], other[:, 0], atol=1e-4, rtol=1e-4)


def test_another_frame_is_seen_anew(network: TorchNetwork, batches: list[int]) -> None:
    views = Views(network)
    first = views.encode(_frame(0), WINDOWS[:1])
    second = views.encode(_frame(1), WINDOWS[:1])
    assert batches == [1, 1]
    assert not torch.allclose(first.levels[0], second.levels[0])


def test_a_box_is_described_through_an_offered_window_that_shows_it_well(
    network: TorchNetwork, batches: list[int]
) -> None:
    frame, views = _frame(), Views(network)
    views.encode(frame, WINDOWS[:1])
    views.describe(frame, BOXES[:1], 2.7, WINDOWS[:1])
    assert batches == [1]
    far_too_wide = Window(0, 0, 320, 240)
    views.encode(frame, [far_too_wide])
    views.describe(frame, BOXES[:1], 2.7, [far_too_wide])
    assert batches == [1, 1, 1]


def test_descriptions_do_not_depend_on_earlier_ones(network: TorchNetwork) -> None:
    frame, views = _frame(), Views(network)
    views.describe(frame, BOXES[:1] + 3, 2.7)
    np.testing.assert_allclose(views.describe(frame, BOXES, 2.7), Views(network).describe(frame, BOXES, 2.7), atol=1e-4)
