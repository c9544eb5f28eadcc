"""Whether a pan-tilt camera holds a drone that crosses among birds: `python benchmarks/follow.py --seeds 5`.

A panorama, a drone at 55 to 120 m and six birds are rendered as the head turns; the embedded models track, and the
follower leads the head, which gets its commands 100 ms late. Prints a row per scene. With `--paired` each scene is run
twice, without and with the turns that `--turn-degrees` tells; the mean difference of the time in the middle half has
its 95 % interval by a bootstrap over scenes.
"""

from __future__ import annotations

import argparse

import numpy as np

from smotracker_ros.evaluation.bootstrap import interval
from smotracker_ros.evaluation.closed_loop import LoopResult, LoopSettings, follow_scene
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.pan_tilt_scene import PanTiltScene, PanTiltSettings

RESAMPLES = 10_000


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many scenes")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each")
    parser.add_argument("--delay", type=float, default=0.1, help="of the head, seconds")
    parser.add_argument("--fps", type=float, default=15.0, help="images per second")
    parser.add_argument(
        "--turn-degrees",
        type=float,
        default=0.0,
        help="tell the tracker the head's turns, with this standard deviation, degrees",
    )
    parser.add_argument(
        "--gust-degrees", type=float, default=0.0, help="jerks of the mast, standard deviation in degrees"
    )
    parser.add_argument(
        "--hints",
        action="store_true",
        help="hint the followed target's direction to the tracker: it looks closer there",
    )
    parser.add_argument("--paired", action="store_true", help="run each scene without and with the turns told")
    options = parser.parse_args()
    tracker = build_tracker(load_settings())
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if options.paired:
        compare(tracker, seeds, options)
        return
    print("| scene | in the middle half | farthest from the middle | on the drone | ids | head [deg/s], 95 % |")
    print("|---|---|---|---|---|---|")
    for seed in seeds:
        found = run(tracker, seed, options, options.turn_degrees)
        late = slice(round(2 * options.fps), None)  # the head has to arrive first
        farthest = np.nanmax(np.abs(found.offsets[late]))
        print(
            f"| {seed} | {found.in_middle[late].mean():.3f} | {farthest:.2f} | {found.on_drone[late].mean():.3f} | "
            f"{len(found.ids)} | {np.percentile(found.rates, 95):.0f} |",
            flush=True,
        )


def run(tracker: SmoTracker, seed: int, options: argparse.Namespace, turn_degrees: float) -> LoopResult:
    """One scene."""
    scene = PanTiltScene(PanTiltSettings(seconds=options.seconds), seed)
    settings = LoopSettings(
        delay=options.delay,
        fps=options.fps,
        gust_degrees=options.gust_degrees,
        turn_degrees=turn_degrees,
        hints=options.hints,
    )
    return follow_scene(scene, tracker, settings, seed)


def compare(tracker: SmoTracker, seeds: range, options: argparse.Namespace) -> None:
    """Each scene without and with the known turns, and what they bring."""
    print("| scene | in the middle half | with known turns |\n|---|---|---|")
    late, rows = slice(round(2 * options.fps), None), []
    for seed in seeds:
        rows.append([run(tracker, seed, options, turn).in_middle[late].mean() for turn in (0.0, options.turn_degrees)])
        print(f"| {seed} | {rows[-1][0]:.3f} | {rows[-1][1]:.3f} |", flush=True)
    gain = np.diff(rows, axis=1)[:, 0]
    drawn = np.random.default_rng(0).choice(gain, (RESAMPLES, len(gain))).mean(axis=1)
    low, high = interval(drawn)
    print(f"\nmean {np.mean(rows, axis=0).round(3)}; known turns: {gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
