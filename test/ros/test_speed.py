"""The benchmarks of the node and of its start, with real processes and a few images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from smotracker_ros.evaluation.benchmarks import measuring, node, start
from smotracker_ros.evaluation.benchmarks.report import write_report

pytestmark = pytest.mark.slow


def test_the_node_answers_every_image_and_tracks_as_the_tracker_alone(tmp_path: Path) -> None:
    settings = node.NodeSettings(frames=8, live_frames=0, single_frames=4, width=320, height=256, targets=2, fps=15.0)
    said: list[str] = []
    result = node.run(settings, said.append)
    ros = result.medians["ros"]
    assert ros["frames_delivered"] == ros["frames_sent"] == 8
    overhead = result.details["overhead"]
    assert overhead["frames"] == overhead["added_latency_ms"]["n"] == 4
    assert overhead["same_number_of_tracks"] == 10, "the node has not tracked the frames that the tracker has"
    assert overhead["node_cpu_ms_per_frame"] > 0
    assert said
    spreads = {"ros": {"settings": dataclasses.asdict(settings), **result.details}}
    figures = {**result.medians, "spreads": spreads, "machine": measuring.describe_machine(1)}
    assert "| 8 of 8 |" in write_report(tmp_path, figures)[0].read_text()


def test_the_start_is_measured_to_the_first_answer(tmp_path: Path) -> None:
    settings = start.StartSettings(repetitions=1, width=320, height=256)
    result = start.run(settings, lambda text: None)
    figures = result.medians["start"]
    assert figures["help_cpu_seconds"] > 0 and figures["help_seconds"] < figures["active_seconds"]
    assert figures["active_cpu_seconds"] > 0 and figures["first_answer_seconds"] > 0
    spreads = {"start": {"settings": dataclasses.asdict(settings), **result.details}}
    page = write_report(tmp_path, {**result.medians, "spreads": spreads, "machine": measuring.describe_machine(1)})[0]
    assert "until it is active" in page.read_text() and "first image to its answer" in page.read_text()
