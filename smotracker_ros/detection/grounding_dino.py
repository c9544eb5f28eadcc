"""Grounding DINO through transformers: finds what a text names, without training.

Liu et al. 2023 ("Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object Detection").
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.core.prompts import prompt_phrases
from smotracker_ros.detection.detections import Detections, DetectorError
from smotracker_ros.models.extras import explain

if TYPE_CHECKING:
    import torch

DEFAULT_MODEL = "IDEA-Research/grounding-dino-tiny"
"""Name on the hub of the model of the published G-SMOTracker."""
TEXT_THRESHOLD = 0.25
"""Probability from which a word speaks for its phrase, as published."""

# Queries overlap where phrases do: two on one target are one target
_DUPLICATE_IOU = 0.5
_FILES = ("*.json", "*.txt", "*.safetensors")

_logger = logging.getLogger(__name__)


class GroundingDinoDetector:
    """Grounding DINO with a text prompt.

    A phrase keeps its class number for good, also when the prompt no longer holds it.

    Args:
        source: folder with a model in transformers' format (safetensors), or its name on the Hugging Face hub.
        prompt: phrases, each ended by a full stop.
        text_threshold: probability from which a word speaks for its phrase; what no phrase is claimed by is left out.
        offline: take a hub name from the local cache only.
        device: torch device.
        precision: in which the network computes; its weights stay float32, which None means, too.

    Raises:
        DetectorError: if transformers is not installed, or the model is missing, broken, or of another kind.
    """

    def __init__(
        self,
        source: str,
        prompt: str,
        text_threshold: float = TEXT_THRESHOLD,
        offline: bool = True,
        device: str = "cpu",
        precision: torch.dtype | None = None,
    ) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise DetectorError(
                explain(error, "Grounding DINO") or f"Grounding DINO cannot be used: {error}"
            ) from error
        folder = _find_model(source, offline)
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            if config.model_type not in ("grounding-dino", "mm-grounding-dino"):
                raise DetectorError(f"{source} is a {config.model_type} model; Grounding DINO is needed")
            # the custom CUDA kernel would be compiled at run time; without it the same is computed by torch's own parts
            config.disable_custom_kernels = True
            model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(
                folder, config=config, local_files_only=True, use_safetensors=True
            )
            self._images: Any = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except DetectorError:
            raise
        except Exception as error:  # broken files raise almost anything
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise DetectorError(
                f"{source} cannot be loaded as Grounding DINO ({reason}); fetch the folder again; it holds "
                "config.json, model.safetensors, preprocessor_config.json and the tokenizer's files"
            ) from error
        self._model: Any = model.requires_grad_(False).eval().to(device)
        self._device = torch.device(device)
        self._precision = precision or torch.float32
        self._name = f"{Path(source).name} sha256:{_checksum(folder)}"
        self._numbers: dict[str, int] = {}
        self._phrases: tuple[str, ...] = ()
        self._text_threshold = text_threshold
        self.set_prompt(prompt)

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names by class number; numbers start at 1, 0 is nothing."""
        return {number: phrase for phrase, number in self._numbers.items()}

    @property
    def name(self) -> str:
        """Name of the model and checksum of its weights."""
        return self._name

    def set_prompt(self, prompt: str) -> None:
        """Look for something else from the next frame on; see :class:`smotracker_ros.detection.PromptedDetector`."""
        phrases = prompt_phrases(prompt)
        if phrases == self._phrases:
            return
        self._phrases = phrases
        for phrase in phrases:
            self._numbers.setdefault(phrase, len(self._numbers) + 1)
        text = "".join(f"{phrase} . " for phrase in phrases).strip()
        self._text = self._tokenizer(text, return_tensors="pt").to(self._device)
        self._spans = self._phrase_tokens(self._text["input_ids"][0].tolist())
        _logger.info("the prompt is now %r", text)

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        """Detections by falling confidence; see :class:`smotracker_ros.detection.Detector`."""
        import torch

        size = {"size": {"shortest_edge": image_size, "longest_edge": image_size}} if image_size else {}
        images = self._images(images=frame.image, return_tensors="pt", **size).to(self._device)
        reduced = torch.autocast(self._device.type, self._precision, enabled=self._precision != torch.float32)
        with torch.inference_mode(), reduced:
            output = self._model(**images, **self._text)
        words = output.logits[0].float().sigmoid().cpu().numpy()  # queries x tokens
        centers = output.pred_boxes[0].float().cpu().numpy()  # x, y, width, height as shares of the image
        claims = np.stack([words[:, span].max(axis=1) for span in self._spans], axis=1)
        scores = claims.max(axis=1)
        kept = np.flatnonzero((scores >= least_confidence) & (scores >= self._text_threshold))
        numbers = np.array([self._numbers[phrase] for phrase in self._phrases], dtype=np.int64)
        half = centers[kept, 2:] / 2
        shares = np.hstack([centers[kept, :2] - half, centers[kept, :2] + half])
        edges = np.array([frame.width, frame.height] * 2, dtype=np.float32)
        boxes = as_boxes(np.clip(shares, 0, 1) * edges)
        found = Detections(boxes, scores[kept].astype(np.float32), numbers[claims[kept].argmax(axis=1)])
        return found.without_duplicates(_DUPLICATE_IOU)

    def _phrase_tokens(self, ids: list[int]) -> list[list[int]]:
        """Positions of each phrase's tokens; full stops and special tokens stand between them."""
        stop = self._tokenizer.convert_tokens_to_ids(".")
        between = {stop, self._tokenizer.cls_token_id, self._tokenizer.sep_token_id}
        spans: list[list[int]] = [[]]
        for position, token in enumerate(ids):
            if token in between:
                spans.append([])
            else:
                spans[-1].append(position)
        return [span for span in spans if span]


def _find_model(source: str, offline: bool) -> Path:
    """The folder of a model.

    Raises:
        DetectorError: if there is none.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not source or Path(source).is_absolute() or source.startswith(".") or source.count("/") != 1:
        raise DetectorError(
            f"{source!r} is neither a folder nor a name on the Hugging Face hub; set detector_weights to a "
            "folder with Grounding DINO in transformers' format"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, local_files_only=offline, allow_patterns=list(_FILES)))
    except Exception as error:  # the hub's client has a dozen kinds of errors, and requests' on top
        if offline:
            remedy = "set offline=false to download it, or detector_weights to a folder that holds it"
        else:
            remedy = f"{(str(error).splitlines() or [type(error).__name__])[0][:160]}; HF_HUB_OFFLINE must not be set"
        raise DetectorError(f"Grounding DINO's weights {source} are not on this machine; {remedy}") from error


def _checksum(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]
