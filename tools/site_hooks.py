"""Hooks of MkDocs: links out of docs/ become plain text, since the site holds no code.

On the project's own pages such a link opens the file; a site has no address for it.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)\s#]+|training)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Replace links to files that are no pages; called by MkDocs for every page.

    Args:
        markdown: the page's text.
        page: with the path of its file.
        config: of the site; not used.
        files: that the site consists of.
    """
    known = {file.src_uri for file in files}
    folder = posixpath.dirname(page.file.src_uri)

    def replace(match: re.Match[str]) -> str:
        text, target = match[1], posixpath.normpath(posixpath.join(folder, match[2]))
        if target in known:
            return match[0]
        place = target.removeprefix("../") if target.startswith("../") else f"docs/{target}"
        return text if text.strip("`") in place else f"{text} (`{place}`)"

    return _LINK.sub(replace, markdown)
