"""Crops for the detector's training."""

from pathlib import Path

import cv2
import numpy as np

from smotracker_ros.training.clips import read_clips
from smotracker_ros.training.detector_crops import CropSettings, cut_crop, write_crops
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings


def _image() -> tuple[np.ndarray, np.ndarray]:
    image = np.full((256, 320, 3), 50, dtype=np.uint8)
    image[100:110, 200:216] = 250
    return image, np.float32([[200, 100, 216, 110], [5, 5, 20, 20]])


def test_a_crop_keeps_boxes_on_their_pixels() -> None:
    for scale in (0.6, 1.0, 1.3):
        image, boxes = _image()
        crop, found, kept = cut_crop(image, boxes, (208, 105), scale, 160)
        assert crop.shape == (160, 160, 3)
        assert 0 in kept
        rows, columns = np.nonzero(crop[:, :, 0] > 150)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found[kept.tolist().index(0)], tight, atol=1.6)


def test_boxes_that_are_mostly_outside_are_left_out() -> None:
    image, boxes = _image()
    _, found, kept = cut_crop(image, boxes, (208, 105), 1.0, 160)
    assert kept.tolist() == [0] and len(found) == 1


def test_crops_are_written_in_the_layout_that_ultralytics_reads(tmp_path: Path) -> None:
    settings = SceneSettings(width=320, height=256, frames=24, targets=3, modality="infrared", camera="static")
    write_scene(tmp_path / "data" / "IR_SCENE_001", settings, seed=3)
    count = write_crops(read_clips(tmp_path / "data"), tmp_path / "crops", CropSettings(frame_step=4, empty_share=0.0))
    images = sorted((tmp_path / "crops" / "images").glob("*.png"))
    assert len(images) == count == 6
    rows = 0
    for path in images:
        assert cv2.imread(str(path)).shape == (160, 160, 3)
        for line in (tmp_path / "crops" / "labels" / f"{path.stem}.txt").read_text().splitlines():
            class_id, *numbers = line.split()
            assert 0 <= int(class_id) <= 3
            assert all(0 <= float(number) <= 1 for number in numbers)
            rows += 1
    assert rows > 0
    assert write_crops([], tmp_path / "crops", CropSettings()) == count, "finished crops are kept"
