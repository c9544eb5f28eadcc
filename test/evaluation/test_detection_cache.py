"""The cache gives what the detector gives, whatever state its files are in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from smotracker_ros.core.code_version import code_checksum
from smotracker_ros.detection.yolo import YoloDetector
from smotracker_ros.evaluation import detection_cache
from smotracker_ros.evaluation.datasets import read_dataset
from smotracker_ros.evaluation.detection_cache import (
    LEAST_CONFIDENCE,
    CachedDetector,
    LiveDetector,
    cached_detections,
    content_checksum,
    default_cache,
)
from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

FRAMES = 6


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSequence:
    folder = tmp_path_factory.mktemp("data")
    write_scene(folder / "scene", SceneSettings(256, 192, FRAMES, 30.0, 3, "static", "infrared"), seed=0)
    return read_dataset(folder)[0]


@pytest.fixture(scope="module")
def detector() -> LiveDetector:
    return LiveDetector(YoloDetector())


def test_cached_detections_are_those_of_the_detector(
    sequence: EvaluationSequence, detector: LiveDetector, tmp_path: Path
) -> None:
    first = cached_detections(sequence, detector, tmp_path)
    passes = detector.passes
    again = cached_detections(sequence, detector, tmp_path)
    assert detector.passes == passes, "the second call must read the file"
    assert first.seconds_per_frame == again.seconds_per_frame > 0
    served = CachedDetector(again, detector.class_names, detector.name)
    found = 0
    for frame in sequence.frames():
        for least in (LEAST_CONFIDENCE, 0.1, 0.3):
            direct, cached = detector.detect(frame, least), served.detect(frame, least)
            np.testing.assert_array_equal(cached.boxes, direct.boxes)
            np.testing.assert_array_equal(cached.scores, direct.scores)
            np.testing.assert_array_equal(cached.class_ids, direct.class_ids)
        found += len(direct)
    assert found > 0, "a scene without sure detections proves nothing"
    assert served.passes == 3 * FRAMES
    assert (served.name, served.class_names) == (detector.name, detector.class_names)


def test_another_image_size_or_video_is_another_entry(
    sequence: EvaluationSequence, detector: LiveDetector, tmp_path: Path
) -> None:
    natural = cached_detections(sequence, detector, tmp_path)
    passes = detector.passes
    small = cached_detections(sequence, detector, tmp_path, image_size=160)
    assert detector.passes == passes + FRAMES
    assert small.detections.boxes.tobytes() != natural.detections.boxes.tobytes()
    copy = tmp_path / "other.mp4"
    copy.write_bytes(sequence.video.read_bytes() + b"\0")
    assert content_checksum(copy) != content_checksum(sequence.video)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped"])
def test_a_broken_file_is_made_anew(
    sequence: EvaluationSequence, detector: LiveDetector, tmp_path: Path, damage: str
) -> None:
    whole = cached_detections(sequence, detector, tmp_path)
    (path,) = tmp_path.glob("*.npz")
    content = path.read_bytes()
    middle = len(content) // 3
    broken = {
        "empty": b"",
        "cut": content[: 2 * middle],
        "text": b"no archive",
        "flipped": content[:middle]
        + bytes(255 - value for value in content[middle : middle + 40])
        + content[middle + 40 :],
    }
    path.write_bytes(broken[damage])
    passes = detector.passes
    again = cached_detections(sequence, detector, tmp_path)
    assert detector.passes == passes + FRAMES
    np.testing.assert_array_equal(again.detections.boxes, whole.detections.boxes)
    with np.load(path) as stored:
        np.testing.assert_array_equal(stored["boxes"], whole.detections.boxes)


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path in default_cache().parents
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert Path.home() / ".cache" in default_cache().parents


def test_another_prompt_or_other_code_is_another_file(
    sequence: EvaluationSequence, detector: LiveDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_detections(sequence, detector, tmp_path, variant="drone .")
    cached_detections(sequence, detector, tmp_path, variant="bird .")
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(detection_cache, "code_checksum", lambda *patterns: "of a later version")
    passes = detector.passes
    cached_detections(sequence, detector, tmp_path, variant="bird .")
    assert len(list(tmp_path.iterdir())) == 3 and detector.passes == passes + FRAMES


def test_the_code_is_known_by_its_content() -> None:
    assert code_checksum("detection/*.py") != code_checksum("masklets/*.py")
    assert code_checksum("detection/*.py") == code_checksum("detection/*.py")


def test_detections_keep_the_numbers_of_their_frames(
    sequence: EvaluationSequence, detector: LiveDetector, tmp_path: Path
) -> None:
    images = tmp_path / "img1"
    images.mkdir()
    for frame in sequence.frames():
        cv2.imwrite(str(images / f"{frame.index + 1:06d}.png"), frame.image[:, :, ::-1])
    folder = dataclasses.replace(sequence, video=images)
    whole = cached_detections(folder, detector, tmp_path / "cache")
    assert set(whole.frames) >= {1, 2}, "the frame that goes, and one behind it, must show something"
    (images / "000002.png").unlink()
    rest = cached_detections(folder, detector, tmp_path / "cache")
    assert rest.frames.tolist() == whole.frames[whole.frames != 1].tolist()
    np.testing.assert_array_equal(rest.detections.boxes, whole.detections.boxes[whole.frames != 1])
