"""Targets in space against the truth: how far off, which id, how many that are none; and what is possible at best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from smotracker_ros.evaluation.sway import Sway
from smotracker_ros.space.fusion.sightings import FusedTargets, Sighting, View
from smotracker_ros.training.space_rig import Rig, RigCamera
from smotracker_ros.training.targets import CLASS_NAMES

Float64Array = npt.NDArray[np.float64]

STEP_SECONDS = 0.2
"""Results are compared with the truth so often."""

SETTLING_SECONDS = 3.0
"""The beginning of a scene is left out of positions' errors."""

_NANOSECONDS = 1_000_000_000
# Pixels that a false track is wide
_FALSE_WIDTH = 6.0
START_NS = 1_000 * _NANOSECONDS
"""Stamp of a scene's beginning."""


@dataclass(frozen=True)
class TrackerErrors:
    """What a camera's tracker gets wrong.

    Attributes:
        pixels: standard deviation of a box's centre along each axis.
        missed: share of a target's images in which it is not seen.
        gaps: interruptions per target and minute, each of half a second to two seconds, after which its id is new.
        switches: exchanges of ids between targets per target and minute.
        false_tracks: tracks per camera and minute of things that are no targets, each of two seconds.
        widths: standard deviation of the logarithm of a box's width; 0.25 is what the embedded models have.
    """

    pixels: float = 0.5
    missed: float = 0.05
    gaps: float = 1.0
    switches: float = 0.5
    false_tracks: float = 2.0
    widths: float = 0.25


@dataclass(frozen=True)
class SpaceScores:
    """How good fused targets are; times at which a target is seen by two cameras at least count.

    Attributes:
        error: median distance to the truth, metres; NaN: never near.
        bound: median distance that the pixels' noise leaves to whoever takes each moment by itself.
        filtered_bound: the same for a filter that knows the motion's statistics; poses and clocks are right.
        found: share of the truth that has a placed target near.
        idf1: of ids in space, in [0, 1].
        switches: how often a target's id changes, per target and minute.
        ghosts: ids of placed targets that were never near a true one, per minute.
        stray_seconds: for how long placed targets were beside every true one, seconds per minute.
        within: share of errors within the stated covariance's 95 % ellipsoid.
    """

    error: float
    bound: float
    filtered_bound: float
    found: float
    idf1: float
    switches: float
    ghosts: float
    stray_seconds: float
    within: float


def simulate_tracks(rig: Rig, errors: TrackerErrors, seed: int, sway: Sway | None = None) -> list[View]:
    """What trackers would report of a scene, without rendering it: views in the order of arrival, by true time.

    Args:
        rig: cameras and flights.
        errors: of the trackers.
        seed: of the errors.
        sway: of the cameras' masts; None: they stand.
    """
    rng = np.random.default_rng([seed, 7])
    views = [
        (time, view)
        for number, camera in enumerate(rig.cameras)
        for time, view in zip(camera.times, _camera_views(number, rig, errors, rng, sway or Sway()), strict=True)
    ]
    return [view for _, view in sorted(views, key=lambda item: item[0])]


def _camera_views(number: int, rig: Rig, errors: TrackerErrors, rng: np.random.Generator, sway: Sway) -> Iterator[View]:
    camera = rig.cameras[number]
    frames, count = len(camera.times), len(rig.flights)
    places = np.array([flight.places(camera.times) for flight in rig.flights]).reshape(count, frames, 3)
    masts = [sway.moved(camera.pose, number, float(time)) for time in camera.times]
    pixels = np.stack([camera.pixels(places[:, frame], mast) for frame, mast in enumerate(masts)], axis=1)
    step = float(np.median(np.diff(camera.times))) if frames > 1 else 1.0
    ids, next_id = list(range(1, count + 1)), count + 1
    hidden, sides = np.zeros(count), np.random.default_rng([number, 19])
    fakes: list[tuple[int, float, Float64Array, Float64Array]] = []
    angle = 1 / float(camera.calibration.matrix[0, 0])
    height, width = camera.calibration.size
    for frame, stamp in enumerate(camera.stamps):
        time = camera.times[frame]
        points, names, tracks, widths = [], [], [], []
        for target in range(count):
            if rng.random() < errors.gaps / 60 * step:
                hidden[target] = time + rng.uniform(0.5, 2.0)
                ids[target], next_id = next_id, next_id + 1
            if count > 1 and rng.random() < errors.switches / 60 * step:
                other = (target + 1 + int(rng.integers(count - 1))) % count
                ids[target], ids[other] = ids[other], ids[target]
            point = pixels[target, frame]
            if np.isfinite(point).all() and time >= hidden[target] and rng.random() >= errors.missed:
                points.append(point)
                tracks.append(ids[target])
                names.append(CLASS_NAMES[rig.flights[target].class_id])
                distance = float(np.linalg.norm(places[target, frame] - masts[frame].position))
                widths.append(rig.flights[target].width / distance)
        if rng.random() < errors.false_tracks / 60 * step:
            fakes.append((next_id, time, rng.uniform(0, 1, 2) * (width, height), rng.normal(0, 20, 2)))
            next_id += 1
        fakes = [fake for fake in fakes if time - fake[1] < 2.0]
        for track, start, place, velocity in fakes:
            widths.append(_FALSE_WIDTH * angle)
            points.append(place + velocity * (time - start))
            tracks.append(track)
            names.append("drone")
        noisy = np.array(points).reshape(-1, 2) + errors.pixels * rng.standard_normal((len(points), 2))
        boxes = np.array(widths) * np.exp(errors.widths * sides.standard_normal(len(widths)))
        stated = sway.stated(camera.stated_pose, number, float(stamp))
        directions = stated.directions_to_world(camera.calibration.bearings(noisy.astype(np.float32)))
        yield View(
            camera.name,
            START_NS + round(float(stamp) * _NANOSECONDS),
            stated.position,
            tuple(
                Sighting(track, direction, errors.pixels * angle, name, 0.9, float(box))
                for track, direction, name, box in zip(tracks, directions, names, boxes, strict=True)
                if direction.any()
            ),
        )


def near(distance: float) -> float:
    """How near a placed target must be to the truth at this distance from the cameras to be it, metres."""
    return 3.0 + 0.05 * distance


def score_targets(
    results: Iterable[FusedTargets], rig: Rig, seconds: float, pixels: float, diffusion: float = 9.0
) -> SpaceScores:
    """Compare fused targets with the truth.

    Args:
        results: of the fusion, by increasing stamps.
        rig: cameras and flights.
        seconds: length of the scene.
        pixels: standard deviation of a box's centre, for the bounds.
        diffusion: power of the acceleration that the filtered bound takes for known, m^2/s^3.
    """
    moments = _moments(results)
    names: list[int] = []
    errors, within, drawn, drawn_filtered = [], [], [], []
    near_both: dict[tuple[int, int], int] = {}
    truth_count, predicted_count, matched_count, stray_count = 0, 0, 0, 0
    last: dict[int, int] = {}
    changes, ever_near = 0, set()
    rng = np.random.default_rng(0)
    bounds = _filtered_bounds(rig, pixels, diffusion, sorted(moments))
    for number, time in enumerate(sorted(moments)):
        targets = [target for target in moments[time].targets if target.range_known]
        truth = [flight.places([time])[0] for flight in rig.flights]
        seen = np.array([_seen_by(rig, place) >= 2 for place in truth], dtype=np.bool_)
        distances = np.array([[np.linalg.norm(t.position - place) for place in truth] for t in targets])
        distances = distances.reshape(len(targets), len(truth))
        limits = np.array([near(float(np.linalg.norm(place))) for place in truth])
        rows, columns = linear_sum_assignment(np.minimum(distances, limits * 2)) if distances.size else ([], [])
        pairs = [(row, column) for row, column in zip(rows, columns, strict=True)
                 if distances[row, column] <= limits[column]]  # fmt: skip
        matched = {row for row, _ in pairs}
        truth_count += int(seen.sum())
        for row, column in pairs:
            identity = targets[row].id
            ever_near.add(identity)
            if not seen[column]:
                continue
            matched_count += 1
            near_both[column, identity] = near_both.get((column, identity), 0) + 1
            changes += last.get(column, identity) != identity
            last[column] = identity
            if time >= SETTLING_SECONDS:
                offset = targets[row].position - truth[column]
                errors.append(float(distances[row, column]))
                within.append(float(offset @ np.linalg.solve(targets[row].covariance[:3, :3], offset)) <= 7.815)
                drawn.append(_draw(_place_bound(rig, truth[column], pixels), rng))
                drawn_filtered.append(_draw(bounds[number, column], rng))
        beside = {column for row, column in pairs if not seen[column]}
        predicted_count += len(targets) - len(beside)
        stray = [target for row, target in enumerate(targets) if row not in matched]
        stray_count += len(stray)
        names += [target.id for target in targets]
    minutes = max(seconds, 1e-9) / 60
    return SpaceScores(
        error=float(np.median(errors)) if errors else np.nan,
        bound=float(np.median(np.concatenate(drawn))) if drawn else np.nan,
        filtered_bound=float(np.median(np.concatenate(drawn_filtered))) if drawn_filtered else np.nan,
        found=matched_count / max(truth_count, 1),
        idf1=_idf1(near_both, truth_count, predicted_count, len(rig.flights)),
        switches=changes / max(len(rig.flights), 1) / minutes,
        ghosts=len(set(names) - ever_near) / minutes,
        stray_seconds=stray_count * STEP_SECONDS / minutes,
        within=float(np.mean(within)) if within else np.nan,
    )


def pose_bound(rig: Rig, seconds: float, degrees: float) -> float:
    """Median distance that errors of the stated orientations leave to whoever knows everything else, metres.

    Args:
        rig: cameras and flights.
        seconds: length of the scene.
        degrees: standard deviation of an orientation about each axis.
    """
    rng, drawn = np.random.default_rng(0), []
    for time in np.arange(SETTLING_SECONDS, seconds, 1.0):
        for flight in rig.flights:
            place = flight.places([time])[0]
            if _seen_by(rig, place) >= 2:
                pixels = np.radians(degrees) * float(rig.cameras[0].calibration.matrix[0, 0])
                drawn.append(_draw(_place_bound(rig, place, pixels), rng))
    return float(np.median(np.concatenate(drawn))) if drawn else np.nan


def _moments(results: Iterable[FusedTargets]) -> dict[float, FusedTargets]:
    """The first result of each step, by its time in seconds since the scene's beginning."""
    found: dict[int, tuple[float, FusedTargets]] = {}
    for result in results:
        time = (result.timestamp_ns - START_NS) / _NANOSECONDS
        found.setdefault(int(time / STEP_SECONDS), (time, result))
    return dict(found.values())


def _seen_by(rig: Rig, place: Float64Array) -> int:
    return sum(bool(np.isfinite(camera.pixels(place[None])).all()) for camera in rig.cameras)


def _information(camera: RigCamera, place: Float64Array, pixels: float) -> Float64Array:
    """Fisher information (3, 3) on a place by one image of it."""
    offset = place - camera.pose.position
    distance = float(np.linalg.norm(offset))
    along = offset / distance
    deviation = pixels / float(camera.calibration.matrix[0, 0]) * distance
    return (np.eye(3) - np.outer(along, along)) / deviation**2


def _place_bound(rig: Rig, place: Float64Array, pixels: float) -> Float64Array:
    """Cramer-Rao bound (3, 3) of a place by one image of each camera that sees it."""
    seen = [camera for camera in rig.cameras if np.isfinite(camera.pixels(place[None])).all()]
    information = sum((_information(camera, place, pixels) for camera in seen), np.eye(3) * 1e-9)
    return np.asarray(np.linalg.inv(information), dtype=np.float64)


def _filtered_bounds(rig: Rig, pixels: float, diffusion: float, times: Sequence[float]) -> Float64Array:
    """Posterior Cramer-Rao bounds (T, targets, 3, 3) at times: Kalman's covariances along the true flights."""
    moments = sorted((float(time), number) for number, camera in enumerate(rig.cameras) for time in camera.times)
    bounds = np.tile(np.eye(3) * 1e6, (len(times), len(rig.flights), 1, 1))
    for column, flight in enumerate(rig.flights):
        places = [flight.places(camera.times) for camera in rig.cameras]
        seen = [np.all(np.isfinite(camera.pixels(at)), axis=1) for camera, at in zip(rig.cameras, places, strict=True)]
        frames = [0] * len(rig.cameras)
        covariance, now, row = np.diag([1e6] * 3 + [1e3] * 3), moments[0][0], 0
        for time, number in moments:
            while row < len(times) and times[row] < time:
                bounds[row, column] = covariance[:3, :3]
                row += 1
            covariance = _passed(covariance, time - now, diffusion)
            now, frame = time, frames[number]
            frames[number] += 1
            if seen[number][frame]:
                information = np.linalg.inv(covariance)
                information[:3, :3] += _information(rig.cameras[number], places[number][frame], pixels)
                covariance = np.linalg.inv(information)
        bounds[row:, column] = covariance[:3, :3]
    return bounds


def _passed(covariance: Float64Array, seconds: float, diffusion: float) -> Float64Array:
    move = np.eye(6)
    move[:3, 3:] = np.eye(3) * seconds
    noise = np.kron([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]], np.eye(3)) * diffusion
    return np.asarray(move @ covariance @ move.T + noise, dtype=np.float64)


def _draw(covariance: Float64Array, rng: np.random.Generator, number: int = 20) -> Float64Array:
    """Lengths of errors of that covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(
        np.linalg.norm((rng.standard_normal((number, 3)) * np.sqrt(np.maximum(values, 0))) @ vectors.T, axis=1)
    )


def _idf1(near_both: dict[tuple[int, int], int], truth: int, predicted: int, targets: int) -> float:
    """Ristani et al. 2016: each target gets the one id that suits it best over the whole scene."""
    ids = sorted({identity for _, identity in near_both})
    counts = np.zeros((targets, len(ids)))
    for (target, identity), count in near_both.items():
        counts[target, ids.index(identity)] = count
    rows, columns = linear_sum_assignment(-counts)
    return float(2 * counts[rows, columns].sum() / max(truth + predicted, 1))
