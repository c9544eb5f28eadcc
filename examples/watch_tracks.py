"""Print the targets that a running tracker node publishes, one line per target and image, until Ctrl-C.

    python examples/watch_tracks.py            # or another topic: /front/tracks

Needs ROS 2: a sourced distribution, or `. tools/environment.bash` after `make demo` or `make setup`.
"""

from __future__ import annotations

import contextlib
import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from vision_msgs.msg import Detection2DArray


def show(message: Detection2DArray) -> None:
    """Print one line per target of an image: time of the image in seconds, class, id, centre and size in pixels."""
    seconds = message.header.stamp.sec + message.header.stamp.nanosec / 1e9
    for detection in message.detections:
        center, box = detection.bbox.center.position, detection.bbox
        line = f"{seconds:.3f} {detection.results[0].hypothesis.class_id} {detection.id}"
        print(f"{line} at ({center.x:.1f}, {center.y:.1f}), {box.size_x:.1f} x {box.size_y:.1f} pixels", flush=True)


if len(sys.argv) > 2 or sys.argv[1:] == ["--help"]:
    sys.exit(__doc__)
topic = sys.argv[1] if len(sys.argv) == 2 else "/tracks"
rclpy.init()
node = rclpy.create_node("watch_tracks")
node.create_subscription(Detection2DArray, topic, show, 10)
print(f"waiting for {topic} ...", file=sys.stderr)
with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):  # Ctrl-C ends it
    rclpy.spin(node)
