"""What a radar's hints do for a target of four pixels that the detector misses, and what wrong hints do.

    python benchmarks/hints.py --scenes 12

Rendered scenes with one drone of four pixels and little contrast, and a camera that stands still. A simulated radar
beside the camera measures it five times per second, 200 ms late, with 5 m and a degree of error. Wrong hints are
of something that flies elsewhere and is not there. Prints a row per scene, and the means.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import box_centers
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.space.hints import SpaceHint
from smotracker_ros.space.poses import FixedPose
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.scenes import SceneFrame, SceneSettings, render_scene

WIDTH, HEIGHT, FOCAL = 1280, 720, 1200.0
RANGE = 400.0
CAMERA = Calibration((HEIGHT, WIDTH), np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]))
# The radar's error in the optical frame, metres: a degree to the sides, 5 m in range
DEVIATIONS = np.array([np.radians(1.0) * RANGE, np.radians(1.0) * RANGE, 5.0])
PERIOD, DELAY = 0.2, 0.2
# A track this near to the truth's centre, in pixels, is on it
_NEAR = 8.0


@dataclass
class Score:
    """Of one run.

    Attributes:
        seen: share of the frames with the target on which a CONFIRMED track is on it.
        false: CONFIRMED tracks that were never on it.
        price: whole frames that the detector saw per frame.
    """

    seen: float
    false: int
    price: float


def hints_of(frames: list[SceneFrame], fps: float, seed: int, wrong: bool) -> Iterator[tuple[int, SpaceHint]]:
    """Hints with the numbers of the frames before which they come."""
    rng = np.random.default_rng(seed)
    place, velocity = rng.uniform((200, 150), (WIDTH - 200, HEIGHT - 150)), rng.normal(0, 40, 2)
    step = round(PERIOD * fps)
    for index in range(0, len(frames), step):
        center = place + velocity * index / fps
        if not wrong:
            if not len(frames[index].boxes):
                continue
            center = box_centers(frames[index].boxes)[0]
        point = CAMERA.bearings(center[None])[0] * RANGE + rng.normal(0, DEVIATIONS)
        time = round(index / fps * 1e9)
        hint = SpaceHint(time, point, np.diag(DEVIATIONS**2), FixedPose(), CAMERA, source="7")
        yield index + round(DELAY * fps), hint


def run(tracker: SmoTracker, frames: list[SceneFrame], fps: float, hints: list[tuple[int, SpaceHint]]) -> Score:
    """Track a scene."""
    tracker.reset()
    seen, present, on, everybody = 0, 0, set(), set()
    before = tracker.detector_frames
    for index, item in enumerate(frames):
        due = [hint for number, hint in hints if number == index]
        tracks = tracker.update(Frame(item.image, round(index / fps * 1e9), index), hints=due)
        reported = {track.id: (track.box[:2] + track.box[2:]) / 2 for track in tracks.reported}
        everybody |= set(reported)
        if len(item.boxes):
            center = box_centers(item.boxes)[0]
            near = {key for key, place in reported.items() if np.linalg.norm(place - center) < _NEAR}
            on |= near
            seen, present = seen + bool(near), present + 1
    return Score(seen / max(present, 1), len(everybody - on), (tracker.detector_frames - before) / len(frames))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=12, help="how many scenes")
    parser.add_argument("--seed", type=int, default=100, help="of the first scene")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each")
    options = parser.parse_args()
    fps = 20.0
    tracker = build_tracker(load_settings())
    print("| scene | contrast | without hints | with hints | wrong hints | false tracks | detector's frames |")
    print("|---|---|---|---|---|---|---|")
    rows: list[list[Score]] = []
    for number in range(options.scenes):
        seed = options.seed + number
        contrast = (10.0, 15.0, 25.0)[number % 3]
        settings = SceneSettings(
            width=WIDTH, height=HEIGHT, frames=round(options.seconds * fps), fps=fps, targets=1, camera="static",
            modality="visible", sizes=(4.0, 4.0), class_weights=(1, 0, 0, 0), contrasts=(contrast, contrast),
            noise=2.0, compression=0.0,
        )  # fmt: skip
        frames = list(render_scene(settings, seed))
        if sum(len(item.boxes) > 0 for item in frames) < len(frames) / 2:
            continue  # it flies elsewhere, or behind something
        good, wrong = (list(hints_of(frames, fps, seed, is_wrong)) for is_wrong in (False, True))
        scores = [run(tracker, frames, fps, hints) for hints in ([], good, wrong)]
        rows.append(scores)
        shown = [f"{score.seen:.2f}" for score in scores]
        false, price = (
            " / ".join(values) for values in zip(*((str(s.false), f"{s.price:.2f}") for s in scores), strict=True)
        )
        print(f"| {seed} | {contrast:.0f} | {' | '.join(shown)} | {false} | {price} |", flush=True)
    means = np.array([[(score.seen, score.false, score.price) for score in row] for row in rows]).mean(axis=0)
    columns = [" / ".join(f"{value:.2f}" for value in column) for column in means.T[1:]]
    print(f"| mean of {len(rows)} | | {' | '.join(f'{value:.2f}' for value in means[:, 0])} | {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
