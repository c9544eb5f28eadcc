"""Training crops with motion: a place of a clip at three times, seen by a camera that may move.

The pictures of the three times are cut out as a moving camera would have seen them, get targets, overlays and a
sensor's look, and are then laid over the newest by the camera's motion, with the errors that its estimate makes. So
what is burnt in moves against the background, as it does when a tracker looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_areas, clip_boxes, pairwise_overlap
from smotracker_ros.detection.motion_stack import lay_over
from smotracker_ros.training.backgrounds import fractal_noise
from smotracker_ros.training.burnt_in import BurntIn, FaultyPixels
from smotracker_ros.training.sensor_looks import SensorLook
from smotracker_ros.training.sprites import Sprite

Matrix = npt.NDArray[np.float64]

BORDER = 114
"""Grey level beyond the image's border, as ultralytics pads images."""
# A box keeps so much of its area in the crop, or it is no label
_LEAST_KEPT = 0.6
# Grey levels, and standard deviations of the surroundings, by which some of a target must differ to be seen at all
_LEAST_SEEN, _LEAST_SEEN_NOISE = 4.0, 2.2


@dataclass(frozen=True)
class Moments:
    """A place at three times, before anything is put into it.

    Attributes:
        pictures: grey uint8 (h, w), the newest first; any sizes.
        matrices: (3, 3) each: pixels of the picture -> pixels of the crop, as a still camera would have it.
        ages: seconds before the newest, the first is 0.
        boxes: labels in the crop, float32 (N, 4), xyxy pixels, not clipped.
        class_ids: int64 (N,).
        infrared: which kind of sensor it is.
    """

    pictures: Sequence[UInt8Image]
    matrices: Sequence[Matrix]
    ages: Sequence[float]
    boxes: FloatArray
    class_ids: npt.NDArray[np.int64]
    infrared: bool


@dataclass(frozen=True)
class Shares:
    """How often the crops have what, as probabilities.

    Attributes:
        moving: the camera moves.
        still: the stack is one picture three times, as in a stream's first frame.
        burnt_in: text and reticles.
        faulty: dead pixels or dirt.
        rippling: textures move by themselves, as waves and leaves do.
        parallax: things at other distances move against what the camera's motion was estimated from.
        look: the sensor has a look of its own (:mod:`smotracker_ros.training.sensor_looks`).
    """

    moving: float = 0.4
    still: float = 0.12
    burnt_in: float = 0.3
    faulty: float = 0.12
    rippling: float = 0.12
    parallax: float = 0.5
    look: float = 0.85


@dataclass(frozen=True)
class Flight:
    """A target to be put in.

    Attributes:
        sprite: how it looks.
        center: (x, y) in the newest picture, crop pixels.
        velocity: (x, y) against the background, crop pixels per second.
        size: longer side in crop pixels.
    """

    sprite: Sprite
    center: tuple[float, float]
    velocity: tuple[float, float]
    size: float


@dataclass(frozen=True)
class Crop:
    """A finished crop.

    Attributes:
        image: uint8 (side, side, 3), the three pictures, newest first.
        boxes: float32 (N, 4), xyxy pixels, clipped to the crop.
        class_ids: int64 (N,).
    """

    image: UInt8Image
    boxes: FloatArray
    class_ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def make_crop(
    moments: Moments, flights: Sequence[Flight], side: int, shares: Shares, generator: np.random.Generator
) -> Crop:
    """Make one training crop.

    Args:
        moments: what is there.
        flights: targets to put in; those that would cover a label are left out.
        side: side of the crop, pixels.
        shares: how often crops have what.
        generator: source of randomness.
    """
    moving = generator.random() < shares.moving
    camera = _camera(side, moments.ages, generator) if moving else [np.eye(3)] * len(moments.ages)
    pictures: list[FloatArray] = []
    for picture, matrix, motion in zip(moments.pictures, moments.matrices, camera, strict=True):
        pictures.append(cut(picture, motion @ matrix, side))
    if generator.random() < shares.rippling:
        pictures[1:] = [_ripple(picture, generator) for picture in pictures[1:]]
    if moving and generator.random() < shares.parallax:
        pictures = _parallax(pictures, moments.ages, generator)
    boxes, class_ids = moments.boxes, moments.class_ids
    for flight in flights:
        added = _fly(pictures, camera, moments.ages, flight, boxes)
        if added is not None:
            boxes = np.concatenate([as_boxes(boxes), as_boxes(added)])
            class_ids = np.append(class_ids, flight.sprite.class_id)
    look = SensorLook(moments.infrared, generator) if generator.random() < shares.look else None
    overlays: list[BurntIn | FaultyPixels] = []
    if generator.random() < shares.faulty:
        overlays.append(FaultyPixels(side, generator))
    if generator.random() < shares.burnt_in:
        overlays.append(BurntIn(side, generator))
    if generator.random() < shares.still:
        pictures, camera = pictures[:1], camera[:1]
    arrived: list[UInt8Image] = []
    for seen in pictures:
        exposed = look.expose(seen) if look else seen
        for overlay in overlays:
            overlay.paint(exposed)
        arrived.append(look.transmit(exposed) if look else np.clip(np.rint(exposed), 0, 255).astype(np.uint8))
    channels = [arrived[0]]
    for older, motion in zip(arrived[1:], camera[1:], strict=True):
        matrix = (_error(side, moving, generator) @ np.linalg.inv(motion))[:2]
        channels.append(lay_over(older, matrix, arrived[0]))
    channels += channels[:1] * (3 - len(channels))
    clipped = clip_boxes(boxes, side, side)
    kept = box_areas(clipped) >= _LEAST_KEPT * np.maximum(box_areas(boxes), 1e-6)
    # the clip's own targets are known to be there, so less is asked of them
    strictness = np.where(np.arange(len(boxes)) < len(moments.boxes), 0.6, 1.0)
    kept &= np.array([_seen(arrived[0], *pair) for pair in zip(clipped, strictness, strict=True)], dtype=np.bool_)
    return Crop(np.stack(channels, axis=2), clipped[kept], np.asarray(class_ids)[kept])


def cut(picture: UInt8Image, matrix: Matrix, side: int) -> FloatArray:
    """Cut a square crop, grey levels in float32 (side, side).

    Args:
        picture: grey uint8 (h, w).
        matrix: (3, 3), pixels of the picture -> pixels of the crop.
        side: side of the crop, pixels.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.8:  # warpAffine does not average when it shrinks
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.45 / scale))
    border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": BORDER}
    return cv2.warpAffine(picture, matrix[:2], (side, side), flags=cv2.INTER_LINEAR, **border).astype(np.float32)


def similarity(scale: float, angle: float, shift: npt.ArrayLike, center: float) -> Matrix:
    """A (3, 3) map that turns and scales round (center, center) and then shifts."""
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.asarray(shift) + center - linear @ np.full(2, center)
    return matrix


def _seen(picture: UInt8Image, box: FloatArray, strictness: float) -> bool:
    """Whether anything in a box differs from its surroundings; a label on nothing would teach to imagine."""
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    if x2 <= x1 or y2 <= y1:
        return False
    reach = max(4, (x2 - x1) // 3, (y2 - y1) // 3)
    left, top = max(x1 - reach, 0), max(y1 - reach, 0)
    region = cv2.blur(picture[top : y2 + reach, left : x2 + reach], (2, 2)).astype(np.float32)
    around = np.ones(region.shape, dtype=np.bool_)
    around[y1 - top : y2 - top, x1 - left : x2 - left] = False
    if around.all() or not around.any():
        return False
    level, spread = float(np.median(region[around])), float(region[around].std())
    strongest = float(np.abs(region[~around] - level).max())
    return strongest >= strictness * max(_LEAST_SEEN, _LEAST_SEEN_NOISE * spread)


def _camera(side: int, ages: Sequence[float], generator: np.random.Generator) -> list[Matrix]:
    """Where a moving camera saw the places of the newest picture at each age; pans, zooms and shakes."""
    speed = float(np.exp(generator.uniform(np.log(3), np.log(400))))
    direction = generator.uniform(0, 2 * np.pi)
    velocity = speed * np.array([np.cos(direction), np.sin(direction)])
    zoom = float(generator.normal(0, 0.15)) if generator.random() < 0.3 else 0.0
    roll = float(generator.normal(0, 0.03)) if generator.random() < 0.3 else 0.0
    shake = float(generator.uniform(0, 3)) if generator.random() < 0.4 else 0.0
    motions = []
    for age in ages:
        shift = -velocity * age + (generator.normal(0, shake, 2) if shake and age else 0.0)
        motions.append(similarity(float(np.exp(-zoom * age)), -roll * age, shift, side / 2))
    return motions


def _error(side: int, moving: bool, generator: np.random.Generator) -> Matrix:
    """What the estimate of the camera's motion is wrong by, (3, 3); more where the camera moves."""
    pixels = float(generator.exponential(0.35 if moving else 0.06))
    if moving and generator.random() < 0.04:  # no corners to hold on to
        pixels = float(generator.uniform(2, 10))
    stretch = 1 + generator.normal(0, 0.3) * pixels / side
    return similarity(stretch, 0.0, generator.normal(0, 0.7, 2) * pixels, side / 2)


def _ripple(picture: FloatArray, generator: np.random.Generator) -> FloatArray:
    side = picture.shape[0]
    reach = float(generator.uniform(0.3, 1.8))
    cell = float(generator.uniform(6, 40))
    rows, columns = (
        grid + fractal_noise(side, side, cell, 2, generator) * np.float32(reach)
        for grid in np.indices(picture.shape, dtype=np.float32)
    )
    return np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _parallax(
    pictures: Sequence[FloatArray], ages: Sequence[float], generator: np.random.Generator
) -> list[FloatArray]:
    """Older pictures displaced by a field that is smooth in space and steady in time."""
    side = pictures[0].shape[0]
    cell, speed = float(generator.uniform(0.3, 1.5)) * side, float(np.exp(generator.uniform(0, np.log(20))))
    direction = generator.normal(0, 1, 2)
    nearness = fractal_noise(side, side, cell, 2, generator) * np.float32(speed)
    grids = np.indices(pictures[0].shape, dtype=np.float32)
    moved = [pictures[0]]
    for picture, age in zip(pictures[1:], ages[1:], strict=True):
        rows, columns = (
            grid + nearness * np.float32(share * age) for grid, share in zip(grids, direction, strict=True)
        )
        moved.append(np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)))
    return moved


def _fly(
    pictures: Sequence[FloatArray], camera: Sequence[Matrix], ages: Sequence[float], flight: Flight, boxes: FloatArray
) -> FloatArray | None:
    """Put a target into all pictures; returns its box in the newest, None if it was left out."""
    side = pictures[0].shape[0]
    layers = []
    for motion, age in zip(camera, ages, strict=True):
        place = motion @ [*(np.array(flight.center) - np.array(flight.velocity) * age), 1.0]
        scale = float(np.hypot(motion[0, 0], motion[1, 0]))
        layers.append(flight.sprite.draw((side, side), (float(place[0]), float(place[1])), flight.size * scale, -age))
    box = layers[0].box()
    if box is None or (len(boxes) and float(pairwise_overlap(box, boxes).max()) > 0.2):
        return None
    for picture, layer in zip(pictures, layers, strict=True):
        layer.paint(picture)
    return box
