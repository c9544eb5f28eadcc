"""Rendered scenes: the truth is exact, varied, and the same for the same seed."""

from __future__ import annotations

import configparser
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.io.sources import open_source
from smotracker_ros.training.clips import ClipError, read_clip
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneFrame, SceneSettings, render_scene
from smotracker_ros.training.targets import CLASS_NAMES, draw_patch, line_kernel, random_look, silhouette
from smotracker_ros.training.trajectories import camera_path, target_paths

SMALL = SceneSettings(width=320, height=256, frames=40, targets=6)


def _scene(seed: int, **changes: object) -> list[SceneFrame]:
    return list(render_scene(replace(SMALL, **changes), seed))


def test_same_seed_same_frames_other_seed_other_frames() -> None:
    first, second, other = _scene(3), _scene(3), _scene(4)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.label_image, b.label_image)
        np.testing.assert_array_equal(a.boxes, b.boxes)
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("modality", ["visible", "infrared"])
@pytest.mark.parametrize("camera", ["static", "pan", "shake", "zoom", "random"])
def test_truth_agrees_with_the_label_image(modality: str, camera: str) -> None:
    seen = 0
    for frame in _scene(11, modality=modality, camera=camera):
        assert frame.image.shape == (256, 320, 3)
        assert frame.image.dtype == np.uint8
        assert frame.label_image.shape == (256, 320)
        assert frame.label_image.dtype == np.uint16
        assert set(frame.ids) == set(np.unique(frame.label_image)) - {0}
        assert (np.diff(frame.ids) > 0).all()
        assert frame.boxes.shape == (len(frame.ids), 4)
        for target_id, box, class_id, visibility in zip(
            frame.ids, frame.boxes, frame.class_ids, frame.visibility, strict=True
        ):
            rows, columns = np.nonzero(frame.label_image == target_id)
            expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            np.testing.assert_array_equal(box, expected)
            assert class_id in CLASS_NAMES
            assert 0 < visibility <= 1
            seen += 1
    assert seen > 40


def test_infrared_is_grey_and_visible_is_not() -> None:
    infrared = _scene(5, modality="infrared", frames=1)[0].image
    visible = _scene(5, modality="visible", frames=1)[0].image
    assert (infrared[:, :, 0] == infrared[:, :, 2]).all()
    assert not (visible[:, :, 0] == visible[:, :, 2]).all()


def test_pixels_of_targets_stand_out_from_the_same_scene_without_noise() -> None:
    """What the label image marks is really drawn: marked pixels differ from the pixels round them."""
    differences = []
    for seed in range(12):
        for frame in _scene(seed, noise=0.0, compression=0.0, frames=3, contrasts=(60.0, 120.0), sizes=(8.0, 30.0)):
            grey = frame.image.astype(np.float32).mean(axis=2)
            for target_id, (x1, y1, x2, y2), visibility in zip(frame.ids, frame.boxes, frame.visibility, strict=True):
                if visibility < 0.9 or x1 < 3 or y1 < 3 or x2 > 317 or y2 > 253:
                    continue
                region = slice(int(y1) - 3, int(y2) + 3), slice(int(x1) - 3, int(x2) + 3)
                labels = frame.label_image[region]
                inside, outside = grey[region][labels == target_id], grey[region][labels == 0]
                differences.append(abs(inside.mean() - np.median(outside)))
    assert len(differences) > 50
    assert np.median(differences) > 30


def test_sizes_classes_and_polarities_vary() -> None:
    classes: set[int] = set()
    widths: list[float] = []
    brighter = []
    for seed in range(25):
        frame = _scene(seed, frames=1, targets=10, noise=0.0)[0]
        classes |= set(frame.class_ids.tolist())
        widths += (frame.boxes[:, 2] - frame.boxes[:, 0]).tolist()
        for target_id in frame.ids:
            inside = frame.image[frame.label_image == target_id].mean()
            brighter.append(inside > np.median(frame.image[frame.label_image == 0]))
    assert classes == {1, 2, 3, 4}
    assert min(widths) <= 4
    assert 25 <= max(widths) <= 48
    assert 0.15 < np.mean(brighter) < 0.85


def test_exits_reentries_and_occlusions_happen() -> None:
    reentries = partial = 0
    for seed in range(12):
        frames = _scene(seed, frames=150, camera="static")
        present = np.array([[number in frame.ids for number in range(1, 7)] for frame in frames])
        for column in present.T:
            gone = np.flatnonzero(~column)
            # Seen, then unseen, then seen again.
            reentries += bool(gone.size and column[: gone[0]].any() and column[gone[0] :].any())
        partial += sum(int(((frame.visibility > 0.1) & (frame.visibility < 0.7)).any()) for frame in frames)
    assert reentries >= 8
    assert partial >= 30


def test_crossings_bring_two_targets_together() -> None:
    rng = np.random.default_rng(0)
    camera = camera_path(frozenset(), 150, (320, 256), (340, 270), rng)
    speeds = np.full(6, 2.0)
    paths, crossings = target_paths(6, camera, (320, 256), 200.0, np.ones(6, bool), speeds, rng)
    assert crossings
    for first, second, frame in crossings:
        assert np.hypot(*(paths[first, frame] - paths[second, frame])) < 6
    # No jumps: paths are smooth.
    assert np.abs(np.diff(paths, n=2, axis=1)).max() < 3


def test_shake_stays_within_its_limit() -> None:
    for seed in range(20):
        path = camera_path(frozenset({"shake"}), 200, (640, 512), (800, 600), np.random.default_rng(seed))
        assert np.abs(np.diff(path.centers, axis=0)).max() <= 20.0 + 1e-6
    assert np.abs(np.diff(path.centers, axis=0)).max() > 0.1


def test_static_camera_shows_the_same_background() -> None:
    frames = [frame for frame in _scene(2, camera="static", noise=0.0, compression=0.0, targets=0)]
    panned = [frame for frame in _scene(2, camera="pan", noise=0.0, compression=0.0, targets=0)]
    still = np.abs(frames[0].image.astype(int) - frames[-1].image).mean()
    moved = np.abs(panned[0].image.astype(int) - panned[-1].image).mean()
    assert still < moved


def test_patches_are_placed_with_subpixel_accuracy() -> None:
    parts = silhouette(random_look(3, np.random.default_rng(1)), 0.0)

    def centroid(x: float, y: float) -> np.ndarray:
        patch = draw_patch(parts, (x, y), 9.0, 0.3, False, 0.5, (0.0, 0.0))
        rows, columns = np.mgrid[: patch.alpha.shape[0], : patch.alpha.shape[1]]
        weight = patch.alpha / patch.alpha.sum()
        return np.array([patch.x + (columns * weight).sum(), patch.y + (rows * weight).sum()])

    origin = centroid(50.0, 40.0)
    for dx, dy in ((0.25, 0.0), (0.5, 0.75), (-0.4, 0.1)):
        np.testing.assert_allclose(centroid(50.0 + dx, 40.0 + dy) - origin, (dx, dy), atol=0.05)


def test_motion_blur_kernel_spreads_along_the_motion() -> None:
    kernel = line_kernel((6.0, 0.0))
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    middle = kernel.shape[0] // 2
    assert kernel[middle].sum() == pytest.approx(1, abs=1e-5)
    assert np.count_nonzero(kernel[middle] > 0.05) >= 6


@pytest.mark.parametrize(
    "changes", [{"width": 20}, {"frames": 0}, {"targets": -1}, {"camera": "drone"}, {"modality": "x"}, {"fps": 0}]
)
def test_wrong_settings(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"a scene needs|must be one of"):
        replace(SMALL, **changes)


def test_scene_without_targets() -> None:
    frame = _scene(1, targets=0, frames=1)[0]
    assert len(frame.ids) == 0
    assert frame.boxes.shape == (0, 4)
    assert not frame.label_image.any()


def test_written_scene_can_be_read_back(tmp_path: Path) -> None:
    settings = replace(SMALL, frames=12, compression=0.0)
    write_scene(tmp_path / "SCENE", settings, 9)
    frames = list(render_scene(settings, 9))
    source = open_source(tmp_path / "SCENE")
    assert (source.name, source.size, source.length) == ("SCENE", (256, 320), 12)
    for read, rendered in zip(source, frames, strict=True):
        assert np.abs(read.image.astype(int) - rendered.image).mean() < 8
    info = configparser.ConfigParser()
    info.read(tmp_path / "SCENE" / "seqinfo.ini")
    assert info["Sequence"]["seqLength"] == "12"
    assert info["Sequence"]["coordBase"] == "0"
    rows = np.loadtxt(tmp_path / "SCENE" / "gt" / "gt.txt", delimiter=",", ndmin=2)
    assert rows.shape == (sum(len(frame.ids) for frame in frames), 9)
    first = rows[rows[:, 0] == 1]
    np.testing.assert_array_equal(first[:, 1], frames[0].ids)
    np.testing.assert_allclose(first[:, 2:4], frames[0].boxes[:, :2])
    np.testing.assert_allclose(first[:, 4:6], frames[0].boxes[:, 2:] - frames[0].boxes[:, :2])
    np.testing.assert_array_equal(first[:, 6], frames[0].visibility >= 0.15)
    np.testing.assert_array_equal(first[:, 7], frames[0].class_ids)


def test_a_clip_states_its_modality(tmp_path: Path) -> None:
    write_scene(tmp_path / "SCENE", replace(SMALL, frames=2, modality="visible"), 9)
    assert not read_clip(tmp_path / "SCENE").is_infrared, "though its frames are as small as a thermal camera's"
    file = tmp_path / "SCENE" / "seqinfo.ini"
    file.write_text(file.read_text().replace("modality=visible", "modality=thermal"))
    with pytest.raises(ClipError, match="'thermal'; write infrared or visible"):
        read_clip(tmp_path / "SCENE")


@pytest.mark.slow
def test_rendering_is_fast_enough_for_training() -> None:
    """A generous bound: it catches work per pixel where work per patch was meant, not a busy machine."""
    started = time.process_time()
    count = len(_scene(0, frames=100))
    assert (time.process_time() - started) / count < 0.06
