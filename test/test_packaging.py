"""Wheel and sdist, built by the hooks that installers call: what is in them, and that the wheel works elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 10_000_000
LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv*",
    ".cache",
    "build",
    "install",
    "log",
    "runs",
    "site",
    "dist",
    "*_output",
    "__pycache__",
    "*.egg-info",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with the wheel and the sdist of a copy of this project: building leaves files behind."""
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    (folder / "dist").mkdir()
    for hook in ("build_wheel", "build_sdist"):
        code = f"import sys, setuptools.build_meta as hooks; hooks.{hook}(sys.argv[1])"
        command = [sys.executable, "-c", code, str(folder / "dist")]
        result = subprocess.run(
            command, cwd=folder / "source", capture_output=True, text=True, timeout=300, check=False
        )
        assert result.returncode == 0, result.stderr
    yield folder / "dist"


def _data_files() -> set[str]:
    """Files of the package that are no code: weights, configurations, tables."""
    files = (file for file in (ROOT / "smotracker_ros").rglob("*") if file.is_file())
    kept = (file for file in files if "__pycache__" not in file.parts and file.suffix not in (".py", ".pyc"))
    return {str(file.relative_to(ROOT)) for file in kept}


@pytest.mark.slow
def test_the_wheel_holds_everything_that_runs(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {item.filename: item.file_size for item in archive.infolist()}
        names = set(sizes)
        text = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    assert _data_files() <= names
    assert {"smotracker_ros/py.typed", "smotracker_ros/models/weights/sam2_nano.pt"} <= names
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "smotracker_ros").rglob("*.py")}
    assert modules <= names
    foreign = {name for name in names if not name.startswith("smotracker_ros")}
    assert not foreign, "a wheel that installs top-level folders of tests or tools gets into the way of others"
    assert max(sizes.values()) < LARGEST
    fields = Parser().parsestr(text)
    assert fields["Name"] == "smotracker_ros"
    assert "LICENSE" in fields.get_all("License-File", []) and fields["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in fields.get_all("Classifier", [])


@pytest.mark.slow
def test_the_sdist_holds_the_project(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {"/".join(name.split("/")[1:]) for name in archive.getnames()}
    assert _data_files() <= names
    for path in (
        "package.xml",
        "msg/Track.msg",
        "launch/track.launch.py",
        "docs/index.md",
        "test/conftest.py",
        "LICENSE",
    ):
        assert path in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.slow
def test_the_wheel_works_where_the_project_is_not(built: Path, tmp_path: Path) -> None:
    """The libraries are this environment's; the package is the wheel's alone."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environment = dict(os.environ, PYTHONPATH=str(tmp_path / "installed"), COLUMNS="200")
    command = [sys.executable, "-m", "smotracker_ros.cli"]
    options = ["--frames", "12", "--width", "320", "--height", "256", "--targets", "2"]
    steps = (["synthesize", "--output", "scene", *options], ["track", "scene/video.mp4", "--output", "out"])
    for arguments in (*steps, ["weights", "verify"]):
        result = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["frames"] == 12
    where = "import smotracker_ros; print(smotracker_ros.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith(str(tmp_path))
