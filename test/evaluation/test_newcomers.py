"""Targets that enter late."""

from pathlib import Path

import numpy as np

from smotracker_ros.evaluation.newcomers import Newcomer, newcomers, summarise
from smotracker_ros.evaluation.peers import track_rows
from smotracker_ros.evaluation.report import markdown_table
from smotracker_ros.evaluation.sequences import EvaluationSequence, GroundTruth


def sequence(rows: list[tuple[int, int, float]], cuts: tuple[int, ...] = ()) -> EvaluationSequence:
    """Rows of frame, id and left edge of a box of 10 pixels."""
    boxes = [(x, 20, x + 10, 30) for _, _, x in rows]
    truth = GroundTruth.of([row[0] for row in rows], [row[1] for row in rows], boxes)
    return EvaluationSequence("s", Path(), Path(), (100, 100), 30.0, 40, cuts, truth)


def test_only_what_enters_late_counts_and_half_of_its_frames_must_be_covered() -> None:
    rows = [(f, 1, 10.0) for f in range(40)] + [(f, 2, 40.0) for f in range(5, 40)]
    rows += [(f, 3, 70.0) for f in range(20, 40)] + [(f, 4, 90.0) for f in range(30, 40)]
    parts = [track_rows(f, np.array([1]), [[72, 20, 82, 30]], np.ones(1), np.ones(1)) for f in range(25, 40)]
    parts += [track_rows(f, np.array([2]), [[90, 20, 100, 30]], np.ones(1), np.ones(1)) for f in range(30, 34)]
    joined = type(parts[0])(*(np.concatenate([getattr(p, key) for p in parts]) for key in vars(parts[0])))
    found = newcomers(sequence(rows), joined)
    assert found == [Newcomer("s", 3, 20, 20, 15), Newcomer("s", 4, 30, 10, 4)]
    assert summarise(found) == {"targets": 2, "found": 1, "frames": 30, "covered": 19}


def test_each_shot_begins_anew() -> None:
    rows = [(f, 1, 10.0) for f in range(20)] + [(f, 2, 40.0) for f in range(20, 40)]
    nothing = track_rows(0, np.zeros(0), np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    assert [item.id for item in newcomers(sequence(rows), nothing)] == [2]
    assert newcomers(sequence(rows, cuts=(20,)), nothing) == []


def test_the_table_shows_them() -> None:
    late = {"targets": 4, "found": 3, "frames": 100, "covered": 81}
    row = {"combined": None, "combined_small_target": None, "note": ""}
    text = markdown_table({"a": {**row, "newcomers": late}, "b": row}, 1, "d")
    assert "| a | 3 of 4 | 81 % of their frames |" in text and "Targets that enter late" in text
    assert "Targets that enter late" not in markdown_table({"b": row}, 1, "d")
