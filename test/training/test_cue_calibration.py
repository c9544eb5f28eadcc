"""Probabilities of the association's cues, fitted on labelled clips."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from typer.testing import CliRunner

from smotracker_ros.commands.training import app
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.costs import CUES
from smotracker_ros.training.clips import owners, read_clips
from smotracker_ros.training.cue_calibration import collect_pairs
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered clip of several targets."""
    root = tmp_path_factory.mktemp("scenes")
    settings = SceneSettings(width=320, height=256, frames=60, targets=5, modality="infrared", camera="static")
    write_scene(root / "IR_SCENE_001", settings, seed=5)
    return root


def test_a_box_lies_on_the_label_that_is_near() -> None:
    labels = np.float32([[0, 0, 20, 10], [40, 0, 60, 10]])
    boxes = np.float32([[3, 1, 17, 9], [44, 4, 64, 14], [22, 0, 38, 10]])
    assert owners(boxes, labels).tolist() == [0, 1, -1]
    assert owners(boxes, labels[:0]).tolist() == [-1, -1, -1]


def test_pairs_come_from_the_trackers_own_associations(scenes: Path) -> None:
    tracker = build_tracker(load_settings())
    pairs = collect_pairs(read_clips(scenes), tracker)
    assert tracker.observe is None
    assert set(pairs) == {cue.name for cue in CUES}
    place = pairs["iou"]
    assert place.same.any() and not place.same.all()
    assert len(place.costs) == len(place.same) and (place.costs < 1).all()
    assert np.median(place.costs[place.same]) < np.median(place.costs[~place.same])


def test_the_shipped_curves_are_probabilities() -> None:
    for cue in CUES:
        certain, gate, impossible = expit(cue.log_odds(np.float32([0, cue.gate, 1])))
        assert certain > 0.7 > 0.6 > gate > impossible


def test_the_command_fits_every_cue_or_says_what_is_missing(scenes: Path, tmp_path: Path) -> None:
    output = tmp_path / "cues.json"
    result = CliRunner().invoke(app, ["cues", "--data", str(scenes), "--output", str(output)])
    assert result.exit_code == 0, result.output
    curves = json.loads(output.read_text())
    assert set(curves) == {cue.name for cue in CUES} and curves["iou"]["slope"] > 0
    wrong = CliRunner().invoke(app, ["cues", "--data", str(scenes), "--sequences", "nothing"])
    assert wrong.exit_code == 2 and "no sequence nothing" in " ".join(wrong.output.replace("│", " ").split())
