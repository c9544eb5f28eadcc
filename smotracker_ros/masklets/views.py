"""What SAM2's encoder has seen of a frame: each window is encoded once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes
from smotracker_ros.masklets.network import Features, MaskletNetwork
from smotracker_ros.masklets.windows import Window, cut, window_around

# A box is described through a window that shows it at least this share of the window away from the border, and that is
# at most twice as large as its own would be
_LEAST_MARGIN = 0.15
_LEAST_SCALE = 0.5
# Windows are encoded together as long as they have no more pixels in all, so that memory is bounded however many boxes
# come at once: sixteen whole frames of 1024 pixels, or all that can come at once of 512
_PIXELS_TOGETHER = 16 * 1024**2


class Views:
    """Encoded windows of the current frame.

    Args:
        network: encodes them.
    """

    def __init__(self, network: MaskletNetwork) -> None:
        self._network = network
        self._frame: Frame | None = None
        self._encoded: dict[Window, tuple[Features, int]] = {}

    def clear(self) -> None:
        """Forget the frame."""
        self._frame, self._encoded = None, {}

    def encode(self, frame: Frame, windows: Sequence[Window]) -> Features:
        """Features of windows, in their order.

        Args:
            frame: another frame than the last one makes all encoded windows void.
            windows: at least one.
        """
        if frame is not self._frame:
            self._frame, self._encoded = frame, {}
        missing = [window for window in dict.fromkeys(windows) if window not in self._encoded]
        most = max(_PIXELS_TOGETHER // self._network.image_size**2, 1)
        for start in range(0, len(missing), most):
            batch = missing[start : start + most]
            images = np.stack([cut(frame.image, window, self._network.image_size) for window in batch])
            fresh = self._network.encode(images)
            self._encoded.update((window, (fresh, number)) for number, window in enumerate(batch))
            if batch == list(windows):
                return fresh
        parts: list[tuple[Features, list[int]]] = []
        for features, number in (self._encoded[window] for window in windows):
            if not parts or parts[-1][0] is not features:
                parts.append((features, []))
            parts[-1][1].append(number)
        return self._network.join([self._network.select(features, numbers) for features, numbers in parts])

    def describe(
        self, frame: Frame, boxes: FloatArray, window_factor: float, offered: Sequence[Window] = ()
    ) -> FloatArray:
        """Appearance of boxes.

        Args:
            frame: the current frame.
            boxes: float32 (N, 4), xyxy pixels.
            window_factor: side of a box's own window as a multiple of its longer side.
            offered: windows that take the place of its own, if they are encoded and show the box well.

        Returns:
            Unit vectors, float32 (N, D).
        """
        if len(boxes) == 0:
            return np.zeros((0, 0), dtype=np.float32)
        known = [window for window in offered if frame is self._frame and window in self._encoded]
        windows: list[Window] = []
        for center, longer in zip(box_centers(boxes), box_sizes(boxes).max(axis=1).tolist(), strict=True):
            fitting = (
                window
                for window in known
                if window.contains(center, _LEAST_MARGIN) and longer * window_factor >= _LEAST_SCALE * window.width
            )
            windows.append(next(fitting, None) or window_around(center, window_factor * longer))
        features = self.encode(frame, windows)
        maps = (self._network.fine_maps(features, index) for index in range(len(boxes)))
        return np.stack([_pool(*item) for item in zip(maps, windows, boxes, strict=True)])


def _pool(maps: Sequence[FloatArray], window: Window, box: FloatArray) -> FloatArray:
    """Gaussian-weighted mean of the two finer levels, each (h, w, C), round the box's centre, float32 (D,)."""
    parts = []
    for level in maps:
        height, width, channels = level.shape
        scaled = window.to_input(as_boxes(box), height)[0]
        cx, cy = (scaled[0] + scaled[2]) / 2, (scaled[1] + scaled[3]) / 2
        sx, sy = max((scaled[2] - scaled[0]) / 4, 0.5), max((scaled[3] - scaled[1]) / 4, 0.5)
        # a Gaussian of two directions is the product of two of one
        row = np.exp(-0.5 * ((np.arange(width) + 0.5 - cx) / sx) ** 2)
        column = np.exp(-0.5 * ((np.arange(height) + 0.5 - cy) / sy) ** 2)
        weights = np.outer(column, row).astype(np.float32).ravel()
        mean = (weights @ level.reshape(-1, channels)) / max(float(weights.sum()), 1e-6)
        parts.append(mean / max(float(np.linalg.norm(mean)), 1e-6))
    vector = np.concatenate(parts)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), dtype=np.float32)
