"""What became of labelled boxes, and by how much boxes are off, in cases that can be counted by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.evaluation.losses import FATES, joined, losses
from smotracker_ros.evaluation.metrics import TrackRows, track_lines
from smotracker_ros.evaluation.sequences import EvaluationSequence, GroundTruth
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "losses.py"


def _box(frame: int, number: int = 0, wider: float = 0.0, shift: float = 0.0) -> list[float]:
    """A target of 20 by 10 pixels that flies to the right."""
    x, y = 20.0 + 5 * frame + shift, 40.0 + 100 * number
    return [x - 10 - wider / 2, y - 5, x + 10 + wider / 2, y + 5]


def _sequence(
    frames: list[int], ids: list[int], boxes: list[list[float]], cuts: tuple[int, ...] = ()
) -> EvaluationSequence:
    return EvaluationSequence(
        "clip", Path("."), Path("none.mp4"), (480, 640), 30.0, 20, cuts, GroundTruth.of(frames, ids, boxes)
    )


def _tracks(frames: list[int], ids: list[int], boxes: list[list[float]]) -> TrackRows:
    count = len(frames)
    return TrackRows(
        np.array(frames, np.int64),
        np.array(ids, np.int64),
        as_boxes(boxes),
        np.ones(count, np.float32),
        np.ones(count, np.int64),
    )


def _named(fates: np.ndarray) -> dict[str, int]:
    return {name: int(count) for name, count in zip(FATES, fates, strict=True) if count}


def test_each_label_has_one_fate() -> None:
    frames = list(range(20))
    sequence = _sequence(frames + frames, [1] * 20 + [2] * 20, [_box(f) for f in frames] + [_box(f, 1) for f in frames])
    seen = [3, 4, 5, 6, 7, 8, 11, 12, 13, 14]  # not 9 and 10, and nothing after 14
    ids = [7] * 8 + [9] * 2
    found = losses(sequence, _tracks(seen, ids, [_box(f) for f in seen]))
    assert _named(found.fates) == {
        "right id": 8,
        "another id": 2,
        "before the first report": 3,
        "in gaps": 2,
        "after the last report": 5,
        "never reported": 20,
    }
    assert found.false_boxes == 0 and len(found.sizes) == 10


def test_two_targets_have_two_right_ids() -> None:
    """Where ids are exchanged in the middle, each is right for the longer part only."""
    frames = list(range(10))
    sequence = _sequence(frames + frames, [1] * 10 + [2] * 10, [_box(f) for f in frames] + [_box(f, 1) for f in frames])
    ids = [5] * 7 + [6] * 3 + [6] * 7 + [5] * 3
    found = losses(sequence, _tracks(frames + frames, ids, [_box(f) for f in frames] + [_box(f, 1) for f in frames]))
    assert _named(found.fates) == {"right id": 14, "another id": 6}


def test_errors_are_those_of_the_boxes() -> None:
    frames = list(range(10))
    sequence = _sequence(frames, [1] * 10, [_box(f) for f in frames])
    found = losses(sequence, _tracks(frames, [1] * 10, [_box(f, wider=10, shift=2) for f in frames]))
    np.testing.assert_allclose(np.exp(found.size_errors), [[1.5, 1.0]] * 10, rtol=1e-5)
    np.testing.assert_allclose(found.center_errors, [[0.1, 0.0]] * 10, atol=1e-5)
    np.testing.assert_allclose(found.ious, 20 / 30, rtol=1e-5)


def test_shots_stand_alone_and_flagged_labels_count_neither_way() -> None:
    frames = list(range(10))
    truth = GroundTruth.of(frames, [1] * 10, [_box(f) for f in frames], None, np.arange(10) >= 8)
    sequence = EvaluationSequence("clip", Path("."), Path("none.mp4"), (480, 640), 30.0, 10, (5,), truth)
    ids = [1] * 5 + [2] * 5  # after a cut ids may be others
    found = losses(sequence, _tracks([*frames, 3], [*ids, 4], [*(_box(f) for f in frames), _box(3, 3)]))
    assert _named(found.fates) == {"right id": 8}
    assert found.false_boxes == 1


def test_nothing_reported() -> None:
    sequence = _sequence([0, 1], [1, 1], [_box(0), _box(1)])
    found = joined([losses(sequence, _tracks([], [], []))] * 2)
    assert _named(found.fates) == {"never reported": 4}
    assert found.ious.shape == (0,)


@pytest.mark.parametrize("by", ["tracker", "sequence", "size"])
def test_the_command_prints_markdown(by: str, tmp_path: Path) -> None:
    write_scene(tmp_path / "data" / "scene4", SceneSettings(256, 192, 8, 30.0, 2, "static", "infrared"), 4)
    rows = _tracks([0, 1], [1, 1], [_box(0), _box(1)])
    (tmp_path / "run" / "tracks" / "mine").mkdir(parents=True)
    (tmp_path / "run" / "tracks" / "mine" / "scene4.txt").write_text("".join(track_lines(rows)), encoding="ascii")
    command = [sys.executable, str(SCRIPT), "--data", str(tmp_path / "data"), str(tmp_path / "run"), "--by", by]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("| | ")
    missing = subprocess.run([*command, "--tracker", "none"], capture_output=True, text=True)
    assert missing.returncode != 0 and "finish that run first" in missing.stderr
