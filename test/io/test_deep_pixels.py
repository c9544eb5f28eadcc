"""Pixels deeper than 8 bits look the same on every road."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.core.frames import AutomaticGain, to_rgb8
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.sources import open_source

FPS = 20
FRAMES = 8
Images = list[np.ndarray]


def counts(index: int, top: int = 16000, offset: int = 7100) -> np.ndarray:
    """uint16 image of a sensor whose scene takes 600 counts; something hot comes in at the fifth."""
    rng = np.random.default_rng(7)
    image = (offset + 300 * rng.random((48, 64)) + np.linspace(0, 300, 64)).astype(np.uint16)
    image[20:26, 4 + 2 * index : 10 + 2 * index] = offset + 590
    if index >= 4:
        image[40:, 58:] = top
    return image


def in_color(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, image // 2 + 3000, image // 3])


def write_video(path: Path, images: Images, pixels: str, given: str | None = None) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, FPS)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format=given or pixels)
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_folder(path: Path, images: Images, suffix: str) -> None:
    path.mkdir()
    for index, image in enumerate(images):
        assert cv2.imwrite(str(path / f"{index:04d}{suffix}"), image[:, :, ::-1] if image.ndim == 3 else image)


def write_bag(path: Path, images: Images, encoding: str) -> None:
    store = typestore()
    types = store.types
    kind = f"sensor_msgs/msg/{'CompressedImage' if encoding == 'png' else 'Image'}"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/camera", kind, typestore=store)
        for index, image in enumerate(images):
            stamp = 10**18 + index * 10**9 // FPS
            time = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
            header = types["std_msgs/msg/Header"](time, "camera")
            if encoding == "png":
                message = types[kind](header, "16UC1; png", cv2.imencode(".png", image)[1].reshape(-1))
            else:
                step = image.nbytes // len(image)
                data = np.frombuffer(image.tobytes(), np.uint8)
                message = types[kind](header, *image.shape[:2], encoding, 0, step, data)
            writer.write(connection, stamp, store.serialize_cdr(message, kind))


GREY_ROADS: dict[str, Callable[[Path, Images], None]] = {
    "thermal.mkv": lambda path, images: write_video(path, images, "gray16le"),
    "thermal.avi": lambda path, images: write_video(path, images, "gray16le"),
    "tiff": lambda path, images: write_folder(path, images, ".tiff"),
    "png": lambda path, images: write_folder(path, images, ".png"),
    "bag": lambda path, images: write_bag(path, images, "mono16"),
    "compressed": lambda path, images: write_bag(path, images, "png"),
}
COLOR_ROADS: dict[str, Callable[[Path, Images], None]] = {
    "color.mkv": lambda path, images: write_video(path, images, "gbrp16le", "rgb48le"),
    "tiff": lambda path, images: write_folder(path, images, ".tiff"),
    "png": lambda path, images: write_folder(path, images, ".png"),
    "bag": lambda path, images: write_bag(path, images, "rgb16"),
}


def shown(path: Path) -> np.ndarray:
    return np.stack([frame.image for frame in open_source(path, fps=None if path.suffix else FPS)]).astype(int)


def expected(images: Images) -> np.ndarray:
    gain = AutomaticGain()
    limits = [gain.limits(image, index * 10**9 // FPS) for index, image in enumerate(images)]
    return np.stack([to_rgb8(*pair) for pair in zip(images, [(0.5, 99.5)] * FRAMES, limits, strict=True)]).astype(int)


@pytest.mark.parametrize("road", GREY_ROADS)
def test_thermal_images_look_the_same_on_every_road(road: str, tmp_path: Path) -> None:
    images = [counts(index) for index in range(FRAMES)]
    path = tmp_path / road
    GREY_ROADS[road](path, images)
    found = shown(path)
    # times in matroska are rounded to milliseconds
    assert np.abs(found - expected(images)).max() <= 1
    assert len(np.unique(found[0])) > 100, "600 counts fill the range"
    rest = np.s_[:40]
    assert np.abs(found[3][rest] - found[4][rest]).mean() < 3, "something hot does not dim the rest"


@pytest.mark.parametrize("road", COLOR_ROADS)
def test_deep_colours_look_the_same_on_every_road(road: str, tmp_path: Path) -> None:
    images = [in_color(counts(index)) for index in range(FRAMES)]
    path = tmp_path / road
    COLOR_ROADS[road](path, images)
    assert np.abs(shown(path) - expected(images)).max() <= 1


@pytest.mark.parametrize(("pixels", "bits"), [("gray10le", 10), ("gray12le", 12), ("gray14le", 14)])
def test_grey_of_fewer_bits_is_a_sensors_too(pixels: str, bits: int, tmp_path: Path) -> None:
    images = [counts(index, top=2**bits - 1, offset=100) for index in range(FRAMES)]
    path = tmp_path / "thermal.mkv"
    write_video(path, images, pixels, "gray16le" if pixels == "gray14le" else pixels)
    found = shown(path)
    assert len(np.unique(found[0])) > 100
    assert found[4][:40].max() == 255


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv422p12le", "gbrp10le", "gbrp12le", "yuv444p16le"])
def test_colour_video_for_screens_keeps_its_values(pixels: str, tmp_path: Path) -> None:
    dim = np.full((48, 64, 3), 60, dtype=np.uint8)
    dim[20:28, 20:28] = 90
    path = tmp_path / "ten.mkv"
    write_video(path, [dim] * 3, pixels, "rgb24")
    assert np.abs(shown(path) - dim).max() <= 2


def test_opacity_has_no_part_in_the_range(tmp_path: Path) -> None:
    images = [in_color(counts(index)) for index in range(FRAMES)]
    (tmp_path / "with").mkdir()
    for index, image in enumerate(images):
        opaque = np.dstack([image[:, :, ::-1], np.full(image.shape[:2], 65535, np.uint16)])
        cv2.imwrite(str(tmp_path / "with" / f"{index}.png"), opaque)
    write_bag(
        tmp_path / "bag", [np.dstack([image, np.full(image.shape[:2], 65535, np.uint16)]) for image in images], "rgba16"
    )
    for name in ("with", "bag"):
        assert np.abs(shown(tmp_path / name) - expected(images)).max() <= 1
