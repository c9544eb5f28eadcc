"""Several cameras: one process for all, with one network, beside a process for each; and what batches could bring.

    python benchmarks/cameras.py --cameras 1,2,4

Each camera sees a rendered scene of 1280x720 pixels with three targets. In one process the trackers share detector and
network and take their frames in turn, so their tracks are those of a tracker alone. Memory is what is resident beyond
the frames and the interpreter (Linux's `Pss`, in which pages that processes share count by their share).

The second table is the time per image of each network by the size of the batch, one thread: what a process that waits
for the images of several cameras, and sends them through the networks together, could save.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from smotracker_ros.core.global_state import threads as limited_threads
from smotracker_ros.evaluation.benchmarks.clips import SceneClip, scene_clip
from smotracker_ros.masklets.memory import MOTION_AWARE, Entry, MemoryBank, batch_memories
from smotracker_ros.models.weight_files import EMBEDDED_FOLDER
from smotracker_ros.presets import build_detector, build_network, build_tracker, load_settings
from smotracker_ros.tracking.tracker import SmoTracker

WARM_UP = 12


def _memory_mib() -> float:
    """Resident memory of this process; shared pages count by their share."""
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no Pss in /proc/self/smaps_rollup")


def _play(trackers: list[SmoTracker], clips: list[SceneClip]) -> float:
    """CPU milliseconds per frame."""
    spent = 0.0
    for index in range(len(clips[0].frames)):
        started = time.process_time()
        for tracker, clip in zip(trackers, clips, strict=True):
            tracker.update(clip.frames[index], clip.first_cues() if index == 0 else ())
        spent += time.process_time() - started if index >= WARM_UP else 0.0
    return 1e3 * spent / (len(clips) * (len(clips[0].frames) - WARM_UP))


def _process(seed: int, frames: int, targets: int, ready: Any, results: Any) -> None:
    """One camera of its own."""
    with limited_threads(1):
        clip = scene_clip(targets, 1280, 720, frames, seed)
        before = _memory_mib()
        tracker = build_tracker(load_settings())
        ready.wait()
        cost = _play([tracker], [clip])
        ready.wait()
        results.put((cost, _memory_mib() - before, before))
        ready.wait()


def _apart(cameras: int, frames: int, targets: int) -> tuple[float, float]:
    """CPU milliseconds per frame, and MiB, of a process for each camera; all run at the same time."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(cameras), context.Queue()
    processes = [
        context.Process(target=_process, args=(seed, frames, targets, ready, results)) for seed in range(cameras)
    ]
    for process in processes:
        process.start()
    rows = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return float(np.mean([cost for cost, *_ in rows])), float(sum(own for _, own, _ in rows))


def _together_process(cameras: int, frames: int, targets: int, results: Any) -> None:
    with limited_threads(1):
        clips = [scene_clip(targets, 1280, 720, frames, seed) for seed in range(cameras)]
        before = _memory_mib()
        settings = load_settings()
        detector, network = build_detector(settings), build_network(settings)
        trackers = [build_tracker(settings, detector, network) for _ in clips]
        cost = _play(trackers, clips)
        results.put((cost, _memory_mib() - before))


def _together(cameras: int, frames: int, targets: int) -> tuple[float, float]:
    """CPU milliseconds per frame, and MiB, of one process for all cameras."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_together_process, args=(cameras, frames, targets, results))
    process.start()
    row = results.get()
    process.join()
    return float(row[0]), float(row[1])


def _per_image(call: Callable[[], Any], batch: int) -> float:
    """Least CPU milliseconds per image of several calls."""
    call()
    times = []
    for _ in range(5):
        started = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - started) / batch)
    return min(times)


def _batches(sizes: tuple[int, ...]) -> Table:
    table = Table("network", *(f"{size} at once" for size in sizes))
    rng = np.random.default_rng(0)
    with limited_threads(1):
        settings = load_settings()
        network, detector = build_network(settings), build_detector(settings)
        rows: dict[str, list[str]] = {
            name: [] for name in ("image encoder", "memory attention", "mask decoder", "memory encoder")
        }
        for size in sizes:
            images = rng.integers(0, 255, (size, network.image_size, network.image_size, 3), dtype=np.uint8)
            features = network.encode(images)
            boxes = np.float32([[30, 30, 60, 60]] * size)
            decoded = network.decode([network.condition(features, None)], features, boxes)
            held = network.memorise(features, decoded, range(size), True)
            banks = []
            for memory, pointer in held:
                bank = MemoryBank(network.recent_limit, network.pointer_limit)
                bank.write(Entry(0, memory, pointer), True)
                for frame in range(1, network.pointer_limit + 1):
                    bank.write(Entry(frame, memory, pointer), False)
                banks.append(bank)
            memories = batch_memories(banks, network.pointer_limit + 1, MOTION_AWARE)
            conditioned = network.condition(features, memories)
            calls = {
                "image encoder": lambda images=images: network.encode(images),
                "memory attention": lambda features=features, memories=memories: network.condition(features, memories),
                "mask decoder": lambda c=conditioned, f=features: network.decode([c], f, None),
                "memory encoder": lambda f=features, d=decoded, n=size: network.memorise(f, d, range(n), False),
            }
            for name, call in calls.items():
                rows[name].append(f"{_per_image(call, size):.2f}")
        for name, cells in rows.items():
            table.add_row(name, *cells)
        infer = getattr(detector, "infer", None)
        if infer is not None and EMBEDDED_FOLDER.is_dir():
            cells = []
            for size in sizes:
                stack = rng.random((size, 3, 736, 1280), dtype=np.float32)
                try:
                    cells.append(f"{_per_image(lambda stack=stack: infer(stack), size):.1f}" if size <= 4 else "")
                except Exception:  # onnxruntime has a dozen types: the graph takes no batch
                    cells.append("not possible")
            table.add_row("detector, 1280x736", *cells)
    return table


def main(
    cameras: Annotated[str, typer.Option(help="Numbers of cameras, separated by commas.")] = "1,2,4",
    frames: Annotated[int, typer.Option(min=WARM_UP + 1, help="Frames of each camera.")] = 72,
    targets: Annotated[int, typer.Option(min=1, help="Targets before each camera.")] = 3,
) -> None:
    """Measure; see the module."""
    table = Table("cameras", "CPU ms per frame: a process each", "one process", "MiB: a process each", "one process")
    for number in map(int, cameras.split(",")):
        apart, together = _apart(number, frames, targets), _together(number, frames, targets)
        table.add_row(str(number), f"{apart[0]:.1f}", f"{together[0]:.1f}", f"{apart[1]:.0f}", f"{together[1]:.0f}")
    console = Console()
    console.print(table)
    console.print(_batches((1, 2, 4, 8, 16, 32)))


if __name__ == "__main__":
    typer.run(main)
