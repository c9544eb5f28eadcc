"""Image encodings: known pixels in, known RGB out; wrong sizes refused."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from smotracker_ros.core.frames import AutomaticGain, FrameError
from smotracker_ros.io.encodings import SUPPORTED_ENCODINGS, decode_compressed_image, decode_image, from_opencv

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def _rgb_image() -> np.ndarray:
    """Columns 0-7 red, 8-15 green, 16-23 blue, smooth within: chroma subsampling leaves the blocks' insides alone."""
    image = np.zeros((16, 24, 3), dtype=np.uint8)
    for index, color in enumerate((RED, GREEN, BLUE)):
        image[:, 8 * index : 8 * index + 8] = color
    return image


def _decode(encoding: str, array: np.ndarray, big_endian: bool = False, padding: int = 0) -> np.ndarray:
    height, width = array.shape[:2]
    rows = np.ascontiguousarray(array).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return decode_image(height, width, encoding, big_endian, rows.shape[1], rows.tobytes())


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "order"),
    [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("8UC3", [2, 1, 0]), ("rgba8", [0, 1, 2]), ("bgra8", [2, 1, 0])],
)
def test_colour_orders(encoding: str, order: list[int], padding: int) -> None:
    image = _rgb_image()
    stored = image[:, :, order]
    if encoding.endswith("a8"):
        stored = np.dstack([stored, np.full(image.shape[:2], 9, np.uint8)])
    np.testing.assert_array_equal(_decode(encoding, stored, padding=padding), image)


@pytest.mark.parametrize("padding", [0, 8])
@pytest.mark.parametrize(("encoding", "order"), [("nv12", [0, 1]), ("nv21", [1, 0])])
def test_colour_planes(encoding: str, order: list[int], padding: int) -> None:
    image = _rgb_image()
    planar = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
    luminance, chroma = planar[:16], planar[16:].reshape(2, 8, 12)
    lines = np.vstack([luminance, np.dstack([chroma[order[0]], chroma[order[1]]]).reshape(8, 24)])
    padded = np.pad(lines, ((0, 0), (0, padding)), constant_values=77)
    rgb = decode_image(16, 24, encoding, False, padded.shape[1], padded.tobytes())
    assert np.abs(rgb.astype(int) - image).max() <= 4
    with pytest.raises(FrameError, match="even width and height"):
        decode_image(15, 24, encoding, False, 24, lines.tobytes())
    with pytest.raises(FrameError, match="24 rows x step 24 makes 576"):
        decode_image(16, 24, encoding, False, 24, luminance.tobytes())


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_keeps_its_values(encoding: str) -> None:
    grey = np.arange(16 * 24, dtype=np.uint8).reshape(16, 24)
    rgb = _decode(encoding, grey, padding=3)
    for channel in range(3):
        np.testing.assert_array_equal(rgb[:, :, channel], grey)


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bits_are_stretched_in_either_byte_order(encoding: str, big_endian: bool) -> None:
    grey = np.linspace(7000, 7600, 16 * 24).astype(np.uint16).reshape(16, 24)
    rgb = _decode(encoding, grey.astype(">u2" if big_endian else "<u2"), big_endian, padding=2)
    assert rgb[0, 0, 0] == 0
    assert rgb[-1, -1, 0] == 255
    assert (np.diff(rgb[:, :, 0].astype(int).ravel()) >= 0).all()
    # Read in the wrong order, the ramp would jump by 256 at every step.
    assert np.abs(np.diff(rgb[:, :, 0].astype(int).ravel())).max() <= 3


def test_float_image_with_missing_values() -> None:
    grey = np.linspace(-1, 1, 16 * 24).astype(np.float32).reshape(16, 24)
    grey[3, 3] = np.nan
    rgb = _decode("32FC1", grey)
    assert rgb[0, 0, 0] == 0
    assert rgb[-1, -1, 0] == 255
    assert rgb[3, 3, 0] == 0


def _yuv(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """BT.601 studio range, the convention of 4:2:2 video."""
    r, g, b = color
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return round(y), round(u), round(v)


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
def test_packed_yuv(encoding: str, order: str) -> None:
    rows = []
    for color in (RED, GREEN, BLUE):
        y, u, v = _yuv(color)
        rows.append(np.tile([u, y, v, y] if order == "uyvy" else [y, u, y, v], 4))
    packed = np.repeat(np.concatenate(rows)[None], 16, axis=0).astype(np.uint8).reshape(16, 24, 2)
    assert np.abs(_decode(encoding, packed).astype(int) - _rgb_image()).max() <= 3


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns(pattern: str) -> None:
    image = _rgb_image()
    mosaic = np.zeros(image.shape[:2], dtype=np.uint8)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = image[index // 2 :: 2, index % 2 :: 2, "rgb".index(letter)]
    rgb = _decode(f"bayer_{pattern}8", mosaic)
    for column, color in ((4, RED), (12, GREEN), (20, BLUE)):
        np.testing.assert_array_equal(rgb[8, column], color)


def test_result_does_not_share_memory_with_the_message() -> None:
    data = bytearray(_rgb_image().tobytes())
    rgb = decode_image(16, 24, "rgb8", 0, 72, data)
    data[:] = bytes(len(data))
    np.testing.assert_array_equal(rgb, _rgb_image())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "nv99"}, "unknown image encoding 'nv99'"),
        ({"step": 71}, "at least 72"),
        ({"data": bytes(16 * 72 - 1)}, "1151 bytes"),
        ({"data": b""}, "0 bytes"),
        ({"height": 0}, "must be positive"),
        ({"width": -1}, "must be positive"),
        ({"height": 17}, "height 17"),
    ],
)
def test_wrong_fields_are_refused(change: dict, message: str) -> None:
    fields = {
        "height": 16, "width": 24, "encoding": "rgb8", "is_bigendian": 0, "step": 72, "data": bytes(16 * 72),
    } | change  # fmt: skip
    with pytest.raises(FrameError, match=message):
        decode_image(**fields)


def test_odd_width_is_refused_for_packed_yuv() -> None:
    with pytest.raises(FrameError, match="even width"):
        decode_image(16, 23, "yuyv", 0, 46, bytes(16 * 46))


def test_every_supported_encoding_decodes_a_blank_image() -> None:
    for encoding in SUPPORTED_ENCODINGS:
        for count in (1, 2, 3, 4, 6, 8):
            try:
                lines = 24 if encoding.startswith("nv") else 16
                image = decode_image(16, 24, encoding, 0, 24 * count, bytes(lines * 24 * count))
            except FrameError:
                continue
            assert image.shape == (16, 24, 3), encoding
            break
        else:
            pytest.fail(f"{encoding} decodes at no size")


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_deep_bayer_patterns(pattern: str) -> None:
    image = _rgb_image().astype(np.uint16) * 16
    mosaic = np.zeros(image.shape[:2], dtype=np.uint16)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = image[index // 2 :: 2, index % 2 :: 2, "rgb".index(letter)]
    for big_endian in (False, True):
        rgb = _decode(f"bayer_{pattern}16", mosaic.astype(">u2" if big_endian else "<u2"), big_endian=big_endian)
        assert rgb[8, [4, 12, 20]].argmax(axis=1).tolist() == [0, 1, 2]


def test_deep_images_of_a_stream_share_their_range() -> None:
    gain = AutomaticGain(seconds=5.0)
    cold = np.linspace(1000, 2000, 16 * 24).astype(np.uint16).reshape(16, 24)
    warm = cold + 500
    first = decode_image(16, 24, "mono16", 0, 48, cold.tobytes(), gain, 0)
    second = decode_image(16, 24, "16UC1", 0, 48, warm.tobytes(), gain, 10_000_000)
    assert second[8, 12, 0] > first[8, 12, 0] + 100, "a warmer scene looks warmer"
    third = decode_compressed_image(cv2.imencode(".png", warm)[1].tobytes(), gain, 20_000_000)
    assert np.abs(third.astype(int) - second).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_cut_of_a_compressed_image_is_refused(suffix: str) -> None:
    data = cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))[1].tobytes()
    for length in range(0, len(data) - 2, 7):
        with pytest.raises(FrameError):
            decode_compressed_image(data[:length])
    padded = data + bytes(100)
    np.testing.assert_array_equal(decode_compressed_image(padded), decode_compressed_image(data))


FORMATS = {
    "jpeg": (".jpg", []),
    "progressive jpeg": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "jpeg with restarts": (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 1]),
    "png": (".png", []),
    "webp": (".webp", []),
    "bmp": (".bmp", []),
    "tiff": (".tiff", []),
}


def _encoded(name: str, size: int = 60) -> bytes:
    suffix, options = FORMATS[name]
    noise = np.random.default_rng(0).integers(0, 255, (size, size + 10, 3), np.uint8)
    return bytes(cv2.imencode(suffix, noise, options)[1].tobytes())


@pytest.mark.parametrize("name", FORMATS)
def test_what_follows_an_image_in_its_buffer_is_passed_over(name: str) -> None:
    """Cameras pad to the size of their buffers, or add data of their own."""
    data = _encoded(name)
    expected = decode_compressed_image(data)
    noise = np.random.default_rng(1).bytes(5000)
    for tail in (bytes(1), bytes(1000), bytes(4096), bytes(2_000_000), b"\xff" * 70_000, noise, _encoded(name, 20)):
        np.testing.assert_array_equal(decode_compressed_image(data + tail), expected)


@pytest.mark.parametrize("name", FORMATS)
def test_padding_does_not_hide_that_an_image_was_cut_off(name: str) -> None:
    data = _encoded(name)
    for length in range(20, len(data) - 12, len(data) // 23):
        for tail in (b"", bytes(100), b"\xff" * 5000):
            if name in ("bmp", "tiff", "webp") and len(tail) > 12:
                continue  # what is missing of these is replaced by the padding: nothing tells it from an image
            with pytest.raises(FrameError):
                decode_compressed_image(data[:length] + tail)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image() -> None:
    """As cameras write it into an EXIF segment."""
    data, thumbnail = _encoded("jpeg"), _encoded("jpeg", 16)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\x00\x00" + thumbnail
    whole = data[:2] + segment + data[2:]
    np.testing.assert_array_equal(decode_compressed_image(whole), decode_compressed_image(data))
    for length in range(len(segment) + 4, len(whole) - 2, 97):
        with pytest.raises(FrameError, match="broken"):
            decode_compressed_image(whole[:length] + bytes(3000))


def test_a_format_that_is_none_is_named() -> None:
    with pytest.raises(FrameError, match="the message calls it 'h264'"):
        decode_compressed_image(b"\x00\x00\x00\x01\x67" * 100, stated="h264")
    with pytest.raises(FrameError, match="compressedDepth images hold distances"):
        decode_compressed_image(bytes(12) + _encoded("png"), stated="16UC1; compressedDepth png")


def test_a_small_file_cannot_ask_for_gigabytes() -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    )
    with pytest.raises(FrameError, match=r"too large|refused"):
        decode_compressed_image(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(FrameError, match="megapixels"):
        decode_image(60000, 60000, "mono8", 0, 60000, b"")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_compressed_images(suffix: str) -> None:
    encoded = cv2.imencode(suffix, _rgb_image()[:, :, ::-1])[1]
    rgb = decode_compressed_image(encoded.tobytes())
    assert np.abs(rgb[:, [4, 12, 20]].astype(int) - _rgb_image()[:, [4, 12, 20]]).max() <= 30


@pytest.mark.parametrize("data", [b"", b"not an image", cv2.imencode(".png", _rgb_image())[1].tobytes()[:20]])
def test_broken_compressed_image(data: bytes) -> None:
    with pytest.raises(FrameError, match="broken"):
        decode_compressed_image(data)


def test_opencv_order_with_alpha() -> None:
    bgra = np.zeros((9, 9, 4), np.uint8)
    bgra[:, :, 2] = 200
    assert from_opencv(bgra)[0, 0].tolist() == [200, 0, 0]
