"""Files around the code: one version, a changelog for ROS's build farm, workflows that can be read, no large files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

import smotracker_ros

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
LARGEST = 10_000_000
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_version_is_the_same_everywhere() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert {package, str(citation), smotracker_ros.__version__} == {VERSION}
    newest = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d|unreleased)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None and newest[1] == VERSION


def test_the_changelog_of_the_build_farm_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "changelog_rst.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    text = (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")
    entries = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").count("\n- ")
    assert len(re.findall(r"^ *\* .", text, re.M)) >= entries > 50


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_say_that_they_have_not_run(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# This workflow has not run")
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert job["steps"] and job["timeout-minutes"], name


def test_workflows_call_what_is_there() -> None:
    """Targets of make, extras, and the Python versions that the project promises."""
    texts = "\n".join(file.read_text(encoding="utf-8") for file in WORKFLOWS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"run: make ([\w-]+)", texts)):
        assert re.search(rf"^{target}:", makefile, re.M), f"there is no `make {target}`"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for names in re.findall(r"'\.\[([\w,-]+)\]'", texts):
        assert set(names.split(",")) <= set(extras)
    for path in re.findall(r"src/smotracker_ros/([\w./-]+)", texts):
        assert (ROOT / path).exists()


def test_forms_and_settings_can_be_read() -> None:
    for file in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert file.stem == "config" or {"name", "description", "body"} <= set(content)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert {hook["id"] for repository in hooks for hook in repository["hooks"]} >= {"ruff-check", "ruff-format", "mypy"}
    container = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    assert "make setup" in json.loads(re.sub(r"^//.*\n", "", container))["postCreateCommand"]


def test_no_file_is_large() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(files) > 100
    assert [str(file) for file in files if file.is_file() and file.stat().st_size > LARGEST] == []
