"""Features of boxes that several trackers ask for."""

from __future__ import annotations

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.evaluation.appearance import SharedAppearance
from smotracker_ros.masklets.checkpoints import load_network
from smotracker_ros.masklets.propagator import Propagator


def test_boxes_are_described_as_the_propagator_does_and_only_once() -> None:
    random = np.random.default_rng(0)
    frames = [Frame(random.integers(0, 255, (96, 128, 3), dtype=np.uint8), index, index) for index in range(2)]
    boxes = np.array([[10, 10, 22, 20], [60, 40, 70, 50], [90, 20, 110, 34]], dtype=np.float32)
    propagator = Propagator(load_network())
    shared = SharedAppearance(propagator)
    first = shared.describe(frames[0], boxes[:2])
    assert shared.saved_seconds == 0
    np.testing.assert_allclose(first, propagator.describe(frames[0], boxes[:2]), atol=1e-5)
    # another order, one box more
    again = shared.describe(frames[0], boxes[[2, 1, 0]])
    np.testing.assert_array_equal(again[[2, 1]], first)
    np.testing.assert_allclose(again[0], propagator.describe(frames[0], boxes[2:])[0], atol=1e-5)
    saved = shared.saved_seconds
    assert saved > 0
    # the same box of another frame is another picture
    other = shared.describe(frames[1], boxes[:1])
    assert shared.saved_seconds == saved
    assert not np.allclose(other, first[:1], atol=1e-3)
    assert shared.describe(frames[0], boxes[:0]).shape[0] == 0
