"""Variants of the ablation: each has tracks of its own, kept as long as they are of this variant; replacements fit."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from smotracker_ros.evaluation.comparison import ComparisonError
from smotracker_ros.tracking.camera_motion import STILL, CameraMotion
from smotracker_ros.tracking.target import Target
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "ablation.py"
STILL_CAMERA: tuple[Any, str, Any] = (CameraMotion, "update", lambda self, image, seconds, known: STILL)
NOTHING_REPORTED: tuple[Any, str, Any] = (Target, "judge", lambda self, *arguments: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_scene(folder / "scene4", SceneSettings(256, 192, 24, 30.0, 3, "static", "infrared"), 4)
    return folder


@pytest.fixture
def ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = importlib.util.spec_from_file_location("ablation", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(ablation: ModuleType, data: Path, output: Path, **parts: tuple[Any, str, Any]) -> dict[str, tuple[str, int]]:
    """Tracks of all variants, and when they were written, by name."""
    ablation.SETTINGS, ablation.PARTS = {"as shipped": {}}, parts
    ablation.main(data, output)
    names = ["as shipped", *parts]
    tracks = {name: ablation.plan_for(name, output).output / "tracks" / "y-smotracker" for name in names}
    files = {name: folder / "scene4.txt" for name, folder in tracks.items()}
    return {name: (file.read_text(), file.stat().st_mtime_ns) for name, file in files.items()}


def test_an_inserted_variant_has_tracks_of_its_own(ablation: ModuleType, data: Path, tmp_path: Path) -> None:
    before = _run(ablation, data, tmp_path, still=STILL_CAMERA)
    assert before["as shipped"][0], "a scene without tracks proves nothing"
    after = _run(ablation, data, tmp_path, silent=NOTHING_REPORTED, still=STILL_CAMERA)
    assert after["silent"][0] == ""
    assert {name: after[name] for name in before} == before, "what is finished is not computed again"


def test_another_part_under_the_same_name_is_computed_anew(ablation: ModuleType, data: Path, tmp_path: Path) -> None:
    before = _run(ablation, data, tmp_path, changed=STILL_CAMERA)
    after = _run(ablation, data, tmp_path, changed=NOTHING_REPORTED)
    assert before["changed"][0] and after["changed"][0] == ""
    assert after["as shipped"] == before["as shipped"]


def test_what_a_part_has_been_given_counts(ablation: ModuleType, tmp_path: Path) -> None:
    """Closures and helpers: two associations differ only in the cues that they hold."""
    ablation.PARTS = {
        "a": ablation.PARTS["association without place"],
        "b": ablation.PARTS["association without shape"],
    }
    again = {"b": ablation.PARTS["b"]}
    first = {name: ablation.plan_for(name, tmp_path).variant for name in ablation.PARTS}
    ablation.PARTS = {"a": again["b"], **again}
    second = {name: ablation.plan_for(name, tmp_path).variant for name in ablation.PARTS}
    assert first["b"] == second["b"] and first["a"] != second["a"]


def test_replacements_take_what_the_part_takes(ablation: ModuleType) -> None:
    """A part that is given one more argument would else fail in the middle of a long run."""
    compared = 0
    for name, (owner, attribute, replacement) in ablation.PARTS.items():
        replaced = inspect.getattr_static(owner, attribute)
        if isinstance(replaced, FunctionType) and isinstance(replacement, FunctionType):
            taken = list(inspect.signature(replaced).parameters)
            assert len(inspect.signature(replacement).parameters) == len(taken), f"{name}: {taken}"
            compared += 1
    assert compared > 5


def test_a_variant_that_fails_says_why(ablation: ModuleType, data: Path, tmp_path: Path) -> None:
    broken: tuple[Any, str, Any] = (CameraMotion, "update", lambda self, image, seconds, known: 1 / 0)
    with pytest.raises(ComparisonError, match="broken: ZeroDivisionError"):
        _run(ablation, data, tmp_path, broken=broken)


def test_a_term_of_the_evidence_can_be_left_out(ablation: ModuleType, data: Path, tmp_path: Path) -> None:
    name = "existence without score"
    tracks = _run(ablation, data, tmp_path, **{name: ablation.PARTS[name]})
    assert tracks[name][0] and tracks[name][0] != tracks["as shipped"][0]
