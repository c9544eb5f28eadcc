"""Places of the image that a user has told to ignore: a mast, a road, a lamp, the camera's own housing.

A PNG (white is ignored), or a YAML file of polygons:

    polygons:
      - [[0, 400], [640, 400], [640, 512], [0, 512]]    # x, y in pixels of the frames
    size: [640, 512]                                    # width and height that the pixels refer to; optional
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import as_boxes, box_centers

_IMAGE_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")


class IgnoreMaskError(ValueError):
    """A mask that cannot be read; the message names the file and the remedy."""


@dataclass(frozen=True)
class IgnoreMask:
    """Places where detections are left out.

    Attributes:
        picture: uint8 (height, width), not 0 where ignored; stretched to the frames' size. None without a picture.
        polygons: (K, 2) float64 each, x and y in pixels.
        size: (width, height) in pixels that the polygons refer to; None: the frames' own.
    """

    picture: UInt8Image | None = None
    polygons: tuple[npt.NDArray[np.float64], ...] = ()
    size: tuple[float, float] | None = None

    @staticmethod
    def load(path: str) -> IgnoreMask:
        """Read a mask; an empty path ignores nothing.

        Raises:
            IgnoreMaskError: if the file is missing, broken, or neither a picture nor polygons.
        """
        if not path:
            return IgnoreMask()
        file = Path(path).expanduser()
        if not file.is_file():
            raise IgnoreMaskError(f"ignore_mask: {file} is no file; give a PNG (white is ignored) or polygons in YAML")
        if file.suffix.lower() in _IMAGE_SUFFIXES:
            picture = cv2.imdecode(np.frombuffer(file.read_bytes(), dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
            if picture is None:
                raise IgnoreMaskError(f"ignore_mask: {file} is not a readable picture; save it as a PNG again")
            return IgnoreMask(picture=np.asarray(picture >= 128, dtype=np.uint8))
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
            return _polygons(content)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise IgnoreMaskError(
                f"ignore_mask: {file} holds no polygons ({reason}); write `polygons:` with lists of [x, y] points"
            ) from error

    def __bool__(self) -> bool:
        """Whether anything is ignored."""
        return self.picture is not None or bool(self.polygons)

    def of_size(self, height: int, width: int) -> npt.NDArray[np.bool_]:
        """The mask in frames of a size, bool (height, width)."""
        if self.picture is not None:
            resized = cv2.resize(self.picture, (width, height), interpolation=cv2.INTER_NEAREST)
            return np.asarray(resized > 0, dtype=np.bool_)
        mask = np.zeros((height, width), dtype=np.uint8)
        scale = np.array([1.0, 1.0]) if self.size is None else np.array([width, height]) / self.size
        for polygon in self.polygons:
            # fillPoly counts from the centres of pixels, in sixteenths
            points = np.rint((polygon * scale - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(mask, [points], 1, cv2.LINE_8, 4)
        return np.asarray(mask > 0, dtype=np.bool_)

    def covers(self, boxes: npt.ArrayLike, height: int, width: int) -> npt.NDArray[np.bool_]:
        """Which boxes have their centres in ignored places, bool (N,).

        Args:
            boxes: (N, 4), xyxy pixels of the frames.
            height: of the frames.
            width: of the frames.
        """
        boxes = as_boxes(boxes)
        if not self or not len(boxes):
            return np.zeros(len(boxes), dtype=np.bool_)
        mask = self.of_size(height, width)
        centers = np.floor(box_centers(boxes)).astype(int)
        columns, rows = np.clip(centers[:, 0], 0, width - 1), np.clip(centers[:, 1], 0, height - 1)
        return np.asarray(mask[rows, columns], dtype=np.bool_)


def _polygons(content: Any) -> IgnoreMask:
    polygons = []
    for points in content["polygons"]:
        polygon = np.array(points, dtype=np.float64)
        if polygon.ndim != 2 or polygon.shape[0] < 3 or polygon.shape[1] != 2 or not np.isfinite(polygon).all():
            raise ValueError("a polygon needs three points [x, y] or more")
        polygons.append(polygon)
    size = content.get("size")
    if size is not None and (len(size) != 2 or min(size) <= 0):
        raise ValueError("size is [width, height] in pixels")
    return IgnoreMask(polygons=tuple(polygons), size=None if size is None else (float(size[0]), float(size[1])))
