"""Tracks of a frame and their label image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.core.tracks import Track, Tracks, TrackState, label_image

BASE = Track(
    id=1,
    state=TrackState.CONFIRMED,
    box=np.array([2, 2, 6, 6], np.float32),
    score=0.9,
    class_id=1,
    class_name="drone",
    mask=MaskPatch(2, 2, np.ones((4, 4), np.bool_)),
    velocity=np.zeros(2, np.float32),
    age=3,
    frames_since_detection=0,
    frames_since_seen=0,
)


def test_only_confirmed_and_visible_tracks_are_reported() -> None:
    items = (
        BASE,
        replace(BASE, id=2, state=TrackState.TENTATIVE),
        replace(BASE, id=3, state=TrackState.LOST, mask=None),
        replace(BASE, id=4, mask=None),
        replace(BASE, id=5, state=TrackState.REMOVED),
        replace(BASE, id=6),
    )
    tracks = Tracks(0, 0, (10, 10), items)
    assert [track.id for track in tracks.reported] == [1, 6]
    assert len(tracks) == 6
    assert [track.id for track in tracks] == [1, 2, 3, 4, 5, 6]


def test_state_numbers_are_those_of_the_message() -> None:
    assert {state.name: int(state) for state in TrackState} == {
        "TENTATIVE": 1, "CONFIRMED": 2, "LOST": 3, "REMOVED": 4,
    }  # fmt: skip


def test_small_masks_lie_on_top_in_the_label_image() -> None:
    large = replace(BASE, id=9, mask=MaskPatch(0, 0, np.ones((8, 8), np.bool_)))
    for items in ((BASE, large), (large, BASE)):
        labels = label_image(Tracks(0, 0, (10, 12), items))
        assert labels.dtype == np.uint16
        assert labels.shape == (10, 12)
        assert (labels[2:6, 2:6] == 1).all()
        assert np.count_nonzero(labels == 9) == 64 - 16
        assert labels[9, 9] == 0


def test_label_image_leaves_out_what_is_not_reported() -> None:
    hidden = replace(BASE, id=2, state=TrackState.TENTATIVE)
    assert not label_image(Tracks(0, 0, (10, 10), (hidden,))).any()


def test_large_ids_wrap_but_never_to_the_background() -> None:
    for track_id, expected in ((65535, 65535), (65536, 1), (131070, 65535)):
        labels = label_image(Tracks(0, 0, (10, 10), (replace(BASE, id=track_id),)))
        assert labels.max() == expected
