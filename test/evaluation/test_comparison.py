"""Comparisons of real trackers on small rendered scenes: what is computed, what is kept, and what is written."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from distributed import LocalCluster
from typer.testing import CliRunner

from smotracker_ros.commands.evaluation import compare_app, evaluate_app, tune_app
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.evaluation.comparison import ComparisonError, Plan, run_tracker, score_runs, tracker_names
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.metrics import read_tracks
from smotracker_ros.evaluation.peer_thresholds import THRESHOLDS
from smotracker_ros.evaluation.peers import PEERS
from smotracker_ros.evaluation.sequences import DatasetError, EvaluationSequence
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER
from smotracker_ros.presets import PRESETS
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

FRAMES = 16
# the embedded detector is not sure of anything in so small a scene
ARGUMENTS = {"bytetrack": {"track_thresh": 0.2}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed in (1, 4):
        write_scene(folder / f"scene{seed}", SceneSettings(256, 192, FRAMES, 30.0, 3, "static", "infrared"), seed)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def sequences(data: Path) -> list[EvaluationSequence]:
    return read_dataset(data)


def written(output: Path) -> dict[str, int]:
    """Times at which the tracks were written, by tracker and sequence."""
    return {f"{path.parent.name}/{path.stem}": path.stat().st_mtime_ns for path in output.glob("tracks/*/*.txt")}


def test_finished_sequences_are_not_computed_again(
    sequences: list[EvaluationSequence], cache: Path, tmp_path: Path
) -> None:
    plan = Plan(tmp_path, cache, {}, ARGUMENTS)
    first = {s.name: run_tracker(plan, "bytetrack", s) for s in sequences}
    assert not any(run.error for run in first.values())
    before = written(tmp_path)
    assert set(before) == {"bytetrack/scene1", "bytetrack/scene4"}
    (tmp_path / "tracks" / "bytetrack" / "scene4.txt").unlink()
    again = {s.name: run_tracker(plan, "bytetrack", s) for s in sequences}
    after = written(tmp_path)
    recomputed = {name for name in after if after[name] != before[name]}
    assert recomputed == {"bytetrack/scene4"}
    assert again["scene1"] == first["scene1"] and again["scene4"].key == first["scene4"].key


def test_other_settings_or_a_broken_record_are_computed_again(
    sequences: list[EvaluationSequence], cache: Path, tmp_path: Path
) -> None:
    sequence = sequences[1]
    plan = Plan(tmp_path, cache, {}, ARGUMENTS)
    first = run_tracker(plan, "bytetrack", sequence)
    tracks = read_tracks(tmp_path / "tracks" / "bytetrack" / "scene4.txt")
    assert len(tracks.ids), "a scene without tracks proves nothing"
    stricter = run_tracker(
        dataclasses.replace(plan, arguments={"bytetrack": {"track_thresh": 0.9}}), "bytetrack", sequence
    )
    assert stricter.key != first.key
    # peers look through this project's windows, too
    whole = run_tracker(dataclasses.replace(plan, overrides={"masklet_mode": "whole_frame"}), "bytetrack", sequence)
    assert whole.key not in (first.key, stricter.key)
    run_tracker(dataclasses.replace(plan, arguments={"bytetrack": {"track_thresh": 0.9}}), "bytetrack", sequence)
    assert len(read_tracks(tmp_path / "tracks" / "bytetrack" / "scene4.txt").ids) < len(tracks.ids)
    (tmp_path / "tracks" / "bytetrack" / "scene4.json").write_text('{"key": ')
    assert dataclasses.replace(run_tracker(plan, "bytetrack", sequence), seconds=0) == dataclasses.replace(
        first, seconds=0
    )
    back = read_tracks(tmp_path / "tracks" / "bytetrack" / "scene4.txt")
    np.testing.assert_array_equal(back.boxes, tracks.boxes)
    np.testing.assert_array_equal(back.ids, tracks.ids)


def test_trackers_begin_anew_where_the_first_frame_of_a_shot_is_missing(
    sequences: list[EvaluationSequence], cache: Path, tmp_path: Path
) -> None:
    cut, images = FRAMES // 2, tmp_path / "img1"
    images.mkdir()
    for frame in sequences[1].frames():
        if frame.index != cut:
            cv2.imwrite(str(images / f"{frame.index + 1:06d}.png"), frame.image[:, :, ::-1])
    sequence = dataclasses.replace(sequences[1], video=images, cuts=(cut,))
    overrides = {"birth_confidence": 0.15, "confirm_probability": 0.0}
    run = run_tracker(Plan(tmp_path, cache, overrides), "y-smotracker", sequence)
    assert not run.error and run.frames == FRAMES - 1
    tracks = read_tracks(tmp_path / "tracks" / "y-smotracker" / "scene4.txt")
    before, after = set(tracks.ids[tracks.frames < cut]), set(tracks.ids[tracks.frames > cut])
    assert before and after and not before & after
    assert cut not in tracks.frames and tracks.frames.max() == FRAMES - 1


def test_ids_are_not_used_twice_across_a_cut(sequences: list[EvaluationSequence], cache: Path, tmp_path: Path) -> None:
    cut = FRAMES // 2
    for name in ("bytetrack", "y-smotracker"):
        sequence = dataclasses.replace(sequences[1], cuts=(cut,))
        overrides = {"birth_confidence": 0.15, "confirm_probability": 0.0}
        run = run_tracker(Plan(tmp_path, cache, overrides, ARGUMENTS), name, sequence)
        assert not run.error
        tracks = read_tracks(tmp_path / "tracks" / name / "scene4.txt")
        before, after = set(tracks.ids[tracks.frames < cut]), set(tracks.ids[tracks.frames >= cut])
        assert before and after and not before & after


def test_peers_use_every_frame_and_ours_fewer(sequences: list[EvaluationSequence], cache: Path, tmp_path: Path) -> None:
    plan = Plan(tmp_path, cache, {"adaptive_clips": False}, ARGUMENTS)
    runs = {name: run_tracker(plan, name, sequences[1]) for name in ("bytetrack", "y-smotracker")}
    assert runs["bytetrack"].passes == FRAMES == runs["bytetrack"].frames
    assert runs["y-smotracker"].passes == 2  # frames 0 and 12
    assert all(run.seconds > 0 for run in runs.values())


def test_a_tracker_that_fails_keeps_its_row_and_says_why(
    sequences: list[EvaluationSequence], cache: Path, tmp_path: Path
) -> None:
    plan = Plan(tmp_path, cache, {}, {**ARGUMENTS, "ocsort": {"no_such_argument": 1}})
    names = ["ocsort", "bytetrack"]
    runs = {(name, s.name): run_tracker(plan, name, s) for name in names for s in sequences}
    rows = score_runs(plan, names, sequences, runs)
    assert list(rows) == names
    assert rows["ocsort"]["combined"] is None and "no_such_argument" in rows["ocsort"]["note"]
    assert 0 < rows["bytetrack"]["combined"]["HOTA"] <= 100
    assert set(rows["bytetrack"]["sequences"]) == {"scene1", "scene4"}
    assert rows["bytetrack"]["fps"] > 0
    # a sequence that cannot be read takes the other from no one
    broken = dataclasses.replace(sequences[0], name="broken", video=tmp_path / "absent.mp4")
    pair = [broken, sequences[1]]
    runs = {("bytetrack", s.name): run_tracker(plan, "bytetrack", s) for s in pair}
    row = score_runs(plan, ["bytetrack"], pair, runs)["bytetrack"]
    assert row["combined"] is None and "failed on 1 of 2 sequences: broken" in row["note"]
    assert row["sequences"]["scene4"] == rows["bytetrack"]["sequences"]["scene4"]


def test_presets_are_rows_and_missing_weights_are_a_reason(
    sequences: list[EvaluationSequence], cache: Path, tmp_path: Path, tiny_grounding_dino: Path
) -> None:
    names = ["sam2", "g-smotracker"]
    plan = Plan(tmp_path / "without", cache, {}, ARGUMENTS, grounding_dino_weights="nobody/nothing")
    runs = {(name, s.name): run_tracker(plan, name, s) for name in names for s in sequences[1:]}
    rows = score_runs(plan, names, sequences[1:], runs)
    assert rows["sam2"]["combined"] is not None and runs["sam2", "scene4"].passes == 1
    assert rows["g-smotracker"]["combined"] is None
    assert "weights nobody/nothing are not on this machine; set offline=false" in rows["g-smotracker"]["note"]
    # the YOLO's weights are those of all others
    yolo = {"detector_weights": str(EMBEDDED_FOLDER / "yolov10n_small_targets.pt"), "adaptive_clips": False}
    plan = Plan(tmp_path / "with", cache, yolo, ARGUMENTS, grounding_dino_weights=str(tiny_grounding_dino))
    run = run_tracker(plan, "g-smotracker", sequences[1])
    assert not run.error and run.passes == 2, "it looks at clip boundaries only"
    assert (
        plan.settings_of("sam2").detector_weights
        == plan.settings_of("bytetrack").detector_weights
        == str(yolo["detector_weights"])
    )


def test_names_of_trackers() -> None:
    assert tracker_names("all") == [*PRESETS, *PEERS]
    assert tracker_names(" ocsort,bytetrack, ocsort") == ["ocsort", "bytetrack"]
    for text in ("", "ocsort,nobody"):
        with pytest.raises(ComparisonError, match="there are: all, y-smotracker"):
            tracker_names(text)


def test_the_commands_write_metrics_table_and_report(data: Path, cache: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = ["--data", str(data), "--cache", str(cache), "--output", str(output)]
    options += ["--trackers", "y-smotracker,bytetrack"]
    command = [sys.executable, "-m", "smotracker_ros.cli", "compare", *options, "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((output / "metrics.json").read_text())
    assert list(metrics["trackers"]) == ["y-smotracker", "bytetrack"]
    assert {"table.md", "report.html", "metrics.json"} <= {path.name for path in output.iterdir()}
    for row in metrics["trackers"].values():
        assert set(row["sequences"]) == set(row["sequences_small_target"]) == {"scene1", "scene4"}
        assert {"HOTA", "IDF1", "MOTA", "IDs", "IDSW"} <= set(row["combined"])
    times = written(output)
    assert len(times) == 4
    again = CliRunner().invoke(compare_app, options)
    assert again.exit_code == 0, again.output
    assert written(output) == times
    assert json.loads((output / "metrics.json").read_text()) == metrics


def test_a_tuned_peer_has_a_second_row(data: Path, cache: Path, tmp_path: Path) -> None:
    best = tmp_path / "peers.json"
    options = ["--data", str(data), "--cache", str(cache)]
    tuned = CliRunner().invoke(tune_app, [*options, "--peers", "sfsort", "--output", str(best)])
    assert tuned.exit_code == 0, tuned.output
    chosen = json.loads(best.read_text())["sfsort"]
    assert set(chosen) == set(THRESHOLDS["sfsort"])
    options += ["--tuned", str(best), "--trackers", "bytetrack,sfsort", "--output", str(tmp_path / "out")]
    assert CliRunner().invoke(compare_app, options).exit_code == 0
    rows = json.loads((tmp_path / "out" / "metrics.json").read_text())["trackers"]
    assert list(rows) == ["bytetrack", "sfsort", "sfsort (tuned)"]
    assert rows["sfsort (tuned)"]["combined"]["HOTA"] >= rows["sfsort"]["combined"]["HOTA"]
    assert all(f"{key}={value}" in rows["sfsort (tuned)"]["note"] for key, value in chosen.items())
    best.write_text("[]")
    broken = CliRunner().invoke(compare_app, options)
    assert isinstance(broken.exception, ComparisonError) and "tune-peers" in str(broken.exception)


def test_the_remedy_for_a_tracker_that_cannot_run_is_shown_whole(
    data: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    options = ["--data", str(data), "--cache", str(cache), "--output", str(tmp_path / "out")]
    shown = CliRunner().invoke(compare_app, [*options, "--trackers", "sfsort,g-smotracker"])
    assert shown.exit_code == 0, shown.output
    assert "pipinstall'smotracker_ros[open-vocabulary]'" in "".join(shown.output.split())


def test_the_commands_say_what_is_wrong(data: Path, tmp_path: Path) -> None:
    where = ["--data", str(data), "--output", str(tmp_path / "out")]
    for arguments, kind, words in (
        (["--trackers", "nobody"], ComparisonError, "nobody.*there are: all"),
        (["--sequences", "nothing"], DatasetError, "nothing.*there are: scene1, scene4"),
        (["--set", "birth=1"], SettingsError, "birth.*there are"),
    ):
        result = CliRunner().invoke(compare_app, [*where, *arguments])
        assert isinstance(result.exception, kind) and re.search(words, str(result.exception)), result.output
    command = [sys.executable, "-m", "smotracker_ros.cli", "evaluate", *where, "--tracker", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "nobody" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_dask_cluster_computes_the_same(data: Path, cache: Path, tmp_path: Path) -> None:
    options = ["--data", str(data), "--cache", str(cache), "--tracker", "sfsort"]
    here = CliRunner().invoke(evaluate_app, [*options, "--output", str(tmp_path / "here")])
    assert here.exit_code == 0, here.output
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        there = ["--output", str(tmp_path / "there"), "--dask", cluster.scheduler_address]
        done = CliRunner().invoke(evaluate_app, [*options, *there])
        assert done.exit_code == 0, done.output
        assert cluster.scheduler.transition_counter > 0
    tracks = [sorted((tmp_path / side).glob("tracks/*/*.txt")) for side in ("here", "there")]
    assert len(tracks[0]) == 2
    assert [path.read_text() for path in tracks[0]] == [path.read_text() for path in tracks[1]]


def test_a_dask_scheduler_that_is_not_there_is_said(data: Path, tmp_path: Path) -> None:
    options = ["--data", str(data), "--output", str(tmp_path), "--tracker", "sfsort"]
    result = CliRunner().invoke(evaluate_app, [*options, "--dask", "nonsense://127.0.0.1:1"])
    assert isinstance(result.exception, ComparisonError) and "no Dask scheduler answers" in str(result.exception)
