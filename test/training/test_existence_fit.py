"""Fitting of the existence model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smotracker_ros import build_tracker, load_settings
from smotracker_ros.tracking.existence import TERMS, ExistenceModel
from smotracker_ros.training.clips import read_clips
from smotracker_ros.training.existence import (
    PERMISSIVE,
    Samples,
    collect,
    cross_validated,
    fit,
    log_loss,
    read_samples,
    select_terms,
    write_samples,
    write_weights,
)
from smotracker_ros.training.moving_clips import moving, still
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings


def _samples(weights: dict[str, float], count: int = 4000) -> Samples:
    generator = np.random.default_rng(0)
    terms = generator.normal(0, 1, (count, len(TERMS)))
    terms[:, TERMS.index("bias")] = 1
    odds = terms @ ExistenceModel(weights).tentative
    true = generator.random(count) < 1 / (1 + np.exp(-odds))
    return Samples(terms, true, np.arange(count) % 2 == 0, np.arange(count) % 7)


def test_weights_are_found_again() -> None:
    made = {"bias": 0.5, "score": 1.5, "missed": -0.8}
    found = fit(_samples(made))
    for name in TERMS:
        assert found[name] == pytest.approx(made.get(name, 0.0), abs=0.2), name


def test_a_term_that_tells_something_is_missed_where_it_is_left_out() -> None:
    samples = _samples({"score": 1.5})
    everything = cross_validated(samples)
    assert everything < log_loss(samples, {}) - 0.1
    assert cross_validated(samples, [name for name in TERMS if name != "score"]) > everything + 0.1


def test_terms_that_tell_nothing_are_left_out() -> None:
    assert {"bias", "score"} <= set(select_terms(_samples({"score": 1.5}))) < set(TERMS)


def test_targets_alone_cannot_be_told_from_others() -> None:
    samples = _samples({})
    with pytest.raises(ValueError, match="a fit needs targets and others"):
        fit(samples.select(samples.true))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    write_weights(path, dict.fromkeys(TERMS, 0.25), {"bias": 2.0}, "sam2-nano", {"films": 3})
    read = ExistenceModel.load(path, "sam2-nano")
    assert read.tentative.tolist() == [0.25] * len(TERMS)
    assert read.confirmed[0] == 2 and not read.confirmed[1:].any()


def test_recorded_samples_are_fitted_as_one(tmp_path: Path) -> None:
    samples = _samples({"score": 1.5})
    for name, rows in (("a", slice(0, 1500)), ("b", slice(1500, None))):
        chosen = np.zeros(len(samples.true), dtype=np.bool_)
        chosen[rows] = True
        write_samples(tmp_path / f"{name}.npz", samples.select(chosen))
    read = read_samples([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert len(np.unique(read.groups)) == 14, "clips of two files are not the same"
    assert fit(read) == pytest.approx(fit(samples))


def test_samples_of_other_terms_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "old.npz", **vars(_samples({})))
    with pytest.raises(ValueError, match="recorded with other terms"):
        read_samples([tmp_path / "old.npz"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    settings = SceneSettings(
        320, 256, 40, targets=3, camera="static", modality="infrared", sizes=(8.0, 16.0), contrasts=(80.0, 150.0)
    )
    write_scene(root / "IR_SCENE_001", settings, 4)
    return root


@pytest.mark.parametrize("follows", [False, True])
def test_labels_move_with_the_camera(scene: Path, follows: bool) -> None:
    (clip,) = read_clips(scene)
    differ = []
    for at_rest, seen in zip(still(clip), moving(clip, np.random.default_rng(3), follows), strict=True):
        assert seen.image.shape == at_rest.image.shape
        assert set(seen.ids) <= set(at_rest.ids)
        for box, identity in zip(seen.boxes, seen.ids, strict=True):
            x1, y1, x2, y2 = np.round(np.clip(box, 0, 320)).astype(int)
            inside = seen.image[y1:y2, x1:x2]
            if inside.size and min(inside.shape[:2]) > 2:
                # the scene's targets are far brighter or darker than their surroundings
                around = seen.image[max(y1 - 4, 0) : y2 + 4, max(x1 - 4, 0) : x2 + 4].astype(float)
                differ.append(np.abs(inside.astype(float) - np.median(around)).max())
            assert identity in at_rest.ids
    assert len(differ) > 20 and np.median(differ) > 25


@pytest.mark.slow
def test_targets_are_noted_with_what_they_are(scene: Path) -> None:
    samples = collect(read_clips(scene), 0, build_tracker(load_settings(overrides=PERMISSIVE)))
    assert samples.terms.shape == (len(samples.true), len(TERMS)) and len(samples.true) > 20
    assert samples.true.any()
    assert set(samples.groups.tolist()) == {0}, "one clip, whichever way it is filmed"
    assert np.isfinite(samples.terms).all()
