"""`make demo`: a clip through real processes - player, tracker node, recorder - and what to look at afterwards."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from smotracker_ros.core.terminations import end_in_order
from smotracker_ros.io.pending import put_aside
from smotracker_ros.io.sources import SourceError, open_source
from smotracker_ros.ros.recording import FILES

MODULES = {
    "recorder": "smotracker_ros.ros.recorder",
    "tracker": "smotracker_ros.ros.tracker_main",
    "player": "smotracker_ros.ros.bag_player",
}


class DemoError(RuntimeError):
    """The demo cannot go on; the message says what failed."""


class Process:
    """One node in a process of its own; interrupted, and in the end killed, when the block is left."""

    def __init__(self, name: str, parameters: dict[str, object], environment: dict[str, str]) -> None:
        self.name = name
        script = f"import sys; from smotracker_ros.ros.start import run_main; sys.exit(run_main('{MODULES[name]}'))"
        command = [sys.executable, "-c", script, "--ros-args"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={str(value).lower() if isinstance(value, bool) else value}"]
        self._process = subprocess.Popen(command, env=environment)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Number of the operating system's process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit code, None while it runs."""
        return self._process.poll()

    def stop(self, patience: float = 20.0) -> int:
        """Interrupt the process and wait for its end; returns the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()


def wait_for(process: Process, others: list[Process], patience: float) -> None:
    """Wait until a process ends well, while the others keep running.

    Raises:
        DemoError: if it fails or takes longer than `patience` seconds, or another one ends before it.
    """
    deadline = time.monotonic() + patience
    while process.code is None:
        for other in others:
            if other.code is not None:
                raise DemoError(f"the {other.name} ended with code {other.code} while the {process.name} was running")
        if time.monotonic() > deadline:
            raise DemoError(f"the {process.name} did not end within {patience:.0f} s")
        time.sleep(0.1)
    if process.code:
        raise DemoError(f"the {process.name} failed with code {process.code}")


def ros_environment(log_folder: str) -> dict[str, str]:
    """This process's variables with a discovery of its own, so that no other ROS program is met."""
    environment = dict(os.environ)
    environment.setdefault("ROS_DOMAIN_ID", str(random.randint(1, 101)))
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment["ROS_LOG_DIR"] = log_folder
    # Both belong together: a child that inherits the marker alone finds no ROS libraries.
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    return environment


def render_scene(folder: Path, frames: int) -> Path:
    """Render the default scene of small drones; returns the video's path. An earlier scene is moved aside.

    Raises:
        DemoError: if rendering fails.
    """
    command = [sys.executable, "-c", "import sys; from smotracker_ros.cli import main; sys.exit(main())"]
    command += ["synthesize", "--output", str(folder), "--seed", "0", "--frames", str(frames)]
    if (aside := put_aside(folder.parent, [folder.name])) is not None:
        print(f"{folder} was there already; it is in {aside} now", flush=True)
    print(f"rendering a scene of {frames} frames (VIDEO=path for a clip of your own) ...", flush=True)
    if subprocess.run(command, check=False).returncode or not (folder / "video.mp4").exists():
        raise DemoError("the scene could not be rendered")
    return folder / "video.mp4"


def run(video: Path, output: Path, preset: str, frames: int, patience: float) -> None:
    """Track a clip through three processes and leave bag/, tracks.txt and overlay.mp4 in `output`.

    Raises:
        DemoError: if a process fails or an output is missing.
        SourceError: if the clip cannot be read.
    """
    source = open_source(video)
    print(f"tracking {video}: {source.length or '?'} frames at {source.fps:g} per second, preset {preset}", flush=True)
    # what is in their places already is moved aside by the recorder
    with ExitStack() as stack:
        environment = ros_environment(stack.enter_context(tempfile.TemporaryDirectory()))

        def start(name: str, **parameters: object) -> Process:
            return stack.enter_context(Process(name, parameters, environment))

        recorder = start("recorder", output=output, fps=float(source.fps))
        tracker = start("tracker", preset=preset, on_overload="every_frame", reliability="reliable")
        # Two subscribers, tracker and recorder, see every image, because the player waits for the tracker's answers.
        player = start(
            "player", source=video, subscribers=2, rate=0.0, max_in_flight=4, frames=frames, patience=patience
        )
        wait_for(player, [tracker, recorder], 24 * 3600)
        wait_for(recorder, [tracker], 60)
        code = tracker.stop()
        if code:
            raise DemoError(f"the tracker ended with code {code}")
    missing = [name for name in FILES if not (output / name).exists()]
    if missing:
        raise DemoError(f"not written: {', '.join(missing)}")


def summarize(output: Path) -> None:
    """Print what was found and what to look at."""
    rows = [line.split(",") for line in (output / "tracks.txt").read_text().splitlines()]
    ids = [row[1] for row in rows]
    count = len(set(ids))
    print(f"\n{len(rows)} boxes, {count} {'id' if count == 1 else 'ids'}:")
    for track_id in sorted(set(ids), key=ids.count, reverse=True)[:10]:
        own = [int(row[0]) for row in rows if row[1] == track_id]
        print(f"  id {track_id:>3}: {len(own):4d} frames, {min(own)} to {max(own)}")
    print(
        f"\nLook at:\n  {output / 'overlay.mp4'}   the clip with masks, boxes, ids and trails"
        f"\n  {output / 'tracks.txt'}    MOT text: frame, id, x, y, width, height, score, class"
        f"\n  {output / 'bag'}           what the node published: /tracks, /masks, /track_states (mcap)"
    )


def main() -> int:
    """Command line of the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, help="clip to track; default: a rendered scene")
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    parser.add_argument("--preset", default="y-smotracker")
    parser.add_argument("--frames", type=int, default=0, help="track only the first so many frames; 0: all")
    parser.add_argument("--scene-frames", type=int, default=150, help="length of the rendered scene")
    parser.add_argument("--patience", type=float, default=180.0, help="seconds without progress before giving up")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    end_in_order()
    try:
        output.mkdir(parents=True, exist_ok=True)
        video = arguments.video.resolve() if arguments.video else render_scene(output / "scene", arguments.scene_frames)
        run(video, output, arguments.preset, arguments.frames, arguments.patience)
        summarize(output)
    except (DemoError, SourceError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
