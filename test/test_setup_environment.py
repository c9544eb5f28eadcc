"""The set-up's own logic: what is done again, and what is repaired."""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that works in a temporary folder."""
    specification = importlib.util.spec_from_file_location("setup_environment", ROOT / "tools" / "setup_environment.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, specification.name, module)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.fixture
def environment(setup: ModuleType, tmp_path: Path) -> Any:
    """An environment in that folder with this interpreter."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return setup.whole(tmp_path)


def test_steps_are_done_once_per_key(setup: ModuleType, environment: Any) -> None:
    done: list[str] = []
    for key in ("a", "a", "b", "b", "a"):
        setup.step(environment, "dependencies", key, lambda key=key: done.append(key))
    assert done == ["a", "b", "a"]


def test_a_failed_step_is_tried_again(setup: ModuleType, environment: Any) -> None:
    def fail() -> None:
        raise setup.SetupError("no network")

    with pytest.raises(setup.SetupError):
        setup.step(environment, "dependencies", "a", fail)
    done: list[int] = []
    setup.step(environment, "dependencies", "a", lambda: done.append(1))
    assert done == [1]


def test_fingerprint_sees_names_and_contents(setup: ModuleType, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("x")
    other.write_text("x")
    assert setup.fingerprint([one]) != setup.fingerprint([other])
    before = setup.fingerprint([one, other], "3.11")
    assert setup.fingerprint([other, one], "3.11") == before
    one.write_text("y")
    assert setup.fingerprint([one, other], "3.11") != before


def test_foreign_include_folders_are_repaired(setup: ModuleType, environment: Any, tmp_path: Path) -> None:
    folder = tmp_path / ".venv" / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    file = folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    build = "/opt/python/cp312-cp312"
    file.write_text(
        "set_target_properties(std_msgs PROPERTIES\n"
        f'  INTERFACE_INCLUDE_DIRECTORIES "{build}/lib/python3.12/site-packages/numpy/_core/include;'
        f'{build}/include/python3.12;${{_IMPORT_PREFIX}}/include/std_msgs"\n'
        '  INTERFACE_LINK_LIBRARIES "rosidl"\n)\n'
    )
    for _ in range(2):
        setup.repair_cmake_files(environment)
        text = file.read_text()
        assert "/opt/python" not in text
        folders = f"{np.get_include()};{sysconfig.get_path('include')};${{_IMPORT_PREFIX}}/include/std_msgs"
        assert f'INTERFACE_INCLUDE_DIRECTORIES "{folders}"' in text
        assert '  INTERFACE_LINK_LIBRARIES "rosidl"\n)\n' in text


def test_repairs_of_one_environment_do_not_reach_the_next(setup: ModuleType, environment: Any, tmp_path: Path) -> None:
    folder = tmp_path / ".venv" / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    cached, file = tmp_path / "cached.cmake", folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    cached.write_text(
        '  INTERFACE_INCLUDE_DIRECTORIES "/gone/.venv/lib/python3.11/site-packages/numpy/_core/include"\n'
    )
    before = cached.read_text()
    file.hardlink_to(cached)
    setup.repair_cmake_files(environment)
    assert file.read_text() == f'  INTERFACE_INCLUDE_DIRECTORIES "{np.get_include()}"\n'
    assert cached.read_text() == before


def test_missing_compiler_without_root_says_what_to_run(
    setup: ModuleType, environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup.shutil, "which", lambda name: None if name == "g++" else f"/usr/bin/{name}")
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    with pytest.raises(setup.SetupError, match=r"run: sudo apt-get update && sudo apt-get install .*g\+\+"):
        setup.install_system_packages(environment, sys.executable)


def _pins(file: str) -> dict[str, str]:
    """Versions by package of a file of exact versions."""
    lines = [line for line in (ROOT / "requirements" / file).read_text().splitlines() if line[:1] != "#"]
    assert all(line.count("==") == 1 and "+" not in line for line in lines)
    pins = dict(line.split("==") for line in lines)
    assert len(pins) == len(lines)
    return pins


def test_lock_pins_every_package_exactly() -> None:
    assert {"torch", "ros-rclpy", "rosbags", "cmake"} <= set(_pins("lock.txt"))


def test_the_demo_has_what_the_base_needs_and_no_extra() -> None:
    whole, demo = _pins("lock.txt"), _pins("demo.txt")
    assert demo.items() <= whole.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = {re.split("[^A-Za-z0-9._-]", text)[0].lower() for text in project["dependencies"]}
    assert base | {"ros-rclpy", "cmake", "ninja"} <= set(demo)
    assert not {"torch", "sam2", "ultralytics-opencv-headless", "onnx", "boxmot", "matplotlib"} & set(demo)


def test_the_demo_takes_the_whole_environment_where_it_is_complete(setup: ModuleType, environment: Any) -> None:
    demo = setup.chosen(is_small=True)
    assert demo.folder.name == ".venv-demo" and setup.chosen(is_small=False) == environment
    assert demo.build.is_relative_to(demo.folder) and demo.install.is_relative_to(demo.folder), "nothing is shared"
    setup.step(environment, setup.LAST_STEP, "a", lambda: None)
    assert setup.chosen(is_small=True) == environment
