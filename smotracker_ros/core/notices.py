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


class Trouble:
    """Says what is wrong when it begins, when it becomes something else, and when it is over.

    Args:
        warn: gets what is wrong.
        inform: gets `over` once nothing is wrong any more.
        over: what to say then.
    """

    def __init__(self, warn: Callable[[str], None], inform: Callable[[str], None], over: str) -> None:
        self._warn, self._inform, self._over = warn, inform, over
        self._kind: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether something is wrong."""
        return self._kind is not None

    def tell(self, text: str | None) -> None:
        """Take what is wrong now; None: nothing is. Texts that differ in nothing but numbers are of one kind."""
        kind = None if text is None else re.sub(r"\d+(\.\d+)?", "#", text)
        if kind == self._kind:
            return
        self._kind = kind
        if text is None:
            self._inform(self._over)
        else:
            self._warn(text)
