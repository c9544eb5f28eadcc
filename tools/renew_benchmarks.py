"""Put measured tables into docs/benchmarks.md.

    python tools/renew_benchmarks.py composed=runs/composed/table.md speed=runs/benchmark/benchmark.md

Each NAME=FILE replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->`. Pictures of the files are
looked for in docs/images.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def renew(page: str, name: str, content: str) -> str:
    """The page with one part replaced.

    Raises:
        ValueError: if the page has no such part.
    """
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{PAGE.name} has no part between <!-- {name} --> and <!-- /{name} -->")
    # headings of the measured pages go below those of this one
    lowered = re.sub(r"^#{1,3} ", "#### ", content.strip(), flags=re.MULTILINE).replace("](", "](images/")
    return pattern.sub(lambda match: f"{match[1]}\n{lowered}\n\n{match[2]}", page)


def main() -> None:
    """Renew the parts named on the command line."""
    page = PAGE.read_text(encoding="utf-8")
    for argument in sys.argv[1:]:
        name, separator, file = argument.partition("=")
        if not separator:
            raise SystemExit(__doc__)
        page = renew(page, name, Path(file).read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
