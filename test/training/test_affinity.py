"""The association's log-odds, fitted on labelled clips."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from typer.testing import CliRunner

from smotracker_ros.commands.training import app
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.costs import COSTS
from smotracker_ros.training.affinity import Pairs, collect_pairs, fit_affinity
from smotracker_ros.training.clips import owners, read_clips
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
    assert len(pairs.same) == len(pairs.lost) == len(pairs.costs)
    assert pairs.same.any() and not pairs.same.all()
    place = pairs.costs[:, list(COSTS).index("place")]
    assert np.median(place[pairs.same]) < np.median(place[~pairs.same])


def test_weights_are_found_again() -> None:
    generator = np.random.default_rng(0)
    costs, lost = generator.random((5000, 3)), generator.random(5000) < 0.3
    odds = 5 - costs @ [6, 2, 3] - 1.5 * lost
    affinity, _ = fit_affinity(Pairs(costs, lost, generator.random(5000) < expit(odds)))
    assert affinity.bias == pytest.approx(5, abs=0.6) and affinity.lost == pytest.approx(-1.5, abs=0.4)
    assert list(affinity.weights.values()) == pytest.approx([-6, -2, -3], abs=0.6)


def test_one_kind_of_pairs_is_not_enough() -> None:
    with pytest.raises(ValueError, match="a fit needs both kinds"):
        fit_affinity(Pairs(np.zeros((4, 3)), np.zeros(4, dtype=np.bool_), np.ones(4, dtype=np.bool_)))


def test_the_command_fits_or_says_what_is_missing(scenes: Path, tmp_path: Path) -> None:
    output = tmp_path / "affinity.json"
    result = CliRunner().invoke(app, ["affinity", "--data", str(scenes), "--output", str(output)])
    assert result.exit_code == 0, result.output
    figures = json.loads(output.read_text())
    assert figures["affinity"]["place"] < 0 and figures["counts"]["pairs"] > 0
    wrong = CliRunner().invoke(app, ["affinity", "--data", str(scenes), "--sequences", "nothing"])
    assert wrong.exit_code == 2 and "no sequence nothing" in " ".join(wrong.output.replace("│", " ").split())
