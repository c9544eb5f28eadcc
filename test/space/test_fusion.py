"""Fusion of directions: places, ids across cameras, ghosts, time, bounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from smotracker_ros.core.settings import SettingsError
from smotracker_ros.evaluation.space import START_NS, TrackerErrors, score_targets, simulate_tracks
from smotracker_ros.space.fusion.fusion import Fusion
from smotracker_ros.space.fusion.settings import FusionSettings
from smotracker_ros.space.fusion.sightings import FusedTargets, Sighting, View
from smotracker_ros.training.space_rig import Rig, SpaceSettings, make_rig

NAMES = ("a", "b", "c")
PLACES = {"a": (-20.0, 0.0, 3.0), "b": (20.0, 0.0, 3.0), "c": (0.0, -10.0, 5.0)}
SECOND = 1_000_000_000


def view(
    camera: str,
    seconds: float,
    targets: Sequence[Sequence[float]],
    ids: Sequence[int] = (),
    noise: float = 0.0,
    widths: Sequence[float] = (),
) -> View:
    """What a camera sees of points, or of targets of so many metres."""
    rng = np.random.default_rng(round(seconds * 1000))
    position = np.array(PLACES[camera])
    sightings = []
    for track, target, width in zip(
        ids or range(1, len(targets) + 1), targets, widths or [0.0] * len(targets), strict=True
    ):
        offset = np.array(target) - position + noise * rng.standard_normal(3)
        distance = float(np.linalg.norm(offset))
        size = width / distance * float(np.exp(0.2 * rng.standard_normal()))
        sightings.append(Sighting(track, offset / distance, 0.0005, "drone", 0.9, size))
    return View(camera, 5 * SECOND + round(seconds * SECOND), position, tuple(sightings))


def fly(
    cameras: Sequence[str], seconds: float, begin: float = 0.0, fusion: Fusion | None = None, track: int = 1
) -> tuple[Fusion, list[FusedTargets]]:
    """One target that flies by at 10 m/s, 150 m away."""
    fusion = fusion or Fusion(NAMES)
    results = []
    for step in range(round(seconds * 20)):
        time = begin + step / 20
        camera = cameras[step % len(cameras)]
        results += fusion.add(view(camera, time, [(-30 + 10 * time, 150.0, 40.0)], [track]))
    return fusion, results


def run(rig: Rig, errors: TrackerErrors, settings: FusionSettings | None = None) -> list[FusedTargets]:
    fusion = Fusion([camera.name for camera in rig.cameras], settings)
    views = simulate_tracks(rig, errors, seed=5)
    return [result for item in views for result in fusion.add(item)] + fusion.flush()


def test_two_cameras_find_place_and_velocity() -> None:
    _, results = fly(["a", "b"], 3.0)
    last = results[-1]
    assert len(last.targets) == 1 and last.targets[0].range_known
    target = last.targets[0]
    seconds = (last.timestamp_ns - 5 * SECOND) / SECOND
    offset = target.position - (-30 + 10 * seconds, 150.0, 40.0)
    assert np.linalg.norm(offset) < 1.0
    assert offset @ np.linalg.solve(target.covariance[:3, :3], offset) < 16.0
    np.testing.assert_allclose(target.velocity, (10.0, 0.0, 0.0), atol=1.0)
    assert {name for name, _ in target.cameras} == {"a", "b"}


def test_one_camera_tells_the_direction_and_no_distance() -> None:
    _, results = fly(["a"], 20.0)
    last = results[-1]
    target = last.targets[0]
    assert not target.range_known
    seconds = (last.timestamp_ns - 5 * SECOND) / SECOND
    ray = np.array((-30 + 10 * seconds, 150.0, 40.0)) - PLACES["a"]
    ray /= np.linalg.norm(ray)
    offset = target.position - PLACES["a"]
    assert offset @ ray / np.linalg.norm(offset) > np.cos(0.01)
    values, vectors = np.linalg.eigh(target.covariance[:3, :3])
    assert abs(vectors[:, -1] @ ray) > 0.99, "the covariance is long along the ray"
    assert np.sqrt(values[-1]) > 0.3 * np.linalg.norm(offset), "twenty seconds of directions feign no distance"


def test_an_id_passes_from_camera_to_camera() -> None:
    fusion, first = fly(["a", "b"], 2.0)
    _, second = fly(["b", "c"], 2.0, 2.0, fusion, track=1)
    _, third = fly(["c"], 1.0, 4.0, fusion)
    ids = {target.id for result in first + second + third for target in result.targets}
    assert ids == {1}
    assert third[-1].targets[0].cameras == (("c", 1),)


def test_a_track_that_begins_anew_keeps_its_target() -> None:
    fusion, _ = fly(["a", "b"], 2.0)
    _, after = fly(["a", "b"], 2.0, 2.5, fusion, track=9)
    assert {target.id for result in after for target in result.targets} == {1}


def test_rays_that_cross_by_chance_are_no_target() -> None:
    # Two targets at the same height: each camera's rays cross those of the other camera in four places.
    def places(time: float) -> list[tuple[float, float, float]]:
        return [(-15 + 6 * time, 140.0, 30.0), (15.0, 170 - 7 * time, 35.0)]

    fusion = Fusion(NAMES[:2])
    results = []
    for step in range(160):
        time = step / 20
        # camera b numbers them the other way round
        camera, ids = ("a", (1, 2)) if step % 2 else ("b", (2, 1))
        results += fusion.add(view(camera, time, places(time), ids))
    placed = [
        (target, (result.timestamp_ns - 5 * SECOND) / SECOND)
        for result in results
        for target in result.targets
        if target.range_known
    ]
    assert len({target.id for target, _ in placed}) == 2
    for target, time in placed:
        assert min(np.linalg.norm(target.position - place) for place in places(time)) < 6.0


@pytest.mark.parametrize("place", [(6.0, 50.0, 15.0), (6.0, 100.0, 28.0), (6.0, 300.0, 60.0)])
@pytest.mark.parametrize("sway", [0.0, 0.2])
def test_what_hovers_is_found_however_near(place: tuple[float, float, float], sway: float) -> None:
    """That it moves less than most must not speak for its being far away."""
    fusion, results = Fusion(NAMES[:2]), list[FusedTargets]()
    for step in range(120):
        offset = sway * np.sin(step / 20 * np.array([1.3, 0.9, 1.1]))
        results += fusion.add(view("ab"[step % 2], step / 20, [np.array(place) + offset]))
    placed = [result for result in results if any(target.range_known for target in result.targets)]
    assert placed and (placed[0].timestamp_ns - 5 * SECOND) / SECOND < 2.0
    assert len({target.id for result in placed for target in result.targets}) == 1
    assert np.linalg.norm(results[-1].targets[0].position - place) < 0.02 * np.linalg.norm(place)


HOVERING = [(-6.0, 140.0, 38.0), (6.0, 100.0, 28.0)]
"""In one plane with the cameras a and b: rays of both cross in four places, and nothing moves."""


def _hover(widths: Sequence[float]) -> list[FusedTargets]:
    fusion, results = Fusion(NAMES[:2]), list[FusedTargets]()
    for step in range(160):
        camera, ids = ("a", (1, 2)) if step % 2 else ("b", (2, 1))
        results += fusion.add(view(camera, step / 20, HOVERING, ids, widths=widths))
    return results


def test_widths_tell_targets_from_ghosts_where_nothing_moves() -> None:
    last = _hover([6.0, 0.4])[-1]
    assert len(last.targets) == 2 and all(target.range_known for target in last.targets)
    for target in last.targets:
        assert min(np.linalg.norm(target.position - place) for place in HOVERING) < 3.0
    assert [target.cameras for target in last.targets] in (
        [(("a", 1), ("b", 2)), (("a", 2), ("b", 1))],
        [(("a", 2), ("b", 1)), (("a", 1), ("b", 2))],
    )


@pytest.mark.parametrize("widths", [(), (0.5, 0.5)])
def test_without_them_nobody_is_chosen(widths: Sequence[float]) -> None:
    assert not any(target.range_known for result in _hover(widths) for target in result.targets)


def test_places_and_ids_in_a_scene_with_errors_of_clocks_and_poses() -> None:
    rig = make_rig(SpaceSettings(seconds=15.0, targets=3, clock_offset=0.02, pose_error=0.1), seed=3)
    scores = score_targets(run(rig, TrackerErrors()), rig, 15.0, 0.5)
    assert scores.found > 0.8 and scores.idf1 > 0.8
    assert scores.within > 0.7, "the stated covariance holds what poses and clocks do"
    assert scores.ghosts == 0


def test_the_same_views_give_the_same_answers_however_cameras_interleave() -> None:
    rig = make_rig(SpaceSettings(seconds=4.0, targets=2), seed=1)
    views = simulate_tracks(rig, TrackerErrors(), 1)
    # each camera's own order stays, and nothing comes later than the others wait
    late = sorted(views, key=lambda item: item.timestamp_ns + (80_000_000 if item.camera == "camera_2" else 0))
    answers = []
    for order in (views, late):
        fusion = Fusion([camera.name for camera in rig.cameras])
        answers.append([result for item in order for result in fusion.add(item)] + fusion.flush())
    assert [item.timestamp_ns for item in answers[0]] == [item.timestamp_ns for item in answers[1]]
    for one, two in zip(*answers, strict=True):
        for first, second in zip(one.targets, two.targets, strict=True):
            assert first.id == second.id
            np.testing.assert_array_equal(first.covariance, second.covariance)
            np.testing.assert_array_equal(first.position, second.position)


def test_time_that_jumps_back_begins_anew_and_ids_go_on() -> None:
    words: list[str] = []
    fusion = Fusion(NAMES[:2], warn=words.append)
    fly(["a", "b"], 2.0, 100.0, fusion)
    _, again = fly(["a", "b"], 2.0, 0.0, fusion)
    assert any("jumped back" in text for text in words)
    assert {target.id for target in again[-1].targets} == {2}


def test_one_clock_that_is_set_forward_does_not_stop_the_others() -> None:
    words: list[str] = []
    fusion = Fusion(NAMES, warn=words.append)
    results = []
    for step in range(120):
        time = step / 20
        camera = NAMES[step % 3]
        ahead = 1000.0 if camera == "c" and time > 2.0 else 0.0
        item = view(camera, time, [(-30 + 10 * time, 150.0, 40.0)])
        results += fusion.add(dataclasses.replace(item, timestamp_ns=item.timestamp_ns + round(ahead * SECOND)))
    assert any("c is" in text and "ahead" in text for text in words)
    assert fusion.order.late["c"] > 20
    assert results[-1].timestamp_ns > 5 * SECOND + round(5.5 * SECOND) and results[-1].targets[0].range_known


def test_a_silent_camera_holds_nobody_up() -> None:
    fusion, _ = fly(["a", "b", "c"], 2.0)
    _, results = fly(["a", "b"], 2.0, 2.0, fusion)
    newest = 5 * SECOND + round(3.95 * SECOND)
    assert newest - results[-1].timestamp_ns <= 0.2 * SECOND
    assert results[-1].targets[0].range_known


def test_there_are_no_more_targets_than_allowed() -> None:
    words: list[str] = []
    fusion = Fusion(NAMES[:2], FusionSettings(max_targets=5), words.append)
    crowd = [(float(x), 150.0, 20.0 + 3 * x) for x in range(-10, 10)]
    for step in range(30):
        fusion.add(view("ab"[step % 2], step / 20, crowd))
    assert sum(fusion.counts.values()) <= 5 and fusion.refused > 0
    assert any("max_targets" in text for text in words)


def test_nonsense_among_directions_is_passed_over() -> None:
    fusion, _ = fly(["a", "b"], 2.0)
    good = view("a", 2.0, [(-10.0, 150.0, 40.0)])
    bad = (
        Sighting(7, np.full(3, np.nan), 0.001),
        Sighting(8, np.zeros(3), 0.001),
        Sighting(9, np.array([0.0, 1, 0]), np.inf),
    )
    results = fusion.add(dataclasses.replace(good, sightings=bad)) + fusion.flush()
    assert {target.id for target in results[-1].targets} == {1}
    assert np.isfinite(results[-1].targets[0].position).all()


def test_settings_say_what_is_wrong_with_them() -> None:
    with pytest.raises(SettingsError, match="hold_seconds must lie in"):
        FusionSettings.of({"hold_seconds": -1})
    with pytest.raises(SettingsError, match="there is no setting hold"):
        FusionSettings.of({"hold": 1})
    with pytest.raises(SettingsError, match="range_max"):
        FusionSettings(range_min=100.0, range_max=150.0)
    assert START_NS > 0
