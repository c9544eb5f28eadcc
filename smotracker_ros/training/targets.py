"""Silhouettes of small flying targets, drawn as antialiased patches at sub-pixel positions.

A silhouette is a list of polygons in unit coordinates: x to the right, y down, the origin at the target's centre, and
a length of 1 for the target's nominal width. A patch is rendered supersampled and then averaged down, so that the
alpha of a pixel is the covered share of its area.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

DRONE, BIRD, AIRPLANE, HELICOPTER = 1, 2, 3, 4
CLASS_NAMES = {DRONE: "drone", BIRD: "bird", AIRPLANE: "airplane", HELICOPTER: "helicopter"}


@dataclass(frozen=True)
class Part:
    """One polygon of a silhouette.

    Attributes:
        polygon: float32 (K, 2), unit coordinates.
        opacity: alpha of its inside, in [0, 1].
        shade: factor on the target's contrast, around 1; below 1 the part is closer to the background.
    """

    polygon: FloatArray
    opacity: float = 1.0
    shade: float = 1.0


@dataclass(frozen=True)
class Look:
    """What stays the same about a target's appearance over a scene.

    Attributes:
        class_id: 1 drone, 2 bird, 3 airplane, 4 helicopter.
        tilt: 0 seen from the side, 1 seen from below.
        thickness: factor on the thickness of bodies and arms.
        yaw: rotation about the vertical axis, radians.
        beat: wing beats, or flicker of the rotors, per second.
        phase: start of that oscillation, radians.
        shade: shade of the body parts relative to the rest.
    """

    class_id: int
    tilt: float
    thickness: float
    yaw: float
    beat: float
    phase: float
    shade: float


@dataclass(frozen=True)
class Patch:
    """A rendered silhouette.

    Attributes:
        x: column of the left edge in the frame, may be negative.
        y: row of the top edge in the frame, may be negative.
        alpha: float32 (height, width), coverage in [0, 1].
        shade: float32 (height, width), factor on the contrast.
    """

    x: int
    y: int
    alpha: FloatArray
    shade: FloatArray


def random_look(class_id: int, rng: np.random.Generator) -> Look:
    """Draw the lasting appearance of a target of one class."""
    beat = {DRONE: 7.0, BIRD: rng.uniform(1.5, 7.0), AIRPLANE: 0.5, HELICOPTER: rng.uniform(4, 11)}[class_id]
    return Look(
        class_id=class_id,
        tilt=float(rng.beta(1.0, 2.0) if class_id == DRONE else rng.uniform(0.1, 1.0)),
        thickness=float(rng.uniform(0.8, 1.7)),
        yaw=float(rng.uniform(0, 2 * np.pi)),
        beat=float(beat),
        phase=float(rng.uniform(0, 2 * np.pi)),
        shade=float(rng.uniform(0.6, 1.1)),
    )


def _polygon(*points: tuple[float, float]) -> FloatArray:
    return np.array(points, dtype=np.float32)


_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 17)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 17)[:-1])], axis=1)


def _ellipse(x: float, y: float, radius_x: float, radius_y: float) -> FloatArray:
    return (_CIRCLE * (radius_x, radius_y) + (x, y)).astype(np.float32)


def _bar(x1: float, y1: float, x2: float, y2: float, width: float) -> FloatArray:
    """A straight bar of the given width between two points."""
    along = np.array([x2 - x1, y2 - y1])
    normal = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * width / 2
    first, second = np.array([x1, y1]), np.array([x2, y2])
    return np.array([first + normal, second + normal, second - normal, first - normal], dtype=np.float32)


def _drone(look: Look, seconds: float) -> list[Part]:
    """A quadcopter: body, four arms with motors, blurred propellers, landing legs."""
    yaw = look.yaw + 0.5 * np.sin(0.7 * seconds + look.phase)
    tilt, thickness = max(look.tilt, 0.08), look.thickness
    propellers, solids = [], []
    for k in range(4):
        angle = yaw + np.pi / 4 + k * np.pi / 2
        x, y = 0.36 * np.cos(angle), 0.36 * np.sin(angle) * tilt - 0.05 * (1 - tilt)
        flicker = 0.35 + 0.3 * np.sin(2 * np.pi * look.beat * seconds + look.phase + 1.7 * k)
        propellers.append(Part(_ellipse(x, y - 0.04, 0.15, 0.15 * tilt + 0.012), 0.35 + 0.4 * flicker, 0.8))
        solids.append(Part(_bar(0, 0, x, y, 0.05 * thickness)))
        solids.append(Part(_ellipse(x, y - 0.01, 0.035 * thickness, 0.05 * thickness)))
    solids.append(Part(_ellipse(0, 0.01, 0.15 * thickness, 0.075 * thickness + 0.06 * tilt), 1.0, look.shade))
    if tilt < 0.5:
        for side in (-1, 1):
            solids.append(Part(_bar(0.09 * side, 0.03, 0.13 * side, 0.2, 0.03 * thickness)))
    return propellers + solids


def _bird(look: Look, seconds: float) -> list[Part]:
    """A bird: a body along the flight and two wings that beat, with glides in between."""
    gliding = np.sin(0.9 * seconds + 2 * look.phase) > 0.6
    stroke = 0.25 if gliding else np.sin(2 * np.pi * look.beat * seconds + look.phase)
    lift, span = 0.75 * float(stroke), 0.5 * (1 - 0.25 * abs(float(stroke)))
    chord = 0.09 * look.thickness
    parts = [Part(_ellipse(0, 0, 0.11 * look.thickness + 0.1 * look.tilt, 0.05 * look.thickness), 1.0, look.shade)]
    narrow = 0.55 + 0.45 * abs(np.cos(look.yaw))
    for side in (-1, 1):
        elbow = (side * span * 0.5 * narrow, -0.22 * lift - 0.03)
        tip = (side * span * narrow, -0.40 * lift + 0.04)
        trailing = (elbow[0], elbow[1] + chord)
        parts.append(Part(_polygon((-0.02 * side, -chord / 2), elbow, tip, trailing, (0, chord / 2))))
    return parts


def _airplane(look: Look, seconds: float) -> list[Part]:
    """An airplane flying along +x: fuselage, swept wings, tail."""
    thickness, span = look.thickness, 0.12 + 0.36 * look.tilt
    parts = [Part(_ellipse(0, 0, 0.5, 0.045 * thickness), 1.0, look.shade)]
    sweep = 0.10 + 0.1 * abs(np.sin(look.yaw))
    for side in (-1.0, 1.0):
        reach = side * span * (1.0 if side > 0 else 0.6 + 0.4 * look.tilt)
        parts.append(Part(_polygon((0.12, 0), (-sweep, reach), (-sweep - 0.07, reach), (-0.08, 0))))
        parts.append(Part(_polygon((-0.38, 0), (-0.5, reach * 0.36), (-0.54, reach * 0.36), (-0.48, 0))))
    fin = -0.17 * (1.2 - look.tilt)
    parts.append(Part(_polygon((-0.36, 0), (-0.5, fin), (-0.54, fin), (-0.48, 0))))
    return parts


def _helicopter(look: Look, seconds: float) -> list[Part]:
    """A helicopter flying along +x: cabin, boom, tail rotor, main rotor, skids."""
    thickness = look.thickness
    blade = 0.25 + 0.25 * abs(np.sin(2 * np.pi * look.beat * seconds + look.phase))
    parts = [
        Part(_ellipse(0.1, -0.13, 0.5, 0.02 + 0.12 * look.tilt), 0.25, 0.7),
        Part(_bar(0.1 - blade, -0.13, 0.1 + blade, -0.13, 0.025 * thickness)),
        Part(_bar(0.1, -0.14, 0.1, 0, 0.04)),
        Part(_polygon((0.0, -0.05), (-0.46, -0.035), (-0.46, 0.0), (0.0, 0.06))),
        Part(_ellipse(-0.46, -0.05, 0.07, 0.08), 0.6),
        Part(_ellipse(0.13, 0.02, 0.2, 0.095 * thickness), 1.0, look.shade),
    ]
    if look.tilt < 0.6:
        parts.append(Part(_bar(-0.02, 0.17, 0.3, 0.17, 0.02 * thickness)))
    return parts


_SILHOUETTES = {DRONE: _drone, BIRD: _bird, AIRPLANE: _airplane, HELICOPTER: _helicopter}


def silhouette(look: Look, seconds: float) -> list[Part]:
    """The polygons of a target at one time, in drawing order."""
    return _SILHOUETTES[look.class_id](look, seconds)


def draw_patch(
    parts: list[Part],
    center: tuple[float, float],
    size: float,
    angle: float,
    flip: bool,
    blur: float,
    smear: tuple[float, float],
) -> Patch:
    """Render a silhouette.

    Args:
        parts: polygons in unit coordinates.
        center: (x, y) of the target's centre in pixels of the frame; pixel (0, 0) covers [0, 1) x [0, 1).
        size: pixels per unit length.
        angle: rotation, radians, clockwise in the image.
        flip: mirror left to right before rotating (the target flies to the left).
        blur: standard deviation of the optics' blur, pixels.
        smear: motion of the target's image while the shutter is open, pixels (x, y).

    Returns:
        The patch, large enough to hold the blurred silhouette.
    """
    margin = 0.68 * size + 3 * blur + max(abs(smear[0]), abs(smear[1])) / 2 + 1.5
    x, y = int(np.floor(center[0] - margin)), int(np.floor(center[1] - margin))
    side = int(np.ceil(2 * margin)) + 1
    oversampling = 8 if side < 40 else 4
    canvas = np.zeros((side * oversampling, side * oversampling, 2), dtype=np.uint8)
    canvas[:, :, 1] = 128
    cosine, sine = np.cos(angle), np.sin(angle)
    mirror = -1.0 if flip else 1.0
    matrix = np.array([[cosine * mirror, sine * mirror], [-sine, cosine]]) * size * oversampling
    # fillPoly takes fixed-point coordinates (4 fractional bits) that refer to pixel centres, hence the half pixel.
    origin = (np.array(center) - (x, y)) * oversampling - 0.5
    for part in parts:
        points = np.round((part.polygon @ matrix + origin) * 16).astype(np.int32)
        cv2.fillPoly(canvas, [points], (255 * part.opacity, 128 * min(part.shade, 1.99)), cv2.LINE_8, 4)
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha, shade = small[:, :, 0] / np.float32(255), small[:, :, 1] / np.float32(128)
    if max(abs(smear[0]), abs(smear[1])) > 0.7:
        alpha = cv2.filter2D(alpha, -1, line_kernel(smear), borderType=cv2.BORDER_CONSTANT)
    if blur > 0.2:
        alpha = cv2.GaussianBlur(alpha, (0, 0), blur, borderType=cv2.BORDER_CONSTANT)
    return Patch(x, y, np.asarray(alpha, dtype=np.float32), np.asarray(shade, dtype=np.float32))


def line_kernel(smear: tuple[float, float]) -> FloatArray:
    """Motion-blur kernel: a line of the given extent (x, y) in pixels, float32 with sum 1."""
    radius = int(np.ceil(max(abs(smear[0]), abs(smear[1])) / 2)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), dtype=np.float32)
    steps = np.linspace(-0.5, 0.5, 8 * radius + 1)
    columns, rows = radius + steps * smear[0], radius + steps * smear[1]
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.abs(1 - dx - (columns - left)) * np.abs(1 - dy - (rows - top))
            np.add.at(kernel, (top + dy, left + dx), weight.astype(np.float32))
    return kernel / kernel.sum()
