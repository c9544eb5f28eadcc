"""Training crops for the detector, cut out of real clips at their native resolution.

Targets of 5-30 px make whole frames a waste: almost every pixel is empty sky. The crops keep a target in most cases,
their own or one of another clip; the rest are places where nothing is, above all those that an earlier detector has
taken for a target.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track as progress

from smotracker_ros.frames import UInt8Image
from smotracker_ros.geometry import FloatArray, pairwise_overlap
from smotracker_ros.training.clips import Clip
from smotracker_ros.training.copy_paste import CutOutBook

# Boxes that an earlier detector finds in a frame, float32 (N, 4), xyxy pixels, by falling confidence
Finder = Callable[[UInt8Image], FloatArray]

# Every so many used frames are searched for false boxes, of which so many become crops
_MINING_STEP = 2
_MOST_FALSE_BOXES = 2
# Targets are cut out of every so many used frames
_CUT_OUT_STEP = 5


@dataclass(frozen=True)
class CropSettings:
    """How training crops are cut out of clips.

    Attributes:
        side: side of a crop in pixels; also the training image size.
        frame_step: every n-th frame is used, because neighbours are near-duplicates.
        empty_share: share of crops placed anywhere, with or without a target.
        visible_scales: range of scales at which visible-light frames are seen before cropping.
        infrared_scales: the same for infrared frames, which are smaller already.
        paste_share: share of crops that get a target of another clip, half of these a second one.
        degraded_share: share of crops that are blurred by motion, and share of those that get noise.
        seed: seed of the random choices; another one gives other crops of the same clips.
    """

    side: int = 160
    frame_step: int = 12
    empty_share: float = 0.12
    visible_scales: tuple[float, float] = (0.5, 0.9)
    infrared_scales: tuple[float, float] = (1.0, 1.6)
    paste_share: float = 0.0
    degraded_share: float = 0.0
    seed: int = 0


def cut_crop(
    image: UInt8Image, boxes: FloatArray, center: tuple[float, float], scale: float, side: int
) -> tuple[UInt8Image, FloatArray, np.ndarray]:
    """Cut a square crop, moved inside the image where possible.

    Args:
        image: uint8 RGB (height, width, 3).
        boxes: float32 (N, 4), xyxy pixels of the image.
        center: wanted centre (x, y) in pixels of the image.
        scale: crop pixels per image pixel.
        side: side of the crop in crop pixels.

    Returns:
        The crop, uint8 (side, side, 3); the boxes in it, float32 (M, 4), clipped; the indices (M,) of the boxes that
        keep at least 60 % of their area.
    """
    height, width = image.shape[:2]
    half = side / scale / 2
    x = width / 2 if width <= 2 * half else float(np.clip(center[0], half, width - half))
    y = height / 2 if height <= 2 * half else float(np.clip(center[1], half, height - half))
    matrix = np.array([[scale, 0, side / 2 - scale * x], [0, scale, side / 2 - scale * y]], dtype=np.float64)
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    source = image
    if scale < 0.8:  # warpAffine does not average when it shrinks: do that first
        source = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        matrix[:, :2] = np.eye(2)
    crop = cv2.warpAffine(
        source, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(114,) * 3
    )
    moved = (boxes - np.array([x, y, x, y], dtype=np.float32)) * scale + side / 2
    clipped = np.clip(moved, 0, side)
    area = np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    kept = np.flatnonzero(np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) >= 0.6 * np.maximum(area, 1e-6))
    return np.asarray(crop, dtype=np.uint8), clipped[kept].astype(np.float32), kept


def degrade(image: UInt8Image, share: float, generator: np.random.Generator) -> UInt8Image:
    """Motion blur and sensor noise, each with the probability `share`."""
    if generator.random() < share:
        length, angle = int(generator.integers(2, 6)), float(generator.uniform(0, np.pi))
        kernel = np.zeros((7, 7), dtype=np.float32)
        for step in np.linspace(-length / 2, length / 2, 4 * length):
            kernel[round(3 + step * np.sin(angle)), round(3 + step * np.cos(angle))] = 1
        image = np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), dtype=np.uint8)
    if generator.random() < share:
        noise = generator.normal(0, generator.uniform(1, 6), image.shape[:2])[..., None]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


class _CropWriter:
    """Writes crops and their labels in ultralytics' layout."""

    def __init__(self, directory: Path, settings: CropSettings, book: CutOutBook, generator: np.random.Generator):
        self._directory, self._settings, self._book, self._generator = directory, settings, book, generator
        self.count = 0
        for name in ("images", "labels"):
            (directory / name).mkdir(parents=True, exist_ok=True)

    def write(self, clip: Clip, index: int, image: UInt8Image, center: np.ndarray, name: str, paste: bool) -> None:
        """Cut, alter and write the crop round a centre (x, y) of a clip's frame."""
        settings, generator = self._settings, self._generator
        labels = clip.labels[index]
        scale = float(generator.uniform(*(settings.infrared_scales if clip.is_infrared else settings.visible_scales)))
        crop, boxes, kept = cut_crop(image, labels.boxes, (center[0], center[1]), scale, settings.side)
        class_ids = labels.class_ids[kept]
        if paste and generator.random() < settings.paste_share:
            for _ in range(int(generator.integers(1, 3))):
                crop, boxes, class_ids = self._book.paste(crop, boxes, class_ids, clip.is_infrared, scale, generator)
        crop = degrade(crop, settings.degraded_share, generator)
        cv2.imwrite(str(self._directory / "images" / f"{name}.png"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
        rows = [
            f"{class_id - 1} {(b[0] + b[2]) / 2:.6f} {(b[1] + b[3]) / 2:.6f} {b[2] - b[0]:.6f} {b[3] - b[1]:.6f}"
            for class_id, b in zip(class_ids.tolist(), boxes / settings.side, strict=True)
        ]
        (self._directory / "labels" / f"{name}.txt").write_text("\n".join(rows))
        self.count += 1


def write_crops(clips: list[Clip], directory: Path, settings: CropSettings, finder: Finder | None = None) -> int:
    """Write crops and labels of all clips in ultralytics' layout (`images/`, `labels/`); finished folders are kept.

    Args:
        clips: labelled clips.
        directory: where they go.
        settings: see :class:`CropSettings`.
        finder: an earlier detector, whose false boxes become further crops (hard negatives). Clips of birds are left
            out there: not every bird of a flock is labelled.

    Returns:
        Number of crops.
    """
    done = directory / "crops.json"
    if done.exists():
        return int(json.loads(done.read_text())["crops"])
    step = settings.frame_step
    generator = np.random.default_rng(settings.seed)
    book = CutOutBook()
    if settings.paste_share > 0:
        book = CutOutBook.collect(clips, _CUT_OUT_STEP * step, settings.seed)
    writer = _CropWriter(directory, settings, book, generator)
    false_boxes = 0
    for clip in progress(clips, description="cutting crops"):
        for number, (index, image) in enumerate(clip.images(step, int(generator.integers(step)))):
            boxes = clip.labels[index].boxes
            if len(boxes) and generator.random() > settings.empty_share:
                box = boxes[int(generator.integers(len(boxes)))]
                widest = max(settings.infrared_scales if clip.is_infrared else settings.visible_scales)
                reach = 0.42 * settings.side / widest
                center = (box[:2] + box[2:]) / 2 + generator.uniform(-reach, reach, 2)
            else:
                center = generator.uniform(0, 1, 2) * (clip.size[1], clip.size[0])
            writer.write(clip, index, image, center, f"{clip.name}_{index:04d}", paste=True)
            if finder is None or number % _MINING_STEP or "BIRD" in clip.name:
                continue
            found = finder(image)
            false = found[pairwise_overlap(found, boxes).max(axis=1) < 0.1] if len(boxes) else found
            for rank, box in enumerate(false[:_MOST_FALSE_BOXES]):
                center = (box[:2] + box[2:]) / 2 + generator.uniform(-20, 20, 2)
                writer.write(clip, index, image, center, f"{clip.name}_{index:04d}_false{rank}", paste=False)
                false_boxes += 1
    facts = {"crops": writer.count, "false_boxes": false_boxes, "cut_outs": len(book), **asdict(settings)}
    done.write_text(json.dumps(facts))
    return writer.count
