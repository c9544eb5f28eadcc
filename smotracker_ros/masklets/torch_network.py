"""A SAM2 network computed by torch: any checkpoint, on a CPU or a GPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.masklets.model import DecodedTensors, ImageFeatures, MemoryTensors, Sam2Steps
from smotracker_ros.masklets.network import Candidates, Decoded, Held, Memories

# On a CPU, objects attend to their memories together as long as their inputs have no more pixels in all: eight whole
# frames of 1024 pixels take a third longer together than one by one, presumably as they leave the caches
_PIXELS_TOGETHER = 8 * 256**2


class TorchNetwork:
    """A :class:`~smotracker_ros.masklets.network.MaskletNetwork`: its opaque values are tensors.

    Attributes:
        steps: the model and its steps as functions of tensors.
    """

    runtime = "torch"

    def __init__(self, steps: Sam2Steps) -> None:
        self.steps = steps

    @property
    def name(self) -> str:
        """E.g. "sam2-nano" or "sam2.1-hiera-t"."""
        return self.steps.name

    @property
    def checksum(self) -> str:
        """First 16 hexadecimal digits of the weights' SHA-256, "random" for unloaded weights."""
        return self.steps.checksum

    @property
    def device(self) -> str:
        """Where the weights are."""
        return str(self.steps.device)

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.steps.image_size

    @property
    def recent_limit(self) -> int:
        """Memories of unprompted frames that the model has places for."""
        return int(self.steps.model.num_maskmem) - 1

    @property
    def pointer_limit(self) -> int:
        """Object pointers of unprompted frames that the model has places for."""
        return int(self.steps.model.max_obj_ptrs_in_encoder) - 1

    @property
    def leaves_out_absent(self) -> bool:
        """Whether objects with different numbers of memories may share a call."""
        return self.steps.leaves_out_absent

    @property
    def most_conditioned(self) -> int:
        """Most objects that attend to their memories at once: what fits a processor's caches; on a GPU, all."""
        if self.steps.device.type != "cpu":
            return sys.maxsize
        return max(_PIXELS_TOGETHER // self.image_size**2, 1)

    @torch.inference_mode()
    def encode(self, images: UInt8Image) -> ImageFeatures:
        """Encode RGB images, uint8 (B, S, S, 3)."""
        return self.steps.encode(self.steps.normalise(images))

    @torch.inference_mode()
    def select(self, features: ImageFeatures, indices: Sequence[int]) -> ImageFeatures:
        """Features of some images of a batch; an index may occur several times."""
        return features.select(list(indices))

    @torch.inference_mode()
    def join(self, parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """One batch of several."""
        return ImageFeatures.joined(parts)

    @torch.inference_mode()
    def fine_maps(self, features: ImageFeatures, index: int) -> tuple[FloatArray, ...]:
        """The two finer levels of one image's features, each float32 (h, w, C)."""
        levels = zip(features.levels[:2], features.sizes[:2], strict=True)
        return tuple(level[:, index].float().cpu().numpy().reshape(*size, -1) for level, size in levels)

    @torch.inference_mode()
    def condition(self, features: ImageFeatures, memories: Memories | None) -> Tensor:
        """Mix memories into the features of the same objects; BCHW."""
        return self.steps.condition(features, None if memories is None else stack_memories(memories))

    @torch.inference_mode()
    def decode(
        self,
        conditioned: Sequence[Tensor],
        features: ImageFeatures,
        boxes: FloatArray | None,
        first: bool = True,
        every_mask: bool = False,
    ) -> Decoded:
        """Masks from conditioned features, following the boxes if given."""
        prompts = None if boxes is None else torch.from_numpy(boxes).to(self.steps.device)
        answer = self.steps.decode(torch.cat(list(conditioned)), features, prompts, first, every_mask)
        candidates = None
        if answer.candidates is not None:
            offered = answer.candidates
            candidates = Candidates(_array(offered.low), _array(offered.high), _array(offered.predicted_iou))
        return Decoded(
            _array(answer.low)[:, 0],
            _array(answer.high)[:, 0],
            _array(answer.predicted_iou),
            _array(answer.object_score),
            answer,
            candidates,
        )

    @torch.inference_mode()
    def memorise(
        self, features: ImageFeatures, decoded: Decoded, rows: Sequence[int], prompted: bool
    ) -> list[tuple[Held, Held]]:
        """Memory (D, h, w) in bfloat16, and object pointer (C,), of some objects' masks on a frame."""
        answer: DecodedTensors = decoded.answer
        chosen, own = list(rows), answer.high
        pointers = answer.pointer
        if decoded.chosen is not None and answer.candidates is not None:
            taken = torch.from_numpy(decoded.chosen).to(own.device)
            everyone = torch.arange(len(taken), device=own.device)
            own = answer.candidates.high[everyone, taken][:, None]
            pointers = answer.candidates.pointers[everyone, taken]
        memories = self.steps.memorise(features.select(chosen), own[chosen], answer.object_score[chosen], prompted)
        # cloned: a view would keep the whole batch alive as long as the longest-lived object
        return [(memories[place].to(torch.bfloat16).clone(), pointers[row].clone()) for place, row in enumerate(chosen)]

    def release(self) -> None:
        """Give memory that nothing uses any more back to the GPU."""
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def stack_memories(memories: Memories) -> MemoryTensors:
    """Tensors of a batch of objects' memories, with zeros for what is absent."""
    some_memory, some_pointer = _present(memories.prompted), _present(memories.pointers)
    device = some_memory.device

    def stacked(columns: tuple[tuple[Held | None, ...], ...], some: Tensor) -> tuple[Tensor, ...]:
        nothing = torch.zeros_like(some)
        filled = ([entry if isinstance(entry, Tensor) else nothing for entry in column] for column in columns)
        return tuple(torch.stack(column) for column in filled)

    absent = memories.absent
    return MemoryTensors(
        prompted=stacked(memories.prompted, some_memory),
        recent=stacked(memories.recent, some_memory),
        recent_slots=torch.from_numpy(memories.recent_slots).to(device),
        pointers=torch.stack(stacked(memories.pointers, some_pointer)),
        pointer_ages=torch.from_numpy(memories.pointer_ages).to(device),
        absent=None if absent is None else torch.from_numpy(absent).to(device),
    )


def _present(columns: tuple[tuple[Held | None, ...], ...]) -> Tensor:
    return next(entry for column in columns for entry in column if isinstance(entry, Tensor))


def _array(tensor: Tensor) -> FloatArray:
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float32)
