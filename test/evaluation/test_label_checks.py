"""Truth that does not fit its sequence: what cannot be meant is an error, what is not used is said."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from smotracker_ros.evaluation.checks import remarks
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.sequences import DatasetError, EvaluationSequence
from smotracker_ros.training.clips import read_clip

FRAMES = 5
ROW = "1,7,11,21,10,8,1,1,1\n"
Maker = Callable[..., Path]


@pytest.fixture(autouse=True)
def warnings_only(caplog: pytest.LogCaptureFixture) -> None:
    """Other packages' lines for debugging are not counted, whatever a package has set."""
    caplog.set_level(logging.WARNING)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    def write(
        rows: str = ROW, length: int = FRAMES, info: str = "", name: str = "mot", mark: bytes = b"", first: int = 1
    ) -> Path:
        folder = tmp_path / "data" / name
        (folder / "img1").mkdir(parents=True)
        (folder / "gt").mkdir()
        for index in range(FRAMES):
            cv2.imwrite(str(folder / "img1" / f"{index + first:06d}.jpg"), np.full((48, 64, 3), 40 * index, np.uint8))
        (folder / "gt" / "gt.txt").write_bytes(mark + rows.encode())
        text = f"[Sequence]\nname={name}\nimDir=img1\nframeRate=30\nseqLength={length}\nimWidth=64\nimHeight=48\n{info}"
        (folder / "seqinfo.ini").write_bytes(mark + text.encode())
        return folder

    return write


def only(folder: Path) -> EvaluationSequence:
    (sequence,) = read_dataset(folder)
    return sequence


def said(folder: Path) -> str:
    return "; ".join(remarks(only(folder)))


def test_nothing_is_said_of_what_fits(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    assert said(make(f"{ROW}5,7,11,21,10,8,1,1,1\n")) == ""
    assert not caplog.records


def test_frames_from_zero_are_the_frames_from_one(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    sequence = only(make("0,7,11,21,10,8,1,1,1\n4,7,11,21,10,8,1,1,1\n"))
    assert sequence.truth.frames.tolist() == [0, 4]
    assert len(caplog.records) == 1 and "counted from 0" in caplog.text


def test_rows_beyond_the_sequence_are_said(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    only(make("1,7,11,21,10,8,1,1,1\n5,7,11,21,10,8,1,1,1\n6,7,11,21,10,8,1,1,1\n9,7,11,21,10,8,1,1,1\n"))
    assert len(caplog.records) == 1 and "2 of 4 rows lie beyond seqLength (5)" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0,7,11,21,10,8,1,1,1\n5,7,11,21,10,8,1,1,1\n", "rows of frame 0 and of frame 5"),
        ("-1,7,11,21,10,8,1,1,1\n", "-1 is no number of a frame"),
        ("1.5,7,11,21,10,8,1,1,1\n", r"1\.5 is no number of a frame"),
        (f"{ROW}2,7,11,21,10,8,1,1,1\n2,7,1,2,10,8,1,1,1\n", "frame 2 has the id 7 more than once"),
        ("1,0.5,11,21,10,8,1,1,1\n", r"0\.5 is no id"),
        ("1,-1,11,21,10,8,.9,-1,-1\n2,-1,11,21,10,8,.8,-1,-1\n", "these are detections"),
        (f"{ROW}2,7,11,,10,8,1,1,1\n", "line 2: could not convert"),
        (f"{ROW}2,7,nan,21,10,8,1,1,1\n", "line 2: every number must be finite"),
        (f"{ROW}\n2,7,11,21,10,8,1\n", "line 3 has 7 columns, line 1 has 9"),
        ("1,7,11\n", "not 3 columns"),
    ],
)
def test_what_cannot_be_meant_is_an_error(make: Maker, rows: str, message: str) -> None:
    folder = make(rows)
    with pytest.raises(DatasetError, match=rf"gt\.txt.*{message}"):
        only(folder)


def test_ignored_rows_may_repeat_an_id(make: Maker) -> None:
    rows = f"{ROW}1,7,31,21,10,8,0,1,1\n1,7,41,21,10,8,0,1,1\n"
    assert only(make(rows)).truth.ignored.tolist() == [False, True, True]


@pytest.mark.parametrize("info", ["cuts=0,3\n", "cuts=1\n", "cuts=6\n", "cuts=4,3\n", "cuts=a\n"])
def test_cuts_that_are_none(make: Maker, info: str) -> None:
    folder = make(info=info)
    with pytest.raises(DatasetError, match=r"seqinfo\.ini"):
        only(folder)


def test_headings_are_passed_over_with_a_word(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    assert len(only(make(f"# made by hand\nframe,id,x,y,w,h,conf,class,vis\n{ROW}")).truth.frames) == 1
    assert len(caplog.records) == 1 and "1 lines before the first row" in caplog.text


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_files_with_a_byte_order_mark_are_read(make: Maker, eol: str) -> None:
    folder = make(ROW.replace("\n", eol), mark=b"\xef\xbb\xbf")
    assert only(folder).truth.ids.tolist() == [7]
    assert read_clip(folder).labels[0].ids.tolist() == [7]


def test_percent_signs_in_seqinfo_are_themselves(make: Maker) -> None:
    folder = make()
    (folder / "img1").rename(folder / "img%d")
    text = (folder / "seqinfo.ini").read_text()
    (folder / "seqinfo.ini").write_text(text.replace("imDir=img1", "imDir=img%d"))
    assert len(list(only(folder).frames())) == FRAMES


def test_files_in_another_encoding_say_so(make: Maker) -> None:
    folder = make()
    (folder / "gt" / "gt.txt").write_bytes("\ufeff1,7,11,21,10,8,1,1,1".encode("utf-16-le"))
    with pytest.raises(DatasetError, match="save it as UTF-8"):
        only(folder)


@pytest.mark.parametrize(
    ("length", "rows", "text"),
    [
        (9, "1,7,1,2,9,8,1,1,1\n8,7,1,2,9,8,1,1,1\n", "4 of the 9 frames that are stated have no image; 1 boxes"),
        (3, ROW, "2 images lie behind the last frame that is stated (3)"),
    ],
)
def test_a_wrong_length_is_said(make: Maker, length: int, rows: str, text: str) -> None:
    folder = make(rows, length=length)
    assert text in said(folder)
    assert [frame.index for frame in only(folder).frames()] == list(range(min(length, FRAMES)))


def test_missing_images_are_said_with_the_truth_that_they_cost(make: Maker) -> None:
    folder = make("1,7,11,21,10,8,1,1,1\n3,7,11,21,10,8,1,1,1\n3,8,11,21,10,8,0,1,1\n")
    (folder / "img1" / "000003.jpg").unlink()
    assert (
        said(folder) == "1 of the 5 frames that are stated have no image; 1 boxes of the truth in them count as misses"
    )


def test_another_image_size_is_said(make: Maker) -> None:
    folder = make("1,7,200,21,10,8,1,1,1\n", info="x=1\n")
    text = (
        (folder / "seqinfo.ini").read_text().replace("imWidth=64", "imWidth=640").replace("imHeight=48", "imHeight=480")
    )
    (folder / "seqinfo.ini").write_text(text)
    found = said(folder)
    assert "seqinfo.ini states 640x480 pixels, the pictures have 64x48" in found
    assert "1 of 1 boxes of the truth lie outside of the pictures" in found


def test_empty_truth_is_said(make: Maker) -> None:
    assert said(make("")) == "the truth holds no boxes; whatever is tracked counts as false"


def test_images_from_zero_with_rows_from_one_are_said(make: Maker) -> None:
    assert "images are numbered from 0" in said(make("2,7,11,21,10,8,1,1,1\n", first=0))


def test_other_sequences_are_not_read(make: Maker) -> None:
    folder = make(name="good")
    for name in ("no_truth", "no_info", "bad_rows"):
        make(name=name)
    root = folder.parent
    (root / "no_truth" / "gt" / "gt.txt").unlink()
    (root / "no_info" / "seqinfo.ini").write_text("nothing")
    (root / "bad_rows" / "gt" / "gt.txt").write_text("1,2\n")
    for layout in ("auto", "motchallenge"):
        assert [sequence.name for sequence in read_dataset(root, layout, ["good"])] == ["good"]
    with pytest.raises(DatasetError, match="no sequence gone; there are: bad_rows, good, no_info, no_truth"):
        read_dataset(root, sequences=["gone"])
    with pytest.raises(DatasetError, match=r"bad_rows|no_info|no_truth"):
        read_dataset(root)


def test_two_sequences_of_one_name_are_refused(make: Maker) -> None:
    make(name="train/a")
    make(name="test/a")
    folder = make(name="b")
    with pytest.raises(DatasetError, match="several sequences of the name a"):
        read_dataset(folder.parent)


def test_a_sequence_is_named_by_its_folder_wherever_one_is(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(name="here"))
    assert only(Path(".")).name == "here"


def test_a_sequence_without_pictures_is_left_out_with_a_word(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    make(name="lost")
    folder = make(name="good")
    (folder.parent / "lost" / "img1").rename(folder.parent / "lost" / "images")
    assert [sequence.name for sequence in read_dataset(folder.parent)] == ["good"]
    assert len(caplog.records) == 1 and "left out, there are no pictures for lost" in caplog.text


def test_what_is_said_is_said_once_whatever_reads_the_frames(make: Maker, tmp_path: Path) -> None:
    folder = make(ROW)
    (folder / "img1" / "000002.jpg").write_bytes(b"broken")
    code = "from smotracker_ros.cli import main; main()"
    options = ["--data", folder, "--cache", tmp_path / "cache", "--output", tmp_path / "out"]
    options += ["--trackers", "bytetrack,ocsort"]
    for _ in range(2):  # a second time everything is there already
        result = subprocess.run(
            [sys.executable, "-c", code, "compare", *map(str, options)],
            capture_output=True,
            text=True,
            env=dict(os.environ, COLUMNS="300"),
            check=True,
        )
        assert result.stderr.count("4 of its 5 frames can be read") == 1, result.stderr
        assert result.stderr.count("000002.jpg was skipped") <= 1, result.stderr
