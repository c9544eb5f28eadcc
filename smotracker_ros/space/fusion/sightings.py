"""What the fusion is given: directions to targets from one camera at one time, in the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sighting:
    """A target in one image.

    Attributes:
        track: id that the camera's tracker gave it.
        direction: float64 (3,), unit vector from the camera to the target, in the world's frame.
        deviation: standard deviation of that direction about each of the two axes across it, radians.
        class_name: the detector's name of its class.
        probability: of being a target, in [0, 1].
        size: angle that its longer side spans, radians; 0: not known.
        friendly: name of the friendly target that it is; empty: not known to be one.
    """

    track: int
    direction: Float64Array
    deviation: float
    class_name: str = ""
    probability: float = 1.0
    size: float = 0.0
    friendly: str = ""


@dataclass(frozen=True, eq=False)
class View:
    """What one camera saw in one image.

    Attributes:
        camera: its name.
        timestamp_ns: the image's stamp, nanoseconds.
        position: float64 (3,), of the camera in the world at that time, metres.
        sightings: the targets; none is worth knowing, too.
    """

    camera: str
    timestamp_ns: int
    position: Float64Array
    sightings: tuple[Sighting, ...] = ()


@dataclass(frozen=True, eq=False)
class TargetEstimate:
    """A target in space.

    Attributes:
        id: positive, one for all cameras; never used again.
        position: float64 (3,), in the world, metres.
        velocity: float64 (3,), m/s.
        covariance: float64 (6, 6), of position and velocity; the errors of poses and clocks are in it.
        cameras: those that see it now, by (name, id of the camera's track).
        class_name: the class that its tracks were called most often.
        probability: of being a target, in [0, 1].
        seen_ns: stamp of the last image that shows it.
        range_known: whether its distance is known to within :data:`RANGE_SHARE`; else it is a direction with a long
            covariance along it.
        size: width in metres that its images suggest; 0: not known.
        friendly: name of the friendly target that it is, as one of its tracks says; empty: not known to be one.
    """

    id: int
    position: Float64Array
    velocity: Float64Array
    covariance: Float64Array
    cameras: tuple[tuple[str, int], ...]
    class_name: str
    probability: float
    seen_ns: int
    range_known: bool
    size: float = 0.0
    friendly: str = ""


RANGE_SHARE = 0.2
"""Largest standard deviation of a distance that is called known, as a share of it."""


@dataclass(frozen=True, eq=False)
class FusedTargets:
    """All targets at one time.

    Attributes:
        timestamp_ns: stamp of the image that brought it about, nanoseconds.
        camera: which took that image.
        targets: by increasing id.
    """

    timestamp_ns: int
    camera: str
    targets: tuple[TargetEstimate, ...]
