"""What of a sequence's truth and pictures does not fit together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.io.base import FrameSource, SourceError
from smotracker_ros.io.image_folders import ImageFolderSource, file_numbers

# Frames by which the length that a video states may be wrong
_SLACK = 2


def remarks(sequence: EvaluationSequence) -> Iterator[str]:
    """What a user should know before figures are computed; opens the pictures, but reads no more than the first.

    A source that cannot be opened has no remarks: its trackers' rows tell why.
    """
    try:
        source = sequence.open()
    except (SourceError, OSError):
        return
    if not len(sequence.truth.frames):
        yield "the truth holds no boxes; whatever is tracked counts as false"
    if source.size is not None:
        yield from _sizes(sequence, source.size)
    yield from _lengths(sequence, source)


def _sizes(sequence: EvaluationSequence, size: tuple[int, int]) -> Iterator[str]:
    height, width = size
    if sequence.size != (0, 0) and sequence.size != size:
        yield (
            f"seqinfo.ini states {sequence.size[1]}x{sequence.size[0]} pixels, the pictures have {width}x{height}; "
            "boxes are taken as pixels of the pictures"
        )
    truth = sequence.truth
    boxes = truth.boxes[~truth.ignored]
    outside = int(((boxes[:, 2:] <= 0) | (boxes[:, :2] >= [width, height])).any(axis=1).sum())
    if outside:
        yield f"{outside} of {len(boxes)} boxes of the truth lie outside of the pictures ({width}x{height})"


def _lengths(sequence: EvaluationSequence, source: FrameSource) -> Iterator[str]:
    """Where the frames that there are differ from those that are stated."""
    if isinstance(source, ImageFolderSource):
        yield from _images(sequence, source)
        return
    if source.length is None:
        return
    if source.length > sequence.length + _SLACK:
        yield f"{source.length} frames are there, {sequence.length} are stated; those behind are not used"
    elif source.length < sequence.length - _SLACK:
        yield (
            f"{sequence.length} frames are stated, {source.length} are there; "
            f"{_rows_from(sequence, source.length)} boxes of the truth behind them count as misses"
        )


def _images(sequence: EvaluationSequence, source: ImageFolderSource) -> Iterator[str]:
    numbers = source.places if len(source.files) == source.length else range(source.length or 0)
    there = np.unique([number for number in numbers if number < sequence.length])
    behind = len(numbers) - len(there)
    if behind:
        yield f"{behind} images lie behind the last frame that is stated ({sequence.length}) and are not used"
    missing = sequence.length - len(there)
    if missing:
        truth = sequence.truth
        rows = (truth.frames < sequence.length) & ~truth.ignored & ~np.isin(truth.frames, there)
        yield (
            f"{missing} of the {sequence.length} frames that are stated have no image; {int(rows.sum())} boxes of the "
            "truth in them count as misses"
        )
    frames = sequence.truth.frames
    counted = len(frames) > 0 and frames.min() > 0 and frames.max() < sequence.length - 1
    if counted and any(numbers[0] == 0 for numbers in file_numbers(source.files)):
        yield "images are numbered from 0, and the truth is taken to count frames from 1"


def _rows_from(sequence: EvaluationSequence, frame: int) -> int:
    truth = sequence.truth
    return int(((truth.frames >= frame) & (truth.frames < sequence.length) & ~truth.ignored).sum())
