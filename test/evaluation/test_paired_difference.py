"""benchmarks/paired_difference.py on two runs of tiny sequences whose difference is known."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SEQUENCES, FRAMES = 3, 12


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A data set in MOTChallenge's layout, and two runs: the second one misses a third of the frames."""
    for number in range(SEQUENCES):
        sequence = tmp_path / "data" / f"s{number}"
        (sequence / "img1").mkdir(parents=True)
        (sequence / "gt").mkdir()
        for frame in range(1, FRAMES + 1):
            cv2.imwrite(str(sequence / "img1" / f"{frame:06d}.png"), np.zeros((64, 96), np.uint8))
        (sequence / "seqinfo.ini").write_text(
            f"[Sequence]\nname=s{number}\nimDir=img1\nframeRate=30\nseqLength={FRAMES}\nimWidth=96\nimHeight=64\n"
        )
        truth = [f"{frame},1,{11 + frame},21,10,10,1,1,1" for frame in range(1, FRAMES + 1)]
        (sequence / "gt" / "gt.txt").write_text("\n".join(truth) + "\n")
        rows = [f"{frame},7,{10 + frame},20,10,10,0.9,1,-1\n" for frame in range(1, FRAMES + 1)]
        for run, kept in (("before", rows), ("after", rows[: FRAMES * 2 // 3])):
            file = tmp_path / run / "tracks" / "y-smotracker" / f"s{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(kept))
    return tmp_path


def _run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    script = ROOT / "benchmarks" / "paired_difference.py"
    command = [sys.executable, str(script), "--data", str(folder / "data"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_difference_and_its_interval(runs: Path) -> None:
    result = _run(runs, runs / "before", runs / "after", "--resamples", 20)
    assert result.returncode == 0, result.stderr
    rows = re.findall(r"│ (\w+) +│ +(\S+) +│ +(\S+) +│ +(\S+) +│ +(\S+ to \S+)", result.stdout)
    idf1 = [row for row in rows if row[0] == "IDF1"]
    # two thirds of the boxes found: F1 is 2 * 8 / (8 + 12) = .8 in every draw, so the interval has no width
    assert idf1 == [("IDF1", "100.0", "80.0", "-20.0", "-20.0 to -20.0")] * 2
    assert [row[3] for row in rows if row[0] == "IDFN"] == [f"+{SEQUENCES * FRAMES / 3:.1f}"] * 2


def test_one_sequence_has_no_interval(runs: Path) -> None:
    result = _run(runs, runs / "before", runs / "after", "--sequences", "s1", "--resamples", 10)
    assert result.returncode == 0 and "an interval needs several" in result.stderr
    assert " to " not in result.stdout and "-20.0" in result.stdout


def test_an_unfinished_run_is_named(runs: Path) -> None:
    (runs / "after" / "tracks" / "y-smotracker" / "s1.txt").unlink()
    result = _run(runs, runs / "before", runs / "after")
    assert result.returncode == 2
    assert "s1" in result.stderr
