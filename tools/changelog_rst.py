"""Writes CHANGELOG.rst, which ROS's build farm reads, from CHANGELOG.md: `python tools/changelog_rst.py`.

With `--check` it only compares. A version is a heading `## 1.2.3 (2026-11-30)`; `## 1.2.3 (unreleased)` is what the
farm calls forthcoming.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from made_pages import write_or_check

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CHANGELOG.rst"
SOURCE = ROOT / "CHANGELOG.md"
PACKAGE = "smotracker_ros"


def _inline(text: str) -> str:
    """Markdown's code and links as reStructuredText; targets of links, which are the project's files, are left out."""
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"([*_|])(?=[^`]*(?:`[^`]*`[^`]*)*$)", lambda match: "\\" + match[1], text.replace("**", ""))
    return re.sub(r"`([^`]+)`", r"``\1``", text)


def _items(lines: list[str]) -> Iterator[str]:
    """Bullets of a list as single lines: continued lines are joined."""
    item = ""
    for line in lines:
        if line.startswith("- "):
            if item:
                yield item
            item = line[2:].strip()
        elif line.strip():
            item = f"{item} {line.strip()}"
    if item:
        yield item


def _sections(text: str, marker: str) -> Iterator[tuple[str, list[str]]]:
    """Headings of one level with the lines below; what stands before the first one comes under an empty heading."""
    heading, lines = "", list[str]()
    for line in text.splitlines():
        if line.startswith(f"{marker} "):
            yield heading, lines
            heading, lines = line.removeprefix(marker).strip(), []
        else:
            lines.append(line)
    yield heading, lines


def page() -> str:
    """The whole file."""
    title = f"Changelog for package {PACKAGE}"
    parts = ["^" * len(title), title, "^" * len(title), "", ".. Made from CHANGELOG.md by tools/changelog_rst.py.", ""]
    for heading, lines in _sections(SOURCE.read_text(encoding="utf-8"), "##"):
        if not heading:
            continue
        match = re.fullmatch(r"(\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d|unreleased)\)", heading)
        if match is None:
            raise ValueError(f"{SOURCE.name}: {heading!r} is neither `1.2.3 (2026-11-30)` nor `1.2.3 (unreleased)`")
        version = "Forthcoming" if match[2] == "unreleased" else f"{match[1]} ({match[2]})"
        parts += [version, "-" * len(version)]
        for group, content in _sections("\n".join(lines), "###"):
            items = [_inline(item) for item in _items(content)]
            if group and items:
                parts += [f"* {group}", "", *(f"  * {item}" for item in items), ""]
            elif items:
                parts += [*(f"* {item}" for item in items), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page()))
