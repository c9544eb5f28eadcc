"""Drawing tracks onto frames: masks, boxes, ids and trails."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import FloatArray, MaskPatch
from smotracker_ros.core.tracks import Tracks, TrackState

MASK_OPACITY = 0.45
IGNORED_BRIGHTNESS = 0.5
LOST_COLOR = (160, 160, 160)
FRIENDLY_COLOR = (90, 220, 110)
SMALL_TARGET = 24
"""Side in drawn pixels below which a target gets a box with a gap, so that the line does not cover it."""


class Trails:
    """Where tracks have been, for drawing. Bounded: forgotten with the track, and after `length` frames."""

    def __init__(self, length: int = 45) -> None:
        """Keep the last `length` positions of each track."""
        self._length = length
        self._points: dict[int, deque[tuple[float, float]]] = {}

    def update(self, tracks: Tracks) -> None:
        """Add the centres of a frame's reported tracks; forget tracks that are neither live nor lost any more."""
        present = {track.id for track in tracks if track.state is not TrackState.REMOVED}
        self._points = {key: value for key, value in self._points.items() if key in present}
        for track in tracks.reported:
            center = (float(track.box[0] + track.box[2]) / 2, float(track.box[1] + track.box[3]) / 2)
            self._points.setdefault(track.id, deque(maxlen=self._length)).append(center)

    def points(self, track_id: int) -> FloatArray:
        """Past centres of a track, oldest first, float32 (K, 2), pixels of the source image."""
        return np.array(self._points.get(track_id, ()), dtype=np.float32).reshape(-1, 2)


def overlay_scale(height: int, width: int) -> int:
    """Factor by which a frame is enlarged for drawing, so that text on small thermal images can be read."""
    return 2 if max(height, width) <= 400 else 1


def track_color(track_id: int) -> tuple[int, int, int]:
    """RGB colour of an id; neighbouring ids are far apart in hue (golden-angle steps)."""
    hue = int(track_id * 137.508) % 360
    hsv = np.array([[[hue // 2, 205, 255]]], dtype=np.uint8)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def draw_overlay(frame: Frame, tracks: Tracks, trails: Trails | None = None, scale: int | None = None) -> UInt8Image:
    """Draw the reported tracks, and lost ones in thin grey; what the user ignores is dark.

    Args:
        frame: the frame that the tracks belong to; not changed.
        tracks: the tracker's answer to it.
        trails: past positions, already updated with `tracks`; None: no trails.
        scale: enlargement; None: see :func:`overlay_scale`.

    Returns:
        uint8 RGB image of (height * scale, width * scale, 3).
    """
    scale = scale or overlay_scale(frame.height, frame.width)
    image = frame.image.copy()
    if tracks.ignored:
        places = tracks.ignored.of_size(frame.height, frame.width)
        image[places] = (image[places] * IGNORED_BRIGHTNESS).astype(np.uint8)
    for track in tracks.reported:
        if track.mask is not None:
            _tint(image, track.mask, track_color(track.id))
    if scale != 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    for track in tracks:
        if track.state is TrackState.LOST:
            _draw_box(image, track.box * scale, LOST_COLOR)
            _draw_text(image, f"{track.id}?", track.box * scale, LOST_COLOR)
    for track in tracks.reported:
        color = track_color(track.id)
        if trails is not None:
            points = np.round(trails.points(track.id) * scale * 8).astype(np.int32)
            cv2.polylines(image, [points[:, None]], False, color, 1, cv2.LINE_AA, 3)
        _draw_box(image, track.box * scale, color)
        _draw_text(image, track.caption, track.box * scale, FRIENDLY_COLOR if track.friendly else color)
    return image


def _tint(image: UInt8Image, mask: MaskPatch, color: tuple[int, int, int]) -> None:
    """Mix a colour into the mask's pixels, in place."""
    region = image[mask.y : mask.y + mask.pixels.shape[0], mask.x : mask.x + mask.pixels.shape[1]]
    pixels = mask.pixels[: region.shape[0], : region.shape[1]]
    mixed = region[pixels] * (1 - MASK_OPACITY) + np.array(color) * MASK_OPACITY
    region[pixels] = mixed.astype(np.uint8)


def _draw_box(image: UInt8Image, box: FloatArray, color: tuple[int, int, int]) -> None:
    """Draw a one-pixel frame, with a gap round small targets, in place."""
    gap = 3.0 if float(min(box[2] - box[0], box[3] - box[1])) < SMALL_TARGET else 0.0
    x1, y1, x2, y2 = (round(float(value)) for value in box + np.array([-gap, -gap, gap, gap]))
    cv2.rectangle(image, (x1, y1), (x2, y2), color, 1)


def _draw_text(image: UInt8Image, text: str, box: FloatArray, color: tuple[int, int, int]) -> None:
    """Write a caption above the box, or below it at the image's top, with a dark rim that shows on any sky."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
    x = int(np.clip(float(box[0]) - 3, 1, max(image.shape[1] - width - 1, 1)))
    y = int(box[1]) - 7
    if y - height < 1:
        y = int(box[3]) + height + 8
    for line, thickness in (((0, 0, 0), 3), (color, 1)):
        cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, line, thickness, cv2.LINE_AA)
