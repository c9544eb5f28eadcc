"""Snapshots of a tracker in mid-stream: a run that was killed goes on as if it had not been.

A snapshot holds everything that the tracker knows but its models. It is a pickle that is read by an unpickler of its
own: only the tracker's own classes, arrays and plain containers are built from it, no function that it names is called.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from smotracker_ros.core.frames import AutomaticGain, Frame
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.io.bags import BagImage
from smotracker_ros.io.stream import FrameOrder
from smotracker_ros.offline.failures import track_frame
from smotracker_ros.space.frame_poses import NamedPoses
from smotracker_ros.tracking.gates import Hint
from smotracker_ros.tracking.tracker import SmoTracker

if TYPE_CHECKING:
    from torch import Tensor

# What arrays and containers are made of, besides the tracker's own classes
_PLAIN = {
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "slice"),
    ("builtins", "list"),
    ("builtins", "dict"),
    ("builtins", "int"),
    ("builtins", "float"),
    ("collections", "Counter"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("collections", "deque"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    # numpy 1.26 has them in another place
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
}
# Parts of the package that no tracker's state holds, and whose classes write files or start processes
_FOREIGN = ("cli", "evaluation", "offline", "ros", "training", "video")


class SnapshotError(RuntimeError):
    """A snapshot that cannot be read."""


@dataclass
class Run:
    """A tracker in mid-stream, with what has to be known of its source.

    Attributes:
        tracker: the tracker.
        order: of the images.
        gain: range of 16-bit images.
        restarts: how often time jumped back or the image size changed, and all tracks were forgotten.
        cues_until_ns: 3D cues that were recorded until then have been taken.
        cue_counts: 3D cues that did not reach the tracker, by the reason.
        poses: where frames are, which 3D cues ask; a snapshot names it, and does not hold it.
    """

    tracker: SmoTracker
    order: FrameOrder = field(default_factory=FrameOrder)
    gain: AutomaticGain = field(default_factory=AutomaticGain)
    restarts: int = 0
    cues_until_ns: int = -1
    cue_counts: Counter[str] = field(default_factory=Counter)
    poses: NamedPoses | None = None

    def decode(self, image: BagImage) -> Frame:
        """Decode the next image of a bag; its index is its number on the topic.

        Raises:
            OutOfOrderError: if it is not later than the one before; it is left out, and not decoded.
            FrameError: if it is broken.
        """
        self.order.check(image.timestamp_ns)
        return image.frame(image.number, self.gain)

    def update(self, frame: Frame, hints: Sequence[Hint] = ()) -> Tracks:
        """Track the next frame, with the hints that have come since the last one.

        Raises:
            OutOfOrderError: if it is not later than the one before; it is left out.
            TrackingError: if it cannot be tracked.
        """
        index, anew = self.order.place(frame.timestamp_ns, (frame.height, frame.width))
        if anew:
            self.restarts += 1
            self.tracker.reset()
        return track_frame(self.tracker, Frame(frame.image, frame.timestamp_ns, index, frame.frame_id), hints)

    def snapshot(self) -> bytes:
        """Everything that the run knows, without the models."""
        buffer = io.BytesIO()
        _Pickler(buffer, self._models()).dump(vars(self))
        return buffer.getvalue()

    def restore(self, snapshot: bytes) -> None:
        """Go back to where a snapshot was taken; the tracker must have the same models.

        Raises:
            SnapshotError: if the data are no snapshot, or name anything that a run does not consist of.
        """
        try:
            state = _Unpickler(io.BytesIO(snapshot), self._models()).load()
            Run(**state)
        except Exception as error:  # unpickling broken data raises almost anything
            raise SnapshotError(f"the snapshot of the tracker cannot be read ({error})") from error
        vars(self).update(state)

    def _models(self) -> dict[str, Any]:
        """The parts that a snapshot names but does not hold."""
        models = {"detector": self.tracker._detector, "network": self.tracker._propagator.network}
        return models if self.poses is None else {**models, "poses": self.poses}


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, models: dict[str, Any]) -> None:
        super().__init__(file, protocol=5)
        self._names = {id(model): name for name, model in models.items()}

    def persistent_id(self, obj: Any) -> str | None:
        return self._names.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        """Tensors as bytes and layout, enumerations by value: else a file names functions to call.

        (Python 3.11.2 has enumerations look themselves up with `getattr`.)
        """
        if isinstance(obj, Enum):
            return type(obj), (obj.value,)
        torch = sys.modules.get("torch")  # who has not loaded it has no tensors
        if torch is None or not isinstance(obj, torch.Tensor):
            return NotImplemented
        plain = obj.detach().cpu().contiguous().reshape(-1)
        data = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        # a repeated element, as `expand` makes them, has no place of its own to be written to
        strides = None if any(step == 0 for step in obj.stride()) else tuple(obj.stride())
        return make_tensor, (data, str(obj.dtype).removeprefix("torch."), tuple(obj.shape), strides, str(obj.device))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, models: dict[str, Any]) -> None:
        super().__init__(file)
        self._models = models

    def persistent_load(self, pid: Any) -> Any:
        return self._models[pid]

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (__name__, make_tensor.__name__):
            return make_tensor
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        package, _, rest = module.partition(".")
        if package == "smotracker_ros" and rest.split(".")[0] not in _FOREIGN and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a tracker")


def make_tensor(
    data: bytes, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...] | None, device: str
) -> Tensor:
    """A tensor from its bytes, with the same layout in memory, so that it takes the same way through the kernels."""
    import torch

    kind: Any = getattr(torch, dtype)
    values = torch.frombuffer(bytearray(data), dtype=kind) if data else torch.empty(0, dtype=kind)
    values = values.reshape(shape)
    if strides is None:
        return values.to(device)
    tensor = torch.empty_strided(shape, strides, dtype=kind, device=device)
    return tensor.copy_(values)
