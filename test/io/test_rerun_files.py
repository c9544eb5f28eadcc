"""Recordings for the Rerun viewer hold what the tracker has made of each frame; read by Rerun's own reader."""

from __future__ import annotations

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from rerun.chunk import RrdReader

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.tracks import Tracks, TrackState
from smotracker_ros.detection import Detections
from smotracker_ros.io.overlay import track_color
from smotracker_ros.io.rerun_files import RerunWriter
from smotracker_ros.io.sources import open_source
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.camera_motion import CameraShift
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

DATE = 1_700_000_000_000_000_000
Answer = tuple[Frame, Tracks, Detections | None, CameraShift]
Row = dict[str, Any]
Recording = dict[str, dict[int, Row]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Answer]]:
    """A recording, and what the tracker said of each frame; the camera shakes, and in the end all targets are gone."""
    folder = tmp_path_factory.mktemp("rerun")
    write_scene(folder / "s", SceneSettings(320, 256, 50, 30.0, 4, "shake", "infrared"), seed=1)
    settings = {"clip_seconds": 0.2, "birth_confidence": 0.15, "confirm_probability": 0.3}
    tracker = build_tracker(load_settings("y-smotracker", settings))
    found: list[Answer] = []
    with RerunWriter(folder / "s.rrd", tracker) as writer:
        for frame in open_source(folder / "s"):
            image = frame.image if frame.index < 22 else cv2.medianBlur(frame.image, 61)
            dated = Frame(np.asarray(image, np.uint8), DATE + frame.timestamp_ns, frame.index, "camera")
            tracks = tracker.update(dated)
            writer.write(dated, tracks)
            assert tracker.camera_shift is not None
            found.append((dated, tracks, tracker.detections, tracker.camera_shift))
    return folder / "s.rrd", found


def _read(path: Path) -> Recording:
    """Components by entity and frame; what is static, by frame -1."""
    found: Recording = defaultdict(dict)
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        for row in range(batch.num_rows):
            values = {name: batch.column(name)[row].as_py() for name in batch.schema.names}
            found[chunk.entity_path].setdefault(values.pop("frame", -1), {}).update(values)
    return found


@pytest.fixture(scope="module")
def recording(answers: tuple[Path, list[Answer]]) -> Recording:
    return _read(answers[0])


def _boxes(row: Row) -> np.ndarray:
    centers, halves = (np.reshape(row[f"Boxes2D:{name}"], (-1, 2)) for name in ("centers", "half_sizes"))
    return np.concatenate([centers - halves, centers + halves], axis=1)


def _picture(row: Row) -> np.ndarray:
    """The picture of an encoded image, with alpha if it has any."""
    image = Image.open(io.BytesIO(bytes(np.ravel(row["EncodedImage:blob"]).tolist())))
    return np.asarray(image.convert("RGBA" if image.mode == "P" else "RGB"))


def test_times_and_pictures(answers: tuple[Path, list[Answer]], recording: Recording) -> None:
    frames = [frame for frame, *_ in answers[1]]
    assert list(recording["/camera/image"]) == [frame.index for frame in frames]
    for frame in frames:
        row = recording["/camera/image"][frame.index]
        assert np.datetime64(row["time"], "ns").astype(int) // 1000 == frame.timestamp_ns // 1000
        assert np.abs(_picture(row).astype(int) - frame.image).mean() < 3


def test_boxes_masks_trails_and_probabilities(answers: tuple[Path, list[Answer]], recording: Recording) -> None:
    states = {track.state for _, tracks, *_ in answers[1] for track in tracks}
    assert {TrackState.TENTATIVE, TrackState.CONFIRMED, TrackState.LOST} <= states
    plotted: dict[str, list[int]] = defaultdict(list)
    for frame, tracks, *_ in answers[1]:
        row = recording["/camera/tracks"][frame.index]
        np.testing.assert_allclose(_boxes(row), np.reshape([t.box for t in tracks.reported], (-1, 4)), atol=1e-3)
        assert row["Boxes2D:labels"] == [f"{t.id} {t.class_name} {t.probability:.2f}" for t in tracks.reported]
        lost = [track.box for track in tracks if track.state is TrackState.LOST]
        np.testing.assert_allclose(_boxes(recording["/camera/lost"][frame.index]), np.reshape(lost, (-1, 4)), atol=1e-3)
        picture = _picture(recording["/camera/masks"][frame.index])
        masks = np.zeros((len(tracks.reported), *tracks.image_size), np.uint8)
        for own, track in zip(masks, tracks.reported, strict=True):
            assert track.mask is not None
            track.mask.paint(own, 1)
        np.testing.assert_array_equal(picture[:, :, 3] > 0, masks.any(axis=0))
        for own, track in zip(masks, tracks.reported, strict=True):
            alone = (own == 1) & (masks.sum(axis=0) == 1)
            assert (picture[alone, :3] == track_color(track.id)).all()
        strips = recording["/camera/trails"][frame.index]["LineStrips2D:strips"]
        ends = np.reshape([strip[-1] for strip in strips], (-1, 2))
        np.testing.assert_allclose(ends, np.reshape([t.box for t in tracks.reported], (-1, 2, 2)).mean(1), atol=1e-3)
        for track in tracks:
            value = recording[f"/probability/{track.id}"][frame.index]["Scalars:scalars"]
            np.testing.assert_allclose(value, [track.probability], atol=1e-6)
            plotted[f"/probability/{track.id}"].append(frame.index)
    for place, indices in plotted.items():
        assert sorted(recording[place]) == [-1, *indices], "no longer than the track"
    lengths = [len(strip) for row in recording["/camera/trails"].values() for strip in row["LineStrips2D:strips"]]
    assert max(lengths) > 10


def test_detector_passes_and_their_detections(answers: tuple[Path, list[Answer]], recording: Recording) -> None:
    passes = 0
    for frame, tracks, found, _ in answers[1]:
        looked = recording["/detector/looked"][frame.index]["Scalars:scalars"]
        row = recording["/camera/detections"][frame.index]
        assert looked == [float(tracks.detector_ran)]
        if found is None:
            assert "Clear:is_recursive" in row, "those of the pass before are gone"
            continue
        passes += 1
        np.testing.assert_allclose(_boxes(row), found.boxes.reshape(-1, 4), atol=1e-3)
        np.testing.assert_allclose(row["score"], found.scores, atol=1e-6)
    assert 5 < passes < len(answers[1]) - 5
    assert sum(len(found) for *_, found, _ in answers[1] if found is not None) > 5


def test_camera_motion(answers: tuple[Path, list[Answer]], recording: Recording) -> None:
    shifts = []
    for frame, _, _, shift in answers[1]:
        values = {
            name: recording[f"/camera_motion/{name}"][frame.index]["Scalars:scalars"]
            for name in ("shift", "rotation", "zoom", "measured")
        }
        moved = cv2.transform(np.array([[[160.0, 128.0]]]), shift.matrix)[0, 0] - (160, 128)
        np.testing.assert_allclose(values["shift"], moved, atol=1e-3)
        np.testing.assert_allclose(values["zoom"], [shift.zoom], atol=1e-6)
        assert values["measured"] == [float(shift.measured)]
        assert abs(values["rotation"][0]) < 2
        shifts.append(values["shift"])
    assert np.abs(shifts).max() > 1, "the camera shakes"


def test_the_viewer_gets_a_layout_and_a_name(answers: tuple[Path, list[Answer]], recording: Recording) -> None:
    reader = RrdReader(answers[0])
    assert [item.application_id for item in reader.recordings()] == ["smotracker"]
    assert len(reader.blueprints()) == 1
    assert recording["/__properties"][-1]["RecordingInfo:name"] == ["s"]


def test_time_stamps_that_are_no_dates_count_from_the_beginning(tmp_path: Path) -> None:
    tracker = build_tracker(load_settings())
    with RerunWriter(tmp_path / "a.rrd", tracker) as writer:
        frame = Frame(np.zeros((64, 64, 3), np.uint8), 1_500_000_000, 7)
        writer.write(frame, tracker.update(frame))
    row = _read(tmp_path / "a.rrd")["/camera/image"][7]
    assert row["time"].total_seconds() == 1.5
