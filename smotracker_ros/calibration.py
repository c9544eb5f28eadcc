"""A calibrated camera: from pixels to directions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.geometry import FloatArray, as_boxes, box_centers
from smotracker_ros.tracks import Tracks

_COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}
# A direction counts if it leads back to its pixel this closely; outside a lens model's range it does not
_LARGEST_RESIDUAL = 0.5


class CalibrationError(ValueError):
    """A calibration that cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Intrinsics and distortion of a camera, as `sensor_msgs/CameraInfo` states them.

    Attributes:
        size: (height, width) in pixels of the images that it holds for.
        matrix: float64 (3, 3) intrinsics of the full sensor; whole numbers are pixel centres, as in OpenCV.
        distortion: float64 (N,); empty: none.
        model: "plumb_bob", "rational_polynomial" or "equidistant"; empty: none.
        origin: (x, y) of the image's first pixel on the full sensor.
        binning: (x, y), sensor pixels per image pixel.
    """

    size: tuple[int, int]
    matrix: npt.NDArray[np.float64]
    distortion: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    model: str = ""
    origin: tuple[int, int] = (0, 0)
    binning: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        focal = self.matrix[0, 0], self.matrix[1, 1]
        if not np.isfinite(self.matrix).all() or min(focal) <= 0:
            raise CalibrationError(
                f"focal lengths of {focal[0]:g} and {focal[1]:g} pixels: the camera is not calibrated"
            )
        if max(abs(float(value)) for value in self.matrix.ravel()) > 1e7:
            raise CalibrationError("the camera matrix holds numbers above 10 million pixels")
        if not np.isfinite(self.distortion).all():
            raise CalibrationError("the distortion coefficients are not finite")
        if min(self.size) <= 0 or min(self.binning) <= 0 or min(self.origin) < 0:
            raise CalibrationError(f"size {self.size}, binning {self.binning} or origin {self.origin} makes no sense")
        if not self.distortion.any():
            object.__setattr__(self, "distortion", np.zeros(0))  # zeros may come in any number
            return
        if self.model not in _COEFFICIENTS:
            raise CalibrationError(f"unknown distortion model {self.model!r}; known are {', '.join(_COEFFICIENTS)}")
        if self.distortion.size not in _COEFFICIENTS[self.model]:
            raise CalibrationError(
                f"{self.distortion.size} coefficients; the distortion model {self.model} has "
                f"{' or '.join(map(str, _COEFFICIENTS[self.model]))}"
            )

    def bearings(self, points: FloatArray) -> npt.NDArray[np.float64]:
        """Directions of image points.

        Args:
            points: (N, 2), pixels of the image; (0, 0) is the outer corner of its first pixel.

        Returns:
            float64 (N, 3), unit vectors in the camera's optical frame (x to the right, y down, z forward), without
            distortion. Zero where the lens model does not reach.
        """
        if not len(points):
            return np.zeros((0, 3))
        sensor = np.asarray(points, dtype=np.float64) * self.binning + self.origin - 0.5
        flat = self._undistort(sensor)
        rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        with np.errstate(all="ignore"):
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            residual = np.linalg.norm(self._project(flat) - sensor, axis=1)
        rays[~(np.isfinite(rays).all(axis=1) & (residual <= _LARGEST_RESIDUAL))] = 0.0
        return rays

    def _undistort(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Sensor points (N, 2) as undistorted points at distance 1."""
        if self.model == "equidistant" and self.distortion.size:
            flat = cv2.fisheye.undistortPoints(points[:, None], self.matrix, self.distortion)
        else:
            # more steps than by default, which leave a wide-angle lens's corners a pixel off
            steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-9)
            flat = cv2.undistortPointsIter(points[:, None], self.matrix, self.distortion, None, None, steps)
        return np.asarray(flat, dtype=np.float64)[:, 0]

    def _project(self, flat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The inverse of :meth:`_undistort`."""
        nowhere = np.zeros(3)
        if self.model == "equidistant" and self.distortion.size:
            points = cv2.fisheye.distortPoints(flat[:, None], self.matrix, self.distortion)
        else:
            rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
            points, _ = cv2.projectPoints(rays[:, None], nowhere, nowhere, self.matrix, self.distortion)
        return np.asarray(points, dtype=np.float64)[:, 0]


def read_camera_info(message: Any, rectified: bool = False) -> Calibration:
    """The calibration that a `sensor_msgs/CameraInfo` states.

    Args:
        message: the camera's, of rclpy's or rosbags' making.
        rectified: the images have been rectified: `p` holds, and there is no distortion.

    Raises:
        CalibrationError: if it cannot be used.
    """
    matrix = np.array(message.p).reshape(3, 4)[:, :3] if rectified else np.array(message.k).reshape(3, 3)
    binning = max(message.binning_x, 1), max(message.binning_y, 1)
    roi = message.roi
    width, height = (roi.width, roi.height) if roi.width and roi.height else (message.width, message.height)
    if max(width, height, roi.x_offset, roi.y_offset, *binning) > 2**20:
        raise CalibrationError("sizes of more than a million pixels")
    return Calibration(
        (height // binning[1], width // binning[0]),
        matrix.astype(np.float64),
        np.zeros(0) if rectified else np.array(message.d, dtype=np.float64),
        "" if rectified else message.distortion_model,
        (roi.x_offset, roi.y_offset),
        binning,
    )


def track_bearings(tracks: Tracks, calibration: Calibration | None) -> npt.NDArray[np.float64]:
    """Directions of the tracks' box centres, float64 (N, 3); zero where they are not known.

    Raises:
        CalibrationError: if the calibration is of images of another size.
    """
    if calibration is None:
        return np.zeros((len(tracks), 3))
    if calibration.size != tracks.image_size:
        ours, theirs = (f"{width}x{height}" for height, width in (tracks.image_size, calibration.size))
        raise CalibrationError(
            f"camera_info is of {theirs} pixels, the images are of {ours}: there are no bearings; publish one that fits"
        )
    return calibration.bearings(box_centers(as_boxes([track.box for track in tracks])))
