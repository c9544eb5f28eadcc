"""Readers of data sets, one function per published layout, all to the same sequences."""

from __future__ import annotations

import configparser
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smotracker_ros.evaluation.sequences import DatasetError, EvaluationSequence, GroundTruth
from smotracker_ros.video.image_folders import image_files

__all__ = ["LAYOUTS", "DatasetError", "read_dataset"]

Rows = npt.NDArray[np.float64]
Reader = Callable[[Path], Iterator[EvaluationSequence]]


def read_dataset(
    root: Path, layout: str = "auto", sequences: Collection[str] | None = None
) -> list[EvaluationSequence]:
    """Read all sequences of a data set, sorted by name; videos are opened only when frames are asked for.

    Args:
        root: folder of the data set, or of one sequence.
        layout: one of :data:`LAYOUTS`, or "auto": the first that finds something.
        sequences: names; None: all.

    Raises:
        DatasetError: if there is no sequence, a name is unknown, or a file is broken.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; give the folder that holds the sequences")
    if layout != "auto" and layout not in LAYOUTS:
        raise DatasetError(f"unknown layout {layout!r}; there are: auto, {', '.join(LAYOUTS)}")
    found: list[EvaluationSequence] = []
    for name in LAYOUTS if layout == "auto" else (layout,):
        found = sorted(LAYOUTS[name](root), key=lambda sequence: sequence.name)
        if found:
            break
    if not found:
        raise DatasetError(f"{root}: no sequence in the layout {layout!r}; docs/evaluation.md shows the layouts")
    if sequences is None:
        return found
    unknown = sorted(set(sequences) - {sequence.name for sequence in found})
    if unknown:
        names = ", ".join(sequence.name for sequence in found[:20])
        raise DatasetError(f"{root} has no sequence {', '.join(unknown)}; there are: {names}")
    return [sequence for sequence in found if sequence.name in set(sequences)]


def _clips(root: Path) -> Iterator[EvaluationSequence]:
    """This project's layout: seqinfo.ini and gt/gt.txt beside video.mp4; composed clips are judged by gt_label.txt."""
    for info in _find(root, "seqinfo.ini"):
        section = _sequence_info(info)
        video = info.parent / section.get("video", "video.mp4")
        if video.is_file():
            labels = info.parent / "gt" / "gt_label.txt"
            yield _mot_sequence(info, video, labels if labels.is_file() else info.parent / "gt" / "gt.txt")


def _motchallenge(root: Path) -> Iterator[EvaluationSequence]:
    """MOTChallenge and DOHA: seqinfo.ini, img1/ and gt/gt.txt, 1-based pixels."""
    for info in _find(root, "seqinfo.ini"):
        section = _sequence_info(info)
        images = info.parent / section.get("imDir", "img1")
        if images.is_dir():
            yield _mot_sequence(info, images, info.parent / "gt" / "gt.txt")


def _anti_uav(root: Path) -> Iterator[EvaluationSequence]:
    """Anti-UAV (RGB-T): visible.mp4/.json and infrared.mp4/.json per folder, each a sequence."""
    for name in ("infrared", "visible"):
        for labels in sorted({*_find(root, f"{name}.json"), *_find(root, f"{name.upper()}.json")}):
            video = next((p for p in sorted(labels.parent.iterdir()) if _is_pictures_of(p, name)), None)
            if video is not None:
                yield _single_object(f"{labels.parent.name}_{name}", video, _exist_and_rect(labels), labels)


def _anti_uav410(root: Path) -> Iterator[EvaluationSequence]:
    """Anti-UAV410: a folder of images with IR_label.json."""
    for labels in _find(root, "IR_label.json"):
        yield _single_object(labels.parent.name, labels.parent, _exist_and_rect(labels), labels)


def _dut(root: Path) -> Iterator[EvaluationSequence]:
    """DUT Anti-UAV (tracking): videoNN/ image folders, and videoNN_gt.txt with `x y w h` per frame, absent: zeros."""
    for labels in sorted(root.rglob("*_gt.txt")):
        name = labels.name.removesuffix("_gt.txt")
        images = next((p for p in sorted(root.rglob(name)) if p.is_dir() and _has_images(p)), None)
        if images is not None:
            yield _single_object(name, images, _table(labels)[:, :4], labels)


LAYOUTS: dict[str, Reader] = {
    "clips": _clips,
    "motchallenge": _motchallenge,
    "doha": _motchallenge,
    "anti-uav": _anti_uav,
    "anti-uav410": _anti_uav410,
    "dut": _dut,
}


def _find(root: Path, name: str) -> list[Path]:
    """Files of a name in the folder itself, its sub-folders and theirs (such as train/ and test/)."""
    return sorted({*root.glob(name), *root.glob(f"*/{name}"), *root.glob(f"*/*/{name}")})


def _sequence_info(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser()
    try:
        parser.read(path)
        return parser["Sequence"]
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: no readable [Sequence] section ({error})") from error


def _mot_sequence(info: Path, video: Path, labels: Path) -> EvaluationSequence:
    """A sequence in the MOTChallenge manner: rows `frame,id,x,y,w,h,flag,class,visibility`, frames 1-based."""
    section = _sequence_info(info)
    try:
        length, base = int(section["seqLength"]), float(section.get("coordBase", "1"))
        size = int(section.get("imHeight", "0")), int(section.get("imWidth", "0"))
        fps = float(section.get("frameRate", "30"))
        cuts = tuple(int(cut) - 1 for cut in section.get("cuts", "").replace(",", " ").split())
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{info}: {error}") from error
    rows = _table(labels)
    if rows.size and rows.shape[1] < 6:
        raise DatasetError(f"{labels}: rows need frame,id,x,y,w,h[,flag,class,visibility], not {rows.shape[1]} columns")
    filler = np.ones((len(rows), max(8 - rows.shape[1], 0)))
    rows = np.hstack([rows.reshape(len(rows), -1), filler]) if len(rows) else np.zeros((0, 8))
    corners = rows[:, 2:4] - base
    truth = GroundTruth.of(
        rows[:, 0] - 1, rows[:, 1], np.hstack([corners, corners + rows[:, 4:6]]), rows[:, 7], rows[:, 6] == 0
    )
    return EvaluationSequence(info.parent.name, info.parent, video, size, fps, length, cuts, truth)


def _exist_and_rect(path: Path) -> Rows:
    """`x y w h` per frame from the json of Anti-UAV (`exist`, `gt_rect`), zeros where the target is absent."""
    try:
        content = json.loads(path.read_text())
        exist, rects = content["exist"], content["gt_rect"]
        rows = [rect if here and len(rect) == 4 else [0, 0, 0, 0] for here, rect in zip(exist, rects, strict=True)]
        return np.asarray(rows, dtype=np.float64).reshape(-1, 4)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: not the json of Anti-UAV with `exist` and `gt_rect` ({error})") from error


def _single_object(name: str, video: Path, rows: Rows, labels: Path) -> EvaluationSequence:
    """A sequence of one target whose absent frames are rows of zeros."""
    if not len(rows):
        raise DatasetError(f"{labels}: holds no frame")
    present = np.flatnonzero((rows[:, 2] > 0) & (rows[:, 3] > 0))
    boxes = np.hstack([rows[present, :2], rows[present, :2] + rows[present, 2:]])
    truth = GroundTruth.of(present, np.ones(len(present)), boxes)
    return EvaluationSequence(name, labels.parent, video, (0, 0), 25.0, len(rows), (), truth)


def _table(path: Path) -> Rows:
    """Numbers of a text file, separated by commas, tabs or spaces, float64 (rows, columns)."""
    try:
        text = path.read_text().replace(",", " ")
        return (
            np.atleast_2d(np.loadtxt(text.splitlines(), dtype=np.float64, ndmin=2))
            if text.strip()
            else np.zeros((0, 8))
        )
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: {error}") from error


def _has_images(folder: Path) -> bool:
    return bool(image_files(folder))


def _is_pictures_of(path: Path, name: str) -> bool:
    """Whether a path is the video, or the folder of images, of one of Anti-UAV's two cameras."""
    if path.stem.lower() != name:
        return False
    return _has_images(path) if path.is_dir() else path.suffix.lower() in (".mp4", ".avi", ".mkv")
