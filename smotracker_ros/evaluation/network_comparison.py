"""Two networks for masklets side by side, part by part: how equal their answers are, and what each part costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.masklets.memory import MOTION_AWARE, Entry, MemoryBank, batch_memories
from smotracker_ros.masklets.network import Decoded, Held, MaskletNetwork, Memories

PARTS = ("encoder", "memory attention", "mask decoder", "memory encoder", "prompt", "whole step")
"""What is compared and timed. A prompt is decoded without memories; a step is all parts but that."""


class NetworkSide:
    """One network in the midst of following objects, whose memories are not equally full.

    Args:
        network: any.
        windows: one for each object, uint8 RGB (N, S, S, 3).
        boxes: of the objects, xyxy in pixels of their windows, float32 (N, 4).
    """

    def __init__(self, network: MaskletNetwork, windows: UInt8Image, boxes: FloatArray) -> None:
        self._network, self._windows, self._boxes = network, windows, boxes
        self._rows = range(len(windows))
        self._features = network.encode(windows)
        self._prompted = self._prompt()
        self._memories = self._remembered()
        self._conditioned = [network.condition(self._features, self._memories)]
        self._decoded = network.decode(self._conditioned, self._features, None)
        self.parts: dict[str, Callable[[], object]] = {
            "encoder": lambda: network.encode(windows),
            "memory attention": lambda: network.condition(self._features, self._memories),
            "mask decoder": lambda: network.decode(self._conditioned, self._features, None),
            "memory encoder": lambda: network.memorise(self._features, self._decoded, self._rows, False),
            "prompt": self._prompt,
            "whole step": self._step,
        }

    def answers(self) -> dict[str, FloatArray]:
        """What can be seen of each part's result: features, or the mask logits that follow from it."""
        network, decoded = self._network, self._decoded
        maps = [np.ravel(level) for row in self._rows for level in network.fine_maps(self._features, row)]
        written = network.memorise(self._features, decoded, self._rows, False)
        following = batch_memories([self._bank([entry]) for entry in written], 1, MOTION_AWARE)
        after = network.decode([network.condition(self._features, following)], self._features, None)
        scores = np.stack([decoded.predicted_iou, decoded.object_score])
        return {
            "encoder": np.concatenate(maps),
            "memory attention": _visible(decoded.low),
            "mask decoder": scores,
            "memory encoder": _visible(after.low),
            "prompt": _visible(self._prompted.high),
            "whole step": _visible(decoded.high),
        }

    def _prompt(self) -> Decoded:
        return self._network.decode([self._network.condition(self._features, None)], self._features, self._boxes)

    def _step(self) -> None:
        features = self._network.encode(self._windows)
        decoded = self._network.decode([self._network.condition(features, self._memories)], features, None)
        self._network.memorise(features, decoded, self._rows, False)

    def _remembered(self) -> Memories:
        """Of a prompt and as many frames as there is place for, fewer for every other object."""
        network = self._network
        entries = network.memorise(self._features, self._prompted, self._rows, True)
        full = network.recent_limit
        counts = [1 + full if row % 2 == 0 or not network.leaves_out_absent else 1 + row % full for row in self._rows]
        banks = [self._bank([entry] * count) for entry, count in zip(entries, counts, strict=True)]
        return batch_memories(banks, 1 + full, MOTION_AWARE)

    def _bank(self, entries: list[tuple[Held, Held]]) -> MemoryBank:
        bank = MemoryBank(self._network.recent_limit, self._network.pointer_limit)
        for frame, (memory, pointer) in enumerate(entries):
            bank.write(Entry(frame, memory, pointer), prompted=frame == 0)
        return bank


def _visible(logits: FloatArray) -> FloatArray:
    """Logits without the large negative number that stands for an object that is not visible."""
    return np.maximum(logits, np.float32(-32.0))


def differences(expected: NetworkSide, found: NetworkSide) -> dict[str, float]:
    """Largest difference of each part's answers, as a share of their largest value."""
    pairs = zip(expected.answers().items(), found.answers().values(), strict=True)
    return {part: float(np.abs(one - two).max() / np.abs(one).max()) for (part, one), two in pairs}
