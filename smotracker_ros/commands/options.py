"""Options that several commands share: one name and one meaning each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _recording(path: Path | None) -> Path | None:
    """Refuse what the viewer would not open, and what may be a video that was named by mistake."""
    if path is not None and path.suffix != ".rrd":
        raise typer.BadParameter(f"{path} does not end in .rrd, as the viewer wants it")
    return path


Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one setting; may be repeated.")
]
Preset = Annotated[str, typer.Option(help="Named set-up of the tracker.")]
Rerun = Annotated[
    Path | None,
    typer.Option(
        "--rerun", metavar="FILE.rrd", callback=_recording, help="Also write a recording for the Rerun viewer."
    ),
]
Topic = Annotated[str | None, typer.Option(help="Image topic of a bag with several.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes side by side, with one thread each.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
