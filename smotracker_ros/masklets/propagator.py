"""Online propagation: one frame in, the masks of all objects out, in one batch.

The method is that of the stock ``SAM2VideoPredictor``, with what a stream needs: frames arrive one by one, objects
start and end at any frame, memory is bounded, all objects share their forward passes, and each may be seen through a
window of its own.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, MaskPatch, as_boxes, box_centers
from smotracker_ros.masklets.anchors import AnchorRule
from smotracker_ros.masklets.masks import MaskChoice, choose_masks, clean_masks, other_boxes
from smotracker_ros.masklets.memory import MOTION_AWARE, Entry, Evidence, MemoryBank, MemoryPolicy, batch_memories
from smotracker_ros.masklets.network import Conditioned, Decoded, Features, MaskletNetwork
from smotracker_ros.masklets.views import Views
from smotracker_ros.masklets.windows import (
    WINDOW_FACTOR,
    Window,
    paste,
    prefers_whole_frame,
    share_windows,
    whole_frame,
    window_around,
)


@dataclass(frozen=True)
class Masklet:
    """One object's mask on one frame.

    Attributes:
        mask: pixels of the object; empty where it is not visible.
        box: tight box, float32 (4,), xyxy pixels with sub-pixel edges; None where the object is not visible.
        predicted_iou: the network's estimate of the mask's quality in [0, 1].
        object_score: logit of the object being visible; above 0 means yes.
        remembered: whether this frame entered the object's memory.
    """

    mask: MaskPatch
    box: FloatArray | None
    predicted_iou: float
    object_score: float
    remembered: bool


@dataclass(frozen=True)
class Guess:
    """Where an object is expected: centre (x, y) and longer side, in pixels."""

    center: FloatArray
    size: float


# Agreement in [0, 1] of a tight box with the motion expected of the object with that id
MotionScore = Callable[[int, FloatArray], float]


@dataclass
class _Object:
    bank: MemoryBank
    guess: Guess
    uses_whole_frame: bool
    anchor_rule: AnchorRule = field(default_factory=AnchorRule)

    def copy(self) -> _Object:
        """As it is now; what is remembered later does not enter."""
        return replace(self, bank=replace(self.bank), anchor_rule=copy.deepcopy(self.anchor_rule))


class Propagator:
    """Carries masklets through a stream.

    Args:
        network: the SAM2 model.
        policy: which frames enter the memories.
        mode: "windows", "whole_frame" or "auto" (see :func:`smotracker_ros.masklets.windows.prefers_whole_frame`).
        window_factor: side of a window as a multiple of the object's longer side.
    """

    def __init__(
        self,
        network: MaskletNetwork,
        policy: MemoryPolicy = MOTION_AWARE,
        mode: str = "auto",
        window_factor: float = WINDOW_FACTOR,
    ) -> None:
        self.network = network
        self.policy = policy
        self.mode = mode
        self.window_factor = window_factor
        self.logits: dict[int, FloatArray] = {}
        self._objects: dict[int, _Object] = {}
        self._time = -1
        self._views = Views(network)
        self._offered: list[Window] = []
        self._failed = False

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of all objects that have a memory."""
        return tuple(self._objects)

    @property
    def memory_bytes(self) -> int:
        """Memory held by all banks, in bytes."""
        return sum(item.bank.nbytes for item in self._objects.values())

    def drop(self, ids: Iterable[int]) -> None:
        """Forget objects; unknown ids are ignored."""
        for identity in ids:
            self._objects.pop(identity, None)

    @property
    def time(self) -> int:
        """Number of the current frame; -1 before the first."""
        return self._time

    def rewind(self, identity: int, frame: int) -> None:
        """Forget what an object has remembered since a frame of that number, in as far as older memories exist."""
        self._objects[identity].bank.rewind(frame)

    def recover(self) -> None:
        """After a failed call: forget what has been computed of its frame, and give memory back before the next one.

        What the failed call has allocated lives as long as its exception, so it cannot be given back at once.
        """
        self.logits, self._offered = {}, []
        self._views.clear()
        self._failed = True

    def reset(self) -> None:
        """Forget everything."""
        self._objects.clear()
        self.logits.clear()
        self._time = -1
        self._views.clear()
        self._offered = []

    def step(
        self,
        frame: Frame,
        ids: Sequence[int] | None = None,
        guesses: Mapping[int, Guess] | None = None,
        motion_score: MotionScore | None = None,
        frozen: Collection[int] = (),
        choose: MaskChoice | None = None,
    ) -> dict[int, Masklet]:
        """Advance to the next frame and propagate objects to it.

        Args:
            frame: the next frame of the stream.
            ids: objects to propagate; None: all. The others keep their memory.
            guesses: where objects are expected; without one, where it was last seen.
            motion_score: agreement of a mask with the expected motion; None: any agrees.
            frozen: objects that remember nothing of this frame if the policy is selective.
            choose: picks one of the masks that the network offers; None: the one that it rates highest.

        Returns:
            A masklet per propagated object.
        """
        if self._failed:
            self._failed = False
            self.network.release()
        self._time += 1
        self.logits, self._offered = {}, []
        chosen = list(self._objects) if ids is None else [identity for identity in ids if identity in self._objects]
        for identity, guess in (guesses or {}).items():
            if identity in self._objects:
                self._objects[identity].guess = guess
        if not chosen:
            return {}
        self._expire(chosen)
        windows, shared = share_windows([self._place(frame, self._objects[identity]) for identity in chosen])
        indices = dict(zip(chosen, shared, strict=True))
        seen, self._offered = self._views.encode(frame, windows), windows
        # only the attention to the memories goes by groups; the rest takes all objects in one batch
        members: list[int] = []
        conditioned: list[Conditioned] = []
        for group in self._groups(chosen):
            features = self.network.select(seen, [indices[identity] for identity in group])
            memories = batch_memories([self._objects[i].bank for i in group], self._time, self.policy)
            conditioned.append(self.network.condition(features, memories))
            members += group
        views = [indices[identity] for identity in members]
        features = self.network.select(seen, views)
        every_mask = choose is not None or self.policy.anchors > 0
        decoded = self.network.decode(conditioned, features, None, every_mask=every_mask)
        places = [windows[view] for view in views]
        if choose is not None:
            decoded = choose_masks(decoded, members, places, choose)
        result = self._finish(frame, members, places, features, decoded, False, motion_score, frozen)
        return {identity: result[identity] for identity in chosen}

    def prompt(self, frame: Frame, boxes: Mapping[int, FloatArray]) -> dict[int, Masklet]:
        """Start new objects, correct known ones, and wake those that were lost.

        Call it after :meth:`step` of the same frame. A known object's memories condition the answer, and the prompt
        replaces what this frame had added to them. If it fails, all objects are as they were before the call.

        Args:
            frame: the current frame.
            boxes: a box per object, float32 (4,), xyxy pixels.

        Returns:
            A masklet per prompted object.
        """
        before = {identity: item.copy() for identity, item in self._objects.items() if identity in boxes}
        try:
            return self._prompt(frame, boxes)
        except BaseException:
            self.drop(identity for identity in boxes if identity not in before)
            self._objects.update(before)
            raise

    def _prompt(self, frame: Frame, boxes: Mapping[int, FloatArray]) -> dict[int, Masklet]:
        if self._time < 0:
            self._time = 0
        result: dict[int, Masklet] = {}
        for identity in boxes:
            self._prepare(frame, identity, as_boxes(boxes[identity])[0])
        self._expire(boxes)  # of what is found again after a time in which it was not propagated
        starts = {identity for identity in boxes if not self._objects[identity].bank.prompted}
        for known, members in (
            (False, [i for i in boxes if i in starts]),
            (True, [i for i in boxes if i not in starts]),
        ):
            if not members:
                continue
            windows, indices = share_windows([self._place(frame, self._objects[i]) for i in members])
            encoded = self._views.encode(frame, windows)
            for group in self._groups(members):
                views = [indices[members.index(identity)] for identity in group]
                features = self.network.select(encoded, views)
                places = [windows[view] for view in views]
                inputs = np.concatenate(
                    [
                        place.to_input(as_boxes(boxes[identity]), self.network.image_size)
                        for identity, place in zip(group, places, strict=True)
                    ]
                )
                memories = (
                    batch_memories([self._objects[i].bank for i in group], self._time, self.policy) if known else None
                )
                decoded = self.network.decode(
                    [self.network.condition(features, memories)], features, inputs, first=not known
                )
                result.update(self._finish(frame, group, places, features, decoded, True, None))
        return {identity: result[identity] for identity in boxes}

    def _expire(self, identities: Iterable[int]) -> None:
        """Drop what is too old for the network to have a place for, where age counts."""
        if not self.policy.selective:
            for identity in identities:
                self._objects[identity].bank.expire(self._time)

    def describe(self, frame: Frame, boxes: FloatArray) -> FloatArray:
        """Appearance of boxes, from features that the encoder has computed, or computes now where it has not looked.

        Args:
            frame: the current frame.
            boxes: float32 (N, 4), xyxy pixels.

        Returns:
            Unit vectors, float32 (N, D).
        """
        return self._views.describe(frame, as_boxes(boxes), self.window_factor, self._offered)

    def _prepare(self, frame: Frame, identity: int, box: FloatArray) -> None:
        guess = Guess(box_centers(box)[0], float(max(box[2] - box[0], box[3] - box[1])))
        whole = prefers_whole_frame(box, frame.image, self.network.image_size, self.window_factor, self.mode)
        item = self._objects.get(identity)
        if item is None:
            bank = MemoryBank(self.network.recent_limit, self.network.pointer_limit)
            self._objects[identity] = _Object(bank, guess, whole)
        else:
            item.guess, item.uses_whole_frame = guess, whole
            item.bank.forget(self._time)  # what this frame added without the prompt must not vote

    def _place(self, frame: Frame, item: _Object) -> Window:
        if item.uses_whole_frame:
            return whole_frame(frame.image)
        return window_around(item.guess.center, self.window_factor * item.guess.size)

    def _groups(self, ids: Sequence[int]) -> list[list[int]]:
        """Objects that share a call of the attention to their memories."""
        groups: dict[tuple[int, int, int] | None, list[int]] = defaultdict(list)
        for identity in ids:
            same = None if self.network.leaves_out_absent else self._objects[identity].bank.signature
            groups[same].append(identity)
        most = min(self.network.most_conditioned, max(len(ids), 1))
        return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]

    def _finish(
        self,
        frame: Frame,
        ids: Sequence[int],
        windows: Sequence[Window],
        features: Features,
        decoded: Decoded,
        prompted: bool,
        motion_score: MotionScore | None,
        frozen: Collection[int] = (),
    ) -> dict[int, Masklet]:
        """Turn logits into masks, and write the memories that the policy accepts."""
        ious, scores = decoded.predicted_iou.tolist(), decoded.object_score.tolist()
        cleaned = clean_masks(decoded.high)
        result: dict[int, Masklet] = {}
        writers: list[int] = []
        anchors: set[int] = set()
        for index, identity in enumerate(ids):
            mask, box, tight = MaskPatch(0, 0, np.zeros((0, 0), dtype=np.bool_)), None, cleaned[index].box
            if scores[index] > 0 and tight is not None:
                box = windows[index].to_image(as_boxes(tight), self.network.image_size)[0]
                mask = paste(cleaned[index].logits, windows[index], box, frame.height, frame.width)
                box = box if mask.area else None
            motion = 1.0
            if box is not None and motion_score is not None:
                motion = motion_score(identity, box)
            evidence = Evidence(ious[index], scores[index], motion)
            held = self.policy.selective and identity in frozen
            remembered = prompted or (self.policy.accepts(evidence) and not held)
            if remembered:
                writers.append(index)
                rule = self._objects[identity].anchor_rule
                if scores[index] > 0 and tight is not None and decoded.candidates is not None and self.policy.anchors:
                    others = other_boxes(decoded, index)
                    if rule.admits(self._time, ious[index], mask.area, tight, others):
                        anchors.add(identity)
            if box is not None and motion > 0:
                size = float(max(box[2] - box[0], box[3] - box[1]))
                old = self._objects[identity].guess
                # the window follows the mask at once but changes its size slowly: boxes breathe
                keep = 1.0 if prompted else 0.9
                ratio = old.size if keep == 1.0 else keep * old.size + (1 - keep) * max(size, 0.5 * old.size)
                self._objects[identity].guess = Guess(box_centers(box)[0], ratio)
            self.logits[identity] = decoded.low[index]
            result[identity] = Masklet(mask, box, ious[index], scores[index], remembered)
        if writers:
            written = self.network.memorise(features, decoded, writers, prompted)
            for index, (memory, pointer) in zip(writers, written, strict=True):
                entry = Entry(self._time, memory, pointer)
                bank = self._objects[ids[index]].bank
                bank.write(entry, prompted)
                if ids[index] in anchors:
                    bank.anchor(self._time, self.policy.anchors)
        return result
