"""Masks as run lengths: pycocotools' encoding, read without trusting it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from smotracker_ros.core.frames import LONGEST_FRAME_ID, Frame, FrameError
from smotracker_ros.core.geometry import MaskPatch
from smotracker_ros.io import encodings
from smotracker_ros.io.message_fields import LARGEST_MASK, decode_mask, encode_mask


@settings(deadline=None, max_examples=200, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 1000), tenths=st.integers(0, 10))
def test_masks_come_back(height: int, width: int, seed: int, tenths: int) -> None:
    pixels = np.random.default_rng(seed).random((height, width)) < tenths / 10
    counts = encode_mask(MaskPatch.from_full(pixels), height, width)
    theirs = coco_mask.encode(np.asfortranarray(pixels, dtype=np.uint8))["counts"].decode()
    for text in (counts, theirs):
        np.testing.assert_array_equal(decode_mask(text, height, width).full(height, width), pixels)


def test_large_images() -> None:
    pixels = np.zeros((2160, 3840), dtype=np.bool_)
    pixels[1000:1010, 3000:3007] = True
    counts = encode_mask(MaskPatch.from_full(pixels), *pixels.shape)
    np.testing.assert_array_equal(decode_mask(counts, *pixels.shape).full(*pixels.shape), pixels)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(counts=st.text(max_size=40), height=st.integers(-5, 30), width=st.integers(-5, 30))
def test_anything_else_is_refused(counts: str, height: int, width: int) -> None:
    try:
        patch = decode_mask(counts, height, width)
    except ValueError:
        return
    assert patch.full(height, width).shape == (height, width)


def test_masks_that_lie_about_their_size() -> None:
    counts = encode_mask(MaskPatch(2, 3, np.ones((4, 5), np.bool_)), 20, 30)
    for size in ((20, 29), (19, 30), (2**31, 2**31), (LARGEST_MASK, 2), (0, 0)):
        with pytest.raises(ValueError, match=r"refused|do not make"):
            decode_mask(counts, *size)
    with pytest.raises(ValueError, match="refused"):
        decode_mask("0" * 2_000_000, 20, 30)
    with pytest.raises(ValueError, match="run-length"):
        decode_mask("o" * 20, 20, 30)


def test_long_names_of_frames_are_refused() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    Frame(image, 0, frame_id="x" * LONGEST_FRAME_ID)
    with pytest.raises(FrameError, match="characters"):
        Frame(image, 0, frame_id="x" * (LONGEST_FRAME_ID + 1))


def test_large_files_are_refused_before_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "LARGEST_FILE", 100)
    with pytest.raises(FrameError, match="101 bytes is refused"):
        encodings.decode_compressed_image(bytes(101))
