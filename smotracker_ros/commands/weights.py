"""The command `smotracker weights`."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from smotracker_ros.commands.options import Json
from smotracker_ros.models.fetch import entry_for, fetch
from smotracker_ros.models.weight_files import WeightError, WeightFile, cache_folder, known_files, verify

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Weight files: what is there, whether it is unchanged, and downloads.",
)


def _state(entry: WeightFile) -> str:
    if entry.embedded:
        return "embedded"
    return "fetched" if entry.path.is_file() else "not fetched"


def _show(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total or None)


@app.command("list")
def list_files(as_json: Json = False) -> None:
    """Show all files that are known by name."""
    if as_json:
        entries = [
            {**dataclasses.asdict(entry), "path": str(entry.path), "state": _state(entry)}
            for entry in known_files().values()
        ]
        typer.echo(json.dumps({"folder": str(cache_folder()), "files": entries}, indent=1))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "kind", "MB", "licence", "state", "sha256"):
        table.add_column(heading, justify="right" if heading == "MB" else "left", no_wrap=True)
    for entry in known_files().values():
        size = f"{entry.size / 1e6:.0f}" if entry.size else "?"
        table.add_row(entry.name, entry.kind, size, entry.licence or "?", _state(entry), entry.sha256[:16])
    console = Console()
    console.print(table)
    console.print(f"Fetched files lie in {cache_folder()}", soft_wrap=True, highlight=False)


@app.command("verify")
def verify_files(
    names: Annotated[list[str] | None, typer.Argument(help="Names; none: all files that are there.")] = None,
) -> None:
    """Compare files with their checksums; exit code 1 if one has changed or is missing."""
    entries = [entry_for(name) for name in names or []]
    if not names:
        entries = [entry for entry in known_files().values() if entry.embedded or entry.path.is_file()]
    bad = 0
    for entry in entries:
        try:
            verify(entry)
            typer.echo(f"{entry.name}: unchanged")
        except WeightError as error:
            bad += 1
            typer.echo(f"{entry.name}: {error}", err=True)
    if bad:
        raise typer.Exit(1)


@app.command("fetch")
def fetch_files(names: Annotated[list[str], typer.Argument(help="Names of the list, or https addresses.")]) -> None:
    """Download files into the cache folder; a download that broke off goes on where it was."""
    entries = [entry_for(name) for name in names]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    for entry in entries:
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(entry.name, total=entry.size or None)
            done = fetch(entry, functools.partial(_show, bar, task))
        known = "as expected" if entry.sha256 else "pinned: a file that differs will be refused from now on"
        typer.echo(f"{done.path}\nsha256 {done.sha256} ({known})")
