"""Checkpoints of SAM2: finding the configuration that fits one, and loading it without running its code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from smotracker_ros.core.global_state import global_state_kept
from smotracker_ros.masklets.model import Sam2Steps
from smotracker_ros.masklets.torch_network import TorchNetwork
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER

NANO_CONFIG = Path(__file__).resolve().parent / "nano.yaml"
NANO_WEIGHTS = EMBEDDED_FOLDER / "sam2_nano.pt"

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
    if stem is None or stem.ndim != 4:
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


def load_network(weights: Path | None = None, image_size: int = 0, device: str = "cpu") -> TorchNetwork:
    """Load a SAM2 checkpoint for tracking; see :func:`load_steps`."""
    return TorchNetwork(load_steps(weights, image_size, device))


def load_steps(weights: Path | None = None, image_size: int = 0, device: str = "cpu") -> Sam2Steps:
    """Load a SAM2 checkpoint for inference, as functions of tensors.

    Args:
        weights: official or nano checkpoint, `{"model": state_dict}`; None: the embedded nano model.
        image_size: side of the input in pixels; 0: 96 for nano, for official ones 256 on a CPU and 512 on a GPU.
        device: torch device.

    Raises:
        ModelError: if the file is missing, broken, or fits no known configuration.
    """
    path = weights or NANO_WEIGHTS
    content = read_checkpoint(path)
    state: dict[str, Tensor] = {key: value.float() for key, value in content["model"].items()}
    name, config = config_for(state, str(path))
    nano = config == NANO_CONFIG
    with global_state_kept():  # random weights, which are replaced at once, use up the caller's random numbers
        size = image_size or (0 if nano else _official_image_size(device))
        model = instantiate_config(config, size, official=not nano)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(
            f"{path} looks like {name} but does not fit it ({str(error).splitlines()[1].strip()[:200]}); "
            "download the checkpoint again or use one that was saved unchanged"
        ) from error
    model.requires_grad_(False)
    extra = content.get("smotracker", {})
    return Sam2Steps(
        model.eval().to(device),
        name,
        file_checksum(path),
        bool(extra.get("dense_box_prompt", False)),
    )


def _official_image_size(device: str) -> int:
    return 256 if torch.device(device).type == "cpu" else 512


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
    for name, value in content["model"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"{path} is not a SAM2 checkpoint: its model holds {name!r}, a {type(value).__name__}, and must hold "
                "tensors by name alone. Save the model's state_dict() as it is, or fetch the checkpoint again"
            )
        usable = value.layout == torch.strided and not value.is_quantized and value.is_floating_point()
        if not usable or value.is_meta or not bool(torch.isfinite(value).all()):
            raise ModelError(
                f"{path} cannot be used: its tensor {name} is not made of finite floating-point numbers "
                f"({value.dtype}, {value.layout}); convert it, or fetch the checkpoint again"
            )
    if not isinstance(content.get("smotracker", {}), dict):
        raise ModelError(f'{path} cannot be used: what it holds under "smotracker" is no dictionary; train it again')
    return content


def file_checksum(path: Path) -> str:
    """First 16 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
