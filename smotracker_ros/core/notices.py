"""Warnings that would come with every message: each kind is said once, and the others are counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

MOST_KINDS = 20
"""Kinds of warnings that are said; a text that is different each time must not fill a log either."""


class Notices:
    """Says each kind of warning once. Texts that differ in nothing but numbers are of one kind.

    Attributes:
        counts: number of warnings by kind.

    Args:
        emit: gets the texts, for example `logger.warning`.
    """

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self.counts: Counter[str] = Counter()

    def warn(self, text: str, place: str = "") -> None:
        """Say a text, unless one of its kind was said.

        Args:
            text: the reason; it tells the kind.
            place: where it happened, put before the text; it is no part of the kind.
        """
        kind = re.sub(r"\d+(\.\d+)?", "#", text)
        if kind not in self.counts and len(self.counts) >= MOST_KINDS:
            kind = "of other kinds"
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            self._emit(place + (text if kind != "of other kinds" else "there are warnings of more kinds"))

    @property
    def silent(self) -> int:
        """Number of warnings that were not said."""
        return self.counts.total() - len(self.counts)
