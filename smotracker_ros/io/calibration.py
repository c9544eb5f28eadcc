"""A calibrated camera: from pixels to directions and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from smotracker_ros.core.geometry import as_boxes, box_centers
from smotracker_ros.core.tracks import Tracks

_COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}
_PINHOLE = ""
# What drivers and calibration tools call the same models
_OTHER_NAMES: Mapping[str, str] = {
    "fisheye": "equidistant",
    "opencv_fisheye": "equidistant",
    "equi": "equidistant",
    "kannala_brandt": "equidistant",
    "kannala_brandt4": "equidistant",
    "radtan": "plumb_bob",
    "brown_conrady": "plumb_bob",
    "thin_prism": "rational_polynomial",
    "none": _PINHOLE,
    "pinhole": _PINHOLE,
    "perspective": _PINHOLE,
}
# A direction counts if it leads back to its pixel this closely; outside a lens model's range it does not
_LARGEST_RESIDUAL = 0.5
# A pinhole sees nothing more than 89.9 degrees off its axis
_LEAST_COSINE = 1.75e-3
# Cosine of the angle, 0.26 degrees, up to which the direction of a projected point is the one that was projected
_SAME_DIRECTION = 0.99999


class CalibrationError(ValueError):
    """A calibration that cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Intrinsics and distortion of a camera, as `sensor_msgs/CameraInfo` states them.

    Attributes:
        size: (height, width) in pixels of the images that it holds for.
        matrix: float64 (3, 3) intrinsics of the full sensor; whole numbers are pixel centres, as in OpenCV.
        distortion: float64 (N,); zeros may come in any number.
        model: "plumb_bob", "rational_polynomial", "equidistant", or another name of one of them; empty: a pinhole.
            It decides how the lens projects, also where all coefficients are zero: an ideal equidistant lens is no
            pinhole.
        origin: (x, y) of the image's first pixel on the full sensor.
        binning: (x, y), sensor pixels per image pixel.

    Raises:
        CalibrationError: if it cannot be used.
    """

    size: tuple[int, int]
    matrix: npt.NDArray[np.float64]
    distortion: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    model: str = _PINHOLE
    origin: tuple[int, int] = (0, 0)
    binning: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        self._check_matrix()
        if not np.isfinite(self.distortion).all():
            raise CalibrationError("the distortion coefficients are not finite")
        if min(self.size) <= 0 or min(self.binning) <= 0 or min(self.origin) < 0:
            raise CalibrationError(f"size {self.size}, binning {self.binning} or origin {self.origin} makes no sense")
        name = self.model.strip().lower().replace("-", "_").replace(" ", "_")
        model = _OTHER_NAMES.get(name, name)
        if model != _PINHOLE and model not in _COEFFICIENTS:
            raise CalibrationError(
                f"unknown distortion model {self.model[:40]!r}; known are {', '.join(_COEFFICIENTS)}"
            )
        object.__setattr__(self, "model", model)
        if not self.distortion.any():
            object.__setattr__(self, "distortion", np.zeros(_COEFFICIENTS.get(model, (0,))[0]))
        elif model == _PINHOLE:
            raise CalibrationError(
                f"{self.distortion.size} distortion coefficients of no distortion model ({name!r}); known are "
                f"{', '.join(_COEFFICIENTS)}"
            )
        elif self.distortion.size not in _COEFFICIENTS[model]:
            raise CalibrationError(
                f"{self.distortion.size} coefficients; the distortion model {model} has "
                f"{' or '.join(map(str, _COEFFICIENTS[model]))}"
            )

    def _check_matrix(self) -> None:
        focal = self.matrix[0, 0], self.matrix[1, 1]
        if not np.isfinite(self.matrix).all() or min(focal) <= 0:
            raise CalibrationError(
                f"focal lengths of {focal[0]:g} and {focal[1]:g} pixels: the camera is not calibrated"
            )
        if np.abs(self.matrix).max() > 1e7:
            raise CalibrationError("the camera matrix holds numbers above 10 million pixels")
        if self.matrix[1, 0] or not np.array_equal(self.matrix[2], (0, 0, 1)):
            raise CalibrationError("the camera matrix is no upper triangle with a last row of 0 0 1; is it transposed?")

    def bearings(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Directions of image points.

        Args:
            points: (N, 2), pixels of the image; (0, 0) is the outer corner of its first pixel.

        Returns:
            float64 (N, 3), unit vectors in the camera's optical frame (x to the right, y down, z forward), without
            distortion; an equidistant lens also sees what lies behind its image plane. Zero where the lens model does
            not reach.
        """
        pixels = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        if not len(pixels):
            return np.zeros((0, 3))
        sensor = pixels * self.binning + self.origin - 0.5
        focal = self.matrix[:2, :2]
        seen: npt.NDArray[np.float64] = np.linalg.solve(focal, (sensor - self.matrix[:2, 2]).T).T.astype(np.float64)
        with np.errstate(all="ignore"):
            rays, again = self._equidistant(seen) if self.model == "equidistant" else self._pinhole(seen)
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            residual = np.linalg.norm((again - seen) @ focal.T, axis=1)
        rays[~(np.isfinite(rays).all(axis=1) & (residual <= _LARGEST_RESIDUAL))] = 0.0
        return rays

    def project(self, directions: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Image points of directions, the inverse of :meth:`bearings`.

        Args:
            directions: (N, 3), of any length, in the camera's optical frame (x to the right, y down, z forward).

        Returns:
            float64 (N, 2), pixels; (0, 0) is the outer corner of the image's first pixel. Points beside the image count
            as well, as far as the lens model reaches; beyond it, as behind a pinhole, there is none: NaN.
        """
        rays = np.asarray(directions, dtype=np.float64).reshape(-1, 3)
        if not len(rays):
            return np.zeros((0, 2))
        with np.errstate(all="ignore"):
            rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
            if self.model == "equidistant":
                seen = self._seen_equidistant(rays)
            else:
                seen = np.full((len(rays), 2), np.nan)
                ahead = rays[:, 2] > _LEAST_COSINE
                seen[ahead] = self._seen_pinhole(rays[ahead])
        sensor = seen @ self.matrix[:2, :2].T + self.matrix[:2, 2]
        pixels: npt.NDArray[np.float64] = (sensor + 0.5 - self.origin) / self.binning
        if self.model and self.model != "equidistant" and self.distortion.any():
            # far out the polynomials turn back, and two directions would share a pixel
            known = np.isfinite(pixels).all(axis=1)
            again = np.zeros_like(rays)
            again[known] = self.bearings(pixels[known])
            pixels[(again * rays).sum(axis=1) < _SAME_DIRECTION] = np.nan
        return pixels

    def _seen_pinhole(self, rays: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Distorted points (N, 2) at focal length 1 of rays (N, 3) that lead forward."""
        if not len(rays):
            return np.zeros((0, 2))
        nowhere = np.zeros(3)
        seen = cv2.projectPoints(rays[:, None], nowhere, nowhere, np.eye(3), self.distortion)[0][:, 0]
        return np.asarray(seen, dtype=np.float64)

    def _seen_equidistant(self, rays: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The same of any rays; NaN beyond the angle to which the lens model reaches."""
        aside = np.linalg.norm(rays[:, :2], axis=1)
        angle = np.arctan2(aside, rays[:, 2])
        angle[angle > self._radii[0][-1]] = np.nan
        # on the axis any direction will do
        return np.asarray(rays[:, :2] * (_polynomial(angle, self.distortion) / np.where(aside > 0, aside, 1))[:, None])

    def _pinhole(self, seen: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Rays (N, 3) of distorted points (N, 2) at focal length 1, and the points to which the rays lead back."""
        # more steps than by default, which leave a wide-angle lens's corners a pixel off
        steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-12)
        flat = cv2.undistortPointsIter(seen[:, None], np.eye(3), self.distortion, None, None, steps)[:, 0]
        rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        return rays, self._seen_pinhole(rays)

    def _equidistant(self, seen: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """As :meth:`_pinhole`. OpenCV's own `fisheye` works on a plane, and ends short of 90 degrees off the axis."""
        angles, radii = self._radii
        radius = np.linalg.norm(seen, axis=1)
        angle = np.interp(radius, radii, angles, right=np.nan)
        for _ in range(3):  # Newton's method; the table is close already
            angle -= (_polynomial(angle, self.distortion) - radius) / _slope(angle, self.distortion)
        direction = seen / np.where(radius > 0, radius, 1.0)[:, None]
        rays = np.concatenate([direction * np.sin(angle)[:, None], np.cos(angle)[:, None]], axis=1)
        return rays, direction * _polynomial(angle, self.distortion)[:, None]

    @cached_property
    def _radii(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Angles off the axis, and their distances from the image's centre at focal length 1, as far as these rise."""
        angles = np.linspace(0.0, np.pi, 2049)
        with np.errstate(all="ignore"):
            radii = _polynomial(angles, self.distortion)
            falling = ~(np.diff(radii) > 0)
        end = int(falling.argmax()) if falling.any() else len(falling)
        return angles[: end + 1], radii[: end + 1]


def _polynomial(angle: npt.NDArray[np.float64], coefficients: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The equidistant model (Kannala and Brandt 2006): distance from the centre by the angle off the axis, radians."""
    return np.polynomial.polynomial.polyval(angle**2, [1.0, *coefficients]) * angle


def _slope(angle: npt.NDArray[np.float64], coefficients: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Derivative of :func:`_polynomial`."""
    powers = 2 * np.arange(len(coefficients) + 1) + 1
    return np.asarray(np.polynomial.polynomial.polyval(angle**2, powers * [1.0, *coefficients]))


def read_camera_info(message: Any, rectified: bool = False) -> Calibration:
    """The calibration that a `sensor_msgs/CameraInfo` states.

    Args:
        message: the camera's, of rclpy's or rosbags' making.
        rectified: the images have been rectified: `p` holds, and there is no distortion.

    Raises:
        CalibrationError: if it cannot be used.
    """
    matrix = _projection(message) if rectified else np.array(message.k).reshape(3, 3)
    binning = max(message.binning_x, 1), max(message.binning_y, 1)
    roi = message.roi
    width, height = (roi.width, roi.height) if roi.width and roi.height else (message.width, message.height)
    if max(width, height, roi.x_offset, roi.y_offset, *binning) > 2**20:
        raise CalibrationError("sizes of more than a million pixels")
    if roi.x_offset + width > message.width or roi.y_offset + height > message.height:
        raise CalibrationError(
            f"its region of interest, {width}x{height} pixels at ({roi.x_offset}, {roi.y_offset}), reaches beyond the "
            f"full {message.width}x{message.height}; width and height must be the sensor's"
        )
    return Calibration(
        (height // binning[1], width // binning[0]),
        matrix.astype(np.float64),
        np.zeros(0) if rectified else np.array(message.d, dtype=np.float64),
        "" if rectified else message.distortion_model,
        (roi.x_offset, roi.y_offset),
        binning,
    )


def rectification_doubt(message: Any, image_topic: str, rectified: bool) -> str | None:
    """Why images are likely rectified although `rectified` is not set; None if they are not, or it makes no difference.

    Args:
        message: the camera's `sensor_msgs/CameraInfo`.
        image_topic: image_proc and camera drivers call rectified images `image_rect`, `image_rect_color` and the like.
        rectified: what was set.
    """
    same = np.array_equal(_projection(message), np.reshape(message.k, (3, 3))) and not np.any(message.d)
    if rectified or same or "image_rect" not in image_topic:
        return None
    return (
        f"{image_topic} is called as rectified images are, but `rectified` is not set: bearings use `k` and the lens's "
        "distortion; set it if the images are rectified"
    )


def _projection(message: Any) -> npt.NDArray[np.float64]:
    return np.array(message.p, dtype=np.float64).reshape(3, 4)[:, :3]


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
