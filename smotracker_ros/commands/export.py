"""The command `smotracker export`: exported models, how equal they are, and what they gain."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from smotracker_ros.core.settings import TrackerSettings, parse_overrides
from smotracker_ros.models.exports import ExportError

# Largest difference from torch: of the encoder's levels as a share of their largest value, of boxes in pixels
_TOLERANCES = {"encoder": 1e-3, "detector": 0.1}
_WINDOWS = 8

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Exported:
    """One model in one runtime.

    Attributes:
        part: "detector" or "encoder".
        runtime: that computed it.
        megabytes: size of the exported file or folder.
        difference: largest difference from torch; see `_TOLERANCES`.
        torch_ms: CPU time of a pass in torch.
        runtime_ms: CPU time of a pass in the runtime.
    """

    part: str
    runtime: str
    megabytes: float
    difference: float
    torch_ms: float
    runtime_ms: float

    @property
    def ratio(self) -> float:
        """How many times less CPU time than torch."""
        return self.torch_ms / max(self.runtime_ms, 1e-9)


@app.command()
def export(
    runtimes: Annotated[str, typer.Option(help="onnxruntime, openvino, or both.")] = "onnxruntime,openvino",
    preset: Annotated[str, typer.Option(help="Named set-up of the tracker.")] = "y-smotracker",
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one setting; may be repeated.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Passes to time; the median counts.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime.")] = 1,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Export the models that a preset uses, compare them with torch on rendered frames, and time both side by side."""
    from smotracker_ros.core import global_state
    from smotracker_ros.presets import load_settings

    settings = load_settings(preset, parse_overrides(override))
    results: list[Exported] = []
    with global_state.threads(threads), global_state.denormals_flushed():
        for runtime in (name.strip() for name in runtimes.split(",")):
            own = settings.replace({"runtime": runtime})
            results.append(_encoder(own, repeats))
            if settings.detector == "yolo":
                results.append(_detector(own, repeats))
    table = Table("part", "runtime", "MB", "max |difference|", "torch ms", "runtime ms", "ratio")
    for item in results:
        cells = f"{item.megabytes:.1f}", f"{item.difference:.1e}", f"{item.torch_ms:.1f}", f"{item.runtime_ms:.1f}"
        table.add_row(item.part, item.runtime, *cells, f"{item.ratio:.2f}")
    Console().print(table)
    if output is not None:
        output.write_text(json.dumps([asdict(item) for item in results], indent=1) + "\n", encoding="utf-8")
    wrong = [f"{item.part} in {item.runtime}" for item in results if item.difference > _TOLERANCES[item.part]]
    if wrong:
        raise ExportError(f"{', '.join(wrong)}: not the same as in torch; do not use this runtime for this model")


def _encoder(settings: TrackerSettings, repeats: int) -> Exported:
    """SAM2's image encoder on windows of a rendered scene."""
    import torch

    from smotracker_ros.masklets.exported import encoder_file
    from smotracker_ros.masklets.windows import cut, window_around
    from smotracker_ros.presets import build_network

    network = build_network(settings)
    image = _scene()
    centers = np.random.default_rng(0).uniform((40, 40), (600, 472), (_WINDOWS, 2))
    windows = np.stack([cut(image, window_around(center, 64), network.image_size) for center in centers])
    batch = network.normalise(windows)

    def run() -> Any:
        with torch.inference_mode():
            return network.encode(batch).levels

    other, found = network.image_encoder, run()
    network.image_encoder = None
    expected = run()
    pairs = zip(expected, found, strict=True)
    difference = max(float((one - two).abs().max() / one.abs().max()) for one, two in pairs)

    def in_runtime() -> None:
        network.image_encoder = other
        run()

    def in_torch() -> None:
        network.image_encoder = None
        run()

    size = encoder_file(network).stat().st_size / 1e6
    return Exported("encoder", settings.runtime, size, difference, *_times(in_torch, in_runtime, repeats))


def _detector(settings: TrackerSettings, repeats: int) -> Exported:
    """The detector on a frame of a rendered scene."""
    from smotracker_ros.core.frames import Frame
    from smotracker_ros.models.exports import exports_folder
    from smotracker_ros.presets import build_detector

    plain = settings.replace({"runtime": "torch"})
    ours, theirs = build_detector(plain), build_detector(settings)
    frame = Frame(_scene(), 0)
    expected, found = (item.detect(frame, 0.05, settings.detector_image_size) for item in (ours, theirs))
    difference = float("inf")
    if len(expected) == len(found):
        difference = float(np.abs(expected.boxes - found.boxes).max(initial=0.0))
    checksum = ours.name.split("sha256:")[1].split()[0]
    files = [path for path in exports_folder().rglob("*") if checksum in str(path) and path.is_file()]
    wanted = [path for path in files if (path.suffix == ".onnx") == (settings.runtime == "onnxruntime")]
    times = _times(lambda: ours.detect(frame, 0.05), lambda: theirs.detect(frame, 0.05), repeats)
    return Exported("detector", settings.runtime, sum(p.stat().st_size for p in wanted) / 1e6, difference, *times)


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


def _scene() -> np.ndarray:
    """A rendered frame with targets, uint8 RGB (512, 640, 3)."""
    from smotracker_ros.training.scenes import SceneSettings, render_scene

    return next(iter(render_scene(SceneSettings(640, 512, 1, 30.0, 8, "static", "infrared"), 4))).image
