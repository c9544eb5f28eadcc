"""How probable targets are, with the weights that are shipped and without any network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import logit

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.camera_motion import STILL, CameraShift
from smotracker_ros.tracking.displacement import BackgroundTemplate
from smotracker_ros.tracking.existence import TERMS, DetectionRecord, ExistenceError, ExistenceModel
from smotracker_ros.tracking.population import predict_all
from smotracker_ros.tracking.target import Target

BOX = np.float32([100, 100, 114, 110])
IMAGE = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
SHIPPED = ExistenceModel.load(masklets="sam2-nano")
SETTINGS = TrackerSettings()


def life(
    seconds: float = 2.0,
    rate: int = 30,
    speed: float = 30.0,
    score: float = 0.6,
    found: float = 1.0,
    shift: CameraShift = STILL,
    rides: bool = False,
    seen: bool = True,
) -> list[tuple[float, Target, float]]:
    """A target's probabilities over time, with a detector pass every 0.2 s.

    Args:
        seconds: length.
        rate: frames per second.
        speed: pixels per second against the background.
        score: confidence of its detections.
        found: share of the passes that find it; the first does.
        shift: camera motion per frame.
        rides: keeps its place in the image instead of moving.
        seen: whether there are masks.
    """
    target = Target.born(1, BOX, np.float32([1, 0]))
    place, course, passes = BOX.reshape(2, 2).copy(), [], 0
    for index in range(round(seconds * rate) + 1):
        if index:
            predict_all([target], shift, 1 / rate)
            place = place if rides else shift.move(place) + np.float32([speed / rate, 0])
        if seen:
            target.see(MaskPatch(int(place[0, 0]), 100, np.ones((10, 14), np.bool_)), place.reshape(4), 0.7, 1 / rate)
        if index * 5 // rate >= passes:
            passes += 1
            if (passes * found) % 1 < found or passes == 1:
                target.detected(target.box, score, 1, np.float32([1, 0]))
            else:
                target.missed()
        target.judge(SETTINGS, SHIPPED, IMAGE)
        course.append((index / rate, target, target.probability))
    return course


def last(**options: object) -> float:
    return life(**options)[-1][2]  # type: ignore[arg-type]


def test_what_flies_and_is_detected_is_a_target() -> None:
    assert last() > 0.95
    assert last(score=0.3) > 0.7


def test_evidence_points_the_right_way() -> None:
    assert last(speed=0) < last(speed=5) < last(speed=60)
    assert last(score=0.15) < last(score=0.4) < last(score=0.9)
    assert last(found=0.25) < last(found=0.5) < last(found=1)
    assert last(seen=False) < last()


def test_what_keeps_its_place_in_the_image_of_a_moving_camera_is_none() -> None:
    pan = CameraShift(np.float64([[1, 0, 2.0], [0, 1, 0]]), True)
    assert last(shift=pan, rides=True) < last(shift=pan, speed=60)


def test_errors_of_the_camera_s_motion_explain_some_displacement() -> None:
    unsure = CameraShift(STILL.matrix, True, 1.0)
    assert last(speed=3, shift=unsure) < last(speed=3)


@pytest.mark.parametrize("rate", [8, 15, 30, 60, 90])
def test_targets_are_confirmed_as_soon_at_any_frame_rate(rate: int) -> None:
    def first(rate: int) -> float:
        return next(time for time, _, probability in life(rate=rate) if probability >= SETTINGS.confirm_probability)

    assert first(rate) == pytest.approx(first(30), abs=max(0.1, 1 / rate))


def test_states_follow_probability() -> None:
    target = life()[-1][1]
    assert target.state is TrackState.CONFIRMED
    settings = TrackerSettings(confirm_probability=1.0)
    while target.probability >= 0.5:
        assert target.state is TrackState.CONFIRMED, "only half of it makes a target LOST"
        predict_all([target], STILL, 0.2)
        target.missed()
        target.judge(settings, SHIPPED, IMAGE)
        assert target.seconds_unseen < 10, "it is never lost"
    assert target.state is TrackState.LOST


def test_a_lost_target_that_is_found_again_is_known_at_once() -> None:
    target = life()[-1][1]
    while target.state is not TrackState.LOST:
        predict_all([target], STILL, 0.1)
        target.missed()
        target.judge(SETTINGS, SHIPPED, IMAGE)
    for _ in range(20):
        predict_all([target], STILL, 0.1)
        target.judge(SETTINGS, SHIPPED, IMAGE)
    box = target.box
    target.restart(box)
    target.detected(box, 0.6, 1, np.float32([1, 0]))
    target.see(MaskPatch(int(box[0]), 100, np.ones((10, 14), np.bool_)), box, 0.7, 0.1)
    target.judge(SETTINGS, SHIPPED, IMAGE)
    assert target.state is TrackState.CONFIRMED and target.probability > 0.6


def test_what_is_confirmed_at_once_is_never_lost_by_its_probability() -> None:
    target = life()[-1][1]
    for _ in range(100):
        predict_all([target], STILL, 0.2)
        target.missed()
        target.judge(TrackerSettings(confirm_probability=0.0), SHIPPED, IMAGE)
    assert target.probability < SETTINGS.confirm_probability / 2, "with defaults it would be LOST"
    assert target.state is TrackState.CONFIRMED


def test_who_collects_samples_sees_the_improbable_longer() -> None:
    target, kept = life()[-1][1], life()[-1][1]
    for _ in range(100):
        for one, share in ((target, 0.5), (kept, 0.01)):
            predict_all([one], STILL, 0.2)
            one.missed()
            one.judge(SETTINGS, SHIPPED, IMAGE, share)
    assert (target.state, kept.state) == (TrackState.LOST, TrackState.CONFIRMED)


def test_probability_does_not_follow_single_frames() -> None:
    target = life()[-1][1]
    before = target.probability
    predict_all([target], STILL, 1 / 30)
    target.quality = 0.05
    target.judge(SETTINGS, SHIPPED, IMAGE)
    assert before - 0.1 < target.probability <= before


def test_what_is_vouched_for_is_not_lost() -> None:
    target = life()[-1][1]
    for _ in range(60):
        predict_all([target], STILL, 0.1)
        target.vouched = True
        target.missed()
        target.judge(SETTINGS, SHIPPED, IMAGE)
    assert target.state is TrackState.CONFIRMED and target.misses == 0


def test_what_waits_too_long_is_given_up() -> None:
    target = life(seconds=2.9, speed=0, score=0.15)[-1][1]
    target.state, target.probability = TrackState.TENTATIVE, SETTINGS.confirm_probability
    assert not target.has_waited(SETTINGS)
    predict_all([target], STILL, 0.2)
    assert target.has_waited(SETTINGS)


def test_what_is_improbable_waits_less() -> None:
    target = life(seconds=0.9, speed=0, score=0.15)[-1][1]
    target.state = TrackState.TENTATIVE
    target.probability = 0.5 * SETTINGS.confirm_probability
    assert not target.has_waited(SETTINGS)
    target.probability = 0.1 * SETTINGS.confirm_probability
    assert target.has_waited(SETTINGS)
    newborn = life(seconds=0.3, speed=0, score=0.15)[-1][1]
    newborn.state, newborn.probability = TrackState.TENTATIVE, 0.03
    assert not newborn.has_waited(SETTINGS), "its second detection may say more"


def test_an_unchanged_first_place_speaks_against_a_target() -> None:
    course = {}
    for same in (False, True):
        target = life(seconds=0.5, speed=6)[-1][1]
        target.state, target.first_place = TrackState.TENTATIVE, BackgroundTemplate.take(IMAGE, BOX)
        image = IMAGE if same else IMAGE[::-1].copy()
        for _ in range(10):
            predict_all([target], STILL, 1 / 30)
            target.judge(SETTINGS, SHIPPED, image)
        assert target.place_unchanged is same
        course[same] = target.probability
    assert course[True] < course[False]


def test_passes_at_the_same_time_count_as_one() -> None:
    together, apart = DetectionRecord(), DetectionRecord()
    for _ in range(5):
        together.hit(0.5)
        apart.hit(0.5)
        apart.predict(0.2)
    assert together.hits == pytest.approx(1.0)
    assert apart.hits > 3
    assert together.score == pytest.approx(0.0)


def test_the_past_fades() -> None:
    record = DetectionRecord()
    record.hit(0.8)
    record.predict(20)
    assert record.score == pytest.approx(float(logit(0.8)), rel=0.05), "alone, it is all that is known"
    record.hit(0.3)
    assert record.score == pytest.approx(float(logit(0.3)), rel=0.05)


def test_weights_of_another_network_s_masks_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    one = "{bias: 1.0, mask_quality: 5.0}"
    path.write_text(f"masklets: mine\nweights: {{tentative: {one}, confirmed: {one}}}\n")
    quality = TERMS.index("mask_quality")
    for model, weight in (("mine", 5), ("sam2.1-hiera-t", 0)):
        read = ExistenceModel.load(path, model)
        assert read.tentative[quality] == read.confirmed[quality] == weight


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("weights: {tentative: {wings: 1.0}, confirmed: {}}", "unknown term 'wings'"),
        ("weights: 3", "holds no weights"),
        ("nothing: 3", "holds no weights"),
        ("weights: {bias: high}", "holds no weights"),
        ("{", "holds no weights"),
        (None, "holds no weights"),
    ],
)
def test_bad_weights_are_refused(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "weights.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ExistenceError, match=reason):
        ExistenceModel.load(path)
