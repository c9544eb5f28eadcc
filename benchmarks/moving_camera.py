"""What a moving camera does to the tracker: still clips, cut out by a camera that is made to shake, pan and zoom.

    python benchmarks/moving_camera.py --data DATA/val --sequences IR_DRONE_142,IR_DRONE_145,IR_DRONE_147,IR_DRONE_153

Each clip is tracked as it is and through each motion, from a window that leaves a rim to move in. Printed are how many
of its labels a reported box covers, and the boxes and identities that lie on no label: a camera's motion that is
measured a little wrong makes lamps and cloud edges fly. How wrong it is stands in the last column: where the motions of
45 frames, put together, take points of the frame, against where they are (median of the clips; in some the camera
moves by itself). Labels are incomplete in some clips, so compare a row with that of the still camera.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import track as progress
from rich.table import Table

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import FloatArray, as_boxes, pairwise_overlap
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.camera_motion import CameraMotion
from smotracker_ros.training.clips import Clip, read_clip

# Pixels on each side into which the window moves
RIM = 12
# Frames over which the camera's motion is summed up
DRIFT_FRAMES = 45
# A box covers a label if they share so much of the smaller one
LEAST_OVERLAP = 0.3

Motion = Callable[[int, np.random.Generator], tuple[float, float, float]]
MOTIONS: dict[str, Motion] = {
    "still": lambda index, generator: (0.0, 0.0, 1.0),
    "shake, up to 20 px per frame": lambda index, generator: (*generator.uniform(-10, 10, 2).tolist(), 1.0),
    "pan": lambda index, generator: (10 * np.sin(index / 15), 6 * np.sin(index / 23), 1.0),
    "zoom": lambda index, generator: (0.0, 0.0, 1 + 0.001 * index),
}
"""By name: offset in x and y in pixels, and scale, of a frame of that number."""


def _view(image: UInt8Image, offset: tuple[float, float], scale: float) -> tuple[UInt8Image, npt.NDArray[np.float64]]:
    """What the moved camera sees, and the matrix (2, 3) that takes pixels of the clip to its pixels."""
    height, width = image.shape[0] - 2 * RIM, image.shape[1] - 2 * RIM
    x, y = (step - RIM - (scale - 1) * side / 2 for step, side in zip(offset, (width, height), strict=True))
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    seen = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(seen, dtype=np.uint8), matrix


def _moved(boxes: FloatArray, matrix: npt.NDArray[np.float64]) -> FloatArray:
    """Boxes (N, 4) of the clip in the moved camera's pixels."""
    return as_boxes(boxes * matrix[0, 0] + np.tile(matrix[:, 2], 2)) if len(boxes) else as_boxes([])


def drift(
    measured: Sequence[npt.NDArray[np.float64]], true: Sequence[npt.NDArray[np.float64]], size: tuple[int, int]
) -> float:
    """Mean distance in pixels between where points of a frame are some frames later and where they are said to be.

    Args:
        measured: matrices (2, 3) from each frame's predecessor to it.
        true: matrices (2, 3) from pixels of the clip to each frame's.
        size: width and height of the frames.
    """
    x, y = np.meshgrid(*(side * np.array([0.15, 0.5, 0.85]) for side in size))
    points = np.vstack([x.ravel(), y.ravel(), np.ones(x.size)])
    steps, places = ([np.vstack([matrix, [0, 0, 1]]) for matrix in matrices] for matrices in (measured, true))
    distances = []
    for start in range(0, len(true) - DRIFT_FRAMES, 5):
        said = points
        for step in steps[start + 1 : start + DRIFT_FRAMES + 1]:
            said = step @ said
        moved = places[start + DRIFT_FRAMES] @ np.linalg.inv(places[start]) @ points
        distances.append(np.linalg.norm(said - moved, axis=0).mean())
    return float(np.mean(distances)) if distances else float("nan")


def measure(clip: Clip, motion: Motion, frames: int) -> tuple[npt.NDArray[np.int64], float]:
    """Labels, labels covered, boxes off all labels, and identities that are so in most of their frames; the drift."""
    tracker, generator = build_tracker(load_settings()), np.random.default_rng(1)
    camera, said, true = CameraMotion(), [], []
    labels = covered = 0
    on: dict[int, int] = {}
    off: dict[int, int] = {}
    for index, image in clip.images():
        if index >= frames:
            break
        x, y, scale = motion(index, generator)
        seen, matrix = _view(image, (x, y), scale)
        said.append(camera.update(seen, 1 / clip.fps).matrix)
        true.append(matrix)
        tracks = tracker.update(Frame(seen, round(index / clip.fps * 1e9), index)).reported
        truth = _moved(clip.labels[index].boxes, matrix)
        overlap = pairwise_overlap(truth, as_boxes([track.box for track in tracks]))
        labels += len(truth)
        covered += int((overlap.max(axis=1, initial=0.0) > LEAST_OVERLAP).sum())
        for track, best in zip(tracks, overlap.max(axis=0, initial=0.0), strict=True):
            counts = on if best > LEAST_OVERLAP else off
            counts[track.id] = counts.get(track.id, 0) + 1
    false = [identity for identity, count in off.items() if count > on.get(identity, 0)]
    totals = np.array([labels, covered, sum(off[identity] for identity in false), len(false)])
    return totals, drift(said, true, (seen.shape[1], seen.shape[0]))


def main(
    data: Annotated[Path, typer.Option(help="Folder of clips with a still camera.")],
    sequences: Annotated[str, typer.Option(help="Names separated by commas; empty: all.")] = "",
    frames: Annotated[int, typer.Option(help="Frames of each clip.", min=2)] = 150,
) -> None:
    """Measure all motions on all clips."""
    torch.set_num_threads(1)
    names: Sequence[str] = sequences.split(",") if sequences else sorted(path.name for path in data.iterdir())
    clips = [read_clip(data / name) for name in names if (data / name / "video.mp4").is_file()]
    table = Table("camera", "labels covered", "boxes off all labels", "identities off all labels", "camera off, px")
    for name, motion in MOTIONS.items():
        counts, drifts = zip(*(measure(clip, motion, frames) for clip in progress(clips, name)), strict=True)
        totals = np.sum(counts, axis=0)
        row = f"{totals[1]} of {totals[0]}", str(totals[2]), str(totals[3]), f"{np.nanmedian(drifts):.2f}"
        table.add_row(name, *row)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
