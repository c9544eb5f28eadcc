"""Training of the masklet network: samples, losses, and that an interrupted run goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from smotracker_ros.masklets.checkpoints import load_steps
from smotracker_ros.masklets.model import DecodedTensors
from smotracker_ros.training.masklet_samples import SequenceSampler
from smotracker_ros.training.masklets import MaskletTraining, mask_losses, train_masklets
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings
from smotracker_ros.training.track_crops import ABSENT, read_track_crops, write_track_crops


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Track crops of one "real" clip (a rendered one, read back from its files) and of two rendered scenes."""
    root = tmp_path_factory.mktemp("material")
    settings = SceneSettings(width=320, height=256, frames=40, targets=3, modality="infrared", camera="static")
    write_scene(root / "data" / "IR_SCENE_001", settings, seed=3)
    write_track_crops(root / "data", root / "run" / "tracks", scenes=2, seed=5)
    return root


def test_crops_are_centred_and_states_agree_with_masks(material: Path) -> None:
    tracks = read_track_crops(material / "run" / "tracks" / "real")
    tracks += read_track_crops(material / "run" / "tracks" / "rendered")
    assert {track.rendered for track in tracks} == {True, False}
    for track in tracks:
        assert len(track.images) == len(track.masks) == len(track.boxes) == len(track.states)
        absent = track.states == ABSENT
        assert not np.asarray(track.masks)[absent].any()
        assert np.isnan(track.boxes[absent]).all()
        centers = (track.boxes[~absent, :2] + track.boxes[~absent, 2:]) / 2
        assert np.abs(centers - track.images.shape[1] / 2).max() <= 1.5


def test_preparing_twice_changes_nothing(material: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (material / "run" / "tracks").rglob("*")}
    write_track_crops(material / "data", material / "run" / "tracks", scenes=2, seed=5)
    assert {path: path.stat().st_mtime_ns for path in (material / "run" / "tracks").rglob("*")} == before


def test_sequences_start_visible_and_boxes_surround_masks(material: Path) -> None:
    tracks = read_track_crops(material / "run" / "tracks" / "real")
    tracks += read_track_crops(material / "run" / "tracks" / "rendered")
    sampler = SequenceSampler(tracks, 128)
    generator = np.random.default_rng(0)
    hidden = 0
    for _ in range(40):
        sequence = sampler.draw(6, generator)
        assert sequence.images.shape == (6, 128, 128, 3) and sequence.images.dtype == np.uint8
        assert sequence.masks[0].any()
        for mask, box in zip(sequence.masks, sequence.boxes, strict=True):
            assert mask.any() == np.isfinite(box).all()
            hidden += not mask.any()
            if mask.any():
                rows, columns = np.nonzero(mask)
                inside = (columns >= box[0] - 3) & (columns <= box[2] + 3) & (rows >= box[1] - 3) & (rows <= box[3] + 3)
                # a rendered label ends at half coverage, a pseudo-mask a pixel or two outside
                assert inside.mean() > 0.6
    assert hidden > 0, "absences must occur"


def test_shares_rule_how_often_targets_vanish(material: Path) -> None:
    tracks = read_track_crops(material / "run" / "tracks" / "real")

    def hidden(share: float) -> list[bool]:
        sampler = SequenceSampler(tracks, 64, crossing_share=0.0, absence_share=share)
        generator = np.random.default_rng(1)
        return [not sampler.draw(4, generator).masks.any(axis=(1, 2)).all() for _ in range(12)]

    assert all(hidden(1.0))
    assert sum(hidden(0.0)) < 6, "only targets that leave the picture by themselves"


def test_lookalikes_change_sequences(material: Path) -> None:
    tracks = read_track_crops(material / "run" / "tracks" / "real")
    alone, met = (
        SequenceSampler(tracks, 64, crossing_share=share, absence_share=0.0).draw(4, np.random.default_rng(3))
        for share in (0.0, 1.0)
    )
    assert not np.array_equal(alone.images, met.images)


def test_sequences_are_reproducible(material: Path) -> None:
    sampler = SequenceSampler(read_track_crops(material / "run" / "tracks" / "rendered"), 64)
    first, second = (sampler.draw(4, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.masks, second.masks)


def test_losses_prefer_the_truth() -> None:
    truth = torch.zeros(2, 32, 32)
    truth[0, 10:20, 12:18] = 1  # the second target is not visible

    def decoded(mask: torch.Tensor, score: list[float]) -> DecodedTensors:
        logits = (mask * 2 - 1)[:, None] * 6
        return DecodedTensors(logits, logits, torch.ones(2), torch.zeros(2, 8), torch.tensor(score))

    weights = torch.ones(2)
    good, iou = mask_losses(decoded(truth, [5.0, -5.0]), truth, weights)
    shifted, shifted_iou = mask_losses(decoded(truth.roll(4, 1), [5.0, -5.0]), truth, weights)
    blind, _ = mask_losses(decoded(truth, [5.0, 5.0]), truth, weights)
    assert good < shifted and good < blind
    assert iou[0] == 1 and shifted_iou[0] < 0.6


def test_an_interrupted_training_goes_on(material: Path) -> None:
    output = material / "run"
    schedule = dict(short=(2, 2), long=(2, 3), scenes=2, threads=1, save_every=1, warmup=2)
    train_masklets(material / "data", output, MaskletTraining(iterations=4, **schedule), minutes=0.0001)
    steps = [json.loads(line)["step"] for line in (output / "log.jsonl").read_text().splitlines()]
    assert steps and steps[-1] < 4
    result = train_masklets(material / "data", output, MaskletTraining(iterations=4, **schedule))
    steps = [json.loads(line)["step"] for line in (output / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4]
    network = load_steps(result)
    assert network.name == "sam2-nano" and network.dense_box_prompt
