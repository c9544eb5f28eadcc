"""The nano SAM2 network computed by onnxruntime, without torch.

Its graphs, one for each step, lie beside the checkpoint that they were made from; :mod:`smotracker_ros.masklets.graphs`
makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.masklets.network import Candidates, Decoded, Held, Memories
from smotracker_ros.models.exports import ExportError
from smotracker_ros.models.extras import MissingExtraError
from smotracker_ros.models.sessions import open_session
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER, known_files, verify

NANO_STEM = "sam2_nano"
"""How the names of the embedded graphs begin."""
STEPS = ("encode", "condition", "prompt", "decode", "memorise")
"""Names of the graphs."""
LAYOUT = "1"
"""Version of the graphs' inputs and outputs."""

# Added to the logits of attention to what an object does not have: its weight becomes 0
_UNSEEN = np.float32(-1e9)

Rows = npt.NDArray[np.float32]


def graph_file(folder: Path, stem: str, step: str) -> Path:
    """Where the graph of a step lies."""
    return folder / f"{stem}-{step}.onnx"


@dataclass(frozen=True)
class ImageMaps:
    """Encoded images of a batch.

    Attributes:
        fine: the two finer levels, each float32 (B, C, h, w).
        coarse: the coarsest level, float32 (B, h w, C).
    """

    fine: tuple[Rows, Rows]
    coarse: Rows


class OnnxNetwork:
    """A :class:`~smotracker_ros.masklets.network.MaskletNetwork`: its opaque values are arrays.

    Args:
        folder: of the graphs.
        stem: how their names begin.
        threads: of each graph; 0: as many as torch or OMP_NUM_THREADS says, else as many as there are cores.

    Raises:
        ExportError: if a graph is missing, broken, or of another network.
        MissingExtraError: if onnxruntime is not installed.
    """

    runtime = "onnxruntime"
    device = "cpu"
    leaves_out_absent = True
    most_conditioned = 64  # so that what a call needs is bounded

    def __init__(self, folder: Path = EMBEDDED_FOLDER, stem: str = NANO_STEM, threads: int = 0) -> None:
        self._sessions = {step: _load(graph_file(folder, stem, step), threads) for step in STEPS}
        facts = [_facts(session, graph_file(folder, stem, step)) for step, session in self._sessions.items()]
        for step, own in zip(STEPS, facts, strict=True):
            if own != facts[0]:
                raise ExportError(f"{graph_file(folder, stem, step)} is of another network than the other graphs there")
        self.name: str = facts[0]["name"]
        self.checksum: str = facts[0]["checksum"]
        self.image_size = int(facts[0]["image_size"])
        self.recent_limit = int(facts[0]["recent_limit"])
        self.pointer_limit = int(facts[0]["pointer_limit"])
        constants = self._run("prompt", boxes=np.ones((1, 4), dtype=np.float32))[2:]
        self._no_sparse, self._no_dense, self._no_memory = constants

    @classmethod
    def embedded(cls, threads: int = 0) -> OnnxNetwork:
        """The network of the package.

        Raises:
            WeightError: if a file is missing or has changed.
            MissingExtraError: if onnxruntime is not installed.
        """
        files = known_files()
        for step in STEPS:
            verify(files[graph_file(EMBEDDED_FOLDER, NANO_STEM, step).stem])
        return cls(threads=threads)

    def encode(self, images: UInt8Image) -> ImageMaps:
        """Encode RGB images, uint8 (B, S, S, 3)."""
        fine, middle, coarse = self._run("encode", images=np.ascontiguousarray(images))
        return ImageMaps((fine, middle), coarse)

    def select(self, features: ImageMaps, indices: Sequence[int]) -> ImageMaps:
        """Features of some images of a batch; an index may occur several times."""
        chosen = list(indices)
        if chosen == list(range(len(features.coarse))):
            return features
        return ImageMaps((features.fine[0][chosen], features.fine[1][chosen]), features.coarse[chosen])

    def join(self, parts: Sequence[ImageMaps]) -> ImageMaps:
        """One batch of several."""
        if len(parts) == 1:
            return parts[0]
        fine, middle = (np.concatenate(level) for level in zip(*(part.fine for part in parts), strict=True))
        return ImageMaps((fine, middle), np.concatenate([part.coarse for part in parts]))

    def fine_maps(self, features: ImageMaps, index: int) -> tuple[FloatArray, ...]:
        """The two finer levels of one image's features, each float32 (h, w, C)."""
        return tuple(level[index].transpose(1, 2, 0) for level in features.fine)

    def condition(self, features: ImageMaps, memories: Memories | None) -> Rows:
        """Mix memories into the features of the same objects; float32 (B, h w, C)."""
        if memories is None:
            return features.coarse + self._no_memory
        given = stack_memories(memories, self.recent_limit)
        (conditioned,) = self._run("condition", coarse=features.coarse, **given)
        return conditioned

    def decode(
        self,
        conditioned: Sequence[Rows],
        features: ImageMaps,
        boxes: FloatArray | None,
        first: bool = True,
        every_mask: bool = False,
    ) -> Decoded:
        """Masks from conditioned features, following the boxes if given; there is but one for each object."""
        rows = conditioned[0] if len(conditioned) == 1 else np.concatenate(list(conditioned))
        if boxes is None:
            sparse, dense = np.repeat(self._no_sparse, len(rows), axis=0), self._no_dense
        else:
            sparse, dense = self._run("prompt", boxes=np.ascontiguousarray(boxes, dtype=np.float32))[:2]
        low, high, predicted_iou, score, pointers = self._run(
            "decode",
            rows=rows + dense,
            level0=features.fine[0],
            level1=features.fine[1],
            sparse=sparse,
        )
        candidates = Candidates(low[:, None], high[:, None], predicted_iou[:, None]) if every_mask else None
        return Decoded(low, high, predicted_iou, score, pointers, candidates)

    def memorise(
        self, features: ImageMaps, decoded: Decoded, rows: Sequence[int], prompted: bool
    ) -> list[tuple[Held, Held]]:
        """Memory, uint16 (h w, D) that holds bfloat16, and object pointer, float32 (C,), of some objects' masks."""
        chosen = list(rows)
        (memories,) = self._run(
            "memorise",
            coarse=features.coarse[chosen],
            high=decoded.high[chosen],
            object_score=decoded.object_score[chosen],
        )
        rounded = to_bfloat16(memories)
        return [(rounded[place].copy(), decoded.answer[row].copy()) for place, row in enumerate(chosen)]

    def release(self) -> None:
        """Nothing: onnxruntime keeps what it has for the next call."""

    def _run(self, step: str, **given: npt.NDArray[Any]) -> list[Rows]:
        results: list[Rows] = self._sessions[step].run(None, given)
        return results


def stack_memories(memories: Memories, recent_limit: int) -> dict[str, npt.NDArray[Any]]:
    """Inputs of the memory attention, with zeros for what is absent.

    Args:
        memories: of a batch of objects.
        recent_limit: places in the order of time, behind which comes that of memories whose age does not count.
    """
    columns = (*memories.prompted, *memories.recent)
    stacked = from_bfloat16(_stacked(columns))
    pointers = _stacked(memories.pointers)
    count, places = stacked.shape[0], stacked.shape[2]
    slots = np.full((count, len(columns)), recent_limit, dtype=np.int64)
    slots[:, len(memories.prompted) :] = memories.recent_slots.T - 1
    # a pointer is cut into as many tokens as fit a memory's width
    parts = pointers.shape[2] // stacked.shape[3]
    bias = np.zeros((count, 1, len(columns) * places + len(memories.pointers) * parts), dtype=np.float32)
    absent = memories.absent
    if absent is not None:
        sizes = [places] * len(columns) + [parts] * len(memories.pointers)
        bias[:, 0][np.repeat(absent, sizes, axis=1)] = _UNSEEN
    return {
        "memories": stacked,
        "slots": slots,
        "pointers": pointers,
        "ages": np.ascontiguousarray(memories.pointer_ages.T),
        "bias": bias,
    }


def _stacked(columns: Sequence[Sequence[Held | None]]) -> npt.NDArray[Any]:
    """Entries of all objects, (B, N, ...)."""
    some = next(entry for column in columns for entry in column if isinstance(entry, np.ndarray))
    result = np.zeros((len(columns[0]), len(columns), *some.shape), dtype=some.dtype)
    for place, column in enumerate(columns):
        for row, entry in enumerate(column):
            if isinstance(entry, np.ndarray):
                result[row, place] = entry
    return result


def to_bfloat16(values: Rows) -> npt.NDArray[np.uint16]:
    """The upper half of each float32, rounded to the nearest, to even ones where two are as near."""
    bits = values.view(np.uint32)
    return ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)


def from_bfloat16(values: npt.NDArray[np.uint16]) -> Rows:
    """Inverse of :func:`to_bfloat16`."""
    return (values.astype(np.uint32) << 16).view(np.float32)


def _load(path: Path, threads: int) -> Any:
    """A graph's session.

    Raises:
        ExportError: if the graph is missing or broken.
        MissingExtraError: if onnxruntime is not installed.
    """
    if not path.is_file():
        raise ExportError(f"{path} is missing; install the package again, or run `smotracker export --embedded`")
    try:
        return open_session(path, threads=threads)
    except MissingExtraError:
        raise
    except Exception as error:  # onnxruntime has a dozen types
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ExportError(f"onnxruntime cannot load {path} ({reason}); install the package again") from error


def _facts(session: Any, path: Path) -> dict[str, str]:
    """What a graph says about its network.

    Raises:
        ExportError: if it is no graph of such a network, or one of another version.
    """
    facts = dict(session.get_modelmeta().custom_metadata_map)
    if facts.get("layout") != LAYOUT or facts.pop("step", "") != path.stem.rpartition("-")[2]:
        raise ExportError(f"{path} is no graph of a SAM2 network of this version; install the package again")
    return facts
