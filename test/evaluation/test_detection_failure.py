"""Detections taken away in bursts: how many, how long, whose; the same for all trackers; and the benchmark itself."""

from __future__ import annotations

import importlib.util
import itertools
import json
import logging
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import typer

from smotracker_ros.core.frames import Frame
from smotracker_ros.detection import Detections
from smotracker_ros.detection.yolo import YoloDetector
from smotracker_ros.evaluation.comparison import Plan, run_tracker
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.detection_cache import CachedDetections, CachedDetector, cached_detections
from smotracker_ros.evaluation.detection_failure import (
    BURST_SECONDS,
    LEAST_SEEN_SECONDS,
    DetectionFailure,
    count_on_targets,
    labels_under,
)
from smotracker_ros.evaluation.sequences import EvaluationSequence, GroundTruth
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "detection_failure.py"
FRAMES, FPS = 450, 30.0
# Mean score by target
SCORES = {1: 0.3, 2: 0.5, 3: 0.8}
SHARES = (0.2, 0.4, 0.6)
SEEDS = range(8)


def _sequence(fps: float = FPS, frames: int = FRAMES, cuts: tuple[int, ...] = ()) -> EvaluationSequence:
    """Three targets of 10 pixels that fly side by side from left to right."""
    number, ids = np.meshgrid(np.arange(frames), list(SCORES), indexing="ij")
    x, y = number.ravel().astype(np.float32), 40 * ids.ravel().astype(np.float32)
    truth = GroundTruth.of(number.ravel(), ids.ravel(), np.column_stack([x, y, x + 10, y + 10]))
    return EvaluationSequence("flight", Path("flight"), Path("none.mp4"), (200, 500), fps, frames, cuts, truth)


def _cached(sequence: EvaluationSequence) -> CachedDetections:
    """A sure detection a pixel off each label, an unsure one on every other, and one in each frame off all labels."""
    truth = sequence.truth
    noise = np.random.default_rng(5).uniform(-0.08, 0.08, len(truth.frames))
    sure = np.array([SCORES[identity] for identity in truth.ids.tolist()]) + noise
    off = np.arange(sequence.length)
    empty_sky = np.tile(np.float32([480, 180, 492, 192]), (len(off), 1))
    frames = np.concatenate([truth.frames, truth.frames[::2], off])
    boxes = np.concatenate([truth.boxes + 1, truth.boxes[::2] - 2, empty_sky]).astype(np.float32)
    scores = np.concatenate([sure, np.full(len(truth.frames[::2]), 0.05), np.full(len(off), 0.4)]).astype(np.float32)
    order = np.argsort(frames, kind="stable")
    detections = Detections(boxes[order], scores[order], np.ones(len(order), np.int64))
    return CachedDetections(frames[order], detections, 0.01)


def _rows(cached: CachedDetections) -> set[tuple[float, ...]]:
    columns = np.column_stack([cached.frames, cached.detections.boxes, cached.detections.scores])
    return set(map(tuple, columns.tolist()))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("fps", [FPS, 10.0])
def test_as_much_is_gone_as_was_asked(share: float, fps: float) -> None:
    sequence = _sequence(fps)
    cached = _cached(sequence)
    for seed in SEEDS:
        left = DetectionFailure(share, seed).thin(sequence, cached)
        assert count_on_targets(sequence, left) / count_on_targets(sequence, cached) == pytest.approx(
            1 - share, abs=0.01
        )
        # unsure ones go with the sure ones, and nobody counts them
        assert count_on_targets(sequence, left, 0) / count_on_targets(sequence, cached, 0) == pytest.approx(
            1 - share, abs=0.03
        )


@pytest.mark.parametrize("fps", [FPS, 10.0])
def test_bursts_have_their_lengths_and_a_target_is_seen_between_them(fps: float) -> None:
    sequence = _sequence(fps)
    seconds = []
    for seed in SEEDS:
        bursts = DetectionFailure(0.4, seed).bursts(sequence, _cached(sequence))
        seconds += [(burst.stop - burst.start) / fps for burst in bursts]
        for identity in SCORES:
            own = sorted((burst.start, burst.stop) for burst in bursts if burst.id == identity)
            pauses = [(after[0] - before[1]) / fps for before, after in itertools.pairwise(own)]
            assert all(pause >= LEAST_SEEN_SECONDS for pause in pauses)
    assert BURST_SECONDS[0] <= min(seconds) and max(seconds) <= BURST_SECONDS[1]
    # log-uniform: half of them are shorter than the geometric mean of the ends
    assert np.mean(np.array(seconds) < np.sqrt(np.prod(BURST_SECONDS))) == pytest.approx(0.5, abs=0.2)


def test_the_choice_hangs_on_the_seed_and_the_name_alone() -> None:
    sequence = _sequence()
    cached = _cached(sequence)
    first, again = (DetectionFailure(0.4, 3).bursts(sequence, cached) for _ in range(2))
    assert first == again
    assert DetectionFailure(0.4, 4).bursts(sequence, cached) != first


@pytest.mark.parametrize("seed", SEEDS)
def test_smaller_shares_are_part_of_larger_ones(seed: int) -> None:
    sequence = _sequence()
    cached = _cached(sequence)
    left = [_rows(DetectionFailure(share, seed).thin(sequence, cached)) for share in (0.0, *SHARES)]
    assert all(after < before for before, after in itertools.pairwise(left))


def test_in_a_burst_all_of_the_target_is_gone_and_nothing_else() -> None:
    sequence = _sequence()
    cached = _cached(sequence)
    failure = DetectionFailure(0.4)
    left, bursts = failure.thin(sequence, cached), failure.bursts(sequence, cached)
    truth = sequence.truth
    under = labels_under(sequence, cached)
    rows = [tuple(row) for row in np.column_stack([cached.frames, cached.detections.boxes, cached.detections.scores])]
    stay = _rows(left)
    for frame, row, label in zip(cached.frames, rows, under, strict=True):
        mine = [burst for burst in bursts if label >= 0 and burst.id == truth.ids[label]]
        assert (row in stay) != any(burst.start <= frame < burst.stop for burst in mine)
    assert np.count_nonzero(labels_under(sequence, left) < 0) == sequence.length, "what lies on no label stays"
    assert left.seconds_per_frame == cached.seconds_per_frame


def test_faint_targets_come_first_and_none_goes_altogether() -> None:
    sequence = _sequence()
    cached = _cached(sequence)
    left_of = dict.fromkeys(SCORES, 0)
    for seed in SEEDS:
        left = DetectionFailure(0.2, seed).thin(sequence, cached)
        ids = sequence.truth.ids[labels_under(sequence, left)[labels_under(sequence, left) >= 0]]
        for identity in SCORES:
            left_of[identity] += int(np.count_nonzero(ids == identity))
    assert 0 < left_of[1] < left_of[2] < left_of[3]


def test_ids_of_two_shots_are_two_targets() -> None:
    cut = FRAMES // 2
    sequence = _sequence(cuts=(cut,))
    bursts = DetectionFailure(0.5).bursts(sequence, _cached(sequence))
    assert {burst.shot for burst in bursts} == {0, 1}
    assert all((burst.stop <= cut) if burst.shot == 0 else (burst.start >= cut) for burst in bursts)


def test_what_does_not_fit_is_said(caplog: pytest.LogCaptureFixture) -> None:
    sequence = _sequence()
    cached = _cached(sequence)
    with caplog.at_level(logging.WARNING, logger="smotracker_ros"):
        left = DetectionFailure(0.99).thin(sequence, cached)
    assert "flight: no burst fits in any more" in caplog.text
    assert 0 < count_on_targets(sequence, left) < 0.4 * count_on_targets(sequence, cached)
    assert set(sequence.truth.ids[labels_under(sequence, left)]) == set(SCORES), "every target is seen at times"


def test_nothing_to_take_away_is_no_error() -> None:
    sequence = _sequence(frames=5)
    cached = _cached(sequence)
    assert _rows(DetectionFailure(0.5).thin(sequence, cached)) == _rows(cached), "too short for a burst"
    empty = CachedDetections(np.zeros(0, np.int64), Detections.empty(), 0.0)
    assert not len(DetectionFailure(0.5).thin(_sequence(), empty).frames)
    ignored = GroundTruth.of([0], [1], [[0, 0, 9, 9]], ignored=[True])
    nobody = EvaluationSequence("none", Path("none"), Path("none.mp4"), (9, 9), FPS, FRAMES, (), ignored)
    assert _rows(DetectionFailure(0.5).thin(nobody, cached)) == _rows(cached)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        DetectionFailure(share)


def test_the_tracker_is_given_what_is_left() -> None:
    sequence = _sequence()
    cached = _cached(sequence)
    failure = DetectionFailure(0.4)
    left = failure.thin(sequence, cached)
    served = CachedDetector(left, {1: "drone"}, "none")
    image = np.zeros((200, 500, 3), np.uint8)
    burst = failure.bursts(sequence, cached)[0]
    for index in (burst.start, burst.stop - 1):
        found = served.detect(Frame(image, round(index / FPS * 1e9), index))
        np.testing.assert_array_equal(found.boxes, left.detections.boxes[left.frames == index])
        assert len(found) < np.count_nonzero(cached.frames == index)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed in (1, 4):
        write_scene(folder / f"scene{seed}", SceneSettings(256, 192, 48, 30.0, 3, "static", "infrared"), seed)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    specification = importlib.util.spec_from_file_location("detection_failure", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_peers_see_the_failure_and_its_tracks_are_no_others(data: Path, cache: Path, tmp_path: Path) -> None:
    """Real detections of a rendered scene, all gone but few: the tracks of a peer get fewer rows."""
    sequence = read_dataset(data)[1]
    cached = cached_detections(sequence, YoloDetector(), cache)
    assert count_on_targets(sequence, cached) > 20, "a scene without sure detections proves nothing"
    arguments = {"bytetrack": {"track_thresh": 0.2}}
    rows = {}
    for share in (0.0, 0.3, 0.6, 0.0):
        failure = DetectionFailure(share) if share else None
        run = run_tracker(Plan(tmp_path, cache, {}, arguments, failure=failure), "bytetrack", sequence)
        assert not run.error
        lines = (tmp_path / "tracks" / "bytetrack" / f"{sequence.name}.txt").read_text().splitlines()
        assert rows.setdefault(share, lines) == lines
    assert len(rows[0.6]) < len(rows[0.3]) < len(rows[0.0])


def test_the_benchmark_compares_all_on_what_is_left(
    benchmark: ModuleType, data: Path, cache: Path, tmp_path: Path
) -> None:
    tuned = tmp_path / "peers.json"
    tuned.write_text(json.dumps({"bytetrack": {"track_thresh": 0.2}}))
    options = {"tuned": tuned, "shares": "0.5", "cache": cache}
    trackers = "bytetrack,y-smotracker,ocsort"
    benchmark.main(data, tmp_path / "out", trackers, **options)
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["sequences"] == ["scene1", "scene4"]
    assert list(content["shares"]) == ["0", "0.5"]
    for share, cell in content["shares"].items():
        assert list(cell["trackers"]) == ["y-smotracker", "bytetrack (tuned)", "ocsort"]
        assert cell["removed"]["counted"] == pytest.approx(float(share), abs=0.15), "scenes are short"
    for view in ("combined", "combined_small_target"):
        whole, half = (content["shares"][share]["trackers"]["bytetrack (tuned)"][view] for share in ("0", "0.5"))
        assert half["HOTA"] < whole["HOTA"]
        for row in content["lead"][view]:
            rows = content["shares"][f"{row['share']:g}"]["trackers"]
            ours, best = rows["y-smotracker"][view], rows[row["best_peer"]][view]
            assert best[row["metric"]] >= rows["ocsort"][view][row["metric"]]
            assert row["difference"] == pytest.approx(ours[row["metric"]] - best[row["metric"]])
            assert row["difference_interval"][0] <= row["difference_interval"][1]
            assert row["kept"] == 1 or row["share"]
    text = (tmp_path / "out" / "detection_failure.md").read_text()
    assert text.count("| 50 % | bytetrack (tuned) |") == 2 and "track_thresh=0.2" in text
    assert (tmp_path / "out" / "detection_failure.png").stat().st_size > 10_000
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/share_*/tracks/*/*.txt")}
    assert len(written) == 12
    benchmark.main(data, tmp_path / "out", trackers, **options)
    assert {path: path.stat().st_mtime_ns for path in written} == written, "what is finished is not computed again"


@pytest.mark.parametrize("trackers", ["y-smotracker", "bytetrack,ocsort"])
def test_ours_and_a_peer_are_needed(benchmark: ModuleType, data: Path, tmp_path: Path, trackers: str) -> None:
    with pytest.raises(typer.BadParameter, match="a tracker of this project"):
        benchmark.main(data, tmp_path, trackers)
