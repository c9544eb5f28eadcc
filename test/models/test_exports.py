"""Other runtimes: equal to torch, made once, used by the tracker, and refused with a reason."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from smotracker_ros.commands.export import app
from smotracker_ros.core.frames import Frame
from smotracker_ros.detection.yolo import YoloDetector
from smotracker_ros.evaluation.network_comparison import PARTS
from smotracker_ros.masklets.checkpoints import load_steps
from smotracker_ros.masklets.exported import export_encoder, load_encoder
from smotracker_ros.masklets.onnx_network import STEPS, graph_file
from smotracker_ros.models.exports import ExportError, exported, exports_folder
from smotracker_ros.presets import build_tracker, load_settings

pytest.importorskip("onnxruntime", reason="pip install 'smotracker_ros[export]'")
pytest.importorskip("openvino", reason="pip install 'smotracker_ros[export]'")
RUNTIMES = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache folder for these tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Two hot blobs that cross an infrared sky."""
    result = []
    y, x = np.mgrid[0:256, 0:320]
    for index in range(8):
        image = np.full((256, 320), 70.0) + np.random.default_rng(index).normal(0, 1.5, (256, 320))
        for cx, cy in ((60 + 2 * index, 80), (250 - 2 * index, 170)):
            image += 130 * np.exp(-(((x - cx) / 5.5) ** 4 + ((y - cy) / 3.5) ** 4))
        pixels = np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        result.append(Frame(pixels, index * 33_333_333, index))
    return result


@pytest.mark.parametrize("runtime", RUNTIMES)
@torch.inference_mode()
def test_the_encoder_equals_torch_for_any_number_of_windows(runtime: str) -> None:
    steps = load_steps()
    path = export_encoder(steps)
    made = path.stat().st_mtime_ns
    assert path.parent == exports_folder() and steps.checksum in path.name
    encode = load_encoder(path, runtime, steps.device)
    for count in (1, 2, 5):
        images = torch.randn(count, 3, *[steps.image_size] * 2, generator=torch.Generator().manual_seed(count))
        steps.image_encoder = None
        expected = steps.encode(images)
        steps.image_encoder = encode
        found = steps.encode(images)
        assert found.sizes == expected.sizes
        for one, two in zip(expected.levels + expected.positions, found.levels + found.positions, strict=True):
            torch.testing.assert_close(two, one, atol=1e-4, rtol=1e-4)
    assert export_encoder(steps).stat().st_mtime_ns == made


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_tracker_gives_the_same_tracks_in_every_runtime(runtime: str, frames: list[Frame]) -> None:
    overrides = {"confirm_probability": 0.0, "birth_confidence": 0.15}
    plain = build_tracker(load_settings(overrides={**overrides, "runtime": "torch"}))
    other = build_tracker(load_settings(overrides={**overrides, "runtime": runtime}))
    assert other.models["detector"] == f"{plain.models['detector']} {runtime}"
    count = 0
    for frame in frames:
        expected, found = plain.update(frame).reported, other.update(frame).reported
        assert [track.id for track in found] == [track.id for track in expected]
        for one, two in zip(expected, found, strict=True):
            np.testing.assert_allclose(two.box, one.box, atol=1.0)
        count += len(expected)
    assert count == 2 * len(frames)


def test_signals_are_survived_after_openvino_is_gone() -> None:
    script = """
import gc, os, signal
import numpy as np, torch
from smotracker_ros.detection.yolo import YoloDetector
from smotracker_ros.core.frames import Frame
from smotracker_ros.masklets.checkpoints import load_steps
from smotracker_ros.masklets.exported import export_encoder, load_encoder

signal.signal(signal.SIGCHLD, lambda number, frame: print("signal", flush=True))
steps = load_steps()
encoder = load_encoder(export_encoder(steps), "openvino", steps.device)
encoder(torch.zeros(1, 3, steps.image_size, steps.image_size))
detector = YoloDetector(runtime="openvino")
detector.detect(Frame(np.zeros((128, 160, 3), np.uint8), 0))
del encoder, detector
gc.collect()
os.kill(os.getpid(), signal.SIGCHLD)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "signal", done.stderr


def test_the_command_compares_and_times(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    options = ["--runtimes", "onnxruntime", "--repetitions", "1", "--objects", "1,3", "--output", str(output)]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    rows = {(row["part"], row["objects"]): row for row in json.loads(output.read_text())}
    detector = {("detector, 640x512", 1), ("detector, 1280x720", 1), ("detector, regions", 4)}
    assert set(rows) == {(part, count) for part in PARTS for count in (1, 3)} | detector
    assert all(row["difference"] < (1e-2 if key in detector else 1e-4) for key, row in rows.items())
    assert all(row["megabytes"] > 1 and row["torch_ms"] > 0 and row["runtime_ms"] > 0 for row in rows.values())


@pytest.mark.parametrize("objects", ["", "0", "1,x"])
def test_numbers_of_objects_are_checked(objects: str) -> None:
    done = CliRunner().invoke(app, ["--objects", objects])
    assert done.exit_code == 2 and "whole numbers above 0" in done.output


def test_the_command_writes_graphs(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--graphs", str(tmp_path / "graphs")])
    assert done.exit_code == 0, done.output
    names = [path.name for path in sorted((tmp_path / "graphs").iterdir())]
    assert names == sorted(graph_file(tmp_path, "sam2_nano", step).name for step in STEPS)
    assert all(name in done.output for name in names)


def test_what_cannot_be_used_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    for runtime in RUNTIMES:
        with pytest.raises(ExportError, match=rf"{runtime} cannot load .*broken\.onnx .*delete the file"):
            load_encoder(broken, runtime, torch.device("cpu"))
    with pytest.raises(ExportError, match=r"x\.onnx cannot be made \(division by zero\); use runtime torch"):
        exported(tmp_path / "x.onnx", lambda folder: folder / str(1 / 0))
    assert not any(path.name.startswith(".x.onnx") for path in tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExportError, match=r"runtime openvino needs openvino, .*smotracker_ros\[export\]"):
        YoloDetector(runtime="openvino")
