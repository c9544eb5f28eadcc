"""Copy-paste augmentation: real targets, cut out of one clip, put in front of the background of another.

After Ghiasi et al. 2021 ("Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation"), for
targets whose labels are boxes: the target is what a pseudo-mask finds inside its box. What is carried over is its
contrast against its own sky, not its colour, so that no rim of the old sky comes along.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from rich.progress import track as progress

from smotracker_ros.frames import UInt8Image
from smotracker_ros.geometry import FloatArray, as_boxes, pairwise_overlap
from smotracker_ros.training.clips import Clip
from smotracker_ros.training.pseudo_masks import pseudo_mask

# Pixels round the label that belong to a cut-out: the feathered rim ends inside them
_RIM = 3
# Shares of the size and of the contrast by which a pasted target may differ from its original
_ZOOM = (0.65, 1.35)
_GAIN = (0.6, 1.3)
# Brightest less darkest grey level (percentiles 5 and 95) of a place that can be sky: on roofs and roads, hot spots
# are lamps, and targets pasted there would teach otherwise
_SMOOTH = 40.0


@dataclass(frozen=True)
class CutOut:
    """One target without its background.

    Attributes:
        contrast: float32 (h, w, 3), what the target adds to the sky, 0 outside it.
        box: label in the cut-out, float32 (4,), xyxy pixels.
        class_id: 1 drone, 2 bird, 3 airplane, 4 helicopter.
    """

    contrast: FloatArray
    box: FloatArray
    class_id: int


def cut_out(image: UInt8Image, box: FloatArray, class_id: int) -> CutOut | None:
    """Lift a target off its sky; None where its mask cannot be trusted or its label touches the border.

    Args:
        image: uint8 RGB (height, width, 3).
        box: label, float32 (4,), xyxy pixels.
        class_id: class of the target.
    """
    x1, y1 = (int(value) for value in np.floor(box[:2]) - _RIM)
    x2, y2 = (int(value) for value in np.ceil(box[2:]) + _RIM)
    if x1 < 0 or y1 < 0 or x2 > image.shape[1] or y2 > image.shape[0]:
        return None
    mask, trusted = pseudo_mask(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8), box)
    if not trusted:
        return None
    part = image[y1:y2, x1:x2].astype(np.float32)
    inside = cv2.dilate(mask[y1:y2, x1:x2].astype(np.uint8), np.ones((3, 3), dtype=np.uint8))
    if inside.all():
        return None
    sky = np.median(part[inside == 0], axis=0)
    alpha = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.7)
    contrast = ((part - sky) * alpha[..., None]).astype(np.float32)
    return CutOut(contrast, (box - np.array([x1, y1, x1, y1])).astype(np.float32), class_id)


class CutOutBook:
    """Cut-outs of real targets, infrared and visible apart, since the two look different."""

    def __init__(self) -> None:
        self._books: dict[bool, dict[int, list[CutOut]]] = {True: {}, False: {}}

    @staticmethod
    def collect(clips: Iterable[Clip], frame_step: int, seed: int) -> CutOutBook:
        """Cut targets out of every `frame_step`-th frame of the clips."""
        book = CutOutBook()
        generator = np.random.default_rng(seed)
        for clip in progress(list(clips), description="cutting out targets"):
            for index, image in clip.images(frame_step, int(generator.integers(frame_step))):
                labels = clip.labels[index]
                for box, class_id in zip(labels.boxes, labels.class_ids.tolist(), strict=True):
                    found = cut_out(image, box, class_id)
                    if found is not None:
                        book._books[clip.is_infrared].setdefault(class_id, []).append(found)
        return book

    def __len__(self) -> int:
        return sum(len(items) for book in self._books.values() for items in book.values())

    def paste(
        self,
        image: UInt8Image,
        boxes: FloatArray,
        class_ids: np.ndarray,
        infrared: bool,
        scale: float,
        generator: np.random.Generator,
    ) -> tuple[UInt8Image, FloatArray, np.ndarray]:
        """Put one target of a random class into a crop, in front of sky and where it covers no other.

        Args:
            image: uint8 RGB (height, width, 3).
            boxes: labels that it has already, float32 (N, 4), xyxy pixels.
            class_ids: their classes, int64 (N,).
            infrared: which kind of target fits.
            scale: pixels of the image per pixel of the clip that it was cut from.
            generator: source of randomness.

        Returns:
            Image, boxes and classes with the pasted target; unchanged where there was no room.
        """
        book = self._books[infrared]
        if not book:
            return image, boxes, class_ids
        of_class = book[sorted(book)[int(generator.integers(len(book)))]]
        chosen = of_class[int(generator.integers(len(of_class)))]
        zoom = scale * generator.uniform(*_ZOOM)
        shape = chosen.contrast.shape
        size = max(round(shape[1] * zoom), 3), max(round(shape[0] * zoom), 3)
        room = image.shape[1] - size[0], image.shape[0] - size[1]
        if min(room) <= 0:
            return image, boxes, class_ids
        interpolation = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
        contrast = cv2.resize(chosen.contrast, size, interpolation=interpolation)
        box = chosen.box * np.array([size[0] / shape[1], size[1] / shape[0]] * 2, dtype=np.float32)
        if generator.random() < 0.5:
            contrast = contrast[:, ::-1]
            box = np.array([size[0] - box[2], box[1], size[0] - box[0], box[3]], dtype=np.float32)
        x, y = int(generator.integers(room[0])), int(generator.integers(room[1]))
        box = (box + np.array([x, y, x, y])).astype(np.float32)
        if len(boxes) and float(pairwise_overlap(as_boxes(box), boxes).max()) > 0.2:
            return image, boxes, class_ids
        place = image[y : y + size[1], x : x + size[0]].mean(axis=2)
        if float(np.subtract(*np.percentile(place, (95, 5)))) > _SMOOTH:
            return image, boxes, class_ids
        pasted = image.astype(np.float32)
        pasted[y : y + size[1], x : x + size[0]] += contrast * np.float32(generator.uniform(*_GAIN))
        result = np.clip(pasted, 0, 255).astype(np.uint8)
        return result, np.concatenate([as_boxes(boxes), as_boxes(box)]), np.append(class_ids, chosen.class_id)
