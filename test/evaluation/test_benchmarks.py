"""The speed benchmarks on tiny inputs: what they compare must be comparable. No test looks at a time."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from smotracker_ros.commands import benchmark as benchmark_command
from smotracker_ros.detection.yolo_model import YoloModel
from smotracker_ros.evaluation.benchmarks import breakdown, growth, measuring, node, pipeline, stock
from smotracker_ros.evaluation.benchmarks.clips import Discs, scene_clip
from smotracker_ros.evaluation.benchmarks.report import write_report
from smotracker_ros.presets import build_tracker, load_settings


def _hush(text: str) -> None:
    """Progress is of no interest here."""


def _page(folder: Path, part: str, settings: Any, result: measuring.Result) -> str:
    """The page that the command writes of a part."""
    spreads = {part: {"settings": dataclasses.asdict(settings), **result.details}}
    figures = json.loads(json.dumps({**result.medians, "spreads": spreads, "machine": measuring.describe_machine(1)}))
    return write_report(folder, figures)[0].read_text()


def test_alternate_runs_all_sides_equally_often_and_turns_their_order() -> None:
    calls: list[tuple[str, int]] = []
    sides = {name: lambda number, name=name: calls.append((name, number)) for name in "ab"}
    ledgers = measuring.alternate(sides, 3)
    assert calls == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert [len(ledger.costs) for ledger in ledgers.values()] == [3, 3]


def test_a_run_is_charged_its_cpu_time_and_its_memory() -> None:
    kept: list[np.ndarray] = []
    cost = measuring.measure(lambda: kept.append(np.ones(8 * 2**20)))  # 64 MiB
    assert cost.cpu > 0 and cost.wall > 0
    if sys.platform == "linux":
        assert cost.peak_mib is not None and 60 < cost.peak_mib < 100


def test_spreads_and_ratios() -> None:
    assert measuring.spread([4.0, 1.0, 3.0, 2.0, 5.0]) == {
        "min": 1.0, "q1": 2.0, "median": 3.0, "q3": 4.0, "max": 5.0, "n": 5
    }  # fmt: skip
    assert measuring.spread([2.0])["q1"] == 2.0
    assert measuring.paired_ratio([2.0, 9.0], [1.0, 3.0])["max"] == 3.0
    with pytest.raises(ValueError, match="at least one"):
        measuring.spread([])


def test_discs_lie_in_their_boxes_and_apart() -> None:
    discs = Discs(8, 1280, 720)
    first, later = discs.frame(0).image, discs.frame(20).image
    for identity, box in discs.boxes(20).items():
        x1, y1, x2, y2 = box.round().astype(int)
        assert (later[(y1 + y2) // 2, (x1 + x2) // 2] == 255).all()
        assert discs.boxes(0)[identity][0] < box[0]
    assert (first != later).any()
    corners = np.stack([box[:2] for box in discs.boxes(0).values()])
    distances = np.abs(corners[:, None] - corners[None]).max(axis=2)[~np.eye(8, dtype=bool)]
    assert distances.min() > 3.6 * 12, "two would see each other through their windows"
    with pytest.raises(ValueError, match="do not fit"):
        Discs(100, 320, 180)


def test_stock_and_whole_frame_mode_do_the_same_work(tmp_path: Path) -> None:
    settings = stock.StockSettings((1, 2), image_size=128, window_size=64, width=320, height=180, repetitions=1)
    result = stock.run(settings, _hush)
    for key in ("windows_vs_stock", "whole_frame_vs_stock"):
        assert set(result.medians[key]) == {"1", "2"} and min(result.medians[key].values()) > 0
    for item in result.details["targets"].values():
        assert item["frames"] == {"stock": 1, "whole_frame": 1, "windows": 1}
        assert item["equal"] and item["largest_logit_difference"] < 1e-4 < 0.1 < item["logit_span"]
    page = _page(tmp_path, "stock", settings, result)
    assert "| 2 |" in page and "128 pixels, windows at 64" in page


def test_both_pipelines_see_the_same_frames(tmp_path: Path) -> None:
    settings = pipeline.PipelineSettings((3,), 480, 272, scenes=1, blocks=1, block_frames=6, detector_image_size=320)
    result = pipeline.run(settings, _hush)
    item = result.details["targets"]["3"]
    assert item["frames"] == {"ours": 6, "yolo_bytetrack": 6}
    assert item["mean_live_masklets"] >= 1, "the cues have started nothing, so nothing was measured"
    assert item["detector_frames_per_frame"] < 1
    assert item["ratio_with_as_many_masklets"] is None and result.details["cost_of_ours"] == {}, "one block is no line"
    assert result.medians["pipeline_vs_yolo_bytetrack"]["3"] == item["ratio"]["median"] > 0
    assert "| 3 |" in _page(tmp_path, "pipeline", settings, result)


def test_the_line_through_the_blocks() -> None:
    assert pipeline.fit_line([1, 2, 4], [30, 45, 75]) == {"frame_ms": 15.0, "masklet_ms": 15.0}
    assert pipeline.fit_line([2, 2], [30, 45]) == {}


def test_the_break_down_covers_every_network_and_leaves_nothing_behind() -> None:
    before = YoloModel.detect
    settings = breakdown.BreakdownSettings((2, 4), 480, 272, scenes=1, frames=14, warm_up=2, block_frames=7)
    result = breakdown.run(settings, _hush)
    assert YoloModel.detect is before
    for item in result.details["targets"].values():
        steps = item["steps"]
        assert item["frames"] == 14
        assert set(breakdown.NETWORKS) <= set(steps), "a network is not timed: its entry point has moved"
        assert {"camera motion", "cutting windows", "pasting masks", "drawing"} <= set(steps)
        assert sum(step["share"] for step in steps.values()) == pytest.approx(1, abs=0.01)
        outside = sum(step["share"] for step in steps.values() if not step["network"])
        assert 0 < item["non_network_share"]["min"] <= outside + 1e-3
        assert outside - 1e-3 <= item["non_network_share"]["max"] < 1
    assert result.medians["non_network_share"] == result.details["targets"]["4"]["non_network_share"]["median"]


def test_a_step_is_charged_only_what_is_its_own() -> None:
    clock = breakdown.Clock()
    work = clock.timed("inner", lambda: sum(range(400_000)))
    with clock.step("outer"):
        work()
    assert clock.seconds["inner"] > clock.seconds["outer"] >= 0


def test_instruments_do_not_change_the_tracks() -> None:
    clip = scene_clip(2, 320, 256, 5, seed=1)
    answers = []
    for instruments in (False, True):
        tracker = build_tracker(load_settings())
        rows: list[Any] = []
        with breakdown.instrumented() if instruments else measuring.contextlib.nullcontext():
            for index, frame in enumerate(clip.frames):
                tracks = tracker.update(frame, clip.first_cues() if index == 0 else ())
                rows += [(track.id, *track.box.tolist(), track.score) for track in tracks]
        answers.append(rows)
    assert answers[0] == answers[1] and answers[0]


def test_growth_compares_a_long_run_with_a_fresh_one_on_the_same_work(tmp_path: Path) -> None:
    settings = growth.GrowthSettings(
        frames=20, scene_frames=1, scene_targets=2, targets=(1, 3), sizes=((320, 256),), short_frames=1, warm_up=1
    )
    result = growth.run(settings, _hush)
    details = result.details
    assert details["frames"] == 20 and len(details["cycles"]) == 10
    assert details["time_ratio"]["n"] == 2, "one ratio per scene of the cycle"
    assert set(details["by_targets"]) == {"1", "3"} and set(details["by_size"]) == {"320x256"}
    one, three = (details["by_targets"][number]["mean_live_masklets"] for number in ("1", "3"))
    assert three > one
    assert result.medians["growth"]["time_ratio"] > 0
    assert 0.8 < result.medians["growth"]["rss_ratio"] < 1.5
    page = _page(tmp_path, "growth", settings, result)
    assert "A stream of 20 frames" in page and "| 320x256 |" in page and "| 10 | 2 |" in page


def _invoke(*arguments: str) -> Any:
    result = CliRunner().invoke(benchmark_command.app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_finished_parts_are_kept_until_settings_change(tmp_path: Path) -> None:
    arguments = ("--output", str(tmp_path), "--parts", "share", "--quick")
    _invoke(*arguments)
    first = (tmp_path / "benchmark.json").read_text()
    figures = json.loads(first)
    assert set(figures) == {"non_network_share", "spreads", "machine"}
    assert 0 < figures["non_network_share"] < 1
    assert figures["machine"]["threads"] == 1 and figures["machine"]["cpu"]
    page = (tmp_path / "benchmark.md").read_text()
    assert "pasting masks" in page and "1 target(s)" in page
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "benchmark.png").stat().st_size > 5000
    _invoke(*arguments)
    assert json.loads((tmp_path / "benchmark.json").read_text())["spreads"] == figures["spreads"]
    figures["spreads"]["share"]["settings"]["frames"] += 1  # as if it had been measured with other settings
    (tmp_path / "benchmark.json").write_text(json.dumps(figures))
    _invoke(*arguments)
    again = json.loads((tmp_path / "benchmark.json").read_text())["spreads"]["share"]
    assert again["settings"] == json.loads(first)["spreads"]["share"]["settings"]
    assert again["targets"] != figures["spreads"]["share"]["targets"], "times never agree to the last digit"


def test_what_cannot_run_here_says_why_and_does_not_count_as_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boxmot", None)  # an import of it fails, as where it is not installed
    _invoke("--output", str(tmp_path), "--parts", "pipeline", "--quick")
    figures = json.loads((tmp_path / "benchmark.json").read_text())
    assert "pip install" in figures["pipeline_vs_yolo_bytetrack"]["left_out"]
    assert figures["spreads"] == {}
    assert "Left out" in (tmp_path / "benchmark.md").read_text()


def test_without_ros_its_part_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(measuring.PartUnavailableError, match="no ROS 2"):
        node.run(node.NodeSettings(), _hush)


def test_bad_requests_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(measuring.BenchmarkError, match="there are: stock, pipeline"):
        _invoke("--output", str(tmp_path), "--parts", "stock,speed")
    (tmp_path / "benchmark.json").write_text("[]")
    with pytest.raises(measuring.BenchmarkError, match="not a result of this command"):
        _invoke("--output", str(tmp_path), "--parts", "share")
    foreign = {"spreads": {}, "machine": {"cpu": "abacus"}}
    (tmp_path / "benchmark.json").write_text(json.dumps(foreign))
    with pytest.raises(measuring.BenchmarkError, match="another machine"):
        _invoke("--output", str(tmp_path), "--parts", "share")


def test_the_report_of_an_empty_run_has_no_picture(tmp_path: Path) -> None:
    written = write_report(tmp_path, {"spreads": {}, "machine": measuring.describe_machine(1)})
    assert [path.name for path in written] == ["benchmark.md"]
