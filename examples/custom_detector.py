"""Let a detector of one's own start and correct the masklets: here one without a network, which finds bright spots.

    python examples/custom_detector.py thermal.mp4

Anything with `class_names`, `name` and `detect` is a detector. No weights of YOLO are loaded.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np

from smotracker_ros import Detections, Detector, Frame, build_tracker, load_settings, open_source


class BrightSpots:
    """Spots of up to about 20 pixels that are brighter than what surrounds them."""

    class_names = {0: "spot"}
    name = "bright spots"

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        """Boxes of the spots, the most confident first; `image_size` means nothing here."""
        grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
        excess = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, np.ones((21, 21), np.uint8))
        spots = (excess > 40).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(spots)
        boxes, scores = [], []
        for number in range(1, count):  # 0 is the background
            x, y, width, height, area = stats[number]
            if area >= 4:
                boxes.append((x - 1, y - 1, x + width + 1, y + height + 1))
                scores.append(min(float(excess[labels == number].max()) / 100, 1.0))
        order = np.argsort(-np.array(scores), kind="stable").astype(np.int64)
        found = Detections(
            np.array(boxes, np.float32).reshape(-1, 4)[order],
            np.array(scores, np.float32)[order],
            np.zeros(len(boxes), np.int64),
        )
        return found.select(found.scores >= least_confidence)


if len(sys.argv) != 2:
    sys.exit(__doc__)
detector: Detector = BrightSpots()
tracker = build_tracker(load_settings(), detector)
seen: set[int] = set()
for frame in open_source(sys.argv[1]):
    tracks = tracker.update(frame)
    seen.update(track.id for track in tracks.reported)
print(f"{detector.name}: {len(seen)} targets: {sorted(seen)}")
