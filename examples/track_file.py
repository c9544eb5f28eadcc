"""Track a video, a folder of images or a bag, and print which targets were seen and for how long.

    python examples/track_file.py flight.mp4

`smotracker track` does the same and more; this is the start of a program of one's own.
"""

from __future__ import annotations

import argparse
from collections import Counter

from smotracker_ros import build_tracker, load_settings, open_source

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("source", help="video file, folder of images, or rosbag2")
parser.add_argument("--clip-seconds", type=float, default=0.4, help="seconds between two passes of the detector")
arguments = parser.parse_args()

tracker = build_tracker(load_settings("y-smotracker", {"clip_seconds": arguments.clip_seconds}))
source = open_source(arguments.source)
frames_of: Counter[tuple[int, str]] = Counter()
for frame in source:
    tracks = tracker.update(frame)
    # tracks.reported: confirmed and visible now. Iterating over tracks itself gives the tentative and lost ones, too
    frames_of.update((track.id, track.class_name) for track in tracks.reported)

for (identity, name), count in sorted(frames_of.items()):
    print(f"target {identity} ({name}): seen on {count} frames, {count / source.fps:.1f} s")
