"""Targets put into images: colours, blending, a sensor's noise, and the truth that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.training.backgrounds import Background
from smotracker_ros.training.targets import Patch

FAINTEST_CONTRAST = 8.0
"""Grey levels between a target and its surroundings below which no target falls."""


@dataclass(frozen=True)
class SceneFrame:
    """One rendered frame and its truth. Only targets with at least one visible pixel are listed.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        label_image: uint16 (height, width): id of the target that a pixel shows (more than half of its light, relative
            to the target's most opaque pixel), 0 for the background.
        ids: int64 (N,), 1-based, increasing.
        boxes: float32 (N, 4), xyxy in pixels, tight round the visible pixels, x2 and y2 exclusive.
        class_ids: int64 (N,): 1 drone, 2 bird, 3 airplane, 4 helicopter.
        visibility: float32 (N,) in (0, 1]: visible share of the target's pixels, those outside the frame included.
    """

    image: npt.NDArray[np.uint8]
    label_image: npt.NDArray[np.uint16]
    ids: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]
    visibility: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sensor:
    """Imperfections of one scene's camera."""

    blur: float  # pixels
    shutter: float  # share of the frame time that the shutter is open
    noise: npt.NDArray[np.int16]  # larger than the frame; cut at random places
    pattern: npt.NDArray[np.int16] | None  # fixed pattern of a thermal sensor
    quality: int | None  # of lossy compression


def make_sensor(
    size: tuple[int, int], noise_level: float, compression: float, infrared: bool, rng: np.random.Generator
) -> Sensor:
    """Draw a camera's imperfections.

    Args:
        size: (width, height) of its frames, pixels.
        noise_level: standard deviation in grey levels; negative: drawn.
        compression: probability that its frames pass through lossy compression.
        infrared: whether it is a thermal camera, of one channel.
        rng: source of randomness.
    """
    width, height = size
    sigma = noise_level if noise_level >= 0 else float(np.exp(rng.uniform(np.log(0.4), np.log(5.0))))
    shape = (height + 48, width + 48) + (() if infrared else (3,))
    noise = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), 0.6) * 1.6
    pattern = None
    if infrared and rng.random() < 0.5:
        rows, columns = rng.normal(0, 0.8, (height, 1)), rng.normal(0, 0.8, (1, width))
        pattern = np.round(rows + columns).astype(np.int16)
        for _ in range(rng.integers(0, 4)):  # stuck pixels look like the faintest targets but never move
            pattern[rng.integers(height), rng.integers(width)] += int(rng.normal(0, 60))
    quality = int(rng.integers(35, 90)) if rng.random() < compression else None
    return Sensor(
        blur=float(rng.uniform(0.25, 0.9)),
        shutter=float(rng.uniform(0.0, 0.6)),
        noise=np.round(noise * sigma).astype(np.int16),
        pattern=pattern,
        quality=quality,
    )


def target_color(
    background: Background, contrast: float, bright: bool, behind: bool, infrared: bool, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], float]:
    """Colour of a target, float32 (channels,), and its polarity, with room for the contrast in grey levels."""
    level = background.sky_level if behind else (background.sky_level + background.foreground_level) / 2
    polarity = 1.0 if bright else -1.0
    if not 0 <= level + polarity * contrast <= 255:
        polarity = 1.0 if level < 128 else -1.0
    grey = float(np.clip(level + polarity * contrast, 0, 255))
    channels = 1 if infrared else 3
    tint = rng.normal(0, 6, channels) if channels == 3 else np.zeros(1)
    return np.clip(grey + tint, 0, 255).astype(np.float32), polarity


def composite(
    image: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint16],
    target_id: int,
    patch: Patch,
    color: npt.NDArray[np.float32],
    polarity: float,
    occluders: list[npt.NDArray[np.float32]],
) -> tuple[int, tuple[slice, slice]]:
    """Blend a patch into image and labels in place.

    Args:
        image: uint8 (height, width[, 3]).
        labels: uint16 (height, width).
        target_id: what the target's pixels are labelled.
        patch: its silhouette.
        color: float32 (channels,), grey levels.
        polarity: +1 brighter than the sky, -1 darker; keeps it discernible.
        occluders: float32 (height, width) each, alphas of what is before it.

    Returns:
        The number of pixels that the whole silhouette has, and the rows and columns of the frame that were touched.
    """
    peak = float(patch.alpha.max())
    nowhere = (slice(0, 0), slice(0, 0))
    if peak < 0.02:
        return 0, nowhere
    silhouette_pixels = patch.alpha > 0.5 * peak
    area = int(np.count_nonzero(silhouette_pixels))
    height, width = labels.shape
    x1, y1 = max(patch.x, 0), max(patch.y, 0)
    x2, y2 = min(patch.x + patch.alpha.shape[1], width), min(patch.y + patch.alpha.shape[0], height)
    if x1 >= x2 or y1 >= y2:
        return area, nowhere
    inside = (slice(y1 - patch.y, y2 - patch.y), slice(x1 - patch.x, x2 - patch.x))
    place = (slice(y1, y2), slice(x1, x2))
    alpha, visible = patch.alpha[inside], silhouette_pixels[inside]
    for layer in occluders:
        alpha = alpha * (1 - layer[place])
        visible = visible & (layer[place] < 0.5)
    region = image[place].reshape(y2 - y1, x2 - x1, -1).astype(np.float32)
    level = region.mean(axis=(0, 1))
    offset = color - level
    # Where the target would melt into what is behind it, keep it just discernible.
    faintest = FAINTEST_CONTRAST / max(peak, 0.3)
    if abs(float(offset.mean())) < faintest:
        offset = offset - offset.mean() + polarity * faintest
    shown = level + offset * patch.shade[inside][:, :, None]
    blended = region + alpha[:, :, None] * (shown - region)
    image[place] = np.clip(blended + 0.5, 0, 255).astype(np.uint8).reshape(image[place].shape)
    labels[place][visible] = target_id
    return area, place


def expose(image: npt.NDArray[np.uint8], sensor: Sensor, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Add a camera's noise and compression; returns uint8 (height, width, 3), RGB."""
    height, width = image.shape[:2]
    top, left = rng.integers(0, 48, 2)
    noise = sensor.noise[top : top + height, left : left + width]
    image = np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), dtype=np.uint8)
    if sensor.pattern is not None:
        image = np.asarray(cv2.add(image, sensor.pattern, dtype=cv2.CV_8U), dtype=np.uint8)
    if sensor.quality is not None:
        # JPEG has the block and ringing artefacts of an intra-coded h264 frame at a fraction of the cost.
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, sensor.quality])
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), dtype=np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image, dtype=np.uint8)


def frame_truth(
    image: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint16],
    drawn: list[tuple[int, tuple[slice, slice]]],
    class_ids: Sequence[int],
) -> SceneFrame:
    """The truth out of the label image.

    Args:
        image: uint8 (height, width, 3), RGB.
        labels: uint16 (height, width).
        drawn: what :func:`composite` returned for each target.
        class_ids: of the targets.
    """
    ids, boxes, visibility = [], [], []
    for number, (area, place) in enumerate(drawn, start=1):
        rows, columns = np.nonzero(labels[place] == number)
        if rows.size == 0:
            continue
        x, y = columns + place[1].start, rows + place[0].start
        ids.append(number)
        boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
        visibility.append(len(x) / max(area, 1))
    return SceneFrame(
        image=image,
        label_image=labels,
        ids=np.array(ids, dtype=np.int64),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        class_ids=np.array([class_ids[i - 1] for i in ids], dtype=np.int64),
        visibility=np.array(visibility, dtype=np.float32),
    )
