"""The embedded network without torch gives what torch gives: step by step on the same inputs, and on its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import sam2
import torch

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import FloatArray, MaskPatch
from smotracker_ros.core.tracks import Tracks, TrackState
from smotracker_ros.masklets.checkpoints import NANO_WEIGHTS, file_checksum, instantiate_config, load_network
from smotracker_ros.masklets.graphs import export_network
from smotracker_ros.masklets.memory import POLICIES
from smotracker_ros.masklets.model import Sam2Steps
from smotracker_ros.masklets.network import Decoded, Memories
from smotracker_ros.masklets.onnx_network import (
    NANO_STEM,
    STEPS,
    OnnxNetwork,
    from_bfloat16,
    graph_file,
    to_bfloat16,
)
from smotracker_ros.masklets.propagator import Propagator
from smotracker_ros.masklets.torch_network import TorchNetwork
from smotracker_ros.models import weight_files
from smotracker_ros.models.exports import ExportError
from smotracker_ros.models.extras import MissingExtraError
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER, WeightError
from smotracker_ros.offline.snapshot import Run
from smotracker_ros.presets import build_detector, build_network, load_settings
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.scenes import SceneFrame, SceneSettings, render_scene

FRAMES = 200
# Largest differences allowed for the same inputs; masks and boxes are compared in pixels of the input
LOGITS, SCORES, MASK_IOU, BOX = 1e-3, 1e-4, 0.99, 0.5


def _without(scene: SceneFrame, index: int) -> UInt8Image:
    """The frame with some targets painted over: one comes late, two hide in the middle."""
    hidden = {1: range(70, 130), 2: range(70, 100), 3: range(60)}
    image = scene.image.copy()
    for identity, box in zip(scene.ids.tolist(), scene.boxes, strict=True):
        if index in hidden.get(identity, ()):
            x1, y1, x2, y2 = (np.clip(box + np.float32([-6, -6, 6, 6]), 0, [*image.shape[1::-1]] * 2)).astype(int)
            image[y1:y2, x1:x2] = image[y1:y2, x1 : x1 + 1]
    return image


@pytest.fixture(scope="module")
def scene() -> list[SceneFrame]:
    settings = SceneSettings(480, 384, FRAMES, 30.0, 6, "static", "infrared", (8.0, 24.0))
    return list(render_scene(settings, 2))


@pytest.fixture(scope="module")
def frames(scene: list[SceneFrame]) -> list[Frame]:
    return [Frame(_without(frame, index), index * 33_333_333, index) for index, frame in enumerate(scene)]


@dataclass(frozen=True)
class _Both:
    """The same value of both networks."""

    torch: Any
    onnx: Any

    @property
    def nbytes(self) -> int:
        return int(self.torch.nbytes + self.onnx.nbytes)


class _SideBySide:
    """Torch decides, and onnxruntime is asked the same; what differs too much is an error, what happened is counted."""

    runtime, device, leaves_out_absent, most_conditioned = "torch", "cpu", True, 64

    def __init__(self, ours: TorchNetwork, theirs: OnnxNetwork) -> None:
        self._ours, self._theirs = ours, theirs
        self.name, self.checksum, self.image_size = ours.name, ours.checksum, ours.image_size
        self.recent_limit, self.pointer_limit = ours.recent_limit, ours.pointer_limit
        self.happened: Counter[str] = Counter()
        self.largest: dict[str, float] = {}

    def _compare(self, what: str, expected: FloatArray, found: FloatArray, tolerance: float) -> None:
        difference = float(np.abs(expected - found).max())
        self.largest[what] = max(self.largest.get(what, 0.0), difference)
        assert difference <= tolerance, (what, difference)

    def encode(self, images: UInt8Image) -> _Both:
        both = _Both(self._ours.encode(images), self._theirs.encode(images))
        for row in range(len(images)):
            maps = self._ours.fine_maps(both.torch, row), self._theirs.fine_maps(both.onnx, row)
            for expected, found in zip(*maps, strict=True):
                self._compare("features", expected, found, LOGITS)
        return both

    def select(self, features: _Both, indices: Sequence[int]) -> _Both:
        return _Both(self._ours.select(features.torch, indices), self._theirs.select(features.onnx, indices))

    def join(self, parts: Sequence[_Both]) -> _Both:
        return _Both(self._ours.join([p.torch for p in parts]), self._theirs.join([p.onnx for p in parts]))

    def fine_maps(self, features: _Both, index: int) -> tuple[FloatArray, ...]:
        return self._ours.fine_maps(features.torch, index)

    def condition(self, features: _Both, memories: Memories | None) -> _Both:
        if memories is None:
            return _Both(self._ours.condition(features.torch, None), self._theirs.condition(features.onnx, None))
        self.happened["unequal memories"] += memories.absent is not None

        def of(side: str) -> Memories:
            columns = (memories.prompted, memories.recent, memories.pointers)
            prompted, recent, pointers = (
                tuple(tuple(entry and getattr(entry, side) for entry in column) for column in kind) for kind in columns
            )
            return Memories(prompted, recent, memories.recent_slots, pointers, memories.pointer_ages)

        return _Both(
            self._ours.condition(features.torch, of("torch")), self._theirs.condition(features.onnx, of("onnx"))
        )

    def decode(
        self,
        conditioned: Sequence[_Both],
        features: _Both,
        boxes: FloatArray | None,
        first: bool = True,
        every_mask: bool = False,
    ) -> Decoded:
        self.happened["looks" if boxes is None else "births" if first else "corrections"] += 1
        expected = self._ours.decode([part.torch for part in conditioned], features.torch, boxes, first, every_mask)
        found = self._theirs.decode([part.onnx for part in conditioned], features.onnx, boxes, first, every_mask)
        self._compare("logits", expected.low, found.low, LOGITS)
        self._compare("logits", expected.high, found.high, LOGITS)
        self._compare("predicted IoU", expected.predicted_iou, found.predicted_iou, SCORES)
        self._compare("object score", expected.object_score, found.object_score, SCORES)
        for one, two in zip(expected.high > 0, found.high > 0, strict=True):
            self.happened["masks" if one.any() else "absences"] += 1
            assert one.any() == two.any()
            if one.any():
                assert (one & two).sum() >= MASK_IOU * (one | two).sum()
                tight, other = MaskPatch.from_full(one).box(), MaskPatch.from_full(two).box()
                assert tight is not None and other is not None
                self._compare("box", tight, other, BOX)
        return expected

    def memorise(
        self, features: _Both, decoded: Decoded, rows: Sequence[int], prompted: bool
    ) -> list[tuple[_Both, _Both]]:
        entries = self._ours.memorise(features.torch, decoded, rows, prompted)
        answer = Decoded(
            decoded.low, decoded.high, decoded.predicted_iou, decoded.object_score, decoded.answer.pointer.numpy()
        )
        found = self._theirs.memorise(features.onnx, answer, rows, prompted)
        result = []
        for (memory, pointer), (other, other_pointer) in zip(entries, found, strict=True):
            rows_of = memory.float().flatten(1).t().contiguous().numpy()
            # rounding to bfloat16 may go either way: one place of seven bits
            assert np.all(np.abs(rows_of - from_bfloat16(other)) <= np.abs(rows_of) / 128 + 1e-3)
            np.testing.assert_array_equal(pointer.numpy(), other_pointer)
            # the next step has the same inputs on both sides
            result.append((_Both(memory, to_bfloat16(rows_of)), _Both(pointer, other_pointer)))
        return result

    def release(self) -> None:
        pass


@pytest.fixture(scope="module")
def runs(frames: list[Frame]) -> tuple[_SideBySide, list[Tracks], list[Tracks]]:
    """The whole tracker with torch, asked side by side, and with onnxruntime alone."""
    settings = load_settings(overrides={"runtime": "torch", "masklet_seconds": 0.0, "lost_seconds": 3.0})
    detector = build_detector(settings)
    ours = build_network(settings)
    assert isinstance(ours, TorchNetwork)
    both = _SideBySide(ours, OnnxNetwork.embedded())
    trackers = [
        SmoTracker(detector, Propagator(network, POLICIES[settings.memory_policy]), settings)
        for network in (both, build_network(settings.replace({"runtime": "onnxruntime"})))
    ]
    results = [[tracker.update(frame) for frame in frames] for tracker in trackers]
    return both, results[0], results[1]


@pytest.mark.slow
def test_every_step_gives_what_torch_gives(runs: tuple[_SideBySide, list[Tracks], list[Tracks]]) -> None:
    both, tracks, _ = runs
    print(both.largest, dict(both.happened))
    assert both.happened["looks"] >= FRAMES - 5 and both.happened["masks"] > 2 * FRAMES
    assert both.happened["births"] >= 3
    assert both.happened["absences"] >= 5 and both.happened["unequal memories"] >= 5
    states = {(track.id, track.state) for result in tracks for track in result.items}
    assert sum(state == TrackState.LOST for _, state in states) >= 1


@pytest.mark.slow
def test_the_whole_tracker_gives_the_same_tracks(runs: tuple[_SideBySide, list[Tracks], list[Tracks]]) -> None:
    _, expected, found = runs
    count = 0
    for one, two in zip(expected, found, strict=True):
        assert [(track.id, track.state) for track in two.items] == [(track.id, track.state) for track in one.items]
        for track, other in zip(one.reported, two.reported, strict=True):
            np.testing.assert_allclose(other.box, track.box, atol=0.5)
            count += 1
    assert count > 2 * FRAMES
    assert len({track.id for result in expected for track in result.reported}) >= 3


@pytest.mark.parametrize("policy", ["fifo", "distractor_aware"])
def test_corrections_ages_and_anchors_give_what_torch_gives(policy: str, scene: list[SceneFrame]) -> None:
    network = build_network(load_settings(overrides={"runtime": "torch"}))
    assert isinstance(network, TorchNetwork)
    both = _SideBySide(network, OnnxNetwork.embedded())
    propagator = Propagator(both, POLICIES[policy])
    for index, rendered in enumerate(scene[:40]):
        frame = Frame(rendered.image, index, index)
        propagator.step(frame)
        if index % 12 == 0:
            known = propagator.ids
            boxes = dict(zip(rendered.ids.tolist(), rendered.boxes, strict=True))
            propagator.prompt(frame, {key: box for key, box in boxes.items() if key in known or key <= 2 + index // 12})
    assert both.happened["corrections"] == 3 and both.happened["births"] >= 3
    assert both.happened["unequal memories"] >= 10


def test_it_runs_where_torch_cannot_be_imported() -> None:
    script = """
import sys
sys.modules["torch"] = None
import numpy as np
from smotracker_ros.core.frames import Frame
from smotracker_ros.masklets.mask_choice import MotionAwareChoice
from smotracker_ros.masklets.memory import DISTRACTOR_AWARE
from smotracker_ros.masklets.network import MaskletNetwork
from smotracker_ros.masklets.onnx_network import OnnxNetwork
from smotracker_ros.masklets.propagator import Propagator

network = OnnxNetwork.embedded()
assert isinstance(network, MaskletNetwork)
propagator = Propagator(network, DISTRACTOR_AWARE, "windows")
choice = MotionAwareChoice()
y, x = np.mgrid[0:200, 0:300]
for index in range(8):
    image = 90 + 110 * np.exp(-(((x - 80 - 2 * index) / 5.0) ** 4 + ((y - 90) / 3.0) ** 4))
    frame = Frame(np.repeat(image.astype(np.uint8)[..., None], 3, axis=2), index, index)
    result = propagator.step(frame, choose=choice.choose)
    if index in (0, 4):
        result = propagator.prompt(frame, {1: np.float32([72, 84, 88, 96]) + [2 * index, 0, 2 * index, 0]})
    center = (result[1].box[:2] + result[1].box[2:]) / 2
    assert np.abs(center - [80 + 2 * index, 90]).max() < 3, (index, center)
    assert np.isfinite(propagator.describe(frame, np.float32([[72, 84, 88, 96]]))).all()
assert not {"torch", "sam2", "onnx"} & {name.split(".")[0] for name, module in sys.modules.items() if module}
print("tracked", propagator.memory_bytes)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("tracked"), done.stderr


def test_the_embedded_graphs_are_those_of_the_embedded_checkpoint(tmp_path: Path) -> None:
    for step in STEPS:
        path = graph_file(EMBEDDED_FOLDER, NANO_STEM, step)
        assert path.stat().st_size < 10e6
        facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert facts["checksum"] == file_checksum(NANO_WEIGHTS) and facts["step"] == step
    ours, theirs = load_network(), OnnxNetwork.embedded()
    facts = ("name", "checksum", "image_size", "recent_limit", "pointer_limit")
    assert [getattr(theirs, fact) for fact in facts] == [getattr(ours, fact) for fact in facts]
    export_network(ours.steps, tmp_path, NANO_STEM)
    images = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3), dtype=np.uint8)
    fresh = OnnxNetwork(tmp_path)
    np.testing.assert_allclose(fresh.encode(images).coarse, theirs.encode(images).coarse, atol=1e-4)


def test_what_is_held_keeps_no_batch_alive() -> None:
    network = OnnxNetwork.embedded()
    images = np.random.default_rng(0).integers(0, 255, (3, 96, 96, 3), dtype=np.uint8)
    features = network.encode(images)
    decoded = network.decode([network.condition(features, None)], features, np.float32([[40, 40, 60, 56]] * 3))
    for memory, pointer in network.memorise(features, decoded, [2, 0], True):
        assert isinstance(memory, np.ndarray) and isinstance(pointer, np.ndarray)
        assert memory.base is None and pointer.base is None
        assert (memory.nbytes, pointer.nbytes) == (2 * 36 * 32, 4 * 128)


def test_bfloat16_is_rounded_as_torch_rounds_it() -> None:
    values = np.random.default_rng(0).normal(0, 3, 10_000).astype(np.float32)
    values[:4] = 0.0, 1.00390625, 1.01171875, -1.00390625  # halves between two neighbours
    expected = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(from_bfloat16(to_bfloat16(values)), expected)


def test_a_run_goes_on_from_a_snapshot(frames: list[Frame]) -> None:
    settings = load_settings(overrides={"runtime": "onnxruntime"})
    detector, network = build_detector(settings.replace({"runtime": "torch"})), build_network(settings)

    def run() -> Run:
        return Run(SmoTracker(detector, Propagator(network, POLICIES[settings.memory_policy]), settings))

    first, second = run(), run()
    for frame in frames[:15]:
        first.update(frame)
    second.restore(first.snapshot())
    count = 0
    for frame in frames[15:30]:
        expected, found = first.update(frame).reported, second.update(frame).reported
        assert [(track.id, track.box.tobytes()) for track in found] == [
            (track.id, track.box.tobytes()) for track in expected
        ]
        count += len(expected)
    assert count > 15


def test_the_process_keeps_its_denormal_numbers() -> None:
    torch.set_flush_denormal(False)
    denormal = 2.0**-1030
    OnnxNetwork.embedded().encode(np.zeros((1, 96, 96, 3), dtype=np.uint8))
    assert denormal + 0.0 != 0.0


def test_settings_choose_it_for_the_embedded_network_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for overrides in ({}, {"masklet_weights": "sam2_nano", "masklet_image_size": 96, "precision": "float32"}):
        network = build_network(load_settings(overrides={"runtime": "onnxruntime", "device": "cpu", **overrides}))
        assert isinstance(network, OnnxNetwork)
    network = build_network(load_settings(overrides={"runtime": "onnxruntime", "masklet_image_size": 128}))
    assert isinstance(network, TorchNetwork) and network.steps.image_encoder is not None


def test_files_that_cannot_be_used_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / name, ignore=shutil.ignore_patterns("*.pt")))

    folder = copy("missing")
    graph_file(folder, NANO_STEM, "decode").unlink()
    with pytest.raises(ExportError, match=r"sam2_nano-decode\.onnx is missing; install the package again"):
        OnnxNetwork(folder)
    folder = copy("broken")
    path = graph_file(folder, NANO_STEM, "memorise")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ExportError, match=r"cannot load .*sam2_nano-memorise\.onnx"):
        OnnxNetwork(folder)
    with monkeypatch.context() as patch:
        patch.setattr(weight_files, "EMBEDDED_FOLDER", folder)
        with pytest.raises(WeightError, match=r"sam2_nano-memorise\.onnx has 1000 bytes and should have"):
            OnnxNetwork.embedded()
    folder = copy("swapped")
    shutil.copy(graph_file(folder, NANO_STEM, "encode"), graph_file(folder, NANO_STEM, "prompt"))
    with pytest.raises(ExportError, match=r"sam2_nano-prompt\.onnx is no graph of a SAM2 network of this version"):
        OnnxNetwork(folder)
    folder = copy("mixed")
    graph = onnx.load(graph_file(folder, NANO_STEM, "prompt"))
    next(entry for entry in graph.metadata_props if entry.key == "checksum").value = "0" * 16
    onnx.save(graph, graph_file(folder, NANO_STEM, "prompt"))
    with pytest.raises(ExportError, match=r"sam2_nano-prompt\.onnx is of another network"):
        OnnxNetwork(folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"needs onnxruntime .*pip install onnxruntime"):
        OnnxNetwork()


def test_networks_that_the_graphs_do_not_describe_are_refused(tmp_path: Path) -> None:
    config = Path(sam2.__path__[0]) / "configs" / "sam2.1" / "sam2.1_hiera_t.yaml"
    steps = Sam2Steps(instantiate_config(config, 128, official=True).eval(), "tiny", "random", False)
    with pytest.raises(ExportError, match=r"only the nano SAM2 .* lacks one mask.*image encoder alone"):
        export_network(steps, tmp_path, "tiny")
    assert not list(tmp_path.iterdir())
