"""The detector sees a frame in parts that take turns."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import as_boxes, pairwise_iou
from smotracker_ros.detection import Detections
from smotracker_ros.detection.regions import Regions, look_into
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.tracker import SmoTracker

WIDTH, HEIGHT, RATE = 640, 512, 30


class BrightSpots:
    """A detector that finds whatever is bright in what it is shown."""

    class_names = {1: "spot"}
    name = "bright spots"

    def scale(self, width: int, height: int, image_size: int = 0) -> float:
        return 1.0

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        bright = (cv2.GaussianBlur(frame.grey, (0, 0), 1.0) > 110).astype(np.uint8)
        rows = cv2.connectedComponentsWithStats(bright)[2][1:]
        boxes = as_boxes([[x, y, x + width, y + height] for x, y, width, height, _ in rows.tolist()])
        return Detections(boxes, np.full(len(boxes), 0.8, np.float32), np.ones(len(boxes), np.int64))

    def detect_in(
        self, frame: Frame, regions: Regions, least_confidence: float = 0.0, image_size: int = 0
    ) -> Detections:
        return look_into(self, frame, regions, 1.0, least_confidence)


def sky(boxes: list[tuple[float, float, float, float]], index: int) -> Frame:
    """A dull sky with hot blobs, as an infrared camera sees drones; boxes are xyxy pixels."""
    generator = np.random.default_rng(index)
    image = np.full((HEIGHT, WIDTH), 70.0) + np.linspace(-15, 15, HEIGHT)[:, None]
    image += generator.normal(0, 1.5, (HEIGHT, WIDTH))
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    for x1, y1, x2, y2 in boxes:
        across, down = (x - (x1 + x2) / 2) / ((x2 - x1) / 2), (y - (y1 + y2) / 2) / ((y2 - y1) / 2)
        image += 130 * np.exp(-(across**4 + down**4))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Frame(np.repeat(pixels[..., None], 3, axis=2), round(index * 1e9 / RATE), index)


def shares(tracker: SmoTracker, frames: list[Frame]) -> list[float]:
    """What the detector sees of each frame, in whole frames."""
    found = []
    for frame in frames:
        before = tracker.detector_frames
        tracker.update(frame)
        found.append(tracker.detector_frames - before)
    return found


@pytest.fixture(scope="module")
def tracker() -> SmoTracker:
    return build_tracker(load_settings(), BrightSpots())


def test_no_frame_but_the_first_waits_for_a_look_at_all_of_it(tracker: SmoTracker) -> None:
    tracker.reset()
    frames = [sky([(100 + 2 * i, 200, 122 + 2 * i, 214)], i) for i in range(61)]
    seen = shares(tracker, frames)
    assert seen[0] == 1
    assert max(seen[1:]) <= 0.6
    # a whole frame's price per clip, and a little for who is new or in doubt
    assert sum(seen[1:]) == pytest.approx(60 / RATE / 0.4, rel=0.3)


def test_whole_frames_are_seen_where_clips_are_not_adaptive() -> None:
    seen = shares(
        build_tracker(load_settings(overrides={"adaptive_clips": False}), BrightSpots()),
        [sky([], i) for i in range(25)],
    )
    assert [index for index, share in enumerate(seen) if share] == [0, 12, 24]
    assert set(seen) == {0, 1}


@pytest.mark.parametrize("place", [(8, 20), (290, 420), (320, 250), (350, 30), (612, 480)])
def test_who_appears_is_found_wherever_that_is(tracker: SmoTracker, place: tuple[float, float]) -> None:
    tracker.reset()
    x, y = place
    for index in range(36):
        boxes = [(60 + 2 * index, 120, 82 + 2 * index, 134)]
        newcomer = (x - 10, y - 7, x + 10, y + 7)
        tracks = tracker.update(sky([*boxes, newcomer] if index >= 16 else boxes, index))
    # within a round, which is 1.1 clips of .4 seconds, and a moment
    found = np.array([track.box for track in tracks.items], np.float32).reshape(-1, 4)
    assert pairwise_iou(np.float32([newcomer]), found).max() > 0.3


def test_what_no_part_shows_whole_is_looked_at_by_itself(tracker: SmoTracker) -> None:
    tracker.reset()
    large = (260.0, 200.0, 380.0, 270.0)
    strips = Regions.strips(WIDTH, HEIGHT, 1.0)
    assert not any(strip.show(np.float32([large]))[0] for strip in strips)
    for index in range(50):
        tracks = tracker.update(sky([large] if index >= 16 else [], index))
    found = np.array([track.box for track in tracks.items], np.float32).reshape(-1, 4)
    assert len(found) == 1 and pairwise_iou(np.float32([large]), found).max() > 0.5
