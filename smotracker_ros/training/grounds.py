"""Textured grounds as a camera sees them from above or across: fields, roofs, roads, water, and what stands there.

No target is drawn. What is there looks like one here and there: small blobs, short bars, bright windows. A detector
learns from it that such things are targets only if they move.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.training.backgrounds import fractal_noise

FloatArray = npt.NDArray[np.float32]


def draw_ground(width: int, height: int, generator: np.random.Generator) -> UInt8Image:
    """Draw a picture of the ground, grey uint8 (height, width).

    Args:
        width: pixels.
        height: pixels.
        generator: source of randomness.
    """
    level = float(generator.uniform(40, 200))
    canvas = np.full((height, width), level, np.float32)
    canvas += fractal_noise(height, width, float(generator.uniform(40, 200)), 7, generator, 0.75) * np.float32(
        generator.uniform(4, 25)
    )
    spread = float(generator.uniform(10, 60))
    for _ in range(int(generator.integers(0, 14))):
        _patch(canvas, spread, generator)
    if generator.random() < 0.35:
        _water(canvas, generator)
    for _ in range(int(generator.integers(0, 8))):
        _line(canvas, spread, generator)
    for _ in range(int(generator.integers(0, 50))):
        _thing(canvas, spread, generator)
    blurred = cv2.GaussianBlur(canvas, (0, 0), float(generator.uniform(0.4, 1.3)))
    return np.clip(blurred, 0, 255).astype(np.uint8)


def _patch(canvas: FloatArray, spread: float, generator: np.random.Generator) -> None:
    """A field, a roof or a wall: a quadrangle of its own level, at times with stripes or windows; in place."""
    height, width = canvas.shape
    center = generator.uniform(0, 1, 2) * (width, height)
    half = np.exp(generator.uniform(np.log(6), np.log(0.35 * height), 2))
    angle = float(generator.uniform(0, np.pi))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half + generator.normal(0, 0.15, (4, 2)) * half
    mask = np.zeros(canvas.shape, np.uint8)
    cv2.fillPoly(mask, [np.round(corners @ turn + center).astype(np.int32)], 1)
    change = np.full(canvas.shape, float(generator.normal(0, spread)), np.float32)
    if generator.random() < 0.4:
        rows, columns = np.indices(canvas.shape, dtype=np.float32) / np.float32(generator.uniform(2, 9))
        along = columns * np.float32(np.cos(angle)) + rows * np.float32(np.sin(angle))
        pattern = np.sin(along)
        if generator.random() < 0.5:
            pattern *= np.sin(rows * np.float32(np.cos(angle)) - columns * np.float32(np.sin(angle)))
        change += np.float32(generator.normal(0, spread / 2)) * (pattern > generator.uniform(-0.5, 0.8))
    canvas += mask * change


def _water(canvas: FloatArray, generator: np.random.Generator) -> None:
    """Waves below a random row, wider than high, with glints; in place."""
    height, width = canvas.shape
    top = int(generator.uniform(0, 0.8) * height)
    stretch = float(generator.uniform(2, 6))
    waves = fractal_noise(height - top, int(width / stretch) + 2, float(generator.uniform(6, 40)), 5, generator, 0.8)
    waves = cv2.resize(waves, (width, height - top))
    glints = np.maximum(waves - np.float32(generator.uniform(1.2, 2.5)), 0) * np.float32(generator.uniform(0, 80))
    canvas[top:] = canvas[top:].mean() + waves * np.float32(generator.uniform(3, 20)) + glints


def _line(canvas: FloatArray, spread: float, generator: np.random.Generator) -> None:
    """A wire, a mast, a road or a fence; in place."""
    height, width = canvas.shape
    ends = np.round(generator.uniform(-0.2, 1.2, (2, 2)) * (width, height)).astype(int)
    level = float(np.clip(canvas.mean() + generator.normal(0, 1.5 * spread), 0, 255))
    thickness = int(np.exp(generator.uniform(0, np.log(14))))
    cv2.line(canvas, ends[0].tolist(), ends[1].tolist(), level, thickness, cv2.LINE_AA)


def _thing(canvas: FloatArray, spread: float, generator: np.random.Generator) -> None:
    """A car, a stone, a chimney, a lamp: a blob or a box of a target's size; in place."""
    height, width = canvas.shape
    center = np.round(generator.uniform(0, 1, 2) * (width, height)).astype(int).tolist()
    axes = np.maximum(np.exp(generator.uniform(np.log(1), np.log(20), 2)), 1)
    axes = np.round(np.clip(axes, axes.max() / 4, None)).astype(int).tolist()
    level = float(np.clip(canvas.mean() + generator.normal(0, 2 * spread), 0, 255))
    angle = float(generator.uniform(0, 180))
    if generator.random() < 0.6:
        cv2.ellipse(canvas, center, axes, angle, 0, 360, level, -1, cv2.LINE_AA)
    else:
        corners = cv2.boxPoints((center, (2 * axes[0], 2 * axes[1]), angle))
        cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], level, cv2.LINE_AA)
