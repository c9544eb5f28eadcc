"""How one camera renders what it sees: polarity, contrast, blur, noise, compression. For training pictures."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class SensorLook:
    """One camera's rendering, the same for all frames of a stack but for noise and steps of gain.

    Args:
        infrared: whether the polarity may be inverted often (white hot, black hot).
        generator: source of randomness.
    """

    def __init__(self, infrared: bool, generator: np.random.Generator) -> None:
        self._generator = generator
        self._inverted = generator.random() < (0.3 if infrared else 0.1)
        self._gamma = float(np.exp(generator.normal(0, 0.25)))
        contrast = generator.uniform(0.12, 0.5) if generator.random() < 0.2 else generator.uniform(0.7, 1.25)
        self._contrast, self._level = float(contrast), float(generator.uniform(-25, 25))
        self._blur = float(generator.uniform(0.4, 1.2)) if generator.random() < 0.25 else 0.0
        self._sharpening = float(generator.uniform(0.5, 2.0)) if generator.random() < 0.25 else 0.0
        self._noise = float(generator.uniform(0.5, 6.0)) if generator.random() < 0.5 else 0.0
        self._columns = float(generator.uniform(0.5, 3.0)) if generator.random() < 0.12 else 0.0
        self._stripes: FloatArray | None = None
        self._steps = generator.random() < 0.06
        self._quality = int(generator.integers(20, 92)) if generator.random() < 0.5 else 0

    def expose(self, picture: FloatArray) -> FloatArray:
        """The picture as this camera's sensor gives it, grey float32 of the same shape; not limited to [0, 255]."""
        generator = self._generator
        if self._blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self._blur)
        if self._sharpening:
            picture = picture + self._sharpening * (picture - cv2.GaussianBlur(picture, (0, 0), 1.5))
        share = np.clip(picture / 255, 0, 1) ** self._gamma
        if self._inverted:
            share = 1 - share
        result = np.asarray(128 + self._contrast * (255 * share - 128) + self._level, dtype=np.float32)
        if self._steps:
            result = result * np.float32(generator.uniform(0.85, 1.15)) + np.float32(generator.uniform(-10, 10))
        if self._columns:
            if self._stripes is None:
                self._stripes = generator.normal(0, self._columns, (1, picture.shape[1])).astype(np.float32)
            result = result + self._stripes
        if self._noise:
            result = result + generator.normal(0, self._noise, picture.shape).astype(np.float32)
        return result

    def transmit(self, picture: FloatArray) -> npt.NDArray[np.uint8]:
        """The picture as it arrives, uint8: limited, rounded and perhaps compressed."""
        result = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        if not self._quality:
            return result
        coded = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
