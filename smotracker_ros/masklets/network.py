"""What the tracker needs of a SAM2 network, whichever library computes it.

Images, boxes, masks and scores cross this border as arrays of numpy. What the network alone understands (features of
images, memories and pointers of objects) is opaque to everybody else: it is held, selected, and given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray

Features: TypeAlias = Any
"""Encoded images of a batch."""
Conditioned: TypeAlias = Any
"""Features of a batch of objects with their memories mixed in."""


class Held(Protocol):
    """A value of the network's that is kept for one object: a memory of a frame, or an object pointer.

    It shares its bytes with nothing else, so that no batch lives as long as its longest-lived object. It can be
    pickled.
    """

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""


@dataclass(frozen=True)
class Memories:
    """What a batch of B objects remembers. All have the same number of entries of each kind; None: an absent one.

    Attributes:
        prompted: memories whose age does not count, of prompted frames and anchors; each of length B.
        recent: memories of unprompted frames, each of length B.
        recent_slots: how far back each of `recent` counts, 1 for the newest; int64 (len(recent), B).
        pointers: object pointers, each of length B.
        pointer_ages: ages of the pointers in frames, float32 (len(pointers), B).
    """

    prompted: tuple[tuple[Held | None, ...], ...]
    recent: tuple[tuple[Held | None, ...], ...]
    recent_slots: npt.NDArray[np.int64]
    pointers: tuple[tuple[Held | None, ...], ...]
    pointer_ages: FloatArray

    @property
    def absent(self) -> npt.NDArray[np.bool_] | None:
        """Entries that an object does not have, bool (B, len(prompted) + len(recent) + len(pointers)); None: none."""
        columns = (*self.prompted, *self.recent, *self.pointers)
        absent = np.array([[entry is None for entry in column] for column in columns], dtype=np.bool_).T
        return absent if absent.any() else None


@dataclass(frozen=True)
class Candidates:
    """All masks that the decoder offers for each object of a batch.

    Attributes:
        low: mask logits at a quarter of the input's resolution, float32 (B, M, h, w).
        high: mask logits at the input's resolution, float32 (B, M, H, W).
        predicted_iou: estimates of each mask's IoU, float32 (B, M).
    """

    low: FloatArray
    high: FloatArray
    predicted_iou: FloatArray


@dataclass(frozen=True)
class Decoded:
    """Masks of a batch of objects.

    Attributes:
        low: mask logits at a quarter of the input's resolution, float32 (B, h, w).
        high: mask logits at the input's resolution, float32 (B, H, W).
        predicted_iou: the network's own estimate of each mask's IoU, float32 (B,).
        object_score: logit of the object being visible at all, float32 (B,).
        answer: what the network needs to remember these masks; opaque.
        candidates: all masks, if they were asked for.
        chosen: int64 (B,), which of the candidates these masks are; None: those that the network rates highest.
    """

    low: FloatArray
    high: FloatArray
    predicted_iou: FloatArray
    object_score: FloatArray
    answer: Any
    candidates: Candidates | None = None
    chosen: npt.NDArray[np.int64] | None = None


@runtime_checkable
class MaskletNetwork(Protocol):
    """A SAM2 network for inference: its four steps, and the facts that its users need."""

    @property
    def name(self) -> str:
        """E.g. "sam2-nano" or "sam2.1-hiera-t"."""

    @property
    def checksum(self) -> str:
        """First 16 hexadecimal digits of the weights' SHA-256, "random" for unloaded weights."""

    @property
    def runtime(self) -> str:
        """What computes it: "torch" or "onnxruntime"."""

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda:0"."""

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""

    @property
    def recent_limit(self) -> int:
        """Memories of unprompted frames that it has places for."""

    @property
    def pointer_limit(self) -> int:
        """Object pointers of unprompted frames that it has places for."""

    @property
    def leaves_out_absent(self) -> bool:
        """Whether :meth:`condition` takes objects with different numbers of memories, and leaves absent ones out."""

    @property
    def most_conditioned(self) -> int:
        """Most objects that :meth:`condition` is given at once."""

    def encode(self, images: UInt8Image) -> Features:
        """Encode RGB images, uint8 (B, S, S, 3)."""

    def select(self, features: Features, indices: Sequence[int]) -> Features:
        """Features of some images of a batch; an index may occur several times."""

    def join(self, parts: Sequence[Features]) -> Features:
        """One batch of several."""

    def fine_maps(self, features: Features, index: int) -> tuple[FloatArray, ...]:
        """The two finer levels of one image's features, each float32 (h, w, C)."""

    def condition(self, features: Features, memories: Memories | None) -> Conditioned:
        """Mix memories into the features of the same objects; without memories, what stands for none."""

    def decode(
        self,
        conditioned: Sequence[Conditioned],
        features: Features,
        boxes: FloatArray | None,
        first: bool = True,
        every_mask: bool = False,
    ) -> Decoded:
        """Masks from conditioned features, following the boxes if given.

        Args:
            conditioned: of :meth:`condition`, in one or more parts.
            features: of all objects, in the order of the parts.
            boxes: prompts, xyxy in input pixels, float32 (B, 4), or None.
            first: whether a prompt starts objects (True) or corrects known ones.
            every_mask: also return the masks that the network rates lower.
        """

    def memorise(
        self, features: Features, decoded: Decoded, rows: Sequence[int], prompted: bool
    ) -> list[tuple[Held, Held]]:
        """Memory and object pointer of some objects' masks on a frame.

        Args:
            features: of all objects.
            decoded: of the same objects.
            rows: numbers of those that remember the frame; at least one.
            prompted: whether the masks answer a prompt.
        """

    def release(self) -> None:
        """Give memory that nothing uses any more back to the device, after a failed call."""
