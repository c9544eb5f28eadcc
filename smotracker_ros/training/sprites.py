"""Targets without a background, to be put in motion in front of another one.

After Ghiasi et al. 2021 ("Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation"). Real
targets are cut out of clips by their pseudo-masks; what is carried over is their contrast against their own sky, so
that no rim of that sky comes along. Silhouettes (:mod:`smotracker_ros.training.targets`) serve where the clips lack a
size or a shape, and beat their wings between two frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import BoolArray, FloatArray, MaskPatch
from smotracker_ros.training.targets import Look, draw_patch, silhouette

UInt8Image = npt.NDArray[np.uint8]

# Pixels round a cut-out's mask: the feathered rim ends inside them
_RIM = 3
# Share of its strongest pixel from which a pasted pixel is seen; a pixel of halo is added, as in pseudo-masks
_SEEN = 0.15
_HALO = 1.0


@dataclass(frozen=True)
class Layer:
    """What a target adds to one picture.

    Attributes:
        alpha: float32 (height, width), covered share of each pixel.
        contrast: float32 (height, width), grey levels against the background.
    """

    alpha: FloatArray
    contrast: FloatArray

    def paint(self, picture: FloatArray) -> None:
        """Put the target into a grey float32 picture of the same shape, in place.

        Its grey level is that of the background's local mean plus its contrast: a target is opaque, so that the
        background's texture does not show through.
        """
        rows, columns = np.nonzero(self.alpha > 1e-3)
        if not len(rows):
            return
        place = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
        alpha = self.alpha[place]
        behind = cv2.blur(picture[place], (2 * alpha.shape[1] // 2 + 1, 2 * alpha.shape[0] // 2 + 1))
        picture[place] += alpha * (behind + self.contrast[place] - picture[place])

    def visible(self) -> BoolArray:
        """Pixels that can be seen, bool (height, width)."""
        strength = self.alpha * np.abs(self.contrast)
        peak = float(strength.max(initial=0.0))
        return (
            np.asarray(strength > max(_SEEN * peak, 0.3)) if peak >= 2.0 else np.zeros(strength.shape, dtype=np.bool_)
        )

    def box(self) -> FloatArray | None:
        """Box of the visible extent, float32 (4,), xyxy pixels; None where nothing can be seen."""
        box = MaskPatch.from_full(self.visible()).box()
        if box is None:
            return None
        height, width = self.alpha.shape
        grown = box + np.array([-_HALO, -_HALO, _HALO, _HALO], dtype=np.float32)
        return np.clip(grown, 0, [width, height, width, height]).astype(np.float32)


class Sprite(Protocol):
    """A target that can be drawn anywhere, at any size and time."""

    @property
    def class_id(self) -> int:
        """1 drone, 2 bird, 3 airplane, 4 helicopter."""

    def draw(self, shape: tuple[int, int], center: tuple[float, float], size: float, seconds: float) -> Layer:
        """The target in a picture.

        Args:
            shape: (height, width) of the picture.
            center: (x, y) of the target's centre, pixels.
            size: longer side of the target, pixels.
            seconds: time, which moves wings and rotors.
        """


@dataclass(frozen=True)
class CutOut:
    """A real target.

    Attributes:
        alpha: float32 (h, w), feathered mask.
        contrast: float32 (h, w), grey levels against its own sky.
        class_id: 1 drone, 2 bird, 3 airplane, 4 helicopter.
        flip: mirrored left to right when drawn.
        gain: factor on the contrast when drawn.
    """

    alpha: FloatArray
    contrast: FloatArray
    class_id: int
    flip: bool = False
    gain: float = 1.0

    @property
    def longer_side(self) -> float:
        """Longer side of the target itself, pixels."""
        return float(max(self.alpha.shape) - 2 * _RIM)

    def draw(self, shape: tuple[int, int], center: tuple[float, float], size: float, seconds: float) -> Layer:
        """See :class:`Sprite`; a cut-out keeps its shape."""
        zoom = size / self.longer_side
        height, width = self.alpha.shape
        mirror = -1.0 if self.flip else 1.0
        matrix = np.array(
            [
                [mirror * zoom, 0, center[0] - 0.5 - mirror * zoom * (width - 1) / 2],
                [0, zoom, center[1] - 0.5 - zoom * (height - 1) / 2],
            ]
        )
        parts = np.dstack([self.alpha, self.alpha * self.contrast * np.float32(self.gain)])
        if zoom < 0.7:  # warpAffine does not average when it shrinks
            parts = cv2.GaussianBlur(parts, (0, 0), 0.4 / zoom)
        drawn = cv2.warpAffine(parts, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR)
        alpha = np.ascontiguousarray(drawn[..., 0])
        return Layer(alpha, np.asarray(drawn[..., 1] / np.maximum(alpha, 1e-3), dtype=np.float32))


@dataclass(frozen=True)
class Silhouette:
    """A rendered target.

    Attributes:
        look: its lasting appearance.
        contrast: grey levels of its parts against the background.
        angle: rotation, radians.
        flip: whether it flies to the left.
        blur: standard deviation of the optics' blur, pixels.
    """

    look: Look
    contrast: float
    angle: float
    flip: bool
    blur: float

    @property
    def class_id(self) -> int:
        """1 drone, 2 bird, 3 airplane, 4 helicopter."""
        return self.look.class_id

    def draw(self, shape: tuple[int, int], center: tuple[float, float], size: float, seconds: float) -> Layer:
        """See :class:`Sprite`."""
        patch = draw_patch(
            silhouette(self.look, seconds), center, size, self.angle, self.flip, self.blur, smear=(0.0, 0.0)
        )
        alpha, contrast = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        height, width = patch.alpha.shape
        y1, x1 = max(patch.y, 0), max(patch.x, 0)
        y2, x2 = min(patch.y + height, shape[0]), min(patch.x + width, shape[1])
        if y1 < y2 and x1 < x2:
            part = (slice(y1 - patch.y, y2 - patch.y), slice(x1 - patch.x, x2 - patch.x))
            alpha[y1:y2, x1:x2] = patch.alpha[part]
            contrast[y1:y2, x1:x2] = np.float32(self.contrast) * patch.shade[part]
        return Layer(alpha, contrast)


def cut_out(grey: UInt8Image, mask: BoolArray, class_id: int) -> CutOut | None:
    """Lift a target off its sky; None where it touches the border.

    Args:
        grey: uint8 (height, width).
        mask: bool (height, width), the target.
        class_id: class of the target.
    """
    patch = MaskPatch.from_full(mask)
    height, width = patch.pixels.shape
    y1, x1 = patch.y - _RIM, patch.x - _RIM
    y2, x2 = patch.y + height + _RIM, patch.x + width + _RIM
    if not patch.area or x1 < 0 or y1 < 0 or y2 > grey.shape[0] or x2 > grey.shape[1]:
        return None
    inside = np.pad(patch.pixels, _RIM).astype(np.float32)
    part = grey[y1:y2, x1:x2].astype(np.float32)
    contrast = part - np.float32(np.median(part[inside == 0]))
    return CutOut(cv2.GaussianBlur(inside, (0, 0), 0.7), contrast, class_id)
