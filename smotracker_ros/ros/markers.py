"""Tracks as markers for RViz and Foxglove: rays from the camera to the targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from smotracker_ros.core.tracks import Tracks
from smotracker_ros.io.overlay import FRIENDLY_COLOR, track_color

RANGE = 10.0
"""Metres at which targets are drawn: one camera does not tell how far they are."""

_NANOSECONDS_SHOWN = 500_000_000


def to_markers(
    tracks: Tracks,
    bearings: npt.NDArray[np.float64],
    trails: Mapping[int, npt.NDArray[np.float64]],
    header: Header,
) -> MarkerArray:
    """Rays, trails and captions of the reported tracks, which vanish by themselves when they are not renewed.

    Args:
        tracks: the tracker's answer to one image.
        bearings: (N, 3), unit vectors of all tracks in the camera's optical frame; zero: not known.
        trails: directions of past places by track id, each (K, 3).
        header: of the image; its frame_id is the camera's.
    """
    shown = {track.id for track in tracks.reported}
    message = MarkerArray()
    for track, bearing in zip(tracks, bearings, strict=True):
        if track.id not in shown or not bearing.any():
            continue
        red, green, blue = (value / 255 for value in track_color(track.id))
        trail = trails[track.id]
        lines = {"rays": np.stack([np.zeros(3), bearing]), "trails": trail[trail.any(axis=1)], "captions": None}
        for namespace, line in lines.items():
            marker = Marker(header=header, ns=namespace, id=track.id % 2**31, action=Marker.ADD)
            marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
            marker.pose.orientation.w = 1.0
            marker.lifetime = Duration(nanosec=_NANOSECONDS_SHOWN)
            if line is None:
                marker.type, marker.scale.z = Marker.TEXT_VIEW_FACING, RANGE / 25
                marker.text = track.caption
                if track.friendly:
                    red, green, blue = (value / 255 for value in FRIENDLY_COLOR)
                    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
                marker.pose.position = _point(bearing)
            elif len(line) < 2:
                continue
            else:
                marker.type, marker.scale.x = Marker.LINE_STRIP, RANGE / 500
                marker.points = [_point(direction) for direction in line]
            message.markers.append(marker)
    return message


def _point(direction: npt.NDArray[np.float64]) -> Point:
    x, y, z = (float(value) * RANGE for value in direction)
    return Point(x=x, y=y, z=z)
