"""Crops for the detector's training: three moments of a place, tight labels, targets and overlays put in."""

import json
from pathlib import Path

import cv2
import numpy as np

from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.training.burnt_in import BurntIn, FaultyPixels
from smotracker_ros.training.clips import read_clips
from smotracker_ros.training.detector_crops import CropSettings, draw_flight, write_crops
from smotracker_ros.training.motion_crops import Flight, Moments, Shares, make_crop
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings
from smotracker_ros.training.sprites import CutOut, cut_out
from smotracker_ros.training.tight_labels import tighten

SIDE = 96
NOTHING = Shares(moving=0, still=0, burnt_in=0, faulty=0, rippling=0, look=0)


def _sky() -> np.ndarray:
    texture = np.random.default_rng(0).normal(90, 1, (SIDE, SIDE))
    return texture.astype(np.uint8)


def _moments(boxes: list[list[float]] = []) -> Moments:  # noqa: B006
    classes = np.full(len(boxes), 2, dtype=np.int64)
    return Moments([_sky()] * 3, [np.eye(3)] * 3, (0.0, 0.1, 0.2), as_boxes(boxes), classes, True)


def _disc() -> CutOut:
    grey, mask = np.full((60, 60), 90, dtype=np.uint8), np.zeros((60, 60), dtype=np.uint8)
    cv2.circle(mask, (30, 30), 6, 1, -1)
    grey[mask > 0] = 210
    found = cut_out(grey, mask > 0, 3)
    assert found is not None
    return found


def _flight(**changes: object) -> Flight:
    facts: dict = {"sprite": _disc(), "center": (60.0, 50.0), "velocity": (100.0, 0.0), "size": 12.0, **changes}
    return Flight(**facts)


def _bright(channel: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(channel > 150)
    return float(columns.mean()) + 0.5, float(rows.mean()) + 0.5


def test_a_target_put_in_moves_through_the_channels_and_has_a_tight_label() -> None:
    crop = make_crop(_moments(), [_flight()], SIDE, NOTHING, np.random.default_rng(0))
    assert crop.class_ids.tolist() == [3]
    for channel, x in ((0, 60), (1, 50), (2, 40)):
        np.testing.assert_allclose(_bright(crop.image[..., channel]), (x, 50), atol=0.6)
    np.testing.assert_allclose(crop.boxes[0], [54, 44, 66, 56], atol=2.1)


def test_a_hovering_target_is_held_still_under_a_moving_camera() -> None:
    moving = Shares(moving=1, still=0, burnt_in=0, faulty=0, rippling=0, look=0)
    moved = 0
    for seed in range(12):
        generator = np.random.default_rng(seed)
        crop = make_crop(_moments(), [_flight(velocity=(0.0, 0.0))], SIDE, moving, generator)
        if any((crop.image[..., channel] > 150).sum() < 50 for channel in range(3)):
            continue  # the camera has moved it out of view
        places = np.array([_bright(crop.image[..., channel]) for channel in range(3)])
        # but for the errors of the camera's estimate, which are large now and then
        moved += np.ptp(places, axis=0).max() > 3
    assert moved <= 3


def test_a_stack_of_one_picture_shows_no_motion() -> None:
    still = Shares(moving=0.5, still=1, burnt_in=0.5, faulty=0.5, rippling=0.5, look=1)
    for seed in range(8):
        crop = make_crop(_moments(), [_flight()], SIDE, still, np.random.default_rng(seed))
        assert (np.ptp(crop.image, axis=2) == 0).all()


def test_what_cannot_be_seen_is_no_label() -> None:
    faint = CutOut(_disc().alpha, _disc().contrast, 3, gain=0.005)
    assert len(make_crop(_moments(), [_flight(sprite=faint)], SIDE, NOTHING, np.random.default_rng(0)).boxes) == 0
    assert len(make_crop(_moments([[5, 5, 15, 15]]), [], SIDE, NOTHING, np.random.default_rng(0)).boxes) == 0


def test_a_target_that_would_cover_a_label_is_left_out() -> None:
    moments = _moments([[50, 40, 70, 60]])
    plain = make_crop(moments, [], SIDE, NOTHING, np.random.default_rng(0))
    crop = make_crop(moments, [_flight()], SIDE, NOTHING, np.random.default_rng(0))
    np.testing.assert_array_equal(crop.image, plain.image)


def test_flights_have_all_sizes_and_some_hover() -> None:
    generator = np.random.default_rng(0)
    flights = [draw_flight([_disc()], 192, True, generator) for _ in range(400)]
    sizes = np.array([flight.size for flight in flights])
    assert sizes.min() < 5 and sizes.max() > 100
    assert 0.05 < np.mean([flight.velocity == (0.0, 0.0) for flight in flights]) < 0.3
    assert {flight.sprite.class_id for flight in flights} == {1, 2, 3, 4}


def test_an_overlay_keeps_its_place_while_its_digits_may_change() -> None:
    changed = 0
    for seed in range(20):
        overlay, faults = (kind(SIDE, np.random.default_rng(seed)) for kind in (BurntIn, FaultyPixels))
        for painter in (overlay, faults):
            first, second = (np.full((SIDE, SIDE), 90, dtype=np.float32) for _ in range(2))
            painter.paint(first)
            painter.paint(second)
            union = (np.abs(first - 90) > 20) | (np.abs(second - 90) > 20)
            if union.any():
                same = (np.abs(first - second) < 20) & union
                assert same.sum() >= 0.3 * union.sum()
                changed += painter is overlay and not np.array_equal(first, second)
    assert changed > 0


def test_labels_become_tight_also_where_a_mask_fails(tmp_path: Path) -> None:
    settings = SceneSettings(
        width=320, height=256, frames=24, targets=2, modality="infrared", camera="static", noise=1.0
    )
    write_scene(tmp_path / "IR_SCENE_001", settings, seed=5)
    (clip,) = read_clips(tmp_path)
    pictures = {index: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for index, image in clip.images(2)}
    loose = []
    for labels in clip.labels:
        boxes = labels.boxes + np.float32([-6, -6, 6, 6])
        loose.append(type(labels)(labels.ids, boxes, labels.class_ids))
    widened = type(clip)(**{**clip.__dict__, "labels": tuple(loose)})
    errors = []
    tight = tighten(widened, pictures)
    for index, labels in tight.items():
        assert len(labels.boxes) + len(labels.unknown) == len(clip.labels[index].boxes)
        if len(labels.boxes) == len(clip.labels[index].boxes):
            errors += np.abs(labels.boxes - clip.labels[index].boxes).ravel().tolist()
    # the visible extent ends a pixel or two outside the rendered half coverage
    assert np.median(errors) < 2.6
    # a mask fails in a picture without contrast: what is usual for the object stands in
    index = 10
    pictures[index] = np.full_like(pictures[index], 90)
    replaced = tighten(widened, pictures)[index]
    assert all(mask is None for mask in replaced.masks)
    np.testing.assert_allclose(replaced.boxes, tight[index].boxes, atol=3.0)


def test_crops_of_single_frames_show_one_moment(tmp_path: Path) -> None:
    settings = SceneSettings(width=320, height=256, frames=24, targets=3, modality="infrared", camera="static")
    write_scene(tmp_path / "data" / "IR_SCENE_001", settings, seed=3)
    seen: list[np.ndarray] = []

    def finder(stack: np.ndarray) -> np.ndarray:
        seen.append(stack)
        return np.zeros((0, 4), np.float32)

    clips = read_clips(tmp_path / "data")
    for single in (False, True):
        seen.clear()
        crops = CropSettings(side=SIDE, frame_step=4, rendered=4, empty_share=0.0, single_frame=single)
        write_crops(clips, tmp_path / str(single), crops, finder)
        images = [cv2.imread(str(path)) for path in (tmp_path / str(single) / "images").glob("*.png")]
        for pictures in (images, seen):
            assert all(np.ptp(picture, axis=2).max() == 0 for picture in pictures) == single


def test_crops_are_written_in_the_layout_that_ultralytics_reads(tmp_path: Path) -> None:
    settings = SceneSettings(width=320, height=256, frames=24, targets=3, modality="infrared", camera="static")
    write_scene(tmp_path / "data" / "IR_SCENE_001", settings, seed=3)
    clips = read_clips(tmp_path / "data")
    corner = np.float32([[300, 240, 312, 250]])
    seen = []

    def finder(stack: np.ndarray) -> np.ndarray:
        seen.append(stack.shape)
        return corner

    crops = CropSettings(side=SIDE, frame_step=4, rendered=4, empty_share=0.0)
    count = write_crops(clips, tmp_path / "crops", crops, finder)
    facts = json.loads((tmp_path / "crops" / "crops.json").read_text())
    images = sorted((tmp_path / "crops" / "images").glob("*.png"))
    false = [path for path in images if "_false" in path.stem]
    assert set(seen) == {(256, 320, 3), (SIDE, SIDE, 3)}, "frames of the clip, and views of rendered backgrounds"
    assert facts["false_boxes"] == len(false) > 0
    assert len(images) == count == 6 + len(false) + 4
    rows = 0
    for path in images:
        assert cv2.imread(str(path)).shape == (SIDE, SIDE, 3)
        for line in (tmp_path / "crops" / "labels" / f"{path.stem}.txt").read_text().splitlines():
            class_id, *numbers = line.split()
            assert 0 <= int(class_id) <= 3
            assert all(0 <= float(number) <= 1 for number in numbers)
            rows += 1
    assert rows > 0
    assert write_crops([], tmp_path / "crops", CropSettings()) == count, "finished crops are kept"
