"""Pages that are made from other files: written, or with `--check` compared."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(file: Path, text: str) -> int:
    """Write a page, or compare it where the tool was called with `--check`.

    Returns:
        Exit code: 1 if it was compared and is out of date; then stderr says how to make it anew.
    """
    if "--check" not in sys.argv:
        file.write_text(text, encoding="utf-8")
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return 0
    print(f"{file.name} is out of date: run `python tools/{Path(sys.argv[0]).name}`", file=sys.stderr)
    return 1
