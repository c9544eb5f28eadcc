"""Sliced inference: cover, merge at the slices' edges, and what it is for."""

import itertools

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.detection import Detections
from smotracker_ros.detection.sliced import SlicedDetector, slices
from smotracker_ros.detection.yolo import YoloDetector
from smotracker_ros.presets import build_detector, load_settings


class Blobs:
    """A detector that is right by construction: boxes round connected white pixels of the part that it is shown."""

    class_names = {1: "blob"}
    name = "blobs"

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        import cv2

        self.seen.append((frame.width, frame.height))
        count, _, rows, _ = cv2.connectedComponentsWithStats((frame.image[:, :, 0] > 0).astype(np.uint8))
        if len(self.seen) == 1:
            return Detections.empty()  # blind to small targets in the whole frame
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in rows[1:]]
        return Detections(as_boxes(boxes), np.full(count - 1, 0.5, np.float32), np.ones(count - 1, np.int64))


def draw(boxes: list[tuple[int, int, int, int]], width: int = 300, height: int = 200) -> Frame:
    image = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return Frame(image, 0)


@pytest.mark.parametrize(
    ("width", "height", "size", "overlap"), [(300, 200, 100, 0.2), (101, 99, 100, 0.5), (1920, 1080, 640, 0.25)]
)
def test_slices_cover_everything_and_overlap(width: int, height: int, size: int, overlap: float) -> None:
    places = slices(width, height, size, overlap)
    covered = np.zeros((height, width), np.int64)
    for x1, y1, x2, y2 in places:
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height and max(x2 - x1, y2 - y1) <= size
        covered[y1:y2, x1:x2] += 1
    assert covered.min() >= 1
    starts = sorted({x1 for x1, _, _, _ in places})
    assert all(after - before <= round(size * (1 - overlap)) for before, after in itertools.pairwise(starts))


def test_targets_at_edges_are_found_whole_and_once() -> None:
    truth = [(76, 40, 88, 52), (95, 95, 107, 104), (150, 78, 166, 84), (200, 150, 209, 158), (211, 150, 220, 158)]
    detector = Blobs()
    found = SlicedDetector(detector, 100, 0.2).detect(draw(truth))
    assert len(detector.seen) == 1 + len(slices(300, 200, 100, 0.2))
    assert sorted(map(tuple, found.boxes.astype(int).tolist())) == sorted(truth)


def test_pieces_that_no_slice_shows_whole_are_joined() -> None:
    truth = (60, 45, 130, 55)  # longer than the overlap
    found = SlicedDetector(Blobs(), 100, 0.6).detect(draw([truth]))
    assert tuple(found.boxes[0].astype(int)) == truth and len(found) == 1


def test_a_small_frame_is_not_sliced() -> None:
    detector = Blobs()
    SlicedDetector(detector, 300, 0.2).detect(draw([(5, 5, 9, 9)]))
    assert detector.seen == [(300, 200)]


def test_the_real_detector_finds_each_target_once_with_no_looser_box() -> None:
    rng = np.random.default_rng(5)
    image = np.full((720, 1280), 70.0) + rng.normal(0, 1.5, (720, 1280))
    centers = [(150 + 240 * i, 90 + 180 * j) for i in range(5) for j in range(4)]
    y, x = np.mgrid[0:720, 0:1280]
    for cx, cy in centers:
        image += 90 * np.exp(-(((x - cx) / 3) ** 4 + ((y - cy) / 2) ** 4))
    frame = Frame(np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2), 0)

    def sizes(found: Detections) -> list[float]:
        """Longer side of the one box round each target."""
        middles, sides = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2, found.boxes[:, 2:] - found.boxes[:, :2]
        near = [np.abs(middles - center).max(axis=1) < 5 for center in centers]
        assert [int(one.sum()) for one in near] == [1] * len(centers)
        return [float(sides[one].max()) for one in near]

    sliced = build_detector(load_settings(overrides={"slice_size": 400}))
    assert sliced.name.endswith("slices 400 px overlap 0.2") and sliced.class_names == YoloDetector().class_names
    assert np.median(sizes(sliced.detect(frame, 0.2))) < 1.1 * np.median(sizes(YoloDetector().detect(frame, 0.2)))
