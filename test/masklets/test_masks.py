"""Choosing among the masks of a multimask decoder, with a network of the official layout."""

from pathlib import Path

import numpy as np
import pytest
import sam2
import torch

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.masklets.checkpoints import instantiate_config
from smotracker_ros.masklets.masks import choose_masks, other_boxes
from smotracker_ros.masklets.model import Sam2Steps
from smotracker_ros.masklets.network import Candidates, Decoded
from smotracker_ros.masklets.propagator import Propagator
from smotracker_ros.masklets.torch_network import TorchNetwork
from smotracker_ros.masklets.windows import Window


@pytest.fixture(scope="module")
def network() -> TorchNetwork:
    torch.manual_seed(0)
    config = Path(sam2.__path__[0]) / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml"
    return TorchNetwork(Sam2Steps(instantiate_config(config, 128, official=True).eval(), "tiny", "random", False))


def test_the_best_rated_candidate_is_the_stock_answer(network: TorchNetwork) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 128, 128, 3), dtype=np.uint8)
    features = network.encode(images)
    conditioned = [network.condition(features, None)]
    plain = network.decode(conditioned, features, None)
    assert plain.candidates is None
    decoded = network.decode(conditioned, features, None, every_mask=True)
    assert decoded.candidates is not None and decoded.candidates.high.shape == (2, 3, 128, 128)
    windows = [Window(0, 0, 128, 128)] * 2
    again = choose_masks(decoded, [1, 2], windows, lambda identity, boxes, ious: int(np.argmax(ious)))
    for key in ("low", "high", "predicted_iou", "object_score"):
        # projections of other batch shapes round differently on some processors
        np.testing.assert_allclose(getattr(again, key), getattr(plain, key), atol=1e-5, err_msg=key)
    worst = choose_masks(decoded, [1, 2], windows, lambda identity, boxes, ious: int(np.argmin(ious)))
    assert bool((worst.predicted_iou < plain.predicted_iou).all())
    remembered = [network.memorise(features, answer, [1, 0], False) for answer in (plain, again, worst)]
    for best, same, other in zip(*remembered, strict=True):
        for one, two, three in zip(best, same, other, strict=True):
            torch.testing.assert_close(one, two, atol=1e-2, rtol=1e-2)
            assert not torch.equal(one, three)


def test_the_choice_sees_boxes_in_image_pixels() -> None:
    high = np.full((1, 2, 32, 32), -1.0, dtype=np.float32)
    high[0, 0, 8:16, 4:12] = 1.0
    candidates = Candidates(high[:, :, ::4, ::4], high, np.float32([[0.5, 0.6]]))
    decoded = Decoded(high[:, 0], high[:, 0], np.float32([0.5]), np.ones(1, np.float32), None, candidates)
    seen: list[FloatArray | None] = []

    def choose(identity: int, boxes: object, ious: object) -> int:
        assert identity == 9
        seen.extend(boxes)  # type: ignore[call-overload]
        return 1

    chosen = choose_masks(decoded, [9], [Window(100.0, 50.0, 64.0, 64.0)], choose)
    assert seen[1] is None and seen[0] is not None
    np.testing.assert_allclose(seen[0], [108, 66, 124, 82], atol=1.1)
    assert float(chosen.predicted_iou[0]) == pytest.approx(0.6)
    # what was not chosen is the other one, although the network rates it lower
    (other,) = other_boxes(chosen, 0)
    np.testing.assert_allclose(other, [4, 8, 12, 16], atol=0.6)
    assert other_boxes(decoded, 0)[0] == pytest.approx(other), "without a choice the best rated is taken"
    swapped = choose_masks(decoded, [9], [Window(100.0, 50.0, 64.0, 64.0)], lambda identity, boxes, ious: 0)
    assert other_boxes(swapped, 0) == [], "the empty mask has no box"


def test_the_propagator_asks_once_for_each_object_and_frame(network: TorchNetwork) -> None:
    image = np.random.default_rng(1).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    propagator = Propagator(network, mode="windows")
    propagator.step(Frame(image, 0))
    boxes = {1: np.array([10, 10, 30, 30], np.float32), 2: np.array([60, 60, 80, 80], np.float32)}
    propagator.prompt(Frame(image, 0), boxes)
    asked: list[int] = []

    def choose(identity: int, boxes: object, ious: FloatArray) -> int:
        asked.append(identity)
        assert ious.shape == (3,)
        return 0

    propagator.step(Frame(image, 1), choose=choose)
    assert sorted(asked) == [1, 2]
