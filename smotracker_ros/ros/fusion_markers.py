"""Fused targets as markers for RViz and Foxglove: places, flights, captions, and how sure the places are."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from scipy.spatial.transform import Rotation
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from smotracker_ros.io.overlay import track_color
from smotracker_ros.space.fusion.sightings import FusedTargets, TargetEstimate

_NANOSECONDS_SHOWN = 500_000_000
_LEAST_AXIS, _LONGEST_AXIS = 0.2, 1000.0


def to_target_markers(targets: FusedTargets, header: Header) -> MarkerArray:
    """Ellipsoids of two standard deviations, arrows of a second's flight and captions, which vanish by themselves.

    Args:
        targets: of one time.
        header: its frame is the world.
    """
    message = MarkerArray()
    for target in targets.targets:
        red, green, blue = (0.0, 0.8, 0.2) if target.friendly else (value / 255 for value in track_color(target.id))
        for namespace, alpha in (("places", 0.35), ("flights", 1.0), ("captions", 1.0)):
            if namespace == "flights" and not target.range_known:
                continue
            marker = Marker(header=header, ns=namespace, id=target.id % 2**31, action=Marker.ADD)
            marker.color = ColorRGBA(r=red, g=green, b=blue, a=alpha)
            marker.lifetime = Duration(nanosec=_NANOSECONDS_SHOWN)
            marker.pose.orientation.w = 1.0
            if namespace == "places":
                _ellipsoid(marker, target)
            elif namespace == "flights":
                marker.type = Marker.ARROW
                marker.scale.x, marker.scale.y, marker.scale.z = 0.3, 0.8, 1.0
                marker.points = [_point(target.position), _point(target.position + target.velocity)]
            else:
                marker.type, marker.scale.z = Marker.TEXT_VIEW_FACING, 4.0
                known = "" if target.range_known else " ?"
                marker.text = f"{target.id} {target.friendly or target.class_name}".rstrip() + known
                marker.pose.position = _point(target.position)
            message.markers.append(marker)
    return message


def _ellipsoid(marker: Marker, target: TargetEstimate) -> None:
    values, vectors = np.linalg.eigh(target.covariance[:3, :3])
    if np.linalg.det(vectors) < 0:
        vectors[:, 0] *= -1
    x, y, z, w = (float(value) for value in Rotation.from_matrix(vectors).as_quat())
    marker.type = Marker.SPHERE
    marker.pose.position = _point(target.position)
    marker.pose.orientation.x, marker.pose.orientation.y, marker.pose.orientation.z = x, y, z
    marker.pose.orientation.w = w
    axes = np.clip(4 * np.sqrt(np.maximum(values, 0)), _LEAST_AXIS, _LONGEST_AXIS)
    marker.scale.x, marker.scale.y, marker.scale.z = (float(value) for value in axes)


def _point(place: np.ndarray) -> Point:
    x, y, z = (float(value) for value in place)
    return Point(x=x, y=y, z=z)
