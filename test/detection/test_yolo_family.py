"""Other detectors of ultralytics by file: architectures with random weights, and single-frame checkpoints."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.detection.yolo import EMBEDDED_WEIGHTS, YoloDetector
from smotracker_ros.training.detector import export_detector as export_single_frame

FRAME = Frame(np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8), 0)


@pytest.mark.parametrize("architecture", ["yolo11n", "yolo12n", "yolov8n-worldv2", "rtdetr-resnet50"])
def test_other_architectures_load_by_file(architecture: str, tmp_path: Path) -> None:
    from ultralytics import RTDETR, YOLO, YOLOWorld

    kind = {"rtdetr": RTDETR, "yolov8": YOLOWorld}.get(architecture[:6], YOLO)
    path = tmp_path / f"{architecture}.pt"
    kind(f"{architecture}.yaml").save(path)
    detector = YoloDetector(path)
    assert len(detector.class_names) == 80 and detector.name.startswith(architecture)
    assert (detector.scale(640, 512) == 0) == architecture.startswith("rtdetr"), "transformers see whole frames"
    found = detector.detect(FRAME, image_size=160)
    assert found.boxes.shape == (len(found), 4) and (np.diff(found.scores) <= 0).all()


def test_a_checkpoint_of_single_frames_sees_grey_at_the_frames_own_size(tmp_path: Path) -> None:
    export_single_frame(EMBEDDED_WEIGHTS, tmp_path / "single.pt", ())
    detector, motion = YoloDetector(tmp_path / "single.pt"), YoloDetector()
    assert detector.motion_seconds == () and motion.motion_seconds
    assert detector.scale(320, 256) == motion.scale(320, 256) == 2.0, "its own size, not that of other people's models"
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    picture[30:36, 40:48] = (250, 20, 20)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    seen, wanted = (detector.detect(Frame(image, 0, 0)) for image in (picture, np.asarray(grey, dtype=np.uint8)))
    assert len(seen) > 0
    np.testing.assert_allclose(seen.boxes, wanted.boxes, atol=1e-3)  # torch's kernels round by the alignment of memory
    np.testing.assert_allclose(seen.scores, wanted.scores, atol=1e-5)
