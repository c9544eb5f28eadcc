"""Ground truth in the MOTChallenge manner, checked: what cannot be meant is an error, what is not used is said."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from smotracker_ros.evaluation.sequences import DatasetError, EvaluationSequence, GroundTruth
from smotracker_ros.io.mot_text import MotTextError, Rows, read_rows, read_seqinfo

# frame, id, x, y, w, h, flag, class
_COLUMNS, _ALL_COLUMNS = 6, 8

_logger = logging.getLogger(__name__)


def mot_sequence(info: Path, video: Path, labels: Path) -> EvaluationSequence:
    """A sequence in the MOTChallenge manner: rows `frame,id,x,y,w,h,flag,class,visibility`, frames 1-based.

    Args:
        info: its `seqinfo.ini`.
        video: video file or folder of images.
        labels: file of the rows.

    Raises:
        DatasetError: if a file cannot be read, or contradicts itself.
    """
    try:
        section = read_seqinfo(info)
        length, base = int(section["seqLength"]), float(section.get("coordBase", "1"))
        size = int(section.get("imHeight", "0")), int(section.get("imWidth", "0"))
        fps = float(section.get("frameRate", "30"))
        cuts = tuple(int(cut) - 1 for cut in section.get("cuts", "").replace(",", " ").split())
        rows = read_rows(labels, _COLUMNS)
    except MotTextError as error:
        raise DatasetError(str(error)) from error
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{info}: {error}") from error
    if length < 1 or not fps > 0:
        raise DatasetError(f"{info}: seqLength and frameRate must be positive, not {length} and {fps:g}")
    if list(cuts) != sorted({cut for cut in cuts if 0 < cut < length}):
        raise DatasetError(
            f"{info}: cuts must rise, from frame 2 to the last one, {length}: they are first frames of shots"
        )
    rows = np.hstack([rows, np.ones((len(rows), max(_ALL_COLUMNS - rows.shape[1], 0)))])
    frames = _frames(rows, length, labels)
    _check_ids(rows, labels)
    corners = rows[:, 2:4] - base
    truth = GroundTruth.of(
        frames, rows[:, 1], np.hstack([corners, corners + rows[:, 4:6]]), rows[:, 7], rows[:, 6] == 0
    )
    return EvaluationSequence(info.parent.absolute().name, info.parent, video, size, fps, length, cuts, truth)


def _frames(rows: Rows, length: int, labels: Path) -> np.ndarray:
    """0-based numbers of the rows' frames.

    Raises:
        DatasetError: if they are no numbers of frames.
    """
    frames = rows[:, 0]
    if (frames != np.floor(frames)).any() or (frames < 0).any():
        wrong = frames[(frames != np.floor(frames)) | (frames < 0)][0]
        raise DatasetError(f"{labels}: {wrong:g} is no number of a frame; frames are counted 1, 2, 3, ...")
    if (frames == 0).any():
        if frames.max() >= length:
            raise DatasetError(
                f"{labels}: there are rows of frame 0 and of frame {frames.max():.0f}, but seqLength is {length}; "
                f"count frames from 1 to {length}"
            )
        _logger.warning("%s: frames are counted from 0; 0 is taken as the first frame of the sequence", labels)
        return frames
    beyond = int((frames > length).sum())
    if beyond:
        _logger.warning(
            "%s: %d of %d rows lie beyond seqLength (%d) and are not used; correct seqinfo.ini or the rows",
            labels,
            beyond,
            len(frames),
            length,
        )
    return frames - 1


def _check_ids(rows: Rows, labels: Path) -> None:
    """Refuse ids that are none, and one that has two boxes in a frame.

    Raises:
        DatasetError: naming the first.
    """
    counted = rows[rows[:, 6] != 0]
    ids = counted[:, 1]
    if (ids != np.floor(ids)).any():
        raise DatasetError(f"{labels}: {ids[ids != np.floor(ids)][0]:g} is no id; ids are whole numbers")
    if len(ids) and (ids < 0).all():
        raise DatasetError(f"{labels}: all ids are negative; these are detections, not the truth of a tracker")
    pairs, counts = np.unique(counted[:, :2], axis=0, return_counts=True)
    if (counts > 1).any():
        frame, identity = pairs[counts > 1][0]
        raise DatasetError(
            f"{labels}: frame {frame:.0f} has the id {identity:.0f} more than once ({int((counts > 1).sum())} such "
            "cases); an object has one box in a frame"
        )
