"""What a misspelt name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that suggests the known name which is most like a wrong one; nothing if none is."""
    similar = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {similar[0]}?" if similar else ""
