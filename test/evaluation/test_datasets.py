"""Readers of data sets, on tiny folders written in each published layout."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from smotracker_ros.evaluation.datasets import LAYOUTS, read_dataset
from smotracker_ros.evaluation.sequences import DatasetError, EvaluationSequence

HEIGHT, WIDTH = 48, 64
FRAMES = 5


def picture(index: int) -> np.ndarray:
    """BGR image whose grey level tells its number."""
    return np.full((HEIGHT, WIDTH, 3), 20 * (index + 1), dtype=np.uint8)


def write_images(folder: Path, first: int = 1, digits: int = 6) -> None:
    folder.mkdir(parents=True)
    for index in range(FRAMES):
        cv2.imwrite(str(folder / f"{index + first:0{digits}d}.jpg"), picture(index))


def write_video(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (WIDTH, HEIGHT))
    for index in range(FRAMES):
        writer.write(picture(index))
    writer.release()


def levels(sequence: EvaluationSequence) -> list[int]:
    """Numbers of the frames as their grey levels tell them."""
    return [round(float(frame.image.mean()) / 20) - 1 for frame in sequence.frames()]


def write_mot(folder: Path, rows: str, info: str = "") -> None:
    write_images(folder / "img1")
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text(rows)
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=30\nseqLength={FRAMES}\n"
        f"imWidth={WIDTH}\nimHeight={HEIGHT}\nimExt=.jpg\n{info}"
    )


def only(root: Path, layout: str = "auto") -> EvaluationSequence:
    (sequence,) = read_dataset(root, layout)
    return sequence


def test_motchallenge_counts_pixels_and_frames_from_one(tmp_path: Path) -> None:
    write_mot(
        tmp_path / "train" / "MOT17-02-FRCNN",
        "1,7,11,21,10,8,1,1,1\n2,7,12,21,10,8,1,1,0.5\n2,9,1,1,6,6,0,8,1\n3,7,13,21,2,8,1,1,1\n",
    )
    for layout in ("auto", "motchallenge", "doha"):
        sequence = only(tmp_path, layout)
        assert (sequence.name, sequence.size, sequence.fps) == ("MOT17-02-FRCNN", (HEIGHT, WIDTH), 30.0)
        truth = sequence.truth
        assert truth.frames.tolist() == [0, 1, 1, 2]
        assert truth.ids.tolist() == [7, 7, 9, 7]
        np.testing.assert_array_equal(truth.boxes[0], [10, 20, 20, 28])
        # flag 0, and a box under 3 pixels, are ignored
        assert truth.ignored.tolist() == [False, False, True, True]
        assert truth.class_ids.tolist() == [1, 1, 8, 1]
        assert levels(sequence) == list(range(FRAMES))


def test_own_layout_has_its_own_base_and_cuts_and_is_judged_by_tight_labels(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    write_video(folder / "video.mp4")
    (folder / "gt").mkdir()
    (folder / "gt" / "gt.txt").write_text("1,1,10,20,10,8,1,1,1\n")
    info = f"[Sequence]\nname=clip\nseqLength={FRAMES}\nimWidth={WIDTH}\nimHeight={HEIGHT}\nframeRate=25\n"
    (folder / "seqinfo.ini").write_text(info + "coordBase=0\ncuts=3,5\nvideo=video.mp4\n")
    sequence = only(tmp_path)
    np.testing.assert_array_equal(sequence.truth.boxes, [[10, 20, 20, 28]])
    assert sequence.cuts == (2, 4)
    assert sequence.shot_of(range(FRAMES)).tolist() == [0, 0, 1, 1, 2]
    assert levels(sequence) == list(range(FRAMES))
    (folder / "gt" / "gt_label.txt").write_text("1,1,8,18,14,12,1,1,1\n")
    np.testing.assert_array_equal(only(tmp_path).truth.boxes, [[10, 20, 20, 28]])


@pytest.mark.parametrize("pictures", ["video", "folder"])
def test_anti_uav_has_two_cameras_and_absences(tmp_path: Path, pictures: str) -> None:
    folder = tmp_path / "test" / "20190925_101846_1_1"
    for name in ("visible", "infrared"):
        if pictures == "video":
            write_video(folder / f"{name}.mp4")
        else:
            write_images(folder / name, digits=4)
        rects = [[10, 20, 10, 8], [], [0, 0, 0, 0], [13, 20, 10, 8], [14, 20, 10, 8]]
        labels = {"exist": [1, 0, 0, 1, 1], "gt_rect": rects}
        (folder / f"{name}.json").write_text(json.dumps(labels))
    infrared, visible = read_dataset(tmp_path, "anti-uav")
    assert infrared.name == "20190925_101846_1_1_infrared"
    assert visible.name == "20190925_101846_1_1_visible"
    assert visible.truth.frames.tolist() == [0, 3, 4]
    assert visible.truth.ids.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(visible.truth.boxes[1], [13, 20, 23, 28])
    assert visible.length == FRAMES
    assert levels(visible) == levels(infrared) == list(range(FRAMES))


def test_anti_uav410_is_a_folder_of_images_with_a_json(tmp_path: Path) -> None:
    folder = tmp_path / "val" / "01_1667_0001-1500"
    write_images(folder)
    rects = [[10, 20, 10, 8]] * FRAMES
    (folder / "IR_label.json").write_text(json.dumps({"exist": [1, 1, 0, 1, 1], "gt_rect": rects}))
    sequence = only(tmp_path, "anti-uav410")
    assert sequence.name == folder.name
    assert sequence.truth.frames.tolist() == [0, 1, 3, 4]
    assert levels(sequence) == list(range(FRAMES))
    assert only(tmp_path).name == folder.name


def test_dut_keeps_labels_apart_from_images(tmp_path: Path) -> None:
    write_images(tmp_path / "Anti-UAV-Tracking-V0" / "video01", digits=5)
    labels = tmp_path / "Anti-UAV-Tracking-V0GT" / "video01_gt.txt"
    labels.parent.mkdir()
    labels.write_text("10 20 10 8\n11 20 10 8\n0 0 0 0\n13 20 10 8\n14 20 10 8\n")
    sequence = only(tmp_path, "dut")
    assert sequence.name == "video01"
    assert sequence.truth.frames.tolist() == [0, 1, 3, 4]
    np.testing.assert_array_equal(sequence.truth.boxes[-1], [14, 20, 24, 28])
    assert levels(sequence) == list(range(FRAMES))


def test_sequences_are_chosen_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_mot(tmp_path / name, "1,1,11,21,10,8,1,1,1\n")
    assert [sequence.name for sequence in read_dataset(tmp_path)] == ["a", "b", "c"]
    assert [sequence.name for sequence in read_dataset(tmp_path, sequences=["c", "a"])] == ["a", "c"]
    with pytest.raises(DatasetError, match=r"no sequence d; there are: a, b, c"):
        read_dataset(tmp_path, sequences=["a", "d"])


def test_a_sequence_without_targets_is_read(tmp_path: Path) -> None:
    write_mot(tmp_path / "empty", "")
    assert len(only(tmp_path).truth.frames) == 0


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        read_dataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match="no sequence in the layout 'auto'"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match=f"unknown layout 'coco'; there are: auto, {', '.join(LAYOUTS)}"):
        read_dataset(tmp_path, "coco")
    write_mot(tmp_path / "mot", "1,1,a,b,10,8\n")
    with pytest.raises(DatasetError, match=r"gt\.txt"):
        read_dataset(tmp_path)
    (tmp_path / "mot" / "gt" / "gt.txt").write_text("1,1,2\n")
    with pytest.raises(DatasetError, match="not 3 columns"):
        read_dataset(tmp_path)
    (tmp_path / "mot" / "seqinfo.ini").write_text("[Sequence]\nname=mot\n")
    with pytest.raises(DatasetError, match=r"seqinfo\.ini: 'seqLength'"):
        read_dataset(tmp_path)
    (tmp_path / "mot" / "seqinfo.ini").write_text("no section")
    with pytest.raises(DatasetError, match="Sequence"):
        read_dataset(tmp_path)


def test_broken_single_object_labels_are_said(tmp_path: Path) -> None:
    write_images(tmp_path / "clip")
    labels = tmp_path / "clip" / "IR_label.json"
    for content in ("{", '{"exist": [1]}', '{"exist": [1, 1], "gt_rect": [[1, 2, 3, 4]]}', "[]"):
        labels.write_text(content)
        with pytest.raises(DatasetError, match="not the json of Anti-UAV"):
            read_dataset(tmp_path, "anti-uav410")
    labels.write_text('{"exist": [], "gt_rect": []}')
    with pytest.raises(DatasetError, match="holds no frame"):
        read_dataset(tmp_path, "anti-uav410")


def test_missing_and_broken_images_keep_their_frames(tmp_path: Path) -> None:
    write_mot(tmp_path / "mot", "1,7,11,21,10,8,1,1,1\n4,7,11,21,10,8,1,1,1\n")
    images = tmp_path / "mot" / "img1"
    (images / "000001.jpg").unlink()
    (images / "000003.jpg").write_bytes(b"broken")
    frames = list(only(tmp_path).frames())
    assert [frame.index for frame in frames] == levels(only(tmp_path)) == [1, 3, 4]
    assert [frame.timestamp_ns for frame in frames] == [round(index / 30 * 1e9) for index in (1, 3, 4)]


def test_images_that_count_from_zero_are_the_frames_from_one(tmp_path: Path) -> None:
    write_mot(tmp_path / "mot", "1,7,11,21,10,8,1,1,1\n")
    for index in range(FRAMES):
        (tmp_path / "mot" / "img1" / f"{index + 1:06d}.jpg").rename(tmp_path / "mot" / "img1" / f"{index:06d}.jpg")
    assert [frame.index for frame in only(tmp_path).frames()] == levels(only(tmp_path)) == list(range(FRAMES))
