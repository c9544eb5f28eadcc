"""The propagator gives what the stock video predictor gives, on the same weights."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from sam2.build_sam import build_sam2_video_predictor

from smotracker_ros.core.frames import Frame
from smotracker_ros.masklets.checkpoints import NANO_CONFIG, instantiate_config, load_network
from smotracker_ros.masklets.memory import FIFO
from smotracker_ros.masklets.propagator import Propagator

FRAMES = 22
BOXES = {1: np.float32([30, 40, 50, 60]), 2: np.float32([82, 12, 98, 28])}


def _write_frames(directory: Path, size: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    background = cv2.GaussianBlur(generator.integers(0, 255, (size, size, 3)).astype(np.uint8), (0, 0), 5)
    frames = []
    for index in range(FRAMES):
        image = background.copy()
        cv2.circle(image, (40 + 2 * index, 50), 8, (255, 255, 255), -1)
        cv2.circle(image, (90, 20 + 2 * index), 6, (0, 0, 0), -1)
        path = directory / f"{index:05d}.jpg"
        cv2.imwrite(str(path), image)
        frames.append(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))
    return frames


def _make_decided(model: torch.nn.Module, scale: float = 4.0) -> None:
    """Random weights hover round zero: make objects visible and logits large enough for differences to show."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pred_obj_score" in name and name.endswith("layers.2.bias"):
                parameter.add_(3.0)
            if "output_hypernetworks_mlps" in name and name.endswith("layers.2.weight"):
                parameter.mul_(scale)


@pytest.mark.parametrize("kind", ["sam2.1", "sam2", "nano"])
def test_whole_frame_mode_equals_the_stock_predictor(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = 128 if kind == "nano" else 256
    weights = tmp_path / "weights.pt"
    if kind != "nano":
        stock = build_sam2_video_predictor(
            f"configs/{kind}/{kind}_hiera_t.yaml",
            None,
            device="cpu",
            hydra_overrides_extra=[f"++model.image_size={size}"],
        )
        _make_decided(stock)
        torch.save({"model": stock.state_dict()}, weights)
    else:
        from hydra.utils import instantiate
        from omegaconf import OmegaConf

        model = instantiate_config(NANO_CONFIG, size)
        _make_decided(model)
        torch.save({"model": model.state_dict()}, weights)
        options = OmegaConf.load(NANO_CONFIG)
        options.model.image_size = size
        options.model._target_ = "sam2.sam2_video_predictor.SAM2VideoPredictor"
        stock = instantiate(options.model, _recursive_=True)
        stock.load_state_dict(model.state_dict())
        stock.eval()
    video = tmp_path / "frames"
    video.mkdir()
    images = _write_frames(video, size)
    state = stock.init_state(str(video))
    for identity, box in BOXES.items():
        stock.add_new_points_or_box(state, 0, identity, box=box)
    expected = {index: logits.clone() for index, _, logits in stock.propagate_in_video(state)}

    propagator = Propagator(load_network(weights, size), FIFO, "whole_frame")
    propagator.prompt(Frame(images[0], 0, 0), BOXES)
    largest = 0.0
    for index in range(1, FRAMES):
        propagator.step(Frame(images[index], index, index))
        low = torch.from_numpy(np.stack([propagator.logits[identity] for identity in BOXES]))[:, None]
        high = torch.nn.functional.interpolate(low, (size, size), mode="bilinear", align_corners=False)
        largest = max(largest, float((high - expected[index]).abs().max()))
    spread = float(expected[FRAMES - 1].max() - expected[FRAMES - 1].min())
    print(f"{kind}: largest difference {largest:.2e}, logits spread over {spread:.2f}")
    assert spread > 0.1
    assert largest < 1e-4


def test_an_object_added_late_equals_the_stock_predictor_started_there(tmp_path: Path) -> None:
    """Objects are independent: a late start gives what a fresh propagator started on that frame gives."""
    torch.manual_seed(1)
    model = instantiate_config(NANO_CONFIG)
    _make_decided(model)
    weights = tmp_path / "weights.pt"
    torch.save({"model": model.state_dict()}, weights)
    images = _write_frames(tmp_path, 128)
    network = load_network(weights)
    together, alone = Propagator(network, FIFO, "whole_frame"), Propagator(network, FIFO, "whole_frame")
    for index, image in enumerate(images[:12]):
        frame = Frame(image, index, index)
        together.step(frame)
        if index >= 5:
            alone.step(frame)
        if index == 0:
            together.prompt(frame, {1: BOXES[1]})
        if index == 5:
            together.prompt(frame, {2: BOXES[2]})
            alone.prompt(frame, {2: BOXES[2]})
    np.testing.assert_allclose(together.logits[2], alone.logits[2], atol=1e-5)
