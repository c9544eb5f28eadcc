"""The files of MOTChallenge: `seqinfo.ini`, and rows of numbers."""

from __future__ import annotations

import configparser
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]

_logger = logging.getLogger(__name__)


class MotTextError(ValueError):
    """A file that cannot be read; the message names it and what is wrong with it."""


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte-order mark.

    Raises:
        MotTextError: if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MotTextError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise MotTextError(f"{path} is no text in UTF-8 ({error}); save it as UTF-8") from error


def read_seqinfo(path: Path) -> configparser.SectionProxy:
    """The section [Sequence] of a `seqinfo.ini`.

    Raises:
        MotTextError: if there is none.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(path), str(path))
        return parser["Sequence"]
    except (configparser.Error, KeyError) as error:
        reason = " ".join(str(error).split())
        raise MotTextError(f"{path} has no readable section [Sequence] ({reason})") from error


def read_rows(path: Path, columns: int = 1) -> Rows:
    """Numbers of a text file, separated by commas, or by tabs and spaces; headings before them are passed over.

    Args:
        path: the file; `#` begins a comment.
        columns: each row needs so many.

    Returns:
        float64 (rows, columns of the file), finite; (0, `columns`) of an empty file.

    Raises:
        MotTextError: if it cannot be read, or a row is none; names the line.
    """
    text = read_text(path)
    separator = "," if "," in text else None
    rows: list[list[float]] = []
    headings, first = 0, 0
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip().removesuffix(",")
        if not content:
            continue
        try:
            row = [float(field) for field in content.split(separator)]
        except ValueError as error:
            if not rows and not _is_number(content.split(separator)[0]):
                headings += 1
                continue
            raise MotTextError(f"{path}, line {number}: {error}") from error
        first = first or number
        if len(row) < columns:
            raise MotTextError(f"{path}, line {number}: rows need {columns} columns or more, not {len(row)} columns")
        if rows and len(row) != len(rows[0]):
            raise MotTextError(f"{path}: line {number} has {len(row)} columns, line {first} has {len(rows[0])}")
        if not np.isfinite(row).all():
            raise MotTextError(f"{path}, line {number}: every number must be finite")
        rows.append(row)
    if headings:
        _logger.warning("%s: %d lines before the first row of numbers are taken as headings", path, headings)
    return np.array(rows, dtype=np.float64) if rows else np.zeros((0, columns))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
