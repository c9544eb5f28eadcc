"""The SAM2 network: its four steps as plain functions of tensors.

The official `sam2` package is composed, not patched: :class:`Sam2Steps` calls the parts of an unmodified
``SAM2Base`` (image encoder, memory attention, prompt encoder with mask decoder, memory encoder) on a batch of objects,
each with its own memories. Training uses it as it is; tracking, through
:class:`~smotracker_ros.masklets.torch_network.TorchNetwork`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor, nn

_P = ParamSpec("_P")
_R = TypeVar("_R")

# ImageNet statistics, as every SAM2 checkpoint expects
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageFeatures:
    """Encoded images of a batch.

    Attributes:
        levels: three tensors (HW)BC from fine to coarse.
        positions: their positional encodings, (HW)1C.
        sizes: (height, width) of each level.
    """

    levels: tuple[Tensor, ...]
    positions: tuple[Tensor, ...]
    sizes: tuple[tuple[int, int], ...]

    def select(self, indices: list[int]) -> ImageFeatures:
        """The features of some images of the batch; an index may occur several times."""
        if indices == list(range(self.levels[0].shape[1])):
            return self
        return ImageFeatures(tuple(level[:, indices] for level in self.levels), self.positions, self.sizes)

    @staticmethod
    def joined(parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """One batch of several, of images of one size."""
        if len(parts) == 1:
            return parts[0]
        levels = tuple(torch.cat(level, dim=1) for level in zip(*(part.levels for part in parts), strict=True))
        return ImageFeatures(levels, parts[0].positions, parts[0].sizes)


@dataclass(frozen=True)
class MemoryTensors:
    """What a batch of objects remembers; every object has the same number of entries of each kind, some maybe absent.

    Attributes:
        prompted: memories of prompted frames, each BDhw.
        recent: memories of unprompted frames, each BDhw.
        recent_slots: how far back each of `recent` counts, 1 for the newest; int64 (len(recent), B).
        pointers: object pointers, PBC.
        pointer_ages: ages of the pointers in frames, float32 (P, B).
        absent: bool (B, len(prompted) + len(recent) + P), which entries, in this order, an object does not have and
            must not be seen; None: none. Only a network whose `leaves_out_absent` is True takes them.
    """

    prompted: tuple[Tensor, ...]
    recent: tuple[Tensor, ...]
    recent_slots: Tensor
    pointers: Tensor
    pointer_ages: Tensor
    absent: Tensor | None = None


@dataclass(frozen=True)
class CandidateTensors:
    """All masks that the decoder offers for each object of a batch.

    Attributes:
        low: mask logits at a quarter of the input's resolution, BMhw.
        high: mask logits at the input's resolution, BMHW.
        predicted_iou: estimates of each mask's IoU, BM.
        pointers: the object pointer that goes with each mask, BMC.
    """

    low: Tensor
    high: Tensor
    predicted_iou: Tensor
    pointers: Tensor


@dataclass(frozen=True)
class DecodedTensors:
    """Masks of a batch of objects.

    Attributes:
        low: mask logits at a quarter of the input's resolution, B1hw.
        high: mask logits at the input's resolution, B1HW.
        predicted_iou: the network's own estimate of each mask's IoU, (B,).
        pointer: object pointers, BC.
        object_score: logit of the object being visible at all, (B,).
        candidates: all masks, if they were asked for.
        chosen: int64 (B,), which of the candidates these masks are; None: those that the network rates highest.
    """

    low: Tensor
    high: Tensor
    predicted_iou: Tensor
    pointer: Tensor
    object_score: Tensor
    candidates: CandidateTensors | None = None
    chosen: Tensor | None = None


class Reader(Protocol):
    """Attention to memories that can leave tokens out.

    Attributes:
        absent: bool (B, M), tokens not to be seen in the next call; None: all are seen.
    """

    absent: Tensor | None

    @property
    def leaves_out(self) -> bool:
        """Whether it is worth it: only where attention is small."""


def _in_precision(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a method of :class:`Sam2Steps` under autocast, if its precision is not float32."""

    @functools.wraps(method)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        network: Any = args[0]
        if network.precision == torch.float32:
            return method(*args, **kwargs)
        with torch.autocast(network.device.type, dtype=network.precision):
            return method(*args, **kwargs)

    return run


class Sam2Steps:
    """A SAM2 model and the facts that its users need.

    Attributes:
        model: the ``SAM2Base`` module.
        name: e.g. "sam2-nano" or "sam2.1-hiera-t".
        checksum: first 16 hexadecimal digits of the weights' SHA-256, "random" for unloaded weights.
        dense_box_prompt: whether box prompts are also drawn as a mask prompt (our nano model is trained that way).
        precision: in which the network computes (:meth:`compute_in`); its results stay float32 where they may.
        image_encoder: computes the levels, each BCHW, of normalised images in place of the model's own encoder.
        readers: attentions to memories that can leave entries out, one for each layer; empty: the model's cannot.
    """

    def __init__(
        self,
        model: SAM2Base,
        name: str,
        checksum: str,
        dense_box_prompt: bool,
    ) -> None:
        self.model = model
        self.precision = torch.float32
        self.image_encoder: Callable[[Tensor], list[Tensor]] | None = None
        self.readers: tuple[Reader, ...] = ()
        self.name = name
        self.checksum = checksum
        self.dense_box_prompt = dense_box_prompt
        self._spatial_encoding: Tensor | None = None
        self._mean = torch.tensor(PIXEL_MEAN, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(PIXEL_STD, device=self.device).view(3, 1, 1)

    def compute_in(self, precision: torch.dtype) -> None:
        """Compute in a format from now on; after half precision there is no way back to float32.

        Weights that autocast would convert in every call are converted once: the results are the same.
        """
        self.precision = precision
        if precision == torch.float32:
            return
        for module in self.model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                module.to(precision)

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return int(self.model.image_size)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def normalise(self, images: np.ndarray) -> Tensor:
        """uint8 RGB images (B, S, S, 3) to the network's input, float32 (B, 3, S, S) on its device."""
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2).float()
        return batch.div_(255).sub_(self._mean).div_(self._std)

    @_in_precision
    def encode(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, S, S)."""
        if self.image_encoder is None:
            backbone = self.model.forward_image(images)
        else:
            fpn = self.image_encoder(images)
            encoding = self.model.image_encoder.neck.position_encoding
            backbone = {"backbone_fpn": fpn, "vision_pos_enc": [encoding(level) for level in fpn]}
        _, levels, positions, sizes = self.model._prepare_backbone_features(backbone)
        return ImageFeatures(
            tuple(levels), tuple(position[:, :1] for position in positions), tuple((int(h), int(w)) for h, w in sizes)
        )

    @_in_precision
    def condition(self, features: ImageFeatures, memories: MemoryTensors | None) -> Tensor:
        """Coarsest features with the memories mixed in, BCHW; without memories, the network's no-memory embedding."""
        model = self.model
        current = features.levels[-1]
        height, width = features.sizes[-1]
        batch, channels = current.shape[1], current.shape[2]
        if memories is None:
            return (current + model.no_mem_embed).permute(1, 2, 0).reshape(batch, channels, height, width)
        spatial = self._memory_positions(height, width)  # (HW)1D
        tokens: list[Tensor] = []
        positions: list[Tensor] = []
        for memory in memories.prompted:
            tokens.append(memory.flatten(2).permute(2, 0, 1).to(current.dtype))
            positions.append((spatial + model.maskmem_tpos_enc[model.num_maskmem - 1]).expand(-1, batch, -1))
        for memory, slots in zip(memories.recent, memories.recent_slots, strict=True):
            tokens.append(memory.flatten(2).permute(2, 0, 1).to(current.dtype))
            positions.append(spatial + model.maskmem_tpos_enc[slots - 1].view(1, batch, -1))
        pointer_tokens = 0
        if model.use_obj_ptrs_in_encoder and len(memories.pointers):
            pointers, ages = memories.pointers, memories.pointer_ages
            # a pointer is cut into as many tokens as fit the memory's width
            parts = channels // model.mem_dim
            dimension = channels if model.proj_tpos_enc_in_obj_ptrs else model.mem_dim
            encoding = get_1d_sine_pe(ages / (model.max_obj_ptrs_in_encoder - 1), dim=dimension)
            encoding = model.obj_ptr_tpos_proj(encoding)  # PBD
            if not model.add_tpos_enc_to_obj_ptrs:
                encoding = torch.zeros_like(encoding)
            split = pointers.reshape(-1, batch, parts, model.mem_dim).permute(0, 2, 1, 3).flatten(0, 1)
            tokens.append(split)
            positions.append(encoding.repeat_interleave(parts, dim=0))
            pointer_tokens = split.shape[0]
        with self._left_out(memories, height * width, pointer_tokens):
            mixed = model.memory_attention(
                curr=[current],
                curr_pos=[features.positions[-1].expand(-1, batch, -1)],
                memory=torch.cat(tokens),
                memory_pos=torch.cat(positions),
                num_obj_ptr_tokens=pointer_tokens,
            )
        return mixed.permute(1, 2, 0).reshape(batch, channels, height, width)

    @_in_precision
    def decode(
        self,
        conditioned: Tensor,
        features: ImageFeatures,
        boxes: Tensor | None,
        first: bool = True,
        every_mask: bool = False,
    ) -> DecodedTensors:
        """Masks from conditioned features, following the boxes if given.

        Args:
            conditioned: BCHW of :meth:`condition`.
            features: of the same batch.
            boxes: prompts, xyxy in input pixels, float32 (B, 4), or None.
            first: whether a prompt starts objects (True) or corrects known ones.
            every_mask: also return the masks that the network rates lower.
        """
        prompt: dict[str, Tensor] | None = None
        prior: Tensor | None = None
        if boxes is not None:
            labels = torch.tensor([[2, 3]], dtype=torch.int32, device=boxes.device).expand(len(boxes), 2)
            prompt = {"point_coords": boxes.view(-1, 2, 2), "point_labels": labels}
            if self.dense_box_prompt:
                prior = self._rasterise(boxes)
        fine = [
            level.permute(1, 2, 0).reshape(level.shape[1], level.shape[2], *size)
            for level, size in zip(features.levels[:-1], features.sizes[:-1], strict=True)
        ]
        multimask = self.model._use_multimask(boxes is not None and first, prompt)
        tokens: list[Tensor] = []
        with contextlib.ExitStack() as stack:
            if every_mask:
                # the heads return the pointer of the best-rated mask alone; the others' tokens pass by here
                decoder = self.model.sam_mask_decoder
                hook = decoder.register_forward_hook(lambda module, given, output: tokens.append(output[2]))
                stack.callback(hook.remove)
            all_low, all_high, ious, low, high, pointer, score = self.model._forward_sam_heads(
                conditioned, prompt, prior, fine, multimask
            )
        candidates = None
        if every_mask:
            pointers = self._pointers(tokens[0], score).expand(-1, ious.shape[1], -1)
            candidates = CandidateTensors(all_low, all_high, ious, pointers)
        return DecodedTensors(low, high, ious.max(dim=1).values, pointer, score[:, 0], candidates)

    def _pointers(self, tokens: Tensor, score: Tensor) -> Tensor:
        """Object pointers BMC of mask tokens BMC, as the stock heads make them from the best mask's token."""
        model = self.model
        pointers = model.obj_ptr_proj(tokens)
        if model.pred_obj_scores:
            visible = (score.sigmoid() if model.soft_no_obj_ptr else (score > 0).float())[:, None]
            if model.fixed_no_obj_ptr:
                pointers = visible * pointers
            pointers = pointers + (1 - visible) * model.no_obj_ptr
        return pointers

    @_in_precision
    def memorise(self, features: ImageFeatures, high: Tensor, object_score: Tensor, prompted: bool) -> Tensor:
        """Memory of a frame, BDhw.

        Args:
            features: of the batch.
            high: mask logits, B1HW.
            object_score: logits, (B,); not above 0 means that the object is not visible.
            prompted: whether the masks answer a prompt.
        """
        memory, _ = self.model._encode_new_memory(
            list(features.levels), list(features.sizes), high, object_score[:, None], prompted
        )
        return memory

    @property
    def leaves_out_absent(self) -> bool:
        """Whether banks that hold different numbers of entries may share a batch."""
        return bool(self.readers) and all(reader.leaves_out for reader in self.readers)

    @contextlib.contextmanager
    def _left_out(self, memories: MemoryTensors, places: int, pointer_tokens: int) -> Iterator[None]:
        """Let the memory attention ignore absent entries: `places` tokens per memory, then those of the pointers."""
        if memories.absent is None:
            yield
            return
        spatial = len(memories.prompted) + len(memories.recent)
        tokens = [memories.absent[:, :spatial].repeat_interleave(places, dim=1)]
        if pointer_tokens:
            parts = pointer_tokens // len(memories.pointers)
            tokens.append(memories.absent[:, spatial:].repeat_interleave(parts, dim=1))
        absent = torch.cat(tokens, dim=1)
        for reader in self.readers:
            reader.absent = absent
        try:
            yield
        finally:
            for reader in self.readers:
                reader.absent = None

    def _memory_positions(self, height: int, width: int) -> Tensor:
        if self._spatial_encoding is None or self._spatial_encoding.shape[0] != height * width:
            blank = torch.zeros(1, self.model.mem_dim, height, width, device=self.device)
            with torch.no_grad():
                encoding = self.model.memory_encoder.position_encoding(blank)
            self._spatial_encoding = encoding.flatten(2).permute(2, 0, 1).clone()
        return self._spatial_encoding

    def _rasterise(self, boxes: Tensor) -> Tensor:
        """Boxes as mask-prompt logits, B1hw: +4 inside, -4 outside."""
        side = self.image_size // 4
        centers = torch.arange(side, device=boxes.device) * 4.0 + 2.0
        inside_x = (centers > boxes[:, 0:1]) & (centers < boxes[:, 2:3])
        inside_y = (centers > boxes[:, 1:2]) & (centers < boxes[:, 3:4])
        return ((inside_y[:, :, None] & inside_x[:, None, :]).float() * 8 - 4)[:, None]
