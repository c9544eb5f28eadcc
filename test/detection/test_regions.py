"""Regions of interest, with the embedded detector."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import pairwise_iou
from smotracker_ros.detection import Detections, Detector
from smotracker_ros.detection.motion_stack import DetectorView
from smotracker_ros.detection.regions import RegionDetector, Regions
from smotracker_ros.detection.sliced import SlicedDetector
from smotracker_ros.detection.yolo import YoloDetector
from smotracker_ros.training.scenes import SceneSettings, render_scene

STILL = np.eye(3)[:2]


@pytest.fixture(scope="module")
def detector() -> YoloDetector:
    return YoloDetector()


@pytest.fixture(scope="module")
def view(detector: YoloDetector) -> DetectorView:
    """A detector's view of a moment of a rendered scene of 960x540 pixels."""
    return _view(detector)


def _view(detector: Detector) -> DetectorView:
    settings = SceneSettings(
        width=960,
        height=540,
        frames=8,
        fps=30.0,
        targets=4,
        camera="static",
        sizes=(10.0, 24.0),
        contrasts=(90.0, 150.0),
    )
    view = DetectorView(detector)
    for index, scene in enumerate(render_scene(settings, seed=3)):
        view.push(Frame(scene.image, round(index * 1e9 / 30), index), STILL)
    return view


def test_a_region_shows_what_the_whole_frame_shows(view: DetectorView) -> None:
    whole = view.detect(0.3)
    assert len(whole) >= 3
    regions = view.regions(whole.boxes[:2])
    assert not regions.is_whole and regions.share < 0.35
    part = view.detect(0.3, regions=regions)
    shown = whole.select(regions.show(whole.boxes))
    assert len(part) == len(shown)
    overlap = pairwise_iou(part.boxes, shown.boxes)
    assert overlap.max(axis=0).min() > 0.8
    assert np.abs(part.scores[overlap.argmax(axis=0)] - shown.scores).max() < 0.2


def test_slices_see_regions_at_their_own_scale(detector: YoloDetector) -> None:
    sliced = SlicedDetector(detector, 320)
    assert sliced.scale(960, 540) == detector.scale(320, 320) == 2.0
    view = _view(sliced)
    whole = view.detect(0.3)
    part = view.detect(0.3, regions=view.regions(whole.boxes[:1]))
    assert pairwise_iou(part.boxes, whole.boxes[:1]).max() > 0.7


class WholeFrames:
    """A detector of somebody else, who knows nothing of regions."""

    class_names = {1: "thing"}
    name = "whole"

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        assert frame.width == 960
        return Detections.empty()


def test_other_detectors_see_whole_frames() -> None:
    for other in (WholeFrames(), SlicedDetector(WholeFrames(), 2000)):
        view = _view(other)
        regions = view.regions(np.float32([[400, 300, 410, 310]]))
        assert regions.is_whole
        assert len(view.detect(regions=regions)) == 0
    assert not isinstance(WholeFrames(), RegionDetector)


def test_regions_that_cost_less_together_are_joined() -> None:
    near = np.float32([[400, 300, 410, 310], [430, 310, 440, 320]])
    far = np.float32([[400, 300, 410, 310], [900, 310, 910, 320]])
    assert len(Regions.around(near, 1280, 720, 1.0).boxes) == 1
    assert len(Regions.around(far, 1280, 720, 1.0).boxes) == 2


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_regions_lie_in_the_frame_and_show_their_places(scale: float) -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        corner, size = generator.uniform((-20, -20), (1270, 710)), generator.uniform(3, 200, 2)
        place = np.float32([[*corner, *(corner + size)]])
        regions = Regions.around(place, 1280, 720, scale)
        assert (regions.boxes[:, :2] >= 0).all() and (regions.boxes[:, 2:] <= (1280, 720)).all()
        assert regions.show(place).all()


def test_a_region_is_not_trusted_at_its_inner_edges() -> None:
    regions = Regions.around(np.float32([[0, 300, 10, 310]]), 1280, 720, 1.0)
    x2 = int(regions.boxes[0, 2])
    places = np.float32([[0, 300, 2, 302], [x2 - 12, 300, x2 - 2, 310], [x2 + 5, 300, x2 + 9, 304]])
    assert regions.show(places).tolist() == [True, False, False]


def test_regions_that_cover_most_of_a_frame_are_all_of_it() -> None:
    places = np.float32([[x, y, x + 8, y + 8] for x in range(50, 600, 150) for y in range(50, 450, 150)])
    regions = Regions.around(places, 640, 512, 1.0)
    assert regions.is_whole and regions.show(np.float32([[-5, -5, 0, 0]])).all()
    assert dataclasses.replace(regions).share == 1
