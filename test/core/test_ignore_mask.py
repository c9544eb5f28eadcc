"""Places that users ignore."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from smotracker_ros.core.ignore_mask import IgnoreMask, IgnoreMaskError
from smotracker_ros.core.settings import SettingsError, TrackerSettings

BOXES = np.float32([[10, 10, 20, 20], [90, 70, 96, 78]])


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_white_of_a_picture_is_ignored_at_any_size(tmp_path: Path) -> None:
    picture = np.zeros((50, 50), dtype=np.uint8)
    picture[:15, :15] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    mask = IgnoreMask.load(str(tmp_path / "mask.png"))
    assert mask.covers(BOXES, 100, 100).tolist() == [True, False]
    assert mask.of_size(100, 200)[:30, :60].all() and not mask.of_size(100, 200)[30:].any()


def test_polygons_are_in_pixels_or_refer_to_a_size(tmp_path: Path) -> None:
    triangle = "polygons:\n  - [[80, 60], [100, 60], [100, 100], [80, 100]]\n"
    mask = IgnoreMask.load(_write(tmp_path / "a.yaml", triangle))
    assert mask.covers(BOXES, 100, 100).tolist() == [False, True]
    assert mask.of_size(100, 100)[60:100, 80:100].all() and mask.of_size(100, 100).sum() == 40 * 20
    scaled = IgnoreMask.load(_write(tmp_path / "b.yaml", triangle + "size: [200, 200]\n"))
    assert scaled.covers(BOXES, 100, 100).tolist() == [False, False]
    assert scaled.of_size(100, 100)[32:48, 42:48].all()


def test_no_mask_ignores_nothing() -> None:
    mask = IgnoreMask.load("")
    assert not mask and not mask.covers(BOXES, 100, 100).any()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.png", None),
        ("broken.png", b"no picture"),
        ("empty.yaml", b""),
        ("words.yaml", b"polygons: here"),
        ("line.yaml", b"polygons: [[[0, 0], [5, 5]]]"),
        ("nan.yaml", b"polygons: [[[0, 0], [5, 5], [.nan, 3]]]"),
        ("size.yaml", b"polygons: [[[0, 0], [5, 5], [3, 3]]]\nsize: [0, 10]"),
        ("bad.yaml", b"polygons: ["),
        ("latin.yaml", b"polygons: \xff"),
    ],
)
def test_a_mask_that_cannot_be_read_is_refused_where_it_is_set(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IgnoreMaskError, match=name):
        IgnoreMask.load(str(path))
    with pytest.raises(SettingsError, match=name):
        TrackerSettings(ignore_mask=str(path))
