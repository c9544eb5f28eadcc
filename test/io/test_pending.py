"""Outputs take their places together, and what was there is never lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from smotracker_ros.io.pending import SinkError, pending_outputs, pending_path, put_aside

NAMES = ("tracks.txt", "summary.json", "masks")


def _write(folder: Path, text: str, names: tuple[str, ...] = NAMES) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        if name == "masks":
            (folder / name).mkdir()
            (folder / name / "000001.png").write_text(text)
        else:
            (folder / name).write_text(text)


def _content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_all_outputs_of_an_earlier_run_are_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also those that the new run does not have; other files of the folder stay where they are."""
    output = tmp_path / "out"
    _write(output, "first")
    (output / "notes.txt").write_text("mine")
    for text in ("second", "third"):
        with pending_outputs(output, NAMES) as pending:
            _write(pending, text, NAMES[:2])
    assert sorted(path.name for path in output.iterdir()) == ["earlier", "notes.txt", "summary.json", "tracks.txt"]
    assert {key: text for key, text in _content(output).items() if key in NAMES} == dict.fromkeys(NAMES[:2], "third")
    earlier = {"tracks.txt": "first", "summary.json": "first", "masks/000001.png": "first"}
    assert _content(output / "earlier" / "1") == earlier
    assert _content(output / "earlier" / "2") == dict.fromkeys(NAMES[:2], "second")
    assert f"they are in {output}/earlier/1 now" in caplog.text


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_a_run_that_fails_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    output = tmp_path / "out"
    _write(output, "first")
    before = _content(output)
    with pytest.raises(error), pending_outputs(output, NAMES) as pending:
        _write(pending, "second")
        raise error
    assert _content(output) == before
    with pytest.raises(error), pending_outputs(tmp_path / "a" / "b", NAMES) as pending:
        _write(pending, "second")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "folders that were made for it are gone, too"


@pytest.mark.parametrize("failing", range(6))
def test_a_rename_that_fails_does_not_cost_the_old_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Whichever of the renames it is: three move the old outputs aside, three the new ones into place."""
    _write(tmp_path, "first")
    before = _content(tmp_path)
    replace, calls = os.replace, iter(range(100))

    def refuse(source: Path, target: Path) -> None:
        if next(calls) == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(SinkError, match="Input/output error"), pending_outputs(tmp_path, NAMES) as pending:
        _write(pending, "second")
    assert _content(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    with pending_outputs(tmp_path, NAMES) as pending:
        _write(pending, "third")
    assert len(_content(tmp_path / "earlier" / "1")) == 3


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path.parent / "elsewhere")])
def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    make(tmp_path / "out")
    (tmp_path / "out" / "file").touch()
    with pytest.raises(SinkError, match="exists already"), pending_path(tmp_path / "out"):
        raise AssertionError("nothing may be begun")
    assert (tmp_path / "out" / "file").exists()


def test_an_empty_folder_may_become_the_output(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pending_path(tmp_path / "out") as pending:
        _write(pending, "text")
    assert len(_content(tmp_path / "out")) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(SinkError, match="cannot be written"), pending_path(tmp_path / "empty") as pending:
        pending.write_text("a file")


def test_dangling_links_are_moved_aside_too(tmp_path: Path) -> None:
    (tmp_path / "masks").symlink_to(tmp_path / "nowhere")
    assert put_aside(tmp_path, ["masks", "bag"]) == tmp_path / "earlier" / "1"
    assert os.readlink(tmp_path / "earlier" / "1" / "masks") == str(tmp_path / "nowhere")
    assert put_aside(tmp_path, ["masks", "bag"]) is None
