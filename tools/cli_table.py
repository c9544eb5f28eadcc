"""Writes docs/commands.md, all commands with their options, from the code: `python tools/cli_table.py`.

With `--check` it only compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from made_pages import write_or_check

from smotracker_ros.cli import COMMANDS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

HEAD = """# Commands and options

Made from the code by `python tools/cli_table.py`. `smotracker COMMAND --help` says the same.

- `smotracker --version` tells the version, `smotracker doctor` what is installed and what is missing.
- `smotracker --install-completion` lets the shell complete commands and options (bash, zsh, fish, PowerShell); open a
  new shell afterwards.
- `--json` prints results on stdout for programs; progress and warnings go to stderr.
- Exit codes: 0, it is done; 1, it could not be done, and one line on stderr says why and what to do; 2, the command was
  called wrongly; 130, Ctrl-C. Where it ends a stream or a camera, that is done, too: 0, and the outputs are whole.

"""


def commands() -> Iterator[tuple[str, Any]]:
    """All commands, those of groups one by one, with their full names."""
    for name, command in COMMANDS.items():
        loaded = command.load()
        inner = getattr(loaded, "commands", None)
        if inner is None:
            yield name, loaded
        else:
            yield from ((f"{name} {word}", item) for word, item in inner.items())


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`" + ("..." if parameter.nargs == -1 else "")
    text = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    return f"{text} {parameter.metavar}" if parameter.metavar else text


def _default(parameter: Any) -> str:
    if parameter.required:
        return "must be given"
    value = parameter.default
    if parameter.param_type_name == "option" and parameter.is_flag:
        return "on" if value else "off"
    if value is None or value in ("", float("inf")) or getattr(parameter, "multiple", False):
        return ""
    if isinstance(value, tuple):
        return " ".join(f"`{item:g}`" for item in value)
    return f"`{value:.3g}`" if isinstance(value, float) else f"`{value}`"


def _row(parameter: Any) -> str:
    meaning = (parameter.help or "").replace("|", r"\|").replace("\n", " ")
    return f"| {_names(parameter)} | {_default(parameter)} | {meaning} |"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, command in commands():
        shown = [parameter for parameter in command.params if parameter.name != "help"]
        parts.append(f"## `smotracker {name}`\n\n{' '.join((command.help or '').split())}\n\n")
        if shown:
            parts.append("| argument or option | default | meaning |\n|---|---|---|\n")
            parts.append("\n".join(map(_row, shown)) + "\n\n")
    return "".join(parts).rstrip("\n") + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page()))
