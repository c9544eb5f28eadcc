"""Motion stacks: older pictures laid over the newest."""

import dataclasses

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.detection import Detections
from smotracker_ros.detection.motion_stack import DetectorView, MotionStack
from smotracker_ros.detection.regions import Regions

STILL = np.eye(3)[:2]


def _scene(dx: float, target: tuple[int, int] | None = None) -> np.ndarray:
    """A textured background seen `dx` pixels further to the right, and a bright target in image pixels."""
    texture = np.random.default_rng(0).integers(60, 120, (80, 400)).astype(np.uint8)
    image = np.repeat(texture[:, int(100 + dx) : int(220 + dx), None], 3, axis=2)
    if target is not None:
        image[target[1] : target[1] + 4, target[0] : target[0] + 4] = 255
    return np.ascontiguousarray(image)


def _play(stack: MotionStack, fps: float, frames: int, pan: float = 0.0, step: float = 2.0) -> np.ndarray:
    for index in range(frames):
        image = _scene(pan * index, (10 + round(step * index), 30))
        shift = np.array([[1.0, 0, -pan], [0, 1, 0]])
        stack.push(Frame(image, round(index / fps * 1e9), index), shift)
    return stack.image()


def test_what_moves_differs_between_the_channels_and_what_stands_does_not() -> None:
    image = _play(MotionStack((0.1, 0.2)), fps=30, frames=10)
    for channel, frame in ((0, 9), (1, 6), (2, 3)):
        rows, columns = np.nonzero(image[..., channel] == 255)
        assert columns.min() == 10 + 2 * frame and rows.min() == 30
    background = np.all(image < 255, axis=2)
    assert (np.ptp(image, axis=2)[background] == 0).all()


def test_a_panning_camera_holds_the_background_still() -> None:
    image = _play(MotionStack((0.1, 0.2)), fps=30, frames=10, pan=3.0)
    background = np.all(image < 255, axis=2)
    assert (np.ptp(image, axis=2)[background] <= 1).mean() > 0.99
    # what keeps its place in the image moves against the background by the camera's 9 pixels in three frames
    older = np.nonzero(image[..., 1] == 255)[1].min()
    assert older == 10 + 2 * 6 - 9


@pytest.mark.parametrize("pan", [0.0, 3.0])
def test_regions_of_a_stack_are_parts_of_the_whole(pan: float) -> None:
    stack = MotionStack((0.1, 0.2))
    whole = _play(stack, fps=30, frames=10, pan=pan)
    regions = Regions(np.array([[0, 0, 40, 40], [60, 20, 120, 80]]), 120, 80)
    parts = stack.image(regions)
    shown = np.zeros((80, 120), np.bool_)
    for x1, y1, x2, y2 in regions.boxes:
        shown[y1:y2, x1:x2] = True
    assert np.abs(parts[shown].astype(int) - whole[shown]).max() <= 1
    assert not parts[~shown].any()


def test_missing_frames_show_no_motion() -> None:
    stack = MotionStack((0.1, 0.2))
    stack.push(Frame(_scene(0), 0), STILL)
    assert (np.ptp(stack.image(), axis=2) == 0).all(), "the first frame"
    stack.push(Frame(_scene(0, (50, 30)), 5_000_000_000), STILL)
    assert (np.ptp(stack.image(), axis=2) == 0).all(), "after a gap of five seconds"


@pytest.mark.parametrize("change", ["size", "time"])
def test_another_size_or_an_earlier_time_starts_anew(change: str) -> None:
    stack = MotionStack((0.1, 0.2))
    _play(stack, fps=30, frames=10)
    image = _scene(0)[:40] if change == "size" else _scene(0)
    stack.push(Frame(image, 400_000_000 if change == "size" else 100_000_000), STILL)
    assert (np.ptp(stack.image(), axis=2) == 0).all()


@pytest.mark.parametrize("fps", [8.0, 15.0, 60.0, 500.0])
def test_channels_are_as_old_as_wanted_at_any_frame_rate(fps: float) -> None:
    """The target moves 60 pixels per second, so that its place tells the age of a channel."""
    image = _play(MotionStack((0.1, 0.2)), fps=fps, frames=int(fps), step=60 / fps)
    places = [float(np.nonzero(image[..., channel] == 255)[1].min()) for channel in range(3)]
    ages = [(places[0] - place) / 60 for place in places]
    np.testing.assert_allclose(ages, [0, 0.1, 0.2], atol=0.055)
    assert ages[1] > 0.04, "the older pictures show another moment"


def test_the_memory_of_a_fast_camera_is_bounded() -> None:
    stack = MotionStack((0.1, 0.2))
    held = []
    for frames in (500, 2000):
        _play(stack, fps=1000, frames=1)
        for index in range(1, frames):
            stack.push(Frame(_scene(0), index * 1_000_000), STILL)
        held.append(stack.memory_bytes)
    assert max(held) <= 16 * 80 * 120, "16 pictures at most, after any time"


class _Recorder:
    """A detector that remembers what it was shown."""

    class_names = {1: "drone"}
    name = "recorder"

    def __init__(self) -> None:
        self.shown: list[Frame] = []

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        self.shown.append(frame)
        return Detections.empty()


class _MotionRecorder(_Recorder):
    motion_seconds = (0.1, 0.2)


def test_a_motion_detector_gets_stacks_and_another_one_its_frames() -> None:
    colour, motion = _Recorder(), _MotionRecorder()
    frame = Frame(np.dstack([np.full((20, 20), value, np.uint8) for value in (200, 20, 90)]), 5, 3, "camera")
    for detector in (colour, motion):
        view = DetectorView(detector)
        view.push(frame, STILL)
        view.detect()
    assert colour.shown == [frame]
    stack = motion.shown[0]
    assert dataclasses.replace(stack, image=frame.image) == frame
    assert (np.ptp(stack.image, axis=2) == 0).all() and 60 < stack.image.mean() < 110
