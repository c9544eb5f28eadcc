"""The rooms of the package: imports run one way, from upper floors to lower ones, without circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import smotracker_ros

PACKAGE = Path(smotracker_ros.__file__).parent
FLOORS = (
    ("models",),
    ("core",),
    ("detection", "masklets"),
    ("tracking",),
    ("presets",),
    ("io",),
    ("space",),
    ("offline", "training"),
    ("evaluation",),
    ("ros",),
    ("commands",),
    ("cli",),
)
LEVELS = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def _modules(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{item.name}" for item in node.names)


def _rooms(file: Path) -> set[str]:
    """Rooms of this package that a file imports from."""
    parts = (module.split(".") for module in _modules(file) if module.startswith("smotracker_ros."))
    return {part[1] for part in parts if part[1] in LEVELS}


def test_every_file_lives_in_a_room() -> None:
    rooms = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in FILES}
    assert rooms == set(LEVELS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_from_upper_floors_to_lower_ones(file: Path) -> None:
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for room in _rooms(file) - {own}:
        assert LEVELS[room] < LEVELS[own], f"{own} stands on floor {LEVELS[own]} and imports {room}"


def test_the_public_names() -> None:
    for name in smotracker_ros.__all__:
        assert getattr(smotracker_ros, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = smotracker_ros.nothing
