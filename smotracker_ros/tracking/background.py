"""What a tracker knows of the picture besides its targets: the camera's motion, what is burnt in, what to ignore."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.ignore_mask import IgnoreMask
from smotracker_ros.tracking.camera_motion import CameraMotion, CameraShift
from smotracker_ros.tracking.image_fixed import ImageFixed


class Background:
    """Follows the background through a stream.

    Args:
        ignore_mask: path of what the user ignores; see :mod:`smotracker_ros.core.ignore_mask`.

    Raises:
        IgnoreMaskError: if it cannot be read.
    """

    def __init__(self, ignore_mask: str = "") -> None:
        self._camera = CameraMotion()
        self._fixed = ImageFixed()
        self._size = (0, 0)
        self._path, self.ignored = ignore_mask, IgnoreMask.load(ignore_mask)

    def ignore(self, path: str) -> None:
        """Ignore other places from the next frame on.

        Raises:
            IgnoreMaskError: if the mask cannot be read; the one before stays.
        """
        if path != self._path:
            self._path, self.ignored = path, IgnoreMask.load(path)

    def reset(self) -> None:
        """Forget the stream; what the user ignores stays."""
        self._camera.reset()
        self._fixed.reset()

    def advance(self, frame: Frame, seconds: float, known: CameraShift | None = None) -> CameraShift:
        """Look at the next frame, so many seconds after the one before; returns the camera's motion between them.

        Args:
            frame: the next one.
            seconds: since the one before.
            known: the motion that the camera's poses state; None: they state nothing.
        """
        shift = self._camera.update(frame.grey, seconds, known)
        self._fixed.update(frame.grey, shift.matrix, seconds)
        self._size = frame.height, frame.width
        return shift

    def ignores(self, boxes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which boxes (N, 4), xyxy pixels, lie where the user wants nothing to be seen; bool (N,)."""
        return self.ignored.covers(boxes, *self._size)

    def burnt_in(self, boxes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which boxes (N, 4), xyxy pixels, lie on what keeps its place while the camera moves; bool (N,)."""
        return self._fixed.covers(boxes)

    def exclude(self, boxes: npt.ArrayLike) -> None:
        """Tell where targets are in the frame just given, xyxy pixels (N, 4): they are no background."""
        self._camera.exclude(boxes, self._fixed.mask)
