"""Real clips as a moving camera would have seen them: panned, zoomed, shaken, and with text burnt in.

Most labelled clips were filmed by a camera at rest. Seen through a window that moves over their frames, they show the
same targets and the same clutter under a moving camera.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, as_boxes, clip_boxes
from smotracker_ros.training.burnt_in import BurntIn, FaultyPixels
from smotracker_ros.training.clips import Clip
from smotracker_ros.training.trajectories import camera_path, smooth_noise

# Labels of which less than this share is in view are none
_LEAST_SEEN = 0.5
# How much larger the frames are than the window; the second where it follows a target
_ZOOMS, _FOLLOWING_ZOOMS = (1.15, 1.6), (1.4, 2.2)
# Seconds by which an operator's hand lags behind a target
_LAGS = (0.1, 0.6)
# Pixels by which it is off, within so many seconds
_HAND_PIXELS, _HAND_SECONDS = (1.0, 5.0), 0.25


@dataclass(frozen=True)
class LabelledImage:
    """A frame with its labels.

    Attributes:
        image: uint8 RGB (height, width, 3).
        boxes: float32 (N, 4), xyxy pixels.
        ids: int64 (N,).
        is_cut: whether another shot begins.
    """

    image: UInt8Image
    boxes: FloatArray
    ids: npt.NDArray[np.int64]
    is_cut: bool


def still(clip: Clip) -> Iterator[LabelledImage]:
    """The clip as it is."""
    for index, image in clip.images():
        labels = clip.labels[index]
        yield LabelledImage(image, labels.boxes, labels.ids, index in clip.cuts)


def moving(clip: Clip, generator: np.random.Generator, follows: bool = False) -> Iterator[LabelledImage]:
    """The clip through a window that moves, of the clip's own size in pixels.

    Args:
        clip: labelled, of a camera at rest.
        generator: source of randomness.
        follows: the camera keeps a target near the middle, as operators and gimbals do.
    """
    height, width = clip.size
    zoom = float(generator.uniform(*(_FOLLOWING_ZOOMS if follows else _ZOOMS)))
    kinds = [frozenset({"pan"}), frozenset({"pan", "shake"}), frozenset({"pan", "zoom"}), frozenset({"shake", "zoom"})]
    world = (round(width * zoom), round(height * zoom))
    path = camera_path(kinds[int(generator.integers(4))], clip.length, (width, height), world, generator)
    if follows:
        path = replace(path, centers=_following(clip, generator) * zoom + (path.centers - path.base))
    side = max(width, height)
    overlays: list[BurntIn | FaultyPixels] = [BurntIn(side, generator)] if generator.random() < 0.7 else []
    if generator.random() < 0.3:
        overlays.append(FaultyPixels(side, generator))
    for index, image in clip.images():
        matrix = path.matrix(index, width, height)
        matrix[:, :2] *= zoom
        view = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        labels = clip.labels[index]
        # all four: the window may be turned
        corners = labels.boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] @ matrix[:, :2].T + matrix[:, 2]
        boxes = as_boxes(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1))
        inside = clip_boxes(boxes, height, width)
        areas = [np.prod(np.maximum(item[:, 2:] - item[:, :2], 0), axis=1) for item in (inside, boxes)]
        seen = areas[0] >= _LEAST_SEEN * np.maximum(areas[1], 1e-6)
        yield LabelledImage(_paint(view, overlays, side), boxes[seen], labels.ids[seen], index in clip.cuts)


def _following(clip: Clip, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Where a camera looks that follows the clip's longest-lived target, (length, 2) pixels of the frames."""
    ids = np.concatenate([labels.ids for labels in clip.labels])
    middle = np.array([clip.size[1], clip.size[0]]) / 2
    places = np.full((clip.length, 2), np.nan)
    if len(ids):
        longest = int(np.bincount(ids).argmax())
        for index, labels in enumerate(clip.labels):
            for box in labels.boxes[labels.ids == longest][:1]:
                places[index] = (box[:2] + box[2:]) / 2
    known = np.flatnonzero(np.isfinite(places[:, 0]))
    if not len(known):
        return np.tile(middle, (clip.length, 1))
    filled = np.stack([np.interp(np.arange(clip.length), known, places[known, axis]) for axis in (0, 1)], axis=1)
    lag = float(generator.uniform(*_LAGS)) * clip.fps
    hand = smooth_noise(clip.length, _HAND_SECONDS * clip.fps, generator, 2) * generator.uniform(*_HAND_PIXELS)
    return np.asarray(gaussian_filter1d(filled, lag, axis=0, mode="nearest") + hand)


def _paint(image: UInt8Image, overlays: list[BurntIn | FaultyPixels], side: int) -> UInt8Image:
    if not overlays:
        return np.asarray(image, dtype=np.uint8)
    height, width = image.shape[:2]
    square = np.zeros((side, side), dtype=np.float32)
    square[:height, :width] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    before = square.copy()
    for overlay in overlays:
        overlay.paint(square)
    added = (square - before)[:height, :width, None]
    return np.clip(image + added, 0, 255).astype(np.uint8)
