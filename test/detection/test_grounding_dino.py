"""Grounding DINO through transformers' real classes, with a tiny model of random weights."""

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from smotracker_ros.cli import app
from smotracker_ros.core.frames import Frame
from smotracker_ros.core.prompts import prompt_phrases
from smotracker_ros.core.settings import SettingsError, TrackerSettings
from smotracker_ros.detection import DetectorError, PromptedDetector
from smotracker_ros.detection.grounding_dino import GroundingDinoDetector
from smotracker_ros.presets import build_tracker, load_settings

FRAME = Frame(np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8), 0)


def test_detections_are_those_of_transformers_own_postprocessing(tiny_grounding_dino: Path) -> None:
    import transformers

    detector = GroundingDinoDetector(str(tiny_grounding_dino), "drone . bird .", 0.0)
    found = detector.detect(FRAME)
    assert len(found) > 0
    processor = transformers.GroundingDinoProcessor(
        transformers.AutoImageProcessor.from_pretrained(tiny_grounding_dino),
        transformers.AutoTokenizer.from_pretrained(tiny_grounding_dino),
    )
    model = transformers.GroundingDinoForObjectDetection.from_pretrained(tiny_grounding_dino).eval()
    inputs = processor(images=FRAME.image, text="drone . bird .", return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs)
    theirs = processor.post_process_grounded_object_detection(
        output, inputs["input_ids"], threshold=0.0, text_threshold=0.0, target_sizes=[(120, 160)]
    )[0]
    boxes = np.clip(theirs["boxes"].numpy(), 0, [160, 120, 160, 120])
    for box in found.boxes:
        assert np.abs(boxes - box).max(axis=1).min() < 1e-2
    assert (np.diff(found.scores) <= 0).all() and found.scores[0] <= float(theirs["scores"].max()) + 1e-6


def test_phrases_become_classes_and_keep_their_numbers(
    tiny_grounding_dino: Path, caplog: pytest.LogCaptureFixture
) -> None:
    detector = GroundingDinoDetector(str(tiny_grounding_dino), "Drone . red  bird . drone", 0.0)
    assert isinstance(detector, PromptedDetector)
    assert detector.class_names == {1: "drone", 2: "red bird"}
    assert set(detector.detect(FRAME).class_ids.tolist()) <= {1, 2}
    with caplog.at_level(logging.INFO, "smotracker_ros"):
        detector.set_prompt("kite . drone .")
        detector.set_prompt("kite . drone .")
    assert [record.getMessage() for record in caplog.records] == ["the prompt is now 'kite . drone .'"]
    assert detector.class_names == {1: "drone", 2: "red bird", 3: "kite"}
    assert set(detector.detect(FRAME).class_ids.tolist()) <= {1, 3}
    detector.set_prompt("kite .")
    assert set(detector.detect(FRAME).class_ids.tolist()) == {3}


def test_thresholds_and_size(tiny_grounding_dino: Path) -> None:
    detector = GroundingDinoDetector(str(tiny_grounding_dino), "drone .", 0.0)
    everything = detector.detect(FRAME)
    middle = float(np.median(everything.scores))
    assert (detector.detect(FRAME, middle).scores >= middle).all()
    assert 0 < len(detector.detect(FRAME, middle)) < len(everything)
    larger = detector.detect(FRAME, image_size=256)
    assert not np.array_equal(larger.boxes, everything.boxes)
    assert (larger.boxes[:, 2:] <= [160, 120]).all() and (larger.boxes >= 0).all()
    usual = GroundingDinoDetector(str(tiny_grounding_dino), "drone .").detect(FRAME)
    assert 0 < len(usual) < len(everything) and usual.scores.min() >= 0.25, "as published"


def test_half_precision_moves_scores_a_little_only(tiny_grounding_dino: Path) -> None:
    """Under CPU autocast, which is slow but goes the way of a GPU's."""
    exact = GroundingDinoDetector(str(tiny_grounding_dino), "drone .", 0.0).detect(FRAME)
    half = GroundingDinoDetector(str(tiny_grounding_dino), "drone .", 0.0, precision=torch.bfloat16).detect(FRAME)
    assert half.scores.dtype == half.boxes.dtype == np.float32
    assert half.scores[0] == pytest.approx(exact.scores[0], abs=0.03) and half.scores[0] != exact.scores[0]


def test_the_tracker_changes_the_prompt_with_its_settings(tiny_grounding_dino: Path) -> None:
    settings = load_settings(
        "g-smotracker",
        {
            "detector_weights": str(tiny_grounding_dino), "prompt": "drone .", "detector_confidence": 0.0,
            "birth_confidence": 0.0, "confirm_probability": 0.0, "max_live_tracks": 4,
            "clip_seconds": 0.06, "adaptive_clips": False,
        },
    )  # fmt: skip
    tracker = build_tracker(settings)
    first = tracker.update(FRAME)
    assert {track.class_name for track in first} == {"drone"}
    tracker.settings = settings.replace({"prompt": "kite ."})
    tracker.reset()
    assert {track.class_name for track in tracker.update(FRAME)} == {"kite"}
    assert tracker.models["detector"].startswith(tiny_grounding_dino.name)


def test_g_smotracker_looks_at_every_clip_and_grounded_sam2_once(tiny_grounding_dino: Path) -> None:
    overrides = {
        "detector_weights": str(tiny_grounding_dino), "detector_confidence": 0.0, "birth_confidence": 0.0,
        "max_live_tracks": 4, "clip_seconds": 0.06, "adaptive_clips": False,
    }  # fmt: skip
    passes, later = {}, {}
    for preset in ("g-smotracker", "grounded-sam2"):
        tracker = build_tracker(load_settings(preset, overrides))
        first = {track.id for track in tracker.update(FRAME)}
        assert first
        frames = [Frame(FRAME.image, index * 33_333_333, index) for index in range(1, 6)]
        later[preset] = {track.id for frame in frames for track in tracker.update(frame)} - first
        passes[preset] = tracker.detector_passes
    assert passes == {"g-smotracker": 3, "grounded-sam2": 1}
    assert not later["grounded-sam2"]


def test_defaults_are_the_published_thresholds() -> None:
    for preset in ("g-smotracker", "grounded-sam2"):
        settings = load_settings(preset)
        assert settings.detector == "grounding_dino"
        assert settings.detector_confidence == 0.35


def test_prompts_without_phrases_are_refused() -> None:
    assert prompt_phrases(" Drone. red  bird?drone .") == ("drone", "red bird")
    for prompt in ("", " . . ", "a" * 300):
        with pytest.raises(SettingsError, match="prompt must name what to look for"):
            TrackerSettings(prompt=prompt)


def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DetectorError, match=r"weights nobody/nothing are not on this machine; set offline=false"):
        GroundingDinoDetector("nobody/nothing", "drone .")
    with pytest.raises(DetectorError, match="neither a folder nor a name"):
        GroundingDinoDetector(str(tmp_path / "absent"), "drone .")
    with pytest.raises(DetectorError, match="cannot be loaded as Grounding DINO"):
        GroundingDinoDetector(str(tmp_path), "drone .")


def test_broken_and_foreign_models(tiny_grounding_dino: Path, tmp_path: Path) -> None:
    truncated = shutil.copytree(tiny_grounding_dino, tmp_path / "truncated")
    weights = truncated / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(DetectorError, match="cannot be loaded as Grounding DINO"):
        GroundingDinoDetector(str(truncated), "drone .")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(DetectorError, match="is a bert model; Grounding DINO is needed"):
        GroundingDinoDetector(str(foreign), "drone .")


def test_the_command_takes_a_prompt(tiny_grounding_dino: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(2):
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), FRAME.image)
    command = ["track", str(tmp_path / "images"), "--output", str(tmp_path / "out"), "--preset", "g-smotracker"]
    command += ["--prompt", "kite .", "--set"]
    done = CliRunner().invoke(app, [*command, f"detector_weights={tiny_grounding_dino}"])
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["settings"]["prompt"] == "kite ." and summary["frames"] == 2
    assert summary["models"]["detector"].startswith(tiny_grounding_dino.name)
    refused = CliRunner().invoke(app, [*command, "detector_weights=nobody/nothing"])
    assert isinstance(refused.exception, DetectorError) and "offline=false" in str(refused.exception)
