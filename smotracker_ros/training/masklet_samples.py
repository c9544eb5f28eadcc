"""Random training sequences for the masklet network, drawn from prepared track crops.

A sequence is what the propagator will meet: windows that follow the target with the errors that a tracker makes, time
steps from one frame to half a second (so that memories are old as well as fresh), look-alikes that cross, and targets
that vanish and return.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.training.track_crops import ABSENT, DOUBTFUL, TrackCrops, read_track_crops

# steps between sampled frames, in stored frames
_STEPS = ((1, 1), (1, 2), (1, 4), (3, 8), (8, 15))
# Sides of windows in sizes of the target: the tracker's own (`WINDOW_FACTOR`), and what its errors of size make of it
_WINDOW_FACTORS = (2.8, 5.6)
# Share of the sequences with a look-alike that have a second one
_SECOND_LOOKALIKE = 1 / 3


@dataclass(frozen=True)
class Sequence:
    """One training sequence of T windows.

    Attributes:
        images: uint8 (T, S, S, 3).
        masks: bool (T, S, S); all False where the target is not visible.
        boxes: float32 (T, 4), boxes of the visible extent in window pixels, NaN where the target is not visible; in a
            sequence that shows no target the first is where a detector claims one.
        weights: float32 (T,), trust in each mask.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    boxes: FloatArray
    weights: npt.NDArray[np.float32]


def _window(
    image: npt.NDArray[np.uint8], center: npt.NDArray[np.float64], side: float, size: int, mask: bool
) -> np.ndarray:
    zoom = size / side
    shift = size / 2 - zoom * center
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    flags = cv2.INTER_LINEAR if zoom >= 1 or mask else cv2.INTER_AREA
    source = image * np.uint8(255) if mask else image
    return cv2.warpAffine(source, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _erase(image: npt.NDArray[np.uint8], box: FloatArray, angle: float) -> npt.NDArray[np.uint8]:
    """Take the target out of a crop: inpainted, with the noise of what is beside it in some direction."""
    hole = np.zeros(image.shape, dtype=np.uint8)
    x1, y1, x2, y2 = np.round(box + np.array([-3, -3, 3, 3])).astype(int)
    hole[max(y1, 0) : y2, max(x1, 0) : x2] = 1
    smooth = cv2.inpaint(np.ascontiguousarray(image), hole, 2, cv2.INPAINT_TELEA).astype(np.float32)
    reach = 1.6 * float(max(x2 - x1, y2 - y1))
    shift = np.rint(reach * np.array([[np.cos(angle)], [np.sin(angle)]])).astype(int)
    where = np.array(np.nonzero(hole))
    rows, columns = np.clip(where + shift[::-1], 0, image.shape[0] - 1)
    noise = image.astype(np.float32) - cv2.GaussianBlur(image, (0, 0), 2).astype(np.float32)
    # edges of something beside are no noise
    limit = 3 * float(np.median(np.abs(noise))) + 1
    smooth[tuple(where)] += np.clip(noise[rows, columns], -limit, limit)
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8)


class SequenceSampler:
    """Draws sequences.

    Args:
        tracks: prepared material.
        size: side S of the windows in pixels.
        rendered_share: share of sequences from rendered scenes.
        crossing_share: share of sequences through which a look-alike flies; a third of these have two of them.
        absence_share: share of the real sequences in which the target is removed for a while.
        empty_share: share of the real sequences that show no target at all, as where a detector errs.
    """

    def __init__(
        self,
        tracks: list[TrackCrops],
        size: int,
        rendered_share: float = 0.45,
        crossing_share: float = 0.4,
        absence_share: float = 0.3,
        empty_share: float = 0.0,
    ) -> None:
        self.empty_share = empty_share
        self.real = [t for t in tracks if not t.rendered]
        self.rendered = [t for t in tracks if t.rendered]
        self.size = size
        self.crossing_share, self.absence_share = crossing_share, absence_share
        self.rendered_share = rendered_share if self.rendered and self.real else float(bool(self.rendered))

    def draw(self, length: int, rng: np.random.Generator) -> Sequence:
        """One random sequence of `length` windows whose target is visible in the first."""
        while True:
            pool = self.rendered if rng.random() < self.rendered_share else self.real
            track = pool[int(rng.integers(len(pool)))]
            low, high = _STEPS[int(rng.integers(len(_STEPS)))]
            indices = np.concatenate([[0], np.cumsum(rng.integers(low, high + 1, length - 1))])
            if indices[-1] >= len(track.states):
                indices = np.arange(length)
            if indices[-1] >= len(track.states):
                continue
            indices = indices + int(rng.integers(len(track.states) - indices[-1]))
            if rng.random() < 0.3:
                indices = indices[::-1]
            if track.states[indices[0]] != ABSENT:
                sequence = self._cut(track, indices, rng)
                if sequence.masks[0].sum() >= 6 or np.isfinite(sequence.boxes[0, 0]):
                    return sequence

    def _cut(self, track: TrackCrops, indices: npt.NDArray[np.int64], rng: np.random.Generator) -> Sequence:
        size, length = self.size, len(indices)
        crop_side = track.images.shape[1]
        side = float(np.clip(track.size * rng.uniform(*_WINDOW_FACTORS), 20, crop_side))
        zoom = size / side
        offsets = np.zeros((length, 2))
        offsets[0] = rng.normal(0, 0.03, 2) * side
        for t in range(1, length):
            offsets[t] = 0.5 * offsets[t - 1] + rng.normal(0, 0.045, 2) * side
            if rng.random() < 0.12:
                offsets[t] += rng.uniform(-0.22, 0.22, 2) * side
        sides = side * np.exp(np.cumsum(rng.normal(0, 0.02, length)))
        centers = crop_side / 2 + offsets
        vanish = self._absences(length, rng) if not track.rendered else np.zeros(length, dtype=bool)
        empty = not track.rendered and rng.random() < self.empty_share
        vanish |= empty
        patch = rng.uniform(0, 2 * np.pi)
        images, masks, boxes = [], [], np.full((length, 4), np.nan, dtype=np.float32)
        for t, index in enumerate(indices):
            image, state = track.images[index], track.states[index]
            mask = np.zeros((size, size), dtype=bool)
            if state != ABSENT and vanish[t]:
                image = _erase(image, track.boxes[index], patch)
            elif state != ABSENT:
                mask = _window(track.masks[index], centers[t], sides[t], size, True) > 127
                center = np.tile(centers[t], 2)
                boxes[t] = (track.boxes[index] - center) * (size / sides[t]) + size / 2
            images.append(_window(image, centers[t], sides[t], size, False).astype(np.float32))
            masks.append(mask)
        stack, truth = np.stack(images), np.stack(masks)
        if rng.random() < self.crossing_share:
            self._cross(stack, truth, zoom, rng)
            if rng.random() < _SECOND_LOOKALIKE:
                self._cross(stack, truth, zoom, rng)
        faint = truth.reshape(length, -1).sum(1) < 4
        truth[faint] = False
        boxes[faint] = np.nan
        if empty:
            boxes[0] = (track.boxes[indices[0]] - np.tile(centers[0], 2)) * (size / sides[0]) + size / 2
        weights = np.where(track.states[indices] == DOUBTFUL, 0.3, 1.0).astype(np.float32)
        return self._augment(stack, truth, boxes, weights, rng)

    def _absences(self, length: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        vanish = np.zeros(length, dtype=bool)
        if rng.random() < self.absence_share and length > 2:
            start = int(rng.integers(1, length))
            vanish[start : start + int(rng.integers(1, length))] = True
        return vanish

    def _cross(self, images: FloatArray, masks: npt.NDArray[np.bool_], zoom: float, rng: np.random.Generator) -> None:
        """Let a target of another clip fly through the windows, before or behind the tracked one; in place."""
        length, size = len(images), self.size
        other = self.real[int(rng.integers(len(self.real)))] if self.real else self.rendered[0]
        index = int(rng.integers(len(other.states)))
        if other.states[index] == ABSENT:
            return
        grey, shape = other.images[index].astype(np.float32), other.masks[index].astype(np.float32)
        sky = float(np.median(grey[shape == 0]))
        scale = zoom * float(np.clip(rng.lognormal(0, 0.3), 0.5, 1.8))
        if rng.random() < 0.5:  # as large as the tracked target, the hardest look-alike
            scale = np.sqrt(max(masks[0].sum(), 6) / max(shape.sum(), 3))
        start, end = rng.uniform(-0.1, 1.1, 2) * size, rng.uniform(-0.1, 1.1, 2) * size
        if rng.random() < 0.6:  # aim at the target of some frame
            meeting = int(rng.integers(1, length))
            rows, columns = np.nonzero(masks[meeting])
            if rows.size:
                goal = np.array([columns.mean(), rows.mean()]) + rng.normal(0, 4, 2)
                end = start + (goal - start) * (length - 1) / max(meeting, 1)
        contrast = rng.uniform(0.6, 1.3) * (1 if rng.random() < 0.8 else -1)
        in_front = rng.random() < 0.5
        soft = cv2.GaussianBlur(cv2.dilate(shape, np.ones((3, 3), np.uint8)), (0, 0), 0.8)
        for t in range(length):
            place = start + (end - start) * t / max(length - 1, 1)
            shift = place - scale * grey.shape[0] / 2
            matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
            added = cv2.warpAffine((grey - sky) * soft, matrix, (size, size), flags=cv2.INTER_LINEAR)
            covered = cv2.warpAffine(shape, matrix, (size, size), flags=cv2.INTER_LINEAR) > 0.5
            if in_front:
                background = float(np.median(images[t]))
                images[t][covered] = background
                masks[t] &= ~covered
            else:
                added[masks[t]] = 0
            images[t] += contrast * added

    @staticmethod
    def _augment(
        images: FloatArray,
        masks: npt.NDArray[np.bool_],
        boxes: FloatArray,
        weights: npt.NDArray[np.float32],
        rng: np.random.Generator,
    ) -> Sequence:
        size = images.shape[1]
        if rng.random() < 0.5:
            images, masks = images[:, :, ::-1], masks[:, :, ::-1]
            boxes = np.column_stack([size - boxes[:, 2], boxes[:, 1], size - boxes[:, 0], boxes[:, 3]]).astype(
                np.float32
            )
        if rng.random() < 0.2:
            images, masks = images[:, ::-1], masks[:, ::-1]
            boxes = np.column_stack([boxes[:, 0], size - boxes[:, 3], boxes[:, 2], size - boxes[:, 1]]).astype(
                np.float32
            )
        if rng.random() < 0.25:
            images = 255 - images
        mean = float(images.mean())
        brightness = float(np.clip(mean + rng.uniform(-40, 40), 15, 240))
        grey = (images - mean) * rng.uniform(0.55, 1.5) + brightness + rng.normal(0, 2, (len(images), 1, 1))
        if rng.random() < 0.3:
            grey = grey + rng.standard_normal(grey.shape, dtype=np.float32) * rng.uniform(1, 6)
        color = np.repeat(grey[..., None], 3, axis=3)
        if rng.random() < 0.4:  # visible cameras have a tinted sky; the targets in the crops are grey
            color = color * rng.uniform(0.75, 1.25, 3) + rng.uniform(-12, 12, 3)
        return Sequence(
            np.clip(color, 0, 255).astype(np.uint8), np.ascontiguousarray(masks), boxes.astype(np.float32), weights
        )


class SequenceStream(IterableDataset[dict[str, torch.Tensor]]):
    """Endless batches for a DataLoader (`batch_size=None`); every worker has a random stream of its own.

    The material is opened by the worker itself, so that no array travels between processes.

    Args:
        directories: prepared material, real and rendered.
        size: side S of the windows in pixels.
        batch: sequences per batch.
        length: windows per sequence.
        seed: seed of this stream.
        shares: `crossing_share`, `absence_share` and `empty_share` of :class:`SequenceSampler`.
    """

    def __init__(
        self,
        directories: Iterable[Path],
        size: int,
        batch: int,
        length: int,
        seed: int,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self.directories, self.size = tuple(directories), size
        self.batch, self.length, self.seed = batch, length, seed
        self.shares = dict(shares or {})

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Batches of images (B, T, S, S, 3), masks (B, T, S, S), boxes (B, T, 4) and weights (B, T)."""
        cv2.setNumThreads(1)
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        tracks = [track for directory in self.directories for track in read_track_crops(directory)]
        sampler = SequenceSampler(tracks, self.size, **self.shares)
        while True:
            drawn = [sampler.draw(self.length, rng) for _ in range(self.batch)]
            yield {
                name: torch.from_numpy(np.stack([getattr(sequence, name) for sequence in drawn]))
                for name in ("images", "masks", "boxes", "weights")
            }
