"""Targets of one clip in front of the background of another, and crops of false boxes."""

import json
from pathlib import Path

import numpy as np

from smotracker_ros.training.clips import read_clips
from smotracker_ros.training.copy_paste import CutOutBook, cut_out
from smotracker_ros.training.detector_crops import CropSettings, write_crops
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

BOX = np.float32([96, 76, 114, 90])


def _sky(level: float, bright: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[0:160, 0:200]
    grey = level + bright * np.exp(-(((x - 105) / 4.0) ** 2 + ((y - 83) / 2.5) ** 2))
    grey = grey + np.random.default_rng(0).normal(0, 1, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_a_cut_out_is_the_targets_contrast_and_nothing_of_its_sky() -> None:
    found = cut_out(_sky(60, 150), BOX, 2)
    assert found is not None and found.class_id == 2
    assert found.contrast.max() > 100
    rim = np.concatenate([found.contrast[0].ravel(), found.contrast[-1].ravel()])
    assert np.abs(rim).max() < 1
    np.testing.assert_allclose(found.box[2:] - found.box[:2], BOX[2:] - BOX[:2])
    assert cut_out(_sky(60, 150), np.float32([-2, 76, 14, 90]), 2) is None, "at the border"
    assert cut_out(_sky(60), BOX, 2) is None, "nothing to be seen"


def test_a_pasted_target_lies_in_its_box_and_covers_no_other() -> None:
    book, cut = CutOutBook(), cut_out(_sky(60, 150), BOX, 1)
    assert cut is not None
    book._books[True][1] = [cut]
    own = np.float32([[20, 20, 60, 60]])
    for seed in range(20):
        image, boxes, classes = book.paste(_sky(90), own, np.array([3]), True, 1.0, np.random.default_rng(seed))
        if len(boxes) == 1:
            continue
        assert classes.tolist() == [3, 1]
        changed = np.abs(image[..., 0].astype(int) - _sky(90)[..., 0]) > 25
        rows, columns = np.nonzero(changed)
        x1, y1, x2, y2 = boxes[1]
        assert x1 - 1 <= columns.min() and columns.max() <= x2 + 1
        assert y1 - 1 <= rows.min() and rows.max() <= y2 + 1
    unchanged, boxes, _ = book.paste(_sky(90), own, np.array([3]), False, 1.0, np.random.default_rng(0))
    assert len(boxes) == 1 and np.array_equal(unchanged, _sky(90)), "an infrared target fits no visible clip"


def test_false_boxes_become_crops_without_targets(tmp_path: Path) -> None:
    settings = SceneSettings(width=320, height=256, frames=24, targets=3, modality="infrared", camera="static")
    write_scene(tmp_path / "data" / "IR_SCENE_001", settings, seed=3)
    clips = read_clips(tmp_path / "data")
    corner = np.float32([[300, 240, 312, 250]])
    crops = CropSettings(side=64, frame_step=4, paste_share=1.0, degraded_share=0.5)
    count = write_crops(clips, tmp_path / "crops", crops, lambda image: corner)
    facts = json.loads((tmp_path / "crops" / "crops.json").read_text())
    false = sorted((tmp_path / "crops" / "labels").glob("*_false0.txt"))
    assert facts["false_boxes"] == len(false) > 0
    assert count == 6 + len(false) == len(list((tmp_path / "crops" / "images").iterdir()))
    assert all(not path.read_text() for path in false)
