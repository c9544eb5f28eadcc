"""Rendered flights in front of anything: sky, clouds, trees, buildings, textured ground, under a camera that moves.

Real targets and silhouettes of all sizes fly, hover, grow, leave and come back. Each picture comes with the exact mask
of each target's visible extent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import BoolArray, FloatArray
from smotracker_ros.training.backgrounds import make_background
from smotracker_ros.training.grounds import draw_ground
from smotracker_ros.training.sensor_looks import SensorLook
from smotracker_ros.training.sprites import CutOut, Layer, Silhouette, Sprite
from smotracker_ros.training.targets import random_look
from smotracker_ros.training.trajectories import camera_path, smooth_noise

# The background through a map from world to frame, at a frame, grey uint8 of a width and height
View = Callable[[npt.NDArray[np.float64], int, int, int], UInt8Image]

# Share of the scenes that show nothing but ground
_GROUND_SHARE = 0.5
# Longer sides of targets, pixels; largest one in a share of the cases
_SIZES = (4.0, 70.0)
# Standard deviations in pixels of a target's wandering within a second or two, and of its rocking
_WANDER, _ROCKING = (0.0, 12.0), (0.5, 3.0)
# A target with fewer pixels to be seen is hidden
_LEAST_PIXELS = 4
_KINDS = (frozenset[str](), frozenset({"pan"}), frozenset({"pan", "shake"}), frozenset({"pan", "zoom"}))


@dataclass(frozen=True)
class FlightFrame:
    """A rendered picture.

    Attributes:
        grey: uint8 (height, width).
        masks: by number of the target, bool (height, width); those that are not seen are left out.
        boxes: by number of the target, float32 (4,), xyxy pixels, round the visible extent.
    """

    grey: UInt8Image
    masks: dict[int, BoolArray]
    boxes: dict[int, FloatArray]


def fly(
    width: int, height: int, frames: int, sprites: Sequence[CutOut], generator: np.random.Generator
) -> Iterator[FlightFrame]:
    """Render a scene with one to four targets.

    Args:
        width: pixels.
        height: pixels.
        frames: length, at 30 per second.
        sprites: real targets; none: silhouettes alone.
        generator: source of randomness.
    """
    infrared = bool(generator.random() < 0.5)
    world = (round(1.6 * width), round(1.6 * height))
    path = camera_path(_KINDS[int(generator.integers(len(_KINDS)))], frames, (width, height), world, generator)
    view = _ground(world, generator)
    if generator.random() >= _GROUND_SHARE:
        view = _scenery(world, height, frames, infrared, generator)
    targets = [
        _Target(path.base, path.zoom, width, sprites, infrared, generator) for _ in range(generator.integers(1, 5))
    ]
    look = SensorLook(infrared, generator)
    for index in range(frames):
        matrix = path.matrix(index, width, height)
        seen = view(matrix, index, width, height).astype(np.float32)
        masks: dict[int, BoolArray] = {}
        boxes: dict[int, FloatArray] = {}
        for number, target in enumerate(targets):
            layer = target.layer(index, matrix, (height, width))
            box = layer.box()
            visible = layer.visible()
            if box is None or visible.sum() < _LEAST_PIXELS:
                continue
            layer.paint(seen)
            for other in masks.values():
                other &= ~visible
            masks[number], boxes[number] = visible, box
        grey = look.transmit(look.expose(seen))
        kept = {number: mask for number, mask in masks.items() if mask.sum() >= _LEAST_PIXELS}
        yield FlightFrame(grey, kept, {number: boxes[number] for number in kept})


def _ground(world: tuple[int, int], generator: np.random.Generator) -> View:
    ground = draw_ground(*world, generator)

    def see(matrix: npt.NDArray[np.float64], index: int, width: int, height: int) -> UInt8Image:
        seen = cv2.warpAffine(ground, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        return np.asarray(seen, dtype=np.uint8)

    return see


def _scenery(
    world: tuple[int, int], frame_height: int, frames: int, infrared: bool, generator: np.random.Generator
) -> View:
    background = make_background(world, frame_height, frames, infrared, generator)

    def see(matrix: npt.NDArray[np.float64], index: int, width: int, height: int) -> UInt8Image:
        image = background.view(matrix, index, width, height)[0]
        return np.asarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    return see


class _Target:
    """One target's looks and way."""

    def __init__(
        self,
        camera: npt.NDArray[np.float64],
        zoom: npt.NDArray[np.float64],
        width: int,
        sprites: Sequence[CutOut],
        infrared: bool,
        generator: np.random.Generator,
    ) -> None:
        frames = len(camera)
        size = float(np.exp(generator.uniform(*np.log(_SIZES))))
        growth = generator.normal(0, 0.35) if generator.random() < 0.4 else 0.0
        self.sizes = np.clip(size * np.exp(growth * np.linspace(-0.5, 0.5, frames)), *_SIZES)
        self.sprite = _sprite(sprites, infrared, generator)
        # in the camera's view, which it wanders through and at times leaves
        speed = (
            0.0 if generator.random() < 0.2 else float(np.exp(generator.uniform(np.log(0.02), np.log(0.35)))) * width
        )
        # targets rock in the air, and no camera follows to the pixel
        wander = smooth_noise(frames, 20, generator, 2) * generator.uniform(*_WANDER)
        wander += smooth_noise(frames, 6, generator, 2) * generator.uniform(*_ROCKING)
        direction = generator.normal(0, 1, 2)
        straight = np.linspace(-0.5, 0.5, frames)[:, None] * direction * speed * frames / 30
        start = generator.uniform(-0.35, 0.35, 2) * width
        follows = generator.random() < 0.5
        middle = camera if follows else camera[frames // 2]
        self.places = middle + start + straight + wander
        self.zoom = zoom
        self.hidden = np.zeros(frames, dtype=np.bool_)
        if generator.random() < 0.3:
            first = int(generator.integers(frames))
            self.hidden[first : first + int(generator.integers(2, 20))] = True

    def layer(self, index: int, matrix: npt.NDArray[np.float64], shape: tuple[int, int]) -> Layer:
        """What it adds to the picture of that number."""
        center = matrix @ [*self.places[index], 1.0]
        size = float(self.sizes[index] * self.zoom[index])
        if self.hidden[index]:
            center = np.array([-1e4, -1e4])
        return self.sprite.draw(shape, (float(center[0]), float(center[1])), size, index / 30)


def _sprite(sprites: Sequence[CutOut], infrared: bool, generator: np.random.Generator) -> Sprite:
    if len(sprites) and generator.random() < 0.5:
        one = sprites[int(generator.integers(len(sprites)))]
        return CutOut(
            one.alpha, one.contrast, one.class_id, bool(generator.random() < 0.5), float(generator.uniform(0.5, 1.4))
        )
    contrast = float(np.exp(generator.uniform(np.log(12), np.log(150))))
    dark = generator.random() < (0.3 if infrared else 0.7)
    return Silhouette(
        look=random_look(int(generator.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1])), generator),
        contrast=-contrast if dark else contrast,
        angle=float(generator.normal(0, 0.25)),
        flip=bool(generator.random() < 0.5),
        blur=float(generator.uniform(0.3, 1.1)),
    )
