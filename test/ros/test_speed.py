"""The benchmark of the node, with real processes and a few images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from smotracker_ros.evaluation.benchmarks import measuring, node
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
