"""Clips mirrored and played backwards: pixels and labels turn together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from smotracker_ros.evaluation.datasets import read_dataset

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "turned_clips.py"
FRAMES, WIDTH, HEIGHT = 6, 96, 64


def _clip(directory: Path, cuts: str = "") -> None:
    """A bright square that flies from left to right over a dark ground."""

    (directory / "gt").mkdir(parents=True)
    rows = []
    with av.open(str(directory / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
            x = 8 + 6 * number
            image[20:30, x : x + 10] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            rows.append(f"{number + 1},1,{x}.00,20.00,10.00,10.00,1,1,1")
        container.mux(stream.encode())
    (directory / "gt" / "gt.txt").write_text("\n".join(rows) + "\n")
    (directory / "seqinfo.ini").write_text(
        f"[Sequence]\nname={directory.name}\nframeRate=30\nseqLength={FRAMES}\nimWidth={WIDTH}\n"
        f"imHeight={HEIGHT}\ncoordBase=0\ncuts={cuts}\n"
    )


def _run(data: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--data", str(data), "--output", str(output)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", ["mirrored", "backwards", "mirrored_backwards"])
def test_labels_lie_on_the_turned_targets(tmp_path: Path, name: str) -> None:
    _clip(tmp_path / "data" / "flight")
    result = _run(tmp_path / "data", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    (sequence,) = read_dataset(tmp_path / "out" / name)
    lefts = []
    for frame in sequence.frames():
        (box,) = sequence.truth.boxes[sequence.truth.frames == frame.index]
        x1, y1, x2, y2 = box.astype(int)
        assert frame.image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() > 180
        assert frame.image[:, : max(x1 - 3, 0)].size == 0 or frame.image[:, : x1 - 3].max() < 70
        lefts.append(int(x1))
    assert len(lefts) == FRAMES
    assert lefts == sorted(lefts, reverse=name != "mirrored_backwards")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    _clip(tmp_path / "data" / "flight")
    assert _run(tmp_path / "data", tmp_path / "out").returncode == 0
    again = _run(tmp_path / "data", tmp_path / "out")
    assert again.returncode != 0
    assert "name another folder" in again.stderr


def test_clips_with_cuts_are_refused(tmp_path: Path) -> None:
    _clip(tmp_path / "data" / "spliced", cuts="3")
    result = _run(tmp_path / "data", tmp_path / "out")
    assert result.returncode != 0
    assert "spliced" in result.stderr
    assert not (tmp_path / "out").exists()
