"""Tracks to messages and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from std_msgs.msg import Header

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.tracks import Track, Tracks, TrackState
from smotracker_ros.io.message_fields import decode_mask, encode_mask
from smotracker_ros.ros.conversions import (
    from_track_array,
    to_detections,
    to_label_message,
    to_track_array,
)
from smotracker_ros.ros.images import to_stamp


def _track(track_id: int, state: TrackState, mask: MaskPatch | None, name: str = "drone") -> Track:
    box = np.array([10.5, 20.25, 30.5, 44.25], np.float32) + track_id
    velocity = np.array([3.5, -2.0], np.float32)
    return Track(track_id, state, box, 0.75, 2, name, mask, velocity, 17, 3, 0 if mask else 4)


def _tracks() -> Tracks:
    mask = MaskPatch(12, 22, np.ones((5, 7), bool))
    items = (
        _track(1, TrackState.CONFIRMED, mask),
        _track(2, TrackState.TENTATIVE, mask),
        _track(3, TrackState.LOST, None),
        _track(70000, TrackState.CONFIRMED, MaskPatch(40, 30, np.eye(6, dtype=bool)), name=""),
    )
    return Tracks(1_500_000_000, 8, (60, 80), items, True)


HEADER = Header(stamp=to_stamp(1_500_000_000), frame_id="camera")


@given(
    hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 30),
    st.integers(1, 30),
)
def test_masks_are_coded_as_pycocotools_does(pixels: np.ndarray, x: int, y: int, height: int, width: int) -> None:
    patch = MaskPatch(x, y, pixels)
    full = patch.full(height, width)
    counts = encode_mask(MaskPatch.from_full(full), height, width)
    assert counts == coco_mask.encode(np.asfortranarray(full, dtype=np.uint8))["counts"].decode("ascii")
    assert encode_mask(patch, height, width) == counts, "a patch that reaches over the border"
    assert (decode_mask(counts, height, width).full(height, width) == full).all()


def test_detections_hold_the_reported_tracks() -> None:
    message = to_detections(_tracks(), HEADER)
    assert message.header == HEADER
    assert [detection.id for detection in message.detections] == ["1", "70000"]
    first, second = message.detections
    assert first.header == HEADER
    assert (first.results[0].hypothesis.class_id, first.results[0].hypothesis.score) == ("drone", 0.75)
    assert second.results[0].hypothesis.class_id == "2", "without a name the class's number"
    numbered = to_detections(_tracks(), HEADER, "number")
    assert [item.results[0].hypothesis.class_id for item in numbered.detections] == ["2", "2"]
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (21.5, 33.25)
    assert (first.bbox.size_x, first.bbox.size_y, first.bbox.center.theta) == (20.0, 24.0, 0.0)


def test_label_image() -> None:
    message = to_label_message(_tracks(), HEADER)
    labels = np.frombuffer(message.data, np.uint16).reshape(message.height, message.width)
    assert (message.encoding, message.step, message.header) == ("mono16", 160, HEADER)
    assert set(np.unique(labels)) == {0, 1, 70000 - 65535}


def test_track_array_there_and_back() -> None:
    tracks = _tracks()
    again = from_track_array(to_track_array(tracks, HEADER), tracks.image_size)
    assert (again.timestamp_ns, again.frame_index, again.image_size, again.detector_ran) == (
        tracks.timestamp_ns,
        tracks.frame_index,
        tracks.image_size,
        True,
    )
    for one, other in zip(tracks, again, strict=True):
        assert np.array_equal(one.box, other.box) and np.array_equal(one.velocity, other.velocity)
        for name in ("id", "state", "score", "class_id", "class_name", "age", "frames_since_seen"):
            assert getattr(one, name) == getattr(other, name)
        assert one.frames_since_detection == other.frames_since_detection
        assert (one.mask is None) == (other.mask is None)
        if one.mask is not None and other.mask is not None:
            assert (one.mask.full(60, 80) == other.mask.full(60, 80)).all()


def test_no_tracks_make_empty_messages() -> None:
    empty = Tracks(0, 0, (60, 80))
    assert to_detections(empty, HEADER).detections == []
    assert to_track_array(empty, HEADER).tracks == []
    assert not any(to_label_message(empty, HEADER).data)
