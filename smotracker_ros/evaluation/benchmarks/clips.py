"""What the benchmarks look at: drawn discs where only the cost counts, rendered scenes where targets must be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.tracking.external_boxes import Cue
from smotracker_ros.training.scenes import SceneSettings, render_scene

FPS = 30.0
DISC = 12.0
"""Diameter in pixels of the drawn targets."""


class Discs:
    """Bright discs that fly side by side over a soft background, far enough apart that no two share a window.

    Args:
        targets: number of discs.
        width: of the frames, pixels.
        height: of the frames, pixels.

    Raises:
        ValueError: if so many discs do not fit.
    """

    def __init__(self, targets: int, width: int, height: int) -> None:
        columns = int(np.ceil(np.sqrt(targets * width / height)))
        rows = int(np.ceil(targets / columns))
        if min(width / columns, height / rows) < 4 * DISC:
            raise ValueError(f"{targets} discs do not fit into {width}x{height} pixels; ask for larger frames")
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3)).astype(np.float32)
        soft = cv2.GaussianBlur(noise, (0, 0), 6)
        self._background = np.clip(cv2.resize(soft, (width, height)), 0, 255).astype(np.uint8)
        cells = [(column, row) for row in range(rows) for column in range(columns)][:targets]
        centers = [((column + 0.4) * width / columns, (row + 0.5) * height / rows) for column, row in cells]
        self._starts = np.array(centers, dtype=np.float32)

    def frame(self, index: int) -> Frame:
        """The frame of that number."""
        image = self._background.copy()
        for x, y in self._centers(index):
            point = (round(float(x) * 16), round(float(y) * 16))
            cv2.circle(image, point, round(DISC / 2 * 16), (255, 255, 255), -1, cv2.LINE_AA, 4)
        return Frame(image, round(index * 1e9 / FPS), index)

    def boxes(self, index: int) -> Mapping[int, FloatArray]:
        """True boxes by id (1-based), float32 (4,), xyxy pixels."""
        half = DISC / 2
        return {
            number: np.array([x - half, y - half, x + half, y + half], dtype=np.float32)
            for number, (x, y) in enumerate(self._centers(index), start=1)
        }

    def _centers(self, index: int) -> FloatArray:
        return np.asarray(self._starts + np.array([0.7 * index, 0.0]), dtype=np.float32)


@dataclass(frozen=True)
class SceneClip:
    """A rendered scene.

    Attributes:
        frames: its frames.
        boxes: the visible targets' true boxes in each, float32 (N, 4), xyxy pixels.
    """

    frames: list[Frame]
    boxes: list[FloatArray]

    def first_cues(self) -> list[Cue]:
        """Cues that start a masklet on every target of the first frame.

        A benchmark of cost needs a known number of masklets, whatever the detector finds.
        """
        return [Cue(box) for box in self.boxes[0]]


def scene_clip(targets: int, width: int, height: int, frames: int, seed: int) -> SceneClip:
    """Render a scene whose targets stand out clearly and mostly stay in view.

    Odd seeds give infrared scenes, even ones visible light.
    """
    settings = SceneSettings(
        width=width,
        height=height,
        frames=frames,
        fps=FPS,
        targets=targets,
        camera="shake",
        modality="infrared" if seed % 2 else "visible",
        sizes=(8.0, 32.0),
        contrasts=(60.0, 150.0),
    )
    clip = SceneClip([], [])
    for index, scene in enumerate(render_scene(settings, seed=1000 + seed)):
        clip.frames.append(Frame(scene.image, round(index * 1e9 / FPS), index))
        clip.boxes.append(scene.boxes)
    return clip
