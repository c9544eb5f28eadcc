"""The SAM2 network: building it from a checkpoint, and its four steps as plain functions of tensors.

The official `sam2` package is composed, not patched: :class:`MaskletNetwork` calls the parts of an unmodified
``SAM2Base`` (image encoder, memory attention, prompt encoder with mask decoder, memory encoder) on a batch of objects,
each with its own memories. Training and the online propagator share it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import Tensor

PACKAGE = Path(__file__).resolve().parent.parent
NANO_CONFIG = Path(__file__).resolve().parent / "nano.yaml"
NANO_WEIGHTS = PACKAGE / "weights" / "sam2_nano.pt"

# ImageNet statistics, as every SAM2 checkpoint expects
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)

# As `build_sam2_video_predictor` sets them for official checkpoints
_POSTPROCESSING = {
    "model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability": True,
    "model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta": 0.05,
    "model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh": 0.98,
    "model.binarize_mask_from_pts_for_mem_enc": True,
}

# First-stage width and number of blocks of the image encoder tell the official sizes apart
_OFFICIAL_SIZES = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}


class ModelError(RuntimeError):
    """Weights that cannot be used; the message names the file and the remedy."""


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
        return ImageFeatures(tuple(level[:, indices] for level in self.levels), self.positions, self.sizes)


@dataclass(frozen=True)
class Memories:
    """What a batch of objects remembers; every object has the same number of entries of each kind.

    Attributes:
        prompted: memories of prompted frames, each BDhw.
        recent: memories of unprompted frames, each BDhw.
        recent_slots: how far back each of `recent` counts, 1 for the newest; int64 (len(recent), B).
        pointers: object pointers, PBC.
        pointer_ages: ages of the pointers in frames, float32 (P, B).
    """

    prompted: tuple[Tensor, ...]
    recent: tuple[Tensor, ...]
    recent_slots: Tensor
    pointers: Tensor
    pointer_ages: Tensor


@dataclass(frozen=True)
class Decoded:
    """Masks of a batch of objects.

    Attributes:
        low: mask logits at a quarter of the input's resolution, B1hw.
        high: mask logits at the input's resolution, B1HW.
        predicted_iou: the network's own estimate of each mask's IoU, (B,).
        pointer: object pointers, BC.
        object_score: logit of the object being visible at all, (B,).
    """

    low: Tensor
    high: Tensor
    predicted_iou: Tensor
    pointer: Tensor
    object_score: Tensor


class MaskletNetwork:
    """A SAM2 model and the facts that its users need.

    Attributes:
        model: the ``SAM2Base`` module.
        name: e.g. "sam2-nano" or "sam2.1-hiera-t".
        checksum: first 16 hexadecimal digits of the weights' SHA-256, "random" for unloaded weights.
        dense_box_prompt: whether box prompts are also drawn as a mask prompt (our nano model is trained that way).
    """

    def __init__(self, model: SAM2Base, name: str, checksum: str, dense_box_prompt: bool) -> None:
        self.model = model
        self.name = name
        self.checksum = checksum
        self.dense_box_prompt = dense_box_prompt
        self._spatial_encoding: Tensor | None = None
        self._mean = torch.tensor(_MEAN, device=self.device).view(3, 1, 1)
        self._std = torch.tensor(_STD, device=self.device).view(3, 1, 1)

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
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2).float().div_(255)
        return (batch - self._mean) / self._std

    def encode(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images (B, 3, S, S)."""
        backbone = self.model.forward_image(images)
        _, levels, positions, sizes = self.model._prepare_backbone_features(backbone)
        return ImageFeatures(
            tuple(levels), tuple(position[:, :1] for position in positions), tuple((int(h), int(w)) for h, w in sizes)
        )

    def condition(self, features: ImageFeatures, memories: Memories | None) -> Tensor:
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
        mixed = model.memory_attention(
            curr=[current],
            curr_pos=[features.positions[-1].expand(-1, batch, -1)],
            memory=torch.cat(tokens),
            memory_pos=torch.cat(positions),
            num_obj_ptr_tokens=pointer_tokens,
        )
        return mixed.permute(1, 2, 0).reshape(batch, channels, height, width)

    def decode(self, conditioned: Tensor, features: ImageFeatures, boxes: Tensor | None, first: bool = True) -> Decoded:
        """Masks from conditioned features, following the boxes if given.

        Args:
            conditioned: BCHW of :meth:`condition`.
            features: of the same batch.
            boxes: prompts, xyxy in input pixels, float32 (B, 4), or None.
            first: whether a prompt starts objects (True) or corrects known ones.
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
        _, _, ious, low, high, pointer, score = self.model._forward_sam_heads(
            conditioned, prompt, prior, fine, multimask
        )
        return Decoded(low, high, ious.max(dim=1).values, pointer, score[:, 0])

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


def instantiate_config(config: Path, image_size: int = 0, official: bool = False) -> SAM2Base:
    """Build a ``SAM2Base`` with random weights from one of SAM2's YAML files.

    Args:
        config: YAML file with a `model` section.
        image_size: side of the input in pixels; 0 keeps the file's.
        official: apply the inference settings of the stock video predictor.
    """
    options = OmegaConf.load(config)
    options.model._target_ = "sam2.modeling.sam2_base.SAM2Base"
    if image_size:
        options.model.image_size = image_size
    if official:
        for key, value in _POSTPROCESSING.items():
            OmegaConf.update(options, key, value, force_add=True)
    return instantiate(options.model, _recursive_=True)


def config_for(state: dict[str, Tensor], source: str = "the checkpoint") -> tuple[str, Path]:
    """Find the YAML file that fits a state dictionary by its keys and shapes.

    Returns:
        Name of the model and path of its configuration.

    Raises:
        ModelError: if it is neither our nano model nor SAM 2.0/2.1 t, s, b+ or l.
    """
    stem = state.get("image_encoder.trunk.patch_embed.proj.weight")
    if stem is None:
        raise ModelError(f"{source} is not a SAM2 checkpoint: it has no image_encoder.trunk.patch_embed.proj.weight")
    blocks = len({key.split(".")[3] for key in state if key.startswith("image_encoder.trunk.blocks.")})
    if (stem.shape[0], blocks) == (32, 7):
        return "sam2-nano", NANO_CONFIG
    size = _OFFICIAL_SIZES.get((int(stem.shape[0]), blocks))
    if size is None:
        raise ModelError(
            f"{source} has an image encoder of width {stem.shape[0]} with {blocks} blocks; that is no SAM2 size known "
            "here (t, s, b+, l, nano). Use an official checkpoint or train one with `smotracker train masklets`"
        )
    import sam2

    version = "2.1" if "obj_ptr_tpos_proj.weight" in state else "2"
    folder = Path(sam2.__path__[0]) / "configs" / f"sam{version}"
    return f"sam{version}-hiera-{size}", folder / f"sam{version}_hiera_{size}.yaml"


def load_network(weights: Path | None = None, image_size: int = 0, device: str = "cpu") -> MaskletNetwork:
    """Load a SAM2 checkpoint for inference.

    Args:
        weights: official or nano checkpoint, `{"model": state_dict}`; None: the embedded nano model.
        image_size: side of the input in pixels; 0: 256 for official checkpoints, 128 for nano.
        device: torch device.

    Raises:
        ModelError: if the file is missing, broken, or fits no known configuration.
    """
    path = weights or NANO_WEIGHTS
    content = read_checkpoint(path)
    state: dict[str, Tensor] = {key: value.float() for key, value in content["model"].items()}
    name, config = config_for(state, str(path))
    nano = config == NANO_CONFIG
    model = instantiate_config(config, image_size or (0 if nano else 256), official=not nano)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(
            f"{path} looks like {name} but does not fit it ({str(error).splitlines()[1].strip()[:200]}); "
            "download the checkpoint again or use one that was saved unchanged"
        ) from error
    model.requires_grad_(False)
    extra = content.get("smotracker", {})
    return MaskletNetwork(
        model.eval().to(device), name, file_checksum(path), bool(extra.get("dense_box_prompt", False))
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read `{"model": state_dict, ...}` without running code from the file.

    Raises:
        ModelError: if the file is missing, broken or of another layout.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such weight file; give an existing SAM2 checkpoint or leave the setting empty")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for broken files
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelError(
            f"{path} cannot be read as a checkpoint ({reason}); it may be truncated: fetch it again"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ModelError(f'{path} is not a SAM2 checkpoint: these hold a dictionary with the key "model"')
    return content


def file_checksum(path: Path) -> str:
    """First 16 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
