"""Our propagator against the stock ``SAM2VideoPredictor`` of the sam2 package, on the same random weights.

Both run the official tiny architecture with full memories: seven mask memories and sixteen object pointers per object.
To get there at 1024 pixels would take several minutes per object, so both follow their objects for one frame and
take copies of that frame's memory for those that were left out. The frames that are timed are real steps, and the
logits of both sides are compared: they must be equal.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import sam2
import torch
from sam2.build_sam import build_sam2_video_predictor

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, box_centers
from smotracker_ros.evaluation.benchmarks.clips import Discs
from smotracker_ros.evaluation.benchmarks.measuring import Result, Say, alternate, paired_ratio, significant
from smotracker_ros.masklets.acceleration import accelerate, can_accelerate
from smotracker_ros.masklets.checkpoints import instantiate_config, load_network
from smotracker_ros.masklets.memory import FIFO, Entry
from smotracker_ros.masklets.propagator import Guess, Propagator
from smotracker_ros.masklets.torch_network import TorchNetwork
from smotracker_ros.masklets.windows import cut, whole_frame

_CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
# Largest difference of logits that rounding explains; the logits themselves span more than 1
_EQUAL = 1e-3
_SIDES = {"windows_vs_stock": "windows", "whole_frame_vs_stock": "whole_frame"}


@dataclass(frozen=True)
class StockSettings:
    """What is measured.

    Attributes:
        targets: numbers of objects.
        image_size: side in pixels of what the stock predictor, and ours in whole-frame mode, see.
        window_size: side in pixels of what ours sees of a window.
        width: of the frames, pixels.
        height: of the frames, pixels.
        repetitions: timed frames per side and number of objects.
    """

    targets: tuple[int, ...] = (1, 4, 8)
    image_size: int = 1024
    window_size: int = 256
    width: int = 1280
    height: int = 720
    repetitions: int = 3


def run(settings: StockSettings, say: Say) -> Result:
    """Measure; see the module."""
    medians: dict[str, dict[str, float]] = {name: {} for name in _SIDES}
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.pt"
        _write_random_weights(weights)
        stock = _load_stock(weights, settings.image_size)
        whole = load_network(weights, settings.image_size)
        windows = load_network(weights, settings.window_size)
        for steps in (whole.steps, windows.steps):
            if can_accelerate(steps.device, steps.precision):
                steps.readers = accelerate(steps.model)
        for number in settings.targets:
            say(f"{number} target(s): filling the memories")
            entry = _compare(settings, number, stock, whole, windows, Path(folder), say)
            details[str(number)] = entry
            for name in _SIDES:
                medians[name][str(number)] = entry[name]["median"]
    return Result(medians, {"targets": details})


def _compare(
    settings: StockSettings,
    number: int,
    stock: Any,
    whole: TorchNetwork,
    windows: TorchNetwork,
    folder: Path,
    say: Say,
) -> dict[str, Any]:
    # before the first timed frame lie as many as pointers are kept, so that every slot of the memories is taken
    first = whole.steps.model.max_obj_ptrs_in_encoder + 1
    clip = _Clip.drawn(Discs(number, settings.width, settings.height), first + settings.repetitions)
    sides: dict[str, StockSide | OurSide] = {
        "stock": StockSide(stock, whole, clip, folder),
        "whole_frame": OurSide(Propagator(whole, FIFO, "whole_frame"), clip),
        "windows": OurSide(Propagator(windows, FIFO, "windows"), clip),
    }
    for side in sides.values():
        side.fill(first)

    def step(name: str) -> Callable[[int], None]:
        def run_one(repetition: int) -> None:
            say(f"{number} target(s), {name.replace('_', ' ')}: frame {repetition + 1} of {settings.repetitions}")
            sides[name].step(first + repetition)

        return run_one

    ledgers = alternate({name: step(name) for name in sides}, settings.repetitions)
    reference = sides["stock"].logits()
    difference = float((sides["whole_frame"].logits() - reference).abs().max())
    entry: dict[str, Any] = {name: ledger.summary() for name, ledger in ledgers.items()}
    for key, name in _SIDES.items():
        entry[key] = paired_ratio(ledgers["stock"].cpu(), ledgers[name].cpu())
    entry["largest_logit_difference"] = significant(difference)
    entry["logit_span"] = significant(float(reference.max() - reference.min()))
    entry["equal"] = difference < _EQUAL
    entry["frames"] = {name: len(ledger.costs) for name, ledger in ledgers.items()}
    return entry


@dataclass(frozen=True)
class _Clip:
    """Frames, and the true boxes of each, by id."""

    frames: list[Frame]
    boxes: list[Mapping[int, FloatArray]]

    @classmethod
    def drawn(cls, discs: Discs, length: int) -> _Clip:
        return cls([discs.frame(index) for index in range(length)], [discs.boxes(index) for index in range(length)])


class StockSide:
    """The stock predictor, fed frame by frame.

    It gets the very input tensors that our whole-frame mode makes; making them is in our time, not in its own.

    Args:
        predictor: the ``SAM2VideoPredictor``.
        network: of the same input size; prepares the input.
        clip: what is followed.
        folder: for the one picture that the predictor must be opened with.
    """

    def __init__(self, predictor: Any, network: TorchNetwork, clip: _Clip, folder: Path) -> None:
        self._predictor, self._network, self._clip = predictor, network, clip
        self._newest = 0
        video = folder / "video"
        video.mkdir(exist_ok=True)
        cv2.imwrite(str(video / "00000.jpg"), clip.frames[0].image)
        with _quiet():
            self._state = predictor.init_state(str(video))
        self._inputs: dict[int, torch.Tensor] = {0: self._input(0)}
        self._state.update(images=self._inputs, num_frames=len(clip.frames), cached_features={})
        with _quiet():
            for identity, box in clip.boxes[0].items():
                predictor.add_new_points_or_box(self._state, 0, identity, box=box)

    def _input(self, index: int) -> torch.Tensor:
        image = self._clip.frames[index].image
        return self._network.steps.normalise(cut(image, whole_frame(image), self._network.image_size)[None])[0]

    def fill(self, before: int) -> None:
        """Follow the objects to frame 1 and put copies of what it left in memory up to frame `before`."""
        self._inputs[1] = self._input(1)
        self.step(1)
        for outputs in self._state["output_dict_per_obj"].values():
            recent = outputs["non_cond_frame_outputs"]
            for index in range(2, before):
                recent[index] = recent[1]
        for index in range(before, len(self._clip.frames)):
            self._inputs[index] = self._input(index)

    def step(self, index: int) -> None:
        """Propagate to one frame."""
        with _quiet():
            for _ in self._predictor.propagate_in_video(self._state, index, 0):
                pass
        self._newest = index

    def logits(self) -> torch.Tensor:
        """Low-resolution mask logits of the newest frame, (N, h, w)."""
        outputs = self._state["output_dict_per_obj"].values()
        return torch.cat([output["non_cond_frame_outputs"][self._newest]["pred_masks"][:, 0] for output in outputs])


class OurSide:
    """Our propagator. Windows follow the true places: random weights know nothing of targets."""

    def __init__(self, propagator: Propagator, clip: _Clip) -> None:
        self._propagator, self._clip = propagator, clip
        propagator.prompt(clip.frames[0], clip.boxes[0])

    def fill(self, before: int) -> None:
        """As :meth:`StockSide.fill`."""
        self.step(1)
        for item in self._propagator._objects.values():
            newest = item.bank.recent[-1]
            for index in range(2, before):
                item.bank.write(Entry(index, newest.memory, newest.pointer), prompted=False)
        for index in range(2, before):
            self._propagator.step(self._clip.frames[index], ids=())

    def step(self, index: int) -> None:
        """Propagate to one frame."""
        guesses = {identity: _guess(box) for identity, box in self._clip.boxes[index].items()}
        self._propagator.step(self._clip.frames[index], guesses=guesses)

    def logits(self) -> torch.Tensor:
        """Low-resolution mask logits of the newest frame, (N, h, w)."""
        return torch.from_numpy(np.stack(list(self._propagator.logits.values())))


def _guess(box: FloatArray) -> Guess:
    return Guess(box_centers(box)[0], float(max(box[2] - box[0], box[3] - box[1])))


def _write_random_weights(path: Path) -> None:
    """Random weights in the layout of an official checkpoint, whose objects count as visible."""
    torch.manual_seed(0)
    model = instantiate_config(Path(sam2.__path__[0]) / _CONFIG, official=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "pred_obj_score" in name and name.endswith("layers.2.bias"):
                parameter.add_(3.0)
            if "output_hypernetworks_mlps" in name and name.endswith("layers.2.weight"):
                parameter.mul_(4.0)  # without it all logits lie so close to 0 that no comparison means anything
    torch.save({"model": model.state_dict()}, path)


def _load_stock(weights: Path, image_size: int) -> Any:
    return build_sam2_video_predictor(
        _CONFIG, str(weights), device="cpu", hydra_overrides_extra=[f"++model.image_size={image_size}"]
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the screen what the stock predictor prints: progress bars, and that its CUDA extension is missing."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
