"""The whole tracker with the embedded models on rendered scenes and, where they are, on real clips."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import box_centers
from smotracker_ros.core.settings import SettingsError
from smotracker_ros.core.tracks import Tracks, TrackState, label_image
from smotracker_ros.presets import build_detector, build_network, build_tracker, load_settings
from smotracker_ros.training.clips import Clip, read_clip

DATA = Path(os.environ.get("SMOTRACKER_DATA", "../shared/data"))


def _clip(name: str) -> Clip:
    directory = DATA / name
    if not directory.is_dir():
        pytest.skip(f"real clips not found at {DATA}; set SMOTRACKER_DATA to run this test")
    return read_clip(directory)


def _sky(places: dict[int, tuple[float, float]], index: int) -> Frame:
    """A dull sky with hot blobs, as an infrared camera sees drones."""
    generator = np.random.default_rng(index)
    image = np.full((256, 320), 70.0) + np.linspace(-15, 15, 256)[:, None] + generator.normal(0, 1.5, (256, 320))
    y, x = np.mgrid[0:256, 0:320]
    for cx, cy in places.values():
        image += 130 * np.exp(-(((x - cx) / 5.5) ** 4 + ((y - cy) / 3.5) ** 4))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Frame(np.repeat(pixels[..., None], 3, axis=2), index * 33_333_333, index, "camera")


def _run(frames: list[Frame], **overrides: object) -> list[Tracks]:
    tracker = build_tracker(load_settings(overrides=overrides))
    return [tracker.update(frame) for frame in frames]


def _two_drones(count: int) -> list[Frame]:
    return [_sky({1: (60 + 2 * i, 80 + 0.5 * i), 2: (250 - 2 * i, 170 - 0.5 * i)}, i) for i in range(count)]


def test_two_targets_get_two_lasting_ids_with_masks_on_them() -> None:
    results = _run(_two_drones(60))
    ids = Counter(track.id for tracks in results for track in tracks.reported)
    assert len(ids) == 2, ids
    assert min(ids.values()) >= 50, ids
    for index, tracks in enumerate(results[10:], start=10):
        labels = label_image(tracks)
        for track in tracks.reported:
            assert track.mask is not None
            assert np.count_nonzero(labels == track.id) > 0
            center = (track.box[:2] + track.box[2:]) / 2
            truth = np.array([[60 + 2 * index, 80 + 0.5 * index], [250 - 2 * index, 170 - 0.5 * index]])
            assert np.linalg.norm(truth - center, axis=1).min() < 4


def test_the_detector_runs_at_clip_starts_not_on_every_frame() -> None:
    results = _run(_two_drones(50))
    passes = [tracks.frame_index for tracks in results if tracks.detector_ran]
    assert passes[0] == 0
    assert len(passes) <= 50 / 12 + 6
    later = [index for index in passes if index > 15]
    assert np.diff(later).max() <= 12


def test_the_same_frames_give_the_same_tracks_bit_for_bit() -> None:
    def dump() -> list[bytes]:
        return [
            track.box.tobytes() + (track.mask.pixels.tobytes() if track.mask is not None else b"")
            for tracks in _run(_two_drones(15))
            for track in tracks
        ]

    assert dump() == dump()


def test_trackers_of_several_cameras_share_their_models() -> None:
    settings = load_settings()
    detector, network = build_detector(settings), build_network(settings)
    streams = [_two_drones(20), [_sky({1: (200 - 3 * i, 60.0 + i)}, i) for i in range(20)]]
    trackers = [build_tracker(settings, detector, network) for _ in streams]
    together: list[list[Tracks]] = [[] for _ in streams]
    for index in range(20):
        for tracker, frames, shared in zip(trackers, streams, together, strict=True):
            shared.append(tracker.update(frames[index]))
    for frames, shared in zip(streams, together, strict=True):
        for own, other in zip(_run(frames), shared, strict=True):
            assert [(t.id, t.state, t.box.tobytes()) for t in own] == [(t.id, t.state, t.box.tobytes()) for t in other]


def test_an_object_that_leaves_and_returns_keeps_its_id() -> None:
    def place(i: int) -> dict[int, tuple[float, float]]:
        hidden = 25 <= i < 60
        return {} if hidden else {1: (80 + 1.2 * i, 100.0)}

    results = _run([_sky(place(i), i) for i in range(90)])
    before = {track.id for tracks in results[:25] for track in tracks.reported}
    hidden = results[58]
    after = {track.id for tracks in results[75:] for track in tracks.reported}
    assert before == after and len(before) == 1
    assert hidden.reported == ()
    assert [track.state for track in hidden] == [TrackState.LOST]


def test_a_lost_object_expires_and_its_memory_goes() -> None:
    tracker = build_tracker(load_settings(overrides={"lost_seconds": 1.0}))
    for i in range(20):
        tracker.update(_sky({1: (80 + i, 100)}, i))
    assert tracker.memory_bytes > 0
    for i in range(20, 90):
        tracks = tracker.update(_sky({}, i))
    assert len(tracks) == 0
    assert tracker.memory_bytes == 0


@pytest.mark.parametrize(("gap", "kept"), [(4.0, True), (600.0, False)])
def test_ids_do_not_outlive_a_gap_longer_than_lost_seconds(gap: float, kept: bool) -> None:
    tracker = build_tracker(load_settings())
    frames = _two_drones(30)
    for frame in frames:
        before = tracker.update(frame)
    assert len(before.reported) == 2
    later = [Frame(frame.image, frame.timestamp_ns + round(gap * 1e9), 0) for frame in (frames[-1], *frames)]
    after = tracker.update(later[0])
    assert bool({track.id for track in before} & {track.id for track in after}) is kept


def test_reset_forgets_tracks_but_never_reuses_ids() -> None:
    tracker = build_tracker(load_settings())
    frames = _two_drones(20)
    first = {track.id for frame in frames for track in tracker.update(frame)}
    tracker.reset()
    assert tracker.memory_bytes == 0
    second = {track.id for frame in frames for track in tracker.update(frame)}
    assert first and second and max(first) < min(second)


def test_dynamic_settings_take_effect_on_the_next_frame() -> None:
    tracker = build_tracker(load_settings())
    frames = _two_drones(40)
    for frame in frames[:20]:
        tracker.update(frame)
    tracker.settings = tracker.settings.replace({"clip_seconds": 0.0})
    assert all(tracker.update(frame).detector_ran for frame in frames[20:25])


def _boxes(results: list[Tracks]) -> np.ndarray:
    return np.array([track.box for tracks in results for track in tracks])


@pytest.mark.parametrize("convention", ["detector", "mask"])
@pytest.mark.parametrize("margin", [-0.4, 0.5, 4.0])
def test_a_margin_makes_reported_boxes_larger_and_changes_nothing_else(convention: str, margin: float) -> None:
    frames = _two_drones(20)
    plain = _run(frames, box_convention=convention)
    other = _run(frames, box_convention=convention, box_margin=margin)
    boxes, scaled = _boxes(plain), _boxes(other)
    assert len(boxes) > 20
    np.testing.assert_allclose(box_centers(scaled), box_centers(boxes), atol=1e-3)
    np.testing.assert_allclose(scaled[:, 2:] - scaled[:, :2], (1 + margin) * (boxes[:, 2:] - boxes[:, :2]), atol=1e-3)
    for one, two in zip(plain, other, strict=True):
        assert one.detector_ran == two.detector_ran
        for track, same in zip(one, two, strict=True):
            assert (track.id, track.state, track.probability) == (same.id, same.state, same.probability)
            np.testing.assert_array_equal(track.velocity, same.velocity)
            assert (track.mask is None) == (same.mask is None)
            if track.mask is not None and same.mask is not None:
                np.testing.assert_array_equal(track.mask.pixels, same.mask.pixels)


def test_limits_on_live_tracks_hold() -> None:
    results = _run(_two_drones(15), max_live_tracks=1)
    live = [[track for track in tracks if track.state is not TrackState.LOST] for tracks in results]
    assert [len(tracks) for tracks in live] == [1] * 15
    assert all(len(tracks) - len(alive) <= 1 for tracks, alive in zip(results, live, strict=True))


def test_an_empty_stream_of_a_plain_sky_has_no_track() -> None:
    assert not any(tracks.items for tracks in _run([_sky({}, i) for i in range(20)]))


def test_unknown_presets_and_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="unknown preset"):
        load_settings("z-smotracker")
    with pytest.raises(SettingsError, match="unknown setting"):
        load_settings(overrides={"clip_lenght": 3})


def test_two_real_drones_keep_their_ids() -> None:
    clip = _clip("val/IR_DRONE_143")
    tracker = build_tracker(load_settings())
    lengths: Counter[int] = Counter()
    hits = total = 0
    for index, image in clip.images():
        if index >= 200:
            break
        tracks = tracker.update(Frame(image, index * 33_333_333, index))
        lengths.update(track.id for track in tracks.reported)
        truth = clip.labels[index].boxes
        total += len(truth)
        if len(truth) and tracks.reported:
            centers = box_centers(np.stack([t.box for t in tracks.reported]))
            distances = np.linalg.norm(box_centers(truth)[:, None] - centers[None], axis=2)
            hits += int((distances.min(axis=1) < 5).sum())
    assert len([identity for identity, length in lengths.items() if length > 100]) >= 2, lengths
    assert len(lengths) <= 8, lengths
    assert hits / total > 0.7
