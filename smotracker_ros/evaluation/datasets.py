"""Readers of data sets, one function per published layout, all to the same sequences."""

from __future__ import annotations

import functools
import glob
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np

from smotracker_ros.evaluation.mot_labels import mot_sequence
from smotracker_ros.evaluation.sequences import DatasetError, EvaluationSequence, GroundTruth
from smotracker_ros.io.image_folders import image_files
from smotracker_ros.io.mot_text import MotTextError, Rows, read_rows, read_seqinfo, read_text

__all__ = ["LAYOUTS", "DatasetError", "read_dataset"]

_logger = logging.getLogger(__name__)

Candidate = tuple[str, Callable[[], EvaluationSequence | None]]
"""A sequence's name, and what reads it; None: it is not of this layout."""

Reader = Callable[[Path], Iterator[Candidate]]


def read_dataset(
    root: Path, layout: str = "auto", sequences: Collection[str] | None = None
) -> list[EvaluationSequence]:
    """Read all sequences of a data set, sorted by name; videos are opened only when frames are asked for.

    Args:
        root: folder of the data set, or of one sequence.
        layout: one of :data:`LAYOUTS`, or "auto": the first that finds something.
        sequences: names; None: all. Nothing is read of others.

    Raises:
        DatasetError: if there is no sequence, a name is unknown or there twice, or a file is broken.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root} is not a folder; give the folder that holds the sequences")
    if layout != "auto" and layout not in LAYOUTS:
        raise DatasetError(f"unknown layout {layout!r}; there are: auto, {', '.join(LAYOUTS)}")
    known: list[str] = []
    found: list[EvaluationSequence] = []
    for name in LAYOUTS if layout == "auto" else (layout,):
        candidates = [item for item in LAYOUTS[name](root) if sequences is None or item[0] in sequences]
        loaded = [(item, load()) for item, load in candidates]
        read = [sequence for _, sequence in loaded if sequence is not None]
        known += [item[0] for item in LAYOUTS[name](root) if item[0] not in known]
        if read:
            found = sorted(read, key=lambda sequence: sequence.name)
            left_out = sorted({item for item, sequence in loaded if sequence is None})
            if left_out:
                _logger.warning("%s: left out, there are no pictures for %s", root, ", ".join(left_out))
            break
    unknown = sorted(set(sequences or ()) - {sequence.name for sequence in found})
    if unknown and known:
        raise DatasetError(f"{root} has no sequence {', '.join(unknown)}; there are: {', '.join(sorted(known)[:20])}")
    if not found:
        raise DatasetError(f"{root}: no sequence in the layout {layout!r}; docs/evaluation.md shows the layouts")
    twice = [name for name, count in Counter(sequence.name for sequence in found).items() if count > 1]
    if twice:
        raise DatasetError(f"{root} has several sequences of the name {twice[0]}; give one of the folders above them")
    return found


def _clips(root: Path) -> Iterator[Candidate]:
    """This project's layout: seqinfo.ini and gt/gt.txt beside video.mp4."""

    def load(info: Path) -> EvaluationSequence | None:
        video = info.parent / _named(info, "video", "video.mp4")
        return mot_sequence(info, video, info.parent / "gt" / "gt.txt") if video.is_file() else None

    for info in _find(root, "seqinfo.ini"):
        yield info.parent.absolute().name, functools.partial(load, info)


def _motchallenge(root: Path) -> Iterator[Candidate]:
    """MOTChallenge and DOHA: seqinfo.ini, img1/ and gt/gt.txt, 1-based pixels."""

    def load(info: Path) -> EvaluationSequence | None:
        images = info.parent / _named(info, "imDir", "img1")
        return mot_sequence(info, images, info.parent / "gt" / "gt.txt") if images.is_dir() else None

    for info in _find(root, "seqinfo.ini"):
        yield info.parent.absolute().name, functools.partial(load, info)


def _anti_uav(root: Path) -> Iterator[Candidate]:
    """Anti-UAV (RGB-T): visible.mp4/.json and infrared.mp4/.json per folder, each a sequence."""

    def load(labels: Path, name: str) -> EvaluationSequence | None:
        video = next((p for p in sorted(labels.parent.iterdir()) if _is_pictures_of(p, name)), None)
        full = f"{labels.parent.name}_{name}"
        return None if video is None else _single_object(full, video, _exist_and_rect(labels), labels)

    for name in ("infrared", "visible"):
        for labels in sorted({*_find(root, f"{name}.json"), *_find(root, f"{name.upper()}.json")}):
            yield f"{labels.parent.name}_{name}", functools.partial(load, labels, name)


def _anti_uav410(root: Path) -> Iterator[Candidate]:
    """Anti-UAV410: a folder of images with IR_label.json."""

    def load(labels: Path) -> EvaluationSequence:
        return _single_object(labels.parent.name, labels.parent, _exist_and_rect(labels), labels)

    for labels in _find(root, "IR_label.json"):
        yield labels.parent.name, functools.partial(load, labels)


def _dut(root: Path) -> Iterator[Candidate]:
    """DUT Anti-UAV (tracking): videoNN/ image folders, and videoNN_gt.txt with `x y w h` per frame, absent: zeros."""

    def load(labels: Path, name: str) -> EvaluationSequence | None:
        images = next((p for p in sorted(root.rglob(glob.escape(name))) if p.is_dir() and image_files(p)), None)
        return None if images is None else _single_object(name, images, _rows(labels)[:, :4], labels)

    for labels in sorted(root.rglob("*_gt.txt")):
        name = labels.name.removesuffix("_gt.txt")
        yield name, functools.partial(load, labels, name)


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


def _named(info: Path, key: str, default: str) -> str:
    """An entry of a seqinfo.ini.

    Raises:
        DatasetError: if the file cannot be read.
    """
    try:
        return read_seqinfo(info).get(key, default)
    except MotTextError as error:
        raise DatasetError(str(error)) from error


def _exist_and_rect(path: Path) -> Rows:
    """`x y w h` per frame from the json of Anti-UAV (`exist`, `gt_rect`), zeros where the target is absent."""
    try:
        content = json.loads(read_text(path))
        exist, rects = content["exist"], content["gt_rect"]
        rows = [rect if here and len(rect) == 4 else [0, 0, 0, 0] for here, rect in zip(exist, rects, strict=True)]
        return np.asarray(rows, dtype=np.float64).reshape(-1, 4)
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: not the json of Anti-UAV with `exist` and `gt_rect` ({error})") from error


def _single_object(name: str, video: Path, rows: Rows, labels: Path) -> EvaluationSequence:
    """A sequence of one target whose absent frames are rows of zeros."""
    if not len(rows):
        raise DatasetError(f"{labels}: holds no frame")
    present = np.flatnonzero((rows[:, 2] > 0) & (rows[:, 3] > 0))
    boxes = np.hstack([rows[present, :2], rows[present, :2] + rows[present, 2:]])
    truth = GroundTruth.of(present, np.ones(len(present)), boxes)
    return EvaluationSequence(name, labels.parent, video, (0, 0), 25.0, len(rows), (), truth)


def _rows(path: Path) -> Rows:
    """Rows of four numbers and more.

    Raises:
        DatasetError: if the file cannot be read.
    """
    try:
        return read_rows(path, 4)
    except MotTextError as error:
        raise DatasetError(str(error)) from error


def _is_pictures_of(path: Path, name: str) -> bool:
    """Whether a path is the video, or the folder of images, of one of Anti-UAV's two cameras."""
    if path.stem.lower() != name:
        return False
    return bool(image_files(path)) if path.is_dir() else path.suffix.lower() in (".mp4", ".avi", ".mkv")
