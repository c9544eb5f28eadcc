"""Memory of the tracker over a long stream in which objects come and go.

Usage: python benchmarks/memory_over_time.py [--frames 2000]

Prints, every tenth of the stream, the live and lost tracks, the memory banks' bytes and the resident memory, and at
the end the ratio of resident memory at the end to that after the first tenth (1.0 is flat).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import psutil
import torch
from rich.progress import track as progress

from smotracker_ros.frames import Frame
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.training.scenes import SceneSettings, render_scene

SCENE_FRAMES = 200


def stream(frames: int) -> Iterator[Frame]:
    """Rendered infrared scenes one after another: at each change all objects go and others come."""
    for index in range(0, frames, SCENE_FRAMES):
        settings = SceneSettings(width=320, height=256, frames=SCENE_FRAMES, targets=4, modality="infrared")
        for offset, scene in enumerate(render_scene(settings, seed=index)):
            yield Frame(scene.image, (index + offset) * 33_333_333, index + offset)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2000)
    frames: int = parser.parse_args().frames
    torch.set_num_threads(1)
    tracker = build_tracker(load_settings())
    process = psutil.Process()
    rows = []
    ids: set[int] = set()
    for frame in progress(stream(frames), total=frames, description="tracking"):
        tracks = tracker.update(frame)
        ids |= {track.id for track in tracks}
        if (frame.index + 1) % max(frames // 10, 1) == 0:
            live = sum(track.state.name in ("TENTATIVE", "CONFIRMED") for track in tracks)
            rows.append((frame.index + 1, live, len(tracks) - live, tracker.memory_bytes, process.memory_info().rss))
    print(f"{'frame':>7} {'live':>5} {'lost':>5} {'banks KiB':>10} {'KiB/object':>11} {'RSS MiB':>8}")
    for index, live, lost, banks, resident in rows:
        per_object = banks / 1024 / max(live + lost, 1)
        print(f"{index:7d} {live:5d} {lost:5d} {banks / 1024:10.1f} {per_object:11.1f} {resident / 2**20:8.1f}")
    print(f"objects in all: {len(ids)}; RSS end / after a tenth: {rows[-1][4] / rows[0][4]:.3f}")


if __name__ == "__main__":
    main()
