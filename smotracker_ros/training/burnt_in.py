"""What keeps its place in the image while the camera moves: burnt-in text, reticles, dead pixels, dirt on the lens.

It is drawn into training pictures so that a detector learns that none of it is a target, also where digits change and
where it seems to move against a background that is held still.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

FloatArray = npt.NDArray[np.float32]

# Ranges of Unicode that the fonts at hand can draw: Latin, Greek, Cyrillic, Armenian, Georgian
_SCRIPTS = ((0x41, 0x7A), (0x391, 0x3C9), (0x410, 0x44F), (0x531, 0x556), (0x10D0, 0x10F0))
_WORDS = ("ZOOM", "AZ", "EL", "FOV", "IR", "WHT", "BLK", "REC", "LRF", "ALT", "N 48.1", "CAM 1", "TRK", "GAIN", "FPS")


@cache
def _fonts() -> tuple[Path, ...]:
    """Font files that come with matplotlib, which the training needs anyway."""
    import matplotlib

    return tuple(sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVuSans*.ttf")))


class BurntIn:
    """One camera's overlay, drawn anew into each frame.

    Args:
        side: side of the square pictures, pixels.
        generator: source of randomness.
    """

    def __init__(self, side: int, generator: np.random.Generator) -> None:
        self._side, self._generator = side, generator
        bright = float(generator.choice([255, 0, generator.uniform(0, 255)], p=[0.6, 0.2, 0.2]))
        self._level = bright
        self._rimmed = bool(generator.random() < 0.3)
        self._parts: list[Callable[[ImageDraw.ImageDraw], None]] = []
        for _ in range(int(generator.integers(1, 4))):
            self._parts.append(self._text())
        if generator.random() < 0.6:
            self._parts.append(self._reticle())

    def paint(self, picture: FloatArray) -> None:
        """Draw the overlay over a grey float32 picture, in place; changing digits are drawn anew."""
        scale = 2
        canvas = Image.new("L", (self._side * scale, self._side * scale))
        drawing = ImageDraw.Draw(canvas)
        for part in self._parts:
            part(drawing)
        reduced = cv2.resize(np.asarray(canvas), (self._side, self._side), interpolation=cv2.INTER_AREA)
        alpha = reduced.astype(np.float32) / np.float32(255)
        if self._rimmed:
            rim = cv2.dilate(alpha, np.ones((3, 3), dtype=np.uint8))
            picture += rim * (255 - np.float32(self._level) - picture)
        picture += alpha * (np.float32(self._level) - picture)

    def _text(self) -> Callable[[ImageDraw.ImageDraw], None]:
        generator = self._generator
        size = float(np.exp(generator.uniform(np.log(7), np.log(34)))) * 2
        place = tuple(generator.uniform(-0.2, 0.9, 2) * self._side * 2)
        if generator.random() < 0.35:
            return self._strokes(place, size)
        font = ImageFont.truetype(str(_fonts()[int(generator.integers(len(_fonts())))]), max(round(size), 6))
        first, last = _SCRIPTS[0 if generator.random() < 0.5 else int(generator.integers(len(_SCRIPTS)))]
        if generator.random() < 0.5:
            letters = str(generator.choice(_WORDS))
        else:
            letters = "".join(chr(int(generator.integers(first, last + 1))) for _ in range(generator.integers(1, 9)))
        digits, changing = int(generator.integers(0, 6)), generator.random() < 0.5
        fixed = self._digits(digits)

        def draw(drawing: ImageDraw.ImageDraw) -> None:
            drawing.text(place, f"{letters} {self._digits(digits) if changing else fixed}", fill=255, font=font)

        return draw

    def _digits(self, count: int) -> str:
        digits = [str(self._generator.choice(list(string.digits + ".:"))) for _ in range(count)]
        return "".join(digits)

    def _strokes(self, place: tuple[float, ...], size: float) -> Callable[[ImageDraw.ImageDraw], None]:
        """Glyphs of crossing strokes, as a stand-in for scripts that no font at hand has."""
        generator = self._generator
        width = max(round(size / 11), 1)
        lines: list[tuple[float, float, float, float]] = []
        for number in range(int(generator.integers(1, 7))):
            left, top = place[0] + number * size * 1.1, place[1]
            for _ in range(int(generator.integers(3, 8))):
                kind, at = int(generator.integers(4)), float(generator.uniform(0.05, 0.95))
                start, end = sorted(generator.uniform(0, 1, 2))
                ends = {0: (start, at, end, at), 1: (at, start, at, end), 2: (start, at, at, end), 3: (end, at, at, 1)}
                x1, y1, x2, y2 = (float(value) * size for value in ends[kind])
                lines.append((left + x1, top + y1, left + x2, top + y2))

        def draw(drawing: ImageDraw.ImageDraw) -> None:
            for line in lines:
                drawing.line(line, fill=255, width=width)

        return draw

    def _reticle(self) -> Callable[[ImageDraw.ImageDraw], None]:
        generator, side = self._generator, self._side * 2
        x, y = generator.uniform(0.1, 0.9, 2) * side
        reach, gap = float(generator.uniform(0.03, 0.4)) * side, float(generator.uniform(0, 0.6))
        width, kind = int(generator.integers(1, 5)), int(generator.integers(5))

        def draw(drawing: ImageDraw.ImageDraw) -> None:
            inner = gap * reach
            if kind == 0:  # cross with an open middle
                for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                    ends = (x + dx * inner, y + dy * inner, x + dx * reach, y + dy * reach)
                    drawing.line(ends, fill=255, width=width)
            elif kind == 1:  # corners of a field
                for sx in (-1, 1):
                    for sy in (-1, 1):
                        corner = (x + sx * reach, y + sy * reach)
                        drawing.line((*corner, corner[0] - sx * inner, corner[1]), fill=255, width=width)
                        drawing.line((*corner, corner[0], corner[1] - sy * inner), fill=255, width=width)
            elif kind == 2:
                drawing.rectangle((x - reach, y - inner - 2, x + reach, y + inner + 2), outline=255, width=width)
            elif kind == 3:
                drawing.ellipse((x - reach, y - reach, x + reach, y + reach), outline=255, width=width)
            else:  # a scale with marks
                drawing.line((x - reach, y, x + reach, y), fill=255, width=width)
                for mark in np.linspace(-reach, reach, 9):
                    drawing.line((x + mark, y, x + mark, y + 0.08 * reach + 3), fill=255, width=width)

        return draw


class FaultyPixels:
    """Dead and hot pixels and dirt on the lens of one camera.

    Args:
        side: side of the square pictures, pixels.
        generator: source of randomness.
    """

    def __init__(self, side: int, generator: np.random.Generator) -> None:
        self._gain = np.ones((side, side), dtype=np.float32)
        self._dead: list[tuple[int, int, int, float]] = []
        if generator.random() < 0.7:
            for _ in range(int(generator.integers(1, 6))):
                y, x = (int(value) for value in generator.integers(0, side, 2))
                size = int(generator.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
                self._dead.append((y, x, size, float(generator.choice([0, 255, generator.uniform(0, 255)]))))
        else:
            x, y = generator.uniform(0, side, 2)
            reach = float(generator.uniform(2, 14))
            rows, columns = np.indices((side, side), dtype=np.float32)
            spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * reach**2))
            self._gain = (1 - generator.uniform(0.1, 0.6) * spot).astype(np.float32)

    def paint(self, picture: FloatArray) -> None:
        """Apply the faults to a grey float32 picture, in place."""
        picture *= self._gain
        for y, x, size, level in self._dead:
            picture[y : y + size, x : x + size] = level
