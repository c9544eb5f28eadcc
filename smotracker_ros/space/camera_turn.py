"""The camera's motion in the image, out of its poses: for pictures that do not show it, such as a plain sky."""

from __future__ import annotations

import numpy as np

from smotracker_ros.io.calibration import Calibration
from smotracker_ros.space.poses import PoseError, PoseSource
from smotracker_ros.tracking.camera_motion import CameraShift

# Points of the image, in each direction, to which the similarity is fitted
_GRID = 7
# Of the points that are left, so many must be seen in both frames
_LEAST_SEEN = 8


def camera_turn(
    before_ns: int, now_ns: int, source: PoseSource, calibration: Calibration, degrees: float
) -> CameraShift:
    """The camera's turn between two images as a similarity of the image.

    What is seen is taken to be far away: only the rotation counts.

    Args:
        before_ns: time of the image where the turn begins: the last one that the tracker has taken
            (:attr:`smotracker_ros.tracking.tracker.SmoTracker.last_timestamp_ns`).
        now_ns: time of the image that is tracked next, not before the other.
        source: the camera's poses.
        calibration: of the camera.
        degrees: standard deviation of the turn between two frames as the poses state it.

    Raises:
        PoseError: if the turn is not known; the message says why.
    """
    before, now = source.at(before_ns).rotation, source.at(now_ns).rotation
    height, width = calibration.size
    start = np.stack(np.meshgrid(np.linspace(0, width - 1, _GRID), np.linspace(0, height - 1, _GRID)), axis=-1)
    start = start.reshape(-1, 2)
    rays = calibration.bearings(start)
    end = calibration.project((now.inv() * before).apply(rays))
    # a place for which the calibration does not hold has the direction zero
    seen = np.isfinite(end).all(axis=1) & (np.linalg.norm(rays, axis=1) > 0)
    seen &= (np.abs(end / (width, height) - 0.5) < 1.0).all(axis=1)
    if seen.sum() < _LEAST_SEEN:
        raise PoseError("the camera has turned so far that nothing of the image before is left")
    matrix, left_over = _similarity(start[seen], end[seen])
    slope = float(np.linalg.norm(calibration.matrix[:2, :2] / np.array(calibration.binning)[:, None])) / np.sqrt(2)
    return CameraShift(matrix, False, float(np.hypot(left_over, np.radians(degrees) * slope)))


def _similarity(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, float]:
    """The similarity, float64 (2, 3), that takes points (N, 2) to others best, and by how much it errs on each axis."""
    x, y = start.T
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([x, -y, ones, zeros], axis=1), np.stack([y, x, zeros, ones], axis=1)])
    wanted = np.concatenate([end[:, 0], end[:, 1]])
    (a, b, right, down), *_ = np.linalg.lstsq(rows, wanted, rcond=None)
    errors = rows @ np.array([a, b, right, down]) - wanted
    return np.array([[a, -b, right], [b, a, down]]), float(np.sqrt(np.mean(errors**2)))
