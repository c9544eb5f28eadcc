"""The set-up's own logic: what is done again, and what is repaired."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module that works in a temporary folder."""
    specification = importlib.util.spec_from_file_location("setup_environment", ROOT / "tools" / "setup_environment.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", Path(sys.executable))
    (tmp_path / ".venv").mkdir()
    return module


def test_steps_are_done_once_per_key(setup: ModuleType) -> None:
    done: list[str] = []
    for key in ("a", "a", "b", "b", "a"):
        setup.step("dependencies", key, lambda key=key: done.append(key))
    assert done == ["a", "b", "a"]


def test_a_failed_step_is_tried_again(setup: ModuleType) -> None:
    def fail() -> None:
        raise setup.SetupError("no network")

    with pytest.raises(setup.SetupError):
        setup.step("dependencies", "a", fail)
    done: list[int] = []
    setup.step("dependencies", "a", lambda: done.append(1))
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


def test_foreign_include_folders_are_repaired(setup: ModuleType, tmp_path: Path) -> None:
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
        setup.repair_cmake_files()
        text = file.read_text()
        assert "/opt/python" not in text
        folders = f"{np.get_include()};{sysconfig.get_path('include')};${{_IMPORT_PREFIX}}/include/std_msgs"
        assert f'INTERFACE_INCLUDE_DIRECTORIES "{folders}"' in text
        assert '  INTERFACE_LINK_LIBRARIES "rosidl"\n)\n' in text


def test_missing_compiler_without_root_says_what_to_run(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.shutil, "which", lambda name: None if name == "g++" else f"/usr/bin/{name}")
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    with pytest.raises(setup.SetupError, match=r"run: sudo apt-get update && sudo apt-get install .*g\+\+"):
        setup.install_system_packages(sys.executable)


def test_lock_pins_every_package_exactly() -> None:
    lines = [line for line in (ROOT / "requirements" / "lock.txt").read_text().splitlines() if line[:1] != "#"]
    assert all(line.count("==") == 1 and "+" not in line for line in lines)
    names = [line.split("==")[0] for line in lines]
    assert len(names) == len(set(names)) and {"torch", "ros-rclpy", "rosbags", "cmake"} <= set(names)
