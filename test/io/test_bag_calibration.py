"""The camera's calibration along a bag: as the node would have known it, in little memory, and with few words."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.core.tracks import Track, Tracks, TrackState
from smotracker_ros.io.bag_calibration import CAMERA_INFO, BagCalibration
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.io.message_types import typestore

START = 1_700_000_000_000_000_000
STEP = 33_000_000
Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    def build(
        focal: Iterable[float], topic: str = "/mast/camera_info", model: str = "plumb_bob", **change: Any
    ) -> Path:
        """A bag of camera_info messages, each with another stamp; a focal length of 0 is of no use."""
        store, types = typestore(), typestore().types
        region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        path = tmp_path / "flight"
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connection = writer.add_connection("/mast/camera_info", CAMERA_INFO, typestore=store)
            for number, length in enumerate(focal):
                seconds, nanoseconds = divmod(START + number * STEP, 10**9)
                fields = {
                    "header": types["std_msgs/msg/Header"](
                        types["builtin_interfaces/msg/Time"](seconds, nanoseconds), "mast"
                    ),
                    "height": 48, "width": 64, "distortion_model": model, "d": np.zeros(5),
                    "k": np.array([length, 0, 31.5, 0, length, 23.5, 0, 0, 1.0]), "r": np.eye(3).ravel(),
                    "p": np.array([length, 0, 31.5, 0, 0, length, 23.5, 0, 0, 0, 1.0, 0]),
                    "binning_x": 0, "binning_y": 0, "roi": region,
                }  # fmt: skip
                message = types[CAMERA_INFO](**(fields | change))
                writer.write(connection, START + number * STEP, store.serialize_cdr(message, CAMERA_INFO))
        return path

    return build


def _alive() -> int:
    return sum(type(item) is Calibration for item in gc.get_objects())


@pytest.mark.parametrize("zooms", [False, True])
def test_a_long_bag_takes_no_memory(make: Maker, zooms: bool) -> None:
    """Whether the camera repeats itself with every image or changes with every image."""
    count = 1000
    bag = make(100.0 + number * zooms for number in range(count))
    gc.collect()
    before = _alive()
    with closing(BagCalibration(bag, "/mast/image_raw")) as calibration:
        for number in range(count):
            found = calibration.at(START + number * STEP)
            assert found is not None and found.matrix[0, 0] == 100.0 + number * zooms
            assert _alive() <= before + 3 if number % 100 == 0 else True


def test_the_last_one_that_can_be_used_counts(make: Maker) -> None:
    bag = make([0.0, 0.0, 100.0, 0.0, 100.0, 200.0, 0.0])
    with closing(BagCalibration(bag, "/mast/image_raw")) as calibration:
        found = [calibration.at(START + number * STEP - 1) for number in range(9)]
        assert [item.matrix[0, 0] for item in found if item] == [100.0] * 6 + [200.0] * 3, (
            "the first one from the start"
        )


def test_a_camera_info_that_cannot_be_used_is_said_once(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    bag = make([0.0] * 500)
    with closing(BagCalibration(bag, "/mast/image_raw")) as calibration:
        assert all(calibration.at(START + number * STEP) is None for number in range(500))
    assert len(caplog.records) == 1
    assert "/mast/camera_info" in caplog.text and "the camera is not calibrated" in caplog.text


def test_an_unknown_lens_with_zeros_is_said(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    with closing(BagCalibration(make([100.0] * 5, model="double_sphere"), "/mast/image_raw")) as calibration:
        assert calibration.at(START) is None
    assert caplog.text.count("unknown distortion model 'double_sphere'") == 1


def test_an_ideal_equidistant_lens(make: Maker) -> None:
    """Half the image's width of 64 pixels off the axis at 100 pixels per radian."""
    box, nowhere = np.array([63, 23, 65, 25], np.float32), np.zeros(2, np.float32)
    track = Track(1, TrackState.CONFIRMED, box, 0.9, 0, "drone", None, nowhere, 0, 0, 0)
    tracks = Tracks(0, 0, (48, 64), (track,))
    with closing(BagCalibration(make([100.0], model="equidistant"), "/mast/image_raw")) as calibration:
        bearing = calibration.bearings(tracks, START)[0]
    assert np.arctan2(bearing[0], bearing[2]) == pytest.approx(0.32, abs=1e-6)


def test_images_of_another_size_and_topics_of_rectified_ones(make: Maker, caplog: pytest.LogCaptureFixture) -> None:
    bag = make([100.0], p=np.array([90.0, 0, 31.5, 0, 0, 90.0, 23.5, 0, 0, 0, 1.0, 0]))
    with closing(BagCalibration(bag, "/mast/image_rect")) as calibration:
        for _ in range(20):
            assert not calibration.bearings(Tracks(0, 0, (96, 128), ()), START).any()
    assert [("image_rect" in item.message, "64x48" in item.message) for item in caplog.records] == [
        (True, False),
        (False, True),
    ]
