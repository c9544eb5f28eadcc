"""Ids over restarts: no number is given twice, whatever ends the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smotracker_ros.core.settings import SettingsError
from smotracker_ros.ros.identities import BLOCK, Identities, identity_file


def test_without_a_run_ids_are_kept_by_the_process_alone() -> None:
    assert identity_file("", "/smotracker") is None
    identities = Identities(None)
    identities.cover(17)
    assert identities.next_id == 17
    identities.close()


def test_each_node_and_run_has_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    paths = {identity_file(run, node) for run in ("one", "two") for node in ("/front/smotracker", "/smotracker")}
    assert len(paths) == 4
    assert tmp_path / "smotracker" / "one" / "front__smotracker.next_id" in paths
    monkeypatch.delenv("ROS_HOME")
    assert identity_file("one", "/smotracker") == Path.home() / ".ros" / "smotracker" / "one" / "smotracker.next_id"


@pytest.mark.parametrize("run_id", ["../elsewhere", "/etc/passwd", "a/b", "..", ".", "-x", "a b", "a\n", "x" * 300])
def test_names_that_lead_elsewhere_are_refused(run_id: str) -> None:
    with pytest.raises(SettingsError, match="run_id"):
        identity_file(run_id, "/smotracker")


def test_ids_go_on_after_an_orderly_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "node.next_id"
    first = Identities(path)
    assert first.next_id == 1
    first.cover(5)
    first.close()
    assert Identities(path).next_id == 5


def test_ids_are_not_used_again_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "node.next_id"
    script = (
        "import os, pathlib, signal, sys\n"
        "from smotracker_ros.ros.identities import Identities\n"
        "identities = Identities(pathlib.Path(sys.argv[1]))\n"
        "for _ in range(150):\n"
        "    identities.cover(identities.next_id + 1)\n"
        "    print(identities.next_id - 1, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    used: list[int] = []
    for _ in range(3):
        answer = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
        assert answer.returncode == -9, answer.stderr
        used += map(int, answer.stdout.split())
    assert len(used) == 450 and len(set(used)) == 450
    assert max(used) <= 450 + 3 * BLOCK


@pytest.mark.parametrize("content", ["", "many", "-3", "0", "99999999999", "1.5", "\x00"])
def test_a_file_that_holds_no_id_is_not_guessed_at(tmp_path: Path, content: str) -> None:
    path = tmp_path / "node.next_id"
    path.write_text(content)
    with pytest.raises(SettingsError, match="delete the file"):
        Identities(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file"):
        Identities(tmp_path / "file" / "node.next_id")


def test_a_write_that_fails_leaves_the_old_number(tmp_path: Path) -> None:
    path = tmp_path / "node.next_id"
    identities = Identities(path)
    os.mkdir(path.with_suffix(".new"))
    with pytest.raises(OSError):
        identities.cover(2)
    assert int(path.read_text()) == 1
    os.rmdir(path.with_suffix(".new"))
    identities.cover(3)
    assert int(path.read_text()) == 3 + BLOCK


def test_runs_that_nobody_named_are_forgotten_after_months(tmp_path: Path) -> None:
    files = {
        name: tmp_path / name / "node.next_id" for name in ("run_mast_77_4711", "run_mast_78_4712", "run_1", "mast")
    }
    for file in files.values():
        Identities(file).close()
    for name in ("run_mast_77_4711", "run_1", "mast"):
        os.utime(files[name], (0, 0))
    Identities(tmp_path / "new" / "node.next_id").close()
    assert {name for name, file in files.items() if file.exists()} == {"run_mast_78_4712", "run_1", "mast"}
