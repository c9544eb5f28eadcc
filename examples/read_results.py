"""Read the results of a bag without ROS: one line per target and image, and the masks as arrays.

    smotracker bag flight/ --output tracked/
    python examples/read_results.py tracked/

Works on bags of `smotracker bag`, of `smotracker track --bag`, and of the node's topics recorded by anybody.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rosbags.highlevel import AnyReader

from smotracker_ros.io.message_fields import decode_mask
from smotracker_ros.io.message_types import typestore

STATES = {1: "tentative", 2: "confirmed", 3: "lost"}

if len(sys.argv) != 2:
    sys.exit(__doc__)
with AnyReader([Path(sys.argv[1])], default_typestore=typestore()) as reader:
    chosen = [connection for connection in reader.connections if connection.topic.endswith("track_states")]
    if not chosen:
        sys.exit(f"{sys.argv[1]} has no topic track_states; `smotracker bag` makes a bag that has")
    for connection, _, data in reader.messages(chosen):
        message = reader.deserialize(data, connection.msgtype)
        seconds = message.header.stamp.sec + message.header.stamp.nanosec / 1e9
        for track in message.tracks:
            center = track.box.center.position
            line = f"{seconds:.3f} {track.class_name} {track.id} {STATES[track.state]} p={track.probability:.2f}"
            line += f" at ({center.x:.1f}, {center.y:.1f})"
            if track.mask_counts:
                mask = decode_mask(track.mask_counts, track.mask_height, track.mask_width)
                line += f", mask of {mask.area} pixels"
            print(line)
