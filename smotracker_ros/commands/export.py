"""The command `smotracker export`: exported models, how equal they are, and what they gain."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from smotracker_ros.commands.options import Overrides, Preset
from smotracker_ros.core.overrides import parse_overrides
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.detection import Detections
from smotracker_ros.models.exports import ExportError, require

# Largest difference from torch: of boxes in pixels, of features and logits as a share of their largest value
_BOXES_TOLERANCE, _TOLERANCE = 0.1, 1e-3
# Widths and heights of the frames that the detector is timed on
_FRAMES = ((640, 512), (1280, 720))

if TYPE_CHECKING:
    from smotracker_ros.masklets.network import MaskletNetwork
    from smotracker_ros.training.scenes import SceneFrame

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Exported:
    """One model, or a part of it, in one runtime.

    Attributes:
        part: "detector" and what it sees, or a part of SAM2.
        runtime: that computed it.
        objects: whose windows were seen at once; of the detector, frames or regions.
        megabytes: size of the exported files of the whole model.
        difference: largest difference from torch, of boxes in pixels, of features and logits as a share of their
            largest value.
        torch_ms: CPU time of a pass in torch.
        runtime_ms: CPU time of a pass in the runtime.
    """

    part: str
    runtime: str
    objects: int
    megabytes: float
    difference: float
    torch_ms: float
    runtime_ms: float

    @property
    def tolerance(self) -> float:
        """Largest difference that is still the same model."""
        return _BOXES_TOLERANCE if self.part.startswith("detector") else _TOLERANCE

    @property
    def ratio(self) -> float:
        """How many times less CPU time than torch."""
        return self.torch_ms / max(self.runtime_ms, 1e-9)


@app.command()
def export(
    runtimes: Annotated[str, typer.Option(help="onnxruntime, openvino, or both.")] = "onnxruntime,openvino",
    preset: Preset = "y-smotracker",
    override: Overrides = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Passes to time; the median counts.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime.")] = 1,
    objects: Annotated[str, typer.Option(help="Numbers of objects that SAM2 follows at once.")] = "1,3,8,16",
    graphs: Annotated[
        Path | None, typer.Option(help="Only write SAM2's graphs for onnxruntime into this folder.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Only write the embedded models' ONNX files beside their checkpoints.")
    ] = False,
) -> None:
    """Export the models that a preset uses, compare them with torch on rendered frames, and time both side by side."""
    from smotracker_ros.core import global_state
    from smotracker_ros.presets import load_settings

    settings = load_settings(preset, parse_overrides(override))
    if embedded:
        _write_embedded()
        return
    if graphs is not None:
        _write_graphs(settings, graphs)
        return
    try:
        numbers = [int(number) for number in objects.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise typer.BadParameter(f"--objects needs whole numbers above 0 with commas between, not {objects!r}")
    results: list[Exported] = []
    with global_state.threads(threads), global_state.denormals_flushed():
        for runtime in (name.strip() for name in runtimes.split(",")):
            own = settings.replace({"runtime": runtime})
            results += _masklets(own, numbers, repetitions)
            if settings.detector == "yolo":
                results += _detector(own, repetitions)
    table = Table("part", "runtime", "objects", "MB", "max |difference|", "torch ms", "runtime ms", "ratio")
    for item in results:
        cells = f"{item.megabytes:.1f}", f"{item.difference:.1e}", f"{item.torch_ms:.1f}", f"{item.runtime_ms:.1f}"
        table.add_row(item.part, item.runtime, str(item.objects), *cells, f"{item.ratio:.2f}")
    Console().print(table)
    if output is not None:
        output.write_text(json.dumps([asdict(item) for item in results], indent=1) + "\n", encoding="utf-8")
    wrong = [f"{item.part} in {item.runtime}" for item in results if item.difference > item.tolerance]
    if wrong:
        raise ExportError(f"{', '.join(wrong)}: not the same as in torch; do not use this runtime for this model")


def _masklets(settings: TrackerSettings, objects: Sequence[int], repeats: int) -> list[Exported]:
    """SAM2 on windows of a rendered scene: all parts where all are exported, else the image encoder."""
    from smotracker_ros.evaluation.network_comparison import PARTS, NetworkSide, differences
    from smotracker_ros.masklets.onnx_network import NANO_STEM, STEPS, graph_file
    from smotracker_ros.models.weight_files import EMBEDDED_FOLDER
    from smotracker_ros.presets import build_network

    ours, theirs = build_network(settings.replace({"runtime": "torch"})), build_network(settings)
    whole = theirs.runtime != "torch"
    files = [graph_file(EMBEDDED_FOLDER, NANO_STEM, step) for step in STEPS] if whole else [_encoder_file(theirs)]
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    results = []
    for count in objects:
        windows, boxes = _views(count, theirs.image_size)
        sides = [NetworkSide(network, windows, boxes) for network in (ours, theirs)]
        unequal = differences(*sides)
        for part in PARTS if whole else PARTS[:1]:
            times = _times(sides[0].parts[part], sides[1].parts[part], repeats)
            results.append(Exported(part, settings.runtime, count, megabytes, unequal[part], *times))
    return results


def _views(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of targets of a rendered scene, uint8 (N, S, S, 3), and the targets' boxes in them, float32 (N, 4)."""
    from smotracker_ros.core.geometry import box_centers, box_sizes
    from smotracker_ros.masklets.windows import WINDOW_FACTOR, cut, window_around

    scene = _scene()
    chosen = [number % len(scene.boxes) for number in range(count)]
    boxes = scene.boxes[chosen]
    places = zip(box_centers(boxes), WINDOW_FACTOR * box_sizes(boxes).max(axis=1), strict=True)
    windows = [window_around(center, side) for center, side in places]
    inside = [window.to_input(box[None], size)[0] for window, box in zip(windows, boxes, strict=True)]
    return np.stack([cut(scene.image, window, size) for window in windows]), np.stack(inside)


def _encoder_file(network: MaskletNetwork) -> Path:
    from smotracker_ros.masklets.exported import encoder_file
    from smotracker_ros.masklets.torch_network import TorchNetwork

    if not isinstance(network, TorchNetwork):
        raise TypeError(f"{type(network).__name__} has no encoder of its own")
    return encoder_file(network.steps)


def _write_graphs(settings: TrackerSettings, folder: Path) -> None:
    """The graphs of the settings' network, which lie beside the embedded checkpoint."""
    require("onnxruntime")
    from smotracker_ros.masklets.checkpoints import load_steps
    from smotracker_ros.masklets.graphs import export_network
    from smotracker_ros.masklets.onnx_network import NANO_STEM
    from smotracker_ros.models.weight_files import checksum, find_weights

    folder.mkdir(parents=True, exist_ok=True)
    weights = find_weights(settings.masklet_weights)
    steps = load_steps(weights, settings.masklet_image_size)
    for path in export_network(steps, folder, weights.stem if weights else NANO_STEM):
        Console().print(f"{path} size: {path.stat().st_size}, sha256: {checksum(path)}", soft_wrap=True)


def _write_embedded() -> None:
    """The ONNX files that the package ships, and what its manifest has to say of them."""
    from smotracker_ros.detection.yolo import EMBEDDED_WEIGHTS, write_onnx
    from smotracker_ros.detection.yolo_onnx import EMBEDDED_ONNX
    from smotracker_ros.models.weight_files import EMBEDDED_FOLDER, checksum

    _write_graphs(TrackerSettings(), EMBEDDED_FOLDER)
    path = write_onnx(EMBEDDED_WEIGHTS, EMBEDDED_ONNX)
    Console().print(f"{path} size: {path.stat().st_size}, sha256: {checksum(path)}", soft_wrap=True)


def _detector(settings: TrackerSettings, repeats: int) -> Iterator[Exported]:
    """The detector on frames of rendered scenes, and on parts of one, as it looks at single targets."""
    from smotracker_ros.core.frames import Frame
    from smotracker_ros.detection.regions import RegionDetector, Regions
    from smotracker_ros.detection.yolo_onnx import EMBEDDED_ONNX
    from smotracker_ros.models.exports import exports_folder
    from smotracker_ros.presets import build_detector

    plain = settings.replace({"runtime": "torch"})
    ours, theirs = build_detector(plain), build_detector(settings)
    checksum = ours.name.split("sha256:")[1].split()[0]
    files = [path for path in exports_folder().rglob("*") if checksum in str(path) and path.is_file()]
    wanted = [path for path in files if (path.suffix == ".onnx") == (settings.runtime == "onnxruntime")]
    if settings.runtime == "onnxruntime" and not settings.detector_weights:
        wanted = [EMBEDDED_ONNX]
    size = sum(path.stat().st_size for path in wanted) / 1e6

    def compared(part: str, objects: int, look: Callable[[Any], Detections]) -> Exported:
        expected, found = look(ours), look(theirs)
        difference = float("inf")
        if len(expected) == len(found):
            difference = float(np.abs(expected.boxes - found.boxes).max(initial=0.0))
        times = _times(lambda: look(ours), lambda: look(theirs), repeats)
        return Exported(part, settings.runtime, objects, size, difference, *times)

    for width, height in _FRAMES:
        frame = Frame(_scene(width, height).image, 0)
        part = f"detector, {width}x{height}"
        yield compared(part, 1, lambda model: model.detect(frame, 0.05, settings.detector_image_size))  # noqa: B023
    if isinstance(ours, RegionDetector) and ours.scale(width, height):
        places = np.array([[x, 200, x + 8, 208] for x in (100, 500, 900, 1200)], dtype=np.float32)
        regions = Regions.around(places, width, height, ours.scale(width, height))
        yield compared("detector, regions", len(regions.boxes), lambda model: model.detect_in(frame, regions, 0.05))


def _times(first: Callable[[], object], second: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median CPU milliseconds of two functions, called in turns so that both meet the same state of the machine."""
    measured: tuple[list[float], list[float]] = ([], [])
    for function in (first, second):
        function()
    for _ in range(repeats):
        for function, values in zip((first, second), measured, strict=True):
            started = time.process_time()
            function()
            values.append(1e3 * (time.process_time() - started))
    return statistics.median(measured[0]), statistics.median(measured[1])


def _scene(width: int = 640, height: int = 512) -> SceneFrame:
    """A rendered frame with targets."""
    from smotracker_ros.training.scenes import SceneSettings, render_scene

    return next(iter(render_scene(SceneSettings(width, height, 1, 30.0, 8, "static", "infrared"), 4)))
