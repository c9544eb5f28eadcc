"""The benchmark of the node, with real processes and a few images."""

from __future__ import annotations

import pytest

from smotracker_ros.evaluation.benchmarks import node

pytestmark = pytest.mark.slow


def test_the_node_answers_every_image_and_tracks_as_the_tracker_alone() -> None:
    settings = node.NodeSettings(frames=8, single_frames=4, width=320, height=256, targets=2, fps=15.0)
    said: list[str] = []
    result = node.run(settings, said.append)
    ros = result.medians["ros"]
    assert ros["frames_delivered"] == ros["frames_sent"] == 8
    overhead, live = result.details["overhead"], result.details["latest"]
    assert overhead["frames"] == overhead["added_latency_ms"]["n"] == 4
    assert overhead["same_number_of_tracks"] == 10, "the node has not tracked the frames that the tracker has"
    assert overhead["node_cpu_ms_per_frame"] > 0
    assert 1 <= live["frames_delivered"] <= live["frames_sent"] == 8
    assert said
