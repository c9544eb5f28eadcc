"""The camera's motion out of its poses: against projection, and a track that a jerk before a plain sky would lose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.space.camera_turn import camera_turn
from smotracker_ros.space.poses import OPTICAL_IN_BODY, FixedPose, Pose, PoseBuffer, PoseError

WIDTH, HEIGHT, FOCAL = 640, 360, 800.0
PINHOLE = Calibration((HEIGHT, WIDTH), np.array([[FOCAL, 0, 319.5], [0, FOCAL, 179.5], [0, 0, 1]]))
PERIOD_NS = 50_000_000


def looking(pan: float, tilt: float = 0.0, roll: float = 0.0) -> Pose:
    """The camera's pose, angles in degrees; it stands somewhere."""
    turned = Rotation.from_euler("ZYX", [pan, -tilt, roll], degrees=True) * OPTICAL_IN_BODY
    return Pose(turned, np.array([3.0, 4.0, 5.0]))


def poses(*items: Pose) -> PoseBuffer:
    buffer = PoseBuffer()
    for number, pose in enumerate(items):
        buffer.add(number * PERIOD_NS, pose)
    return buffer


@pytest.mark.parametrize("turned", [(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.5, 0.8, 2.0), (0.0, 0.0, 5.0)])
@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_a_turn_moves_the_image_as_projection_says(turned: tuple[float, float, float], model: str) -> None:
    calibration = Calibration((HEIGHT, WIDTH), PINHOLE.matrix, model=model)
    before, now = looking(20, 10), looking(20 + turned[0], 10 + turned[1], turned[2])
    shift = camera_turn(0, PERIOD_NS, poses(before, now), calibration, 0.0)
    assert not shift.measured
    points = np.random.default_rng(0).uniform((0, 0), (WIDTH, HEIGHT), (200, 2))
    seen = calibration.project(now.rotation.inv().apply(before.rotation.apply(calibration.bearings(points))))
    errors = shift.move(points) - seen
    assert np.abs(seen - points).max() > 8, "the image has moved"
    assert np.sqrt(np.mean(errors**2)) < 1.2 * shift.error + 0.01 < 2.0


def test_uncertain_poses_make_an_uncertain_motion() -> None:
    shift = camera_turn(0, PERIOD_NS, FixedPose(looking(0)), PINHOLE, 0.1)
    assert shift.error == pytest.approx(np.radians(0.1) * FOCAL, rel=0.01)
    np.testing.assert_allclose(shift.matrix, np.eye(2, 3), atol=1e-9)


def test_what_is_not_known_is_told() -> None:
    source = PoseBuffer("the mast", hold_seconds=0.0)
    source.add(0, looking(0))
    with pytest.raises(PoseError, match="the mast"):
        camera_turn(0, PERIOD_NS, source, PINHOLE, 0.0)
    source.add(PERIOD_NS, looking(1))
    source.add(2 * PERIOD_NS, looking(170))
    camera_turn(0, PERIOD_NS, source, PINHOLE, 0.0)
    with pytest.raises(PoseError, match="so far"):
        camera_turn(0, 2 * PERIOD_NS, source, PINHOLE, 0.0)


def _id_of_the_drone(told: bool, refused: tuple[int, ...] = ()) -> tuple[int, int]:
    """Ids of the CONFIRMED track on a drone before a plain sky, before the camera jerks and after.

    Args:
        told: whether the tracker knows the camera's turns.
        refused: numbers of images that the tracker does not get, although their turns were asked for.
    """
    tracker, source = build_tracker(load_settings()), PoseBuffer(hold_seconds=0.0)
    rng = np.random.default_rng(5)
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    ids = []
    for index in range(60):
        # at rest, then a jerk of 6 degrees within three images, and at rest again
        pan = 2.0 * float(np.clip(index - 40, 0, 3))
        pose, stamp = looking(pan), index * PERIOD_NS
        ray = Rotation.from_euler("Z", -1.0 + 0.08 * index, degrees=True).apply([1.0, 0, 0])
        u, v = PINHOLE.project(pose.directions_from_world(ray))[0]
        image = 150 + rng.normal(0, 1.5, (HEIGHT, WIDTH))
        image -= 90 * np.exp(-(((columns - u) / 6) ** 4 + ((rows - v) / 3.5) ** 4))
        source.add(stamp, pose)
        since_ns = tracker.last_timestamp_ns
        assert (since_ns is None) == (index == 0)
        known = None
        if told and since_ns is not None:
            known = camera_turn(since_ns, stamp, source, PINHOLE, 0.02)
        pixels = np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        if index in refused:
            continue
        tracks = tracker.update(Frame(pixels, stamp, index), known_shift=known)
        assert tracker.last_timestamp_ns == stamp
        on = [t.id for t in tracks if t.state == TrackState.CONFIRMED and _covers(t.box, u, v)]
        ids.append(on[0] if on else 0)
    return ids[39], ids[-1]


def _covers(box: np.ndarray, u: float, v: float) -> bool:
    return bool(box[0] - 2 <= u <= box[2] + 2 and box[1] - 2 <= v <= box[3] + 2)


@pytest.mark.slow
def test_a_jerk_before_a_plain_sky_leaves_the_track_its_id() -> None:
    for refused in ((), (41, 42)):
        before, after = _id_of_the_drone(True, refused)
        assert before and after == before, f"without images {refused}"
    before, after = _id_of_the_drone(told=False)
    assert before and after != before, "else this test shows nothing"
