"""The camera's motion out of its poses: against projection, and a track that a jerk before a plain sky would lose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.space.camera_turn import CameraTurn
from smotracker_ros.space.poses import OPTICAL_IN_BODY, FixedPose, Pose, PoseBuffer

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
    turn, source = CameraTurn(), poses(before, now)
    assert turn.shift(0, source, calibration, 0.0) is None and turn.trouble is None
    shift = turn.shift(PERIOD_NS, source, calibration, 0.0)
    assert shift is not None and not shift.measured
    points = np.random.default_rng(0).uniform((0, 0), (WIDTH, HEIGHT), (200, 2))
    seen = calibration.project(now.rotation.inv().apply(before.rotation.apply(calibration.bearings(points))))
    errors = shift.move(points) - seen
    assert np.abs(seen - points).max() > 8, "the image has moved"
    assert np.sqrt(np.mean(errors**2)) < 1.2 * shift.error + 0.01 < 2.0


def test_uncertain_poses_make_an_uncertain_motion() -> None:
    turn, source = CameraTurn(), FixedPose(looking(0))
    turn.shift(0, source, PINHOLE, 0.1)
    shift = turn.shift(PERIOD_NS, source, PINHOLE, 0.1)
    assert shift is not None and shift.error == pytest.approx(np.radians(0.1) * FOCAL, rel=0.01)
    np.testing.assert_allclose(shift.matrix, np.eye(2, 3), atol=1e-9)


def test_what_is_not_known_is_told_and_forgotten() -> None:
    turn, source = CameraTurn(), PoseBuffer("the mast", hold_seconds=0.0)
    source.add(0, looking(0))
    turn.shift(0, source, PINHOLE, 0.0)
    assert turn.shift(PERIOD_NS, source, PINHOLE, 0.0) is None
    assert turn.trouble is not None and "the mast" in turn.trouble
    source.add(PERIOD_NS, looking(1))
    source.add(2 * PERIOD_NS, looking(2))
    assert turn.shift(2 * PERIOD_NS, source, PINHOLE, 0.0) is not None and turn.trouble is None, "poses may come late"
    assert turn.shift(PERIOD_NS, source, PINHOLE, 0.0) is None, "time jumped back"
    source.add(2 * PERIOD_NS, looking(170))
    assert turn.shift(2 * PERIOD_NS, source, PINHOLE, 0.0) is None
    assert turn.trouble is not None and "so far" in turn.trouble


def _id_of_the_drone(told: bool) -> tuple[int, int]:
    """Ids of the CONFIRMED track on a drone before a plain sky, before the camera jerks and after."""
    tracker = build_tracker(load_settings())
    rng, turn, source = np.random.default_rng(5), CameraTurn(), PoseBuffer(hold_seconds=0.0)
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
        known = turn.shift(stamp, source, PINHOLE, 0.02)
        pixels = np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        tracks = tracker.update(Frame(pixels, stamp, index), known_shift=known if told else None)
        on = [t.id for t in tracks if t.state == TrackState.CONFIRMED and _covers(t.box, u, v)]
        ids.append(on[0] if on else 0)
    return ids[39], ids[-1]


def _covers(box: np.ndarray, u: float, v: float) -> bool:
    return bool(box[0] - 2 <= u <= box[2] + 2 and box[1] - 2 <= v <= box[3] + 2)


@pytest.mark.slow
def test_a_jerk_before_a_plain_sky_leaves_the_track_its_id() -> None:
    before, after = _id_of_the_drone(told=True)
    assert before and after == before
    before, after = _id_of_the_drone(told=False)
    assert before and after != before, "else this test shows nothing"
