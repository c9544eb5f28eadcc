"""Writes docs/messages.md from msg/ and srv/: `python tools/message_page.py`. With `--check` it only compares."""

from __future__ import annotations

import sys
from pathlib import Path

from made_pages import write_or_check

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "messages.md"

HEAD = """# Messages

Made from `msg/` and `srv/` by `python tools/message_page.py`. `track_states` carries `TrackArray`; the other topics
carry standard messages ([topics](ros.md#topics-and-services-of-the-tracker)).
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for file in [*sorted((ROOT / "msg").glob("*.msg")), *sorted((ROOT / "srv").glob("*.srv"))]:
        text = file.read_text(encoding="utf-8").strip()
        parts.append(f"## smotracker_ros/{file.parent.name}/{file.stem}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page()))
