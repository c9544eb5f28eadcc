"""Scores of targets in space: perfect ones, exchanged ids, ghosts; and the bounds beside them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.evaluation.space import START_NS, TrackerErrors, pose_bound, score_targets, simulate_tracks
from smotracker_ros.evaluation.sway import Sway
from smotracker_ros.space.fusion.fusion import Fusion
from smotracker_ros.space.fusion.sightings import FusedTargets, TargetEstimate
from smotracker_ros.training.space_rig import Rig, SpaceSettings, make_rig

SECONDS = 8.0
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rig() -> Rig:
    return make_rig(SpaceSettings(seconds=SECONDS, targets=2, distance=100.0, fps=10.0), seed=1)


def results(rig: Rig, identity: Callable[[int, float], int], ghost: bool = False) -> list[FusedTargets]:
    """Targets half a metre beside the truth."""
    found = []
    for time in np.arange(0.05, SECONDS, 0.1):
        places = [flight.places([time])[0] + (0.5, 0, 0) for flight in rig.flights]
        ids = [identity(number, time) for number in range(len(places))]
        if ghost:
            places, ids = [*places, np.array([0.0, 20.0, 90.0])], [*ids, 99]
        targets = tuple(
            TargetEstimate(number, place, np.zeros(3), np.eye(6), (), "drone", 0.9, 0, True)
            for number, place in zip(ids, places, strict=True)
        )
        found.append(FusedTargets(START_NS + round(time * 1e9), "camera_1", targets))
    return found


def test_targets_beside_the_truth(rig: Rig) -> None:
    scores = score_targets(results(rig, lambda number, time: number + 1), rig, SECONDS, 0.5)
    assert scores.error == pytest.approx(0.5) and scores.found == scores.idf1 == scores.within == 1.0
    assert scores.ghosts == scores.stray_seconds == scores.switches == 0.0


def test_ids_that_are_exchanged_cost_half(rig: Rig) -> None:
    swapped = results(rig, lambda number, time: number + 1 if time < SECONDS / 2 else 2 - number)
    scores = score_targets(swapped, rig, SECONDS, 0.5)
    assert scores.idf1 == pytest.approx(0.5, abs=0.05)
    assert scores.switches == pytest.approx(60 / SECONDS)


def test_ghosts_are_counted(rig: Rig) -> None:
    scores = score_targets(results(rig, lambda number, time: number + 1, ghost=True), rig, SECONDS, 0.5)
    assert scores.ghosts == pytest.approx(60 / SECONDS) and scores.stray_seconds == pytest.approx(60, rel=0.1)
    assert scores.idf1 < 0.9


def test_bounds_grow_with_noise_and_shrink_with_the_baseline(rig: Rig) -> None:
    perfect = results(rig, lambda number, time: number + 1)
    fine, coarse = (score_targets(perfect, rig, SECONDS, pixels) for pixels in (0.5, 1.0))
    assert coarse.bound == pytest.approx(2 * fine.bound, rel=0.05)
    assert 0 < fine.filtered_bound < coarse.filtered_bound
    narrow = make_rig(SpaceSettings(seconds=SECONDS, targets=2, distance=100.0, fps=10.0, baseline=8.0), seed=1)
    assert pose_bound(rig, SECONDS, 0.1) < 0.7 * pose_bound(narrow, SECONDS, 0.1)


def test_simulated_trackers_err_as_they_are_told(rig: Rig) -> None:
    views = simulate_tracks(rig, TrackerErrors(missed=0.0, gaps=0.0, switches=0.0, false_tracks=0.0), seed=0)
    camera = rig.cameras[0]
    errors = []
    for view in (view for view in views if view.camera == camera.name):
        for sighting in view.sightings:
            place = rig.flights[sighting.track - 1].places([(view.timestamp_ns - START_NS) / 1e9])[0]
            pixel = camera.calibration.project(camera.pose.directions_from_world(sighting.direction))[0]
            errors.append(pixel - camera.pixels(place[None])[0])
    assert np.std(errors) == pytest.approx(0.5, rel=0.2) and len(errors) > 50


def test_the_benchmark_runs() -> None:
    specification = importlib.util.spec_from_file_location("fusion_benchmark", ROOT / "benchmarks" / "fusion.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    settings = SpaceSettings(seconds=6.0, targets=1, fps=10.0)
    line = module.row(settings, [module.fuse_scene(settings, 3, TrackerErrors())], module.poses(settings, 3, 1))
    assert line.count("|") == module.HEAD.splitlines()[0].count("|") and "nan" not in line


def test_masts_sway_as_much_as_stated_about_where_they_stand() -> None:
    camera = make_rig(SpaceSettings(), seed=1).cameras[1]
    assert Sway().moved(camera.pose, 1, 3.0) is camera.pose
    sway, times = Sway(1.5, height=5.0, late_seconds=0.1), np.arange(0, 300, 0.1)
    poses = [sway.moved(camera.pose, 1, time) for time in times]
    turns = np.degrees([(pose.rotation * camera.pose.rotation.inv()).as_rotvec() for pose in poses])
    np.testing.assert_allclose(turns[:, :2].std(axis=0), 1.5, rtol=0.05)
    np.testing.assert_allclose(turns[:, 2], 0, atol=1e-9)
    shifts = np.array([pose.position - camera.pose.position for pose in poses])
    np.testing.assert_allclose(shifts[:, :2].std(axis=0), 5 * np.radians(1.5), rtol=0.05)
    assert np.linalg.norm(np.diff(turns, axis=0), axis=1).max() < 1.0, "within a tenth of a second"
    late, then = sway.stated(camera.pose, 1, 7.0), sway.moved(camera.pose, 1, 6.9)
    np.testing.assert_array_equal(late.position, then.position)
    assert not np.allclose(sway.moved(camera.pose, 2, 6.9).position, then.position), "each sways its own way"


def test_late_poses_of_masts_that_sway_cost_places_and_right_ones_do_not() -> None:
    settings = SpaceSettings(seconds=10.0, fps=10.0, targets=2, distance=100.0)
    rig = make_rig(settings, seed=3)

    def error(sway: Sway) -> float:
        fusion = Fusion([camera.name for camera in rig.cameras])
        views = simulate_tracks(rig, TrackerErrors(), 3, sway)
        results = [result for view in views for result in fusion.add(view)] + fusion.flush()
        return score_targets(results, rig, settings.seconds, 0.5).error

    standing, swaying, late = error(Sway()), error(Sway(1.5)), error(Sway(1.5, late_seconds=0.1))
    assert swaying < 1.3 * standing
    assert late > 1.8 * swaying
