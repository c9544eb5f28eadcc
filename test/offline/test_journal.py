"""The journal of a run: one run at a time works with it, also where it had to be made anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import smotracker_ros
from smotracker_ros.core.code_version import code_checksum
from smotracker_ros.io.pending import SinkError
from smotracker_ros.offline.journal import Journal
from smotracker_ros.offline.processing import RESULTS_CODE

JOB = {"bag": "flight"}


def _began(path: Path) -> None:
    with Journal(path, JOB) as journal:
        journal.add(0, 5, {"tracks": b"data"})
        journal.commit(1, {"images": 1}, b"state")


@pytest.mark.parametrize("state", ["new", "begun", "broken", "broken in the middle", "of another job"])
def test_a_second_run_is_refused(tmp_path: Path, state: str) -> None:
    path = tmp_path / "journal.sqlite"
    if state != "new":
        _began(path)
    if state == "broken":
        path.write_bytes(b"broken" * 1000)
    if state == "broken in the middle":
        data = path.read_bytes()
        path.write_bytes(data[:100] + b"\xff" * 200 + data[300:])
    job = {"bag": "other"} if state == "of another job" else JOB
    with Journal(path, job) as journal:
        assert journal.next_number == (1 if state == "begun" else 0)
        with pytest.raises(SinkError, match="another run writes the same output"):
            Journal(path, job)
        journal.add(1, 6, {"tracks": b"more"})
        journal.commit(2, {}, b"later")
    with Journal(path, job) as journal:
        assert (journal.next_number, journal.snapshot) == (2, b"later"), "a run that has ended leaves it free"


@pytest.mark.parametrize(
    "changed", ["tracking/tracker.py", "masklets/memory.py", "io/encodings.py", "offline/snapshot.py"]
)
def test_results_are_keyed_by_the_code_that_makes_them(tmp_path: Path, changed: str) -> None:
    package = Path(smotracker_ros.__file__).parent
    copy = tmp_path / "smotracker_ros"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("*.pt", "__pycache__"))
    code = f"from smotracker_ros.core.code_version import code_checksum\nprint(code_checksum(*{RESULTS_CODE!r}))"
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def checksum() -> str:
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert checksum() == code_checksum(*RESULTS_CODE)
    with (copy / changed).open("a") as file:
        file.write("\n# another version\n")
    assert checksum() != code_checksum(*RESULTS_CODE)
