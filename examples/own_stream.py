"""Track whatever gives images, here a camera or a video opened by OpenCV, and print where the targets are.

    python examples/own_stream.py 0              # the first camera of this machine
    python examples/own_stream.py flight.mp4

The tracker needs two things of each image: RGB pixels, and when it was taken. Everything else - motion, how long a
target may be hidden, when the detector looks - is counted in seconds of these times, so images may be skipped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import cv2

from smotracker_ros import Frame, build_tracker, load_settings


def images(name: str) -> Iterator[Frame]:
    """Frames of a camera (a number) or a video file."""
    capture = cv2.VideoCapture(int(name) if name.isdigit() else name)
    if not capture.isOpened():
        sys.exit(f"{name} cannot be opened; give a camera's number or a video file")
    index = 0
    while True:
        # a camera's image is as old as its reading; a file says itself when its image was taken
        milliseconds = capture.get(cv2.CAP_PROP_POS_MSEC)
        there, image = capture.read()
        if not there:
            return
        timestamp_ns = time.time_ns() if name.isdigit() else round(milliseconds * 1e6)
        yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), timestamp_ns, index)
        index += 1


if len(sys.argv) != 2:
    sys.exit(__doc__)
tracker = build_tracker(load_settings())
for frame in images(sys.argv[1]):
    for track in tracker.update(frame).reported:
        x1, y1, x2, y2 = track.box
        print(
            f"frame {frame.index}: {track.class_name} {track.id} at ({(x1 + x2) / 2:.0f}, {(y1 + y2) / 2:.0f}), "
            f"moving {track.velocity[0]:+.0f}, {track.velocity[1]:+.0f} pixels per second"
        )
