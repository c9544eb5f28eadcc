"""What of a file is read: the right stream, all pages, right side up, whatever its name is; the rest is said."""

from __future__ import annotations

import importlib
import os
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
import pytest

from smotracker_ros.io.sinks import VideoWriter
from smotracker_ros.io.sources import SourceError, open_source

Maker = Callable[..., Path]


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """RGB image whose grey level tells its number, with its upper left corner in red."""
    image = np.full((height, width, 3), 20 * number, dtype=np.uint8)
    image[: height // 4, : width // 4] = (250, 0, 0)
    return image


def numbers_of(path: Path) -> list[int]:
    return [round(float(frame.image[40:, 40:].mean()) / 20) for frame in open_source(path)]


def corner_of(image: np.ndarray) -> str:
    """Which corner is red."""
    height, width = image.shape[:2]
    y, x = np.argwhere((image[:, :, 0] > 180) & (image[:, :, 2] < 90)).mean(axis=0)
    return ("upper" if y < height / 2 else "lower") + (" left" if x < width / 2 else " right")


def encode(container: av.container.OutputContainer, stream: av.VideoStream, images: Sequence[np.ndarray]) -> None:
    for index, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def add_stream(
    container: av.container.OutputContainer, codec: str, width: int = 64, height: int = 48
) -> av.VideoStream:
    stream = container.add_stream(codec, rate=25)
    stream.width, stream.height = width, height
    stream.pix_fmt = {"png": "rgb24", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    stream.codec_context.time_base = Fraction(1, 25)
    return stream


@pytest.mark.parametrize(("name", "codec"), [("clip.mkv", "mjpeg"), ("clip.mov", "png")])
def test_a_still_picture_beside_the_flight_is_not_tracked(
    tmp_path: Path, name: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        still, flight = add_stream(container, codec, 128, 96), add_stream(container, "libx264")
        encode(container, still, [picture(9, 96, 128)])
        encode(container, flight, [picture(number) for number in range(6)])
    source = open_source(path)
    assert (source.size, numbers_of(path)) == ((48, 64), list(range(6)))
    assert f"stream 1 is read; not read: stream 0 (still picture, {codec}, 128x96)" in caplog.text


def test_of_two_videos_the_default_one_is_read_and_the_other_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [add_stream(container, "libx264", width, 48) for width in (64, 80, 96)]
        streams[0].disposition = av.stream.Disposition.original
        streams[1].disposition = av.stream.Disposition.default
        for stream in streams:
            encode(container, stream, [picture(number, 48, stream.width) for number in range(4)])
    assert open_source(path).size == (48, 80)
    assert len(numbers_of(path)) == 4
    assert len(caplog.records) == 1
    assert "stream 0 (video, h264, 64x48); stream 2 (video, h264, 96x48)" in caplog.text


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("mp3", rate=44100)
        cover = add_stream(container, "png")
        cover.disposition = av.stream.Disposition.attached_pic
        encode(container, cover, [picture(3)])
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.int16), format="s16p", layout="stereo")
        silence.sample_rate = 44100
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(SourceError, match="cover"):
        open_source(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_all_pages_of_a_stack_are_frames(tmp_path: Path, dtype: type) -> None:
    pages = [
        (picture(number)[:, :, 0].astype(np.float64) + 7000 * (dtype != np.uint8)).astype(dtype)
        for number in range(1, 8)
    ]
    path = tmp_path / "stack.tif"
    cv2.imwritemulti(str(path), pages)
    source = open_source(path, fps=10)
    frames = list(source)
    assert source.length == len(frames) == 7
    assert [frame.timestamp_ns for frame in frames] == [100_000_000 * index for index in range(7)]
    if dtype == np.uint8:
        assert numbers_of(path) == list(range(1, 8))


@pytest.mark.parametrize("share", [0.35, 0.65, 0.95])
def test_a_stack_that_is_cut_off_says_so(
    tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "stack.tif"
    noise = np.random.default_rng(0).integers(0, 60000, (10, 48, 64)).astype(np.uint16)
    cv2.imwritemulti(str(path), list(noise))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    frames = list(open_source(path))
    assert len(frames) == int(share * 10)
    assert len(caplog.records) == 1 and "stack.tif was skipped" in caplog.text
    assert capfd.readouterr().err == "", "OpenCV has no word of its own"


def test_a_broken_page_leaves_its_place_free(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "stack.tif"
    cv2.imwritemulti(str(path), [picture(number) for number in range(1, 8)])
    with PIL.Image.open(path) as image:
        image.seek(3)
        starts = image.tag_v2[273]
    data = path.read_bytes()
    for start in starts:  # its strips are said to lie behind the end of the file
        data = data.replace(struct.pack("<I", start), struct.pack("<I", 2**31 - 5))
    path.write_bytes(data)
    frames = list(open_source(path))
    assert [frame.index for frame in frames] == [0, 1, 2, 4, 5, 6]
    assert [round(float(frame.image[40:, 40:].mean()) / 20) for frame in frames] == [1, 2, 3, 5, 6, 7]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("compression", [5, 8])
def test_damaged_pixels_are_not_filled_up(tmp_path: Path, compression: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "stack.tif"
    pages = [picture(number) for number in range(1, 8)]
    cv2.imwritemulti(str(path), pages, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    with PIL.Image.open(path) as image:
        image.seek(3)
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    data = bytearray(path.read_bytes())
    data[start : start + length] = b"\xff" * length
    path.write_bytes(bytes(data))
    assert [frame.index for frame in open_source(path)] == [0, 1, 2, 4, 5, 6]
    assert len(caplog.records) == 1


def test_stacks_in_a_folder_and_what_comes_behind_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for start in (0, 4):
        pages = [picture(number)[:, :, 0] for number in range(start, start + 4)]
        pages.insert(1, cv2.resize(pages[0], (16, 12)))  # a preview among the pages
        cv2.imwritemulti(str(tmp_path / f"part{start // 4}.tiff"), pages)
    cv2.imwrite(str(tmp_path / "part2.tiff"), picture(8)[:, :, ::-1])
    assert numbers_of(tmp_path) == list(range(9))
    assert [frame.index for frame in open_source(tmp_path)] == list(range(9))
    assert "2 pages are not read: they differ in size" in caplog.text


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_animated_images_are_several_frames(tmp_path: Path, suffix: str) -> None:
    images = [PIL.Image.fromarray(picture(number)) for number in range(5)]
    path = tmp_path / f"moving{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=40, **options)
    assert numbers_of(path) == list(range(5))


def test_suffixes_that_are_read(tmp_path: Path) -> None:
    for number, suffix in enumerate(("png", "webp", "bmp", "ppm", "TIF", "PNG"), start=1):
        cv2.imwrite(str(tmp_path / f"{number}.{suffix}"), picture(number)[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert numbers_of(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_what_a_folder_holds_besides_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
    cv2.imwrite(str(tmp_path / "2.bmp"), picture(2))
    (tmp_path / "left").mkdir()
    cv2.imwrite(str(tmp_path / "left" / "0.png"), picture(0))
    (tmp_path / "thumbs.png").mkdir()
    for name in ("a.heic", "b.heic", "flight.mp4", "._0.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    assert len(numbers_of(tmp_path)) == 4
    text = caplog.text
    assert "not read: images in sub-folders (left)" in text
    assert "2 files *.heic, 1 files *.mp4" in text
    assert "1 images are there in several formats (2)" in text
    assert "._0" not in text and "thumbs" not in text and "notes" not in text


def test_a_folder_of_folders_names_them(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    cv2.imwrite(str(tmp_path / "left" / "0.png"), picture(0))
    with pytest.raises(SourceError, match=r"Not read: images in sub-folders \(left\)"):
        open_source(tmp_path)


def test_links_that_lead_nowhere_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(tmp_path / name), picture(3))
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    assert [frame.index for frame in open_source(tmp_path)] == [0, 2]
    assert "b.png was skipped: it cannot be read (No such file or directory)" in caplog.text


def test_many_broken_images_are_few_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # the detector's package replaces Pillow's `open` by one that tries to install another for every such image
    importlib.import_module("ultralytics.utils.patches")
    cv2.imwrite(str(tmp_path / "0.png"), picture(0))
    for number in range(1, 30):
        (tmp_path / f"{number}.png").write_bytes(b"broken")
    source = open_source(tmp_path)
    assert [frame.index for frame in source] == [0]
    assert source.skipped == 29
    assert len(caplog.records) == 4
    assert "29 images were skipped in all" in caplog.text


def turn(path: Path, matrix: Sequence[float]) -> None:
    """Put a display matrix (a, b, c, d) into an mp4."""
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd") + 44
    assert struct.unpack(">i", data[start : start + 4])[0] == 0x10000
    a, b, c, d = (round(value * 0x10000) for value in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("matrix", "corner", "size"),
    [
        ((1, 0, 0, 1), "upper left", (48, 64)),
        ((0, 1, -1, 0), "upper right", (64, 48)),  # a quarter turn clockwise
        ((-1, 0, 0, -1), "lower right", (48, 64)),
        ((0, -1, 1, 0), "lower left", (64, 48)),
        ((-1, 0, 0, 1), "upper right", (48, 64)),
        ((1, 0, 0, -1), "lower left", (48, 64)),
        ((0, 1, 1, 0), "upper left", (64, 48)),
        ((0, -1, -1, 0), "lower right", (64, 48)),
    ],
)
def test_videos_are_turned_as_they_are_to_be_shown(
    tmp_path: Path, matrix: Sequence[float], corner: str, size: tuple[int, int]
) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        encode(container, add_stream(container, "libx264"), [picture(3)] * 3)
    turn(path, matrix)
    source = open_source(path)
    frame = next(iter(source))
    assert source.size == (frame.height, frame.width) == size
    assert corner_of(frame.image) == corner


def test_a_video_that_is_to_be_shown_aslant_is_refused(make_video: Maker) -> None:
    path = make_video()
    turn(path, (0.866, 0.5, -0.5, 0.866))
    with pytest.raises(SourceError, match="turned by 30 degrees"):
        open_source(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize(
    ("code", "corner"),
    [
        (1, "upper left"), (2, "upper right"), (3, "lower right"), (4, "lower left"),
        (5, "upper left"), (6, "upper right"), (7, "lower right"), (8, "lower left"),
    ],
)  # fmt: skip
def test_images_are_turned_as_they_are_to_be_shown(tmp_path: Path, suffix: str, code: int, corner: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = code
    options = {"tiffinfo": {274: code}} if suffix == ".tif" else {"exif": exif}
    PIL.Image.fromarray(picture(3)).save(tmp_path / f"photo{suffix}", **options)
    for source in (open_source(tmp_path), open_source(tmp_path / f"photo{suffix}")):
        frame = next(iter(source))
        assert source.size == (frame.height, frame.width) == ((64, 48) if code >= 5 else (48, 64))
        assert corner_of(frame.image) == corner


NAMES = [
    "2024-05-01T12:30:00",
    "http:flight",
    "-flight",
    "run%03d",
    "vol d'été 飛行",
    "a?b#c",
    "²007",
    "٣",
    "[1]",
    "file:x",
]


def test_names_that_are_no_utf_8(make_video: Maker, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"fl\xfcge")
    folder.mkdir()
    cv2.imwritemulti(str(tmp_path / "stack.tif"), [picture(number) for number in range(4)])
    (tmp_path / "stack.tif").rename(folder / "1.tif")
    make_video().rename(folder / "clip.mp4")
    assert len(list(open_source(folder / "clip.mp4"))) == 12
    assert numbers_of(folder) == numbers_of(folder / "1.tif") == list(range(4))


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_name(make_video: Maker, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video()
    monkeypatch.chdir(tmp_path)
    path.rename(f"{name}.mp4")
    assert len(list(open_source(f"{name}.mp4"))) == 12
    Path(name).mkdir()
    for number in range(3):
        cv2.imwrite(f"{name}/{name}{number}.png", picture(number))
    assert len(list(open_source(name))) == 3
    assert len(list(open_source(f"{name}/{name}1.png"))) == 1
    writer = VideoWriter(Path(f"{name}-out.mp4"), 25)
    writer.write(picture(1))
    writer.close()
    assert len(list(open_source(f"{name}-out.mp4"))) == 1
