"""Tracks to messages and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox2D, Detection2D, Detection2DArray, ObjectHypothesisWithPose

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.core.tracks import Track, Tracks, TrackState, label_image
from smotracker_ros.io.message_fields import decode_mask, track_fields
from smotracker_ros.msg import Track as TrackMessage
from smotracker_ros.msg import TrackArray
from smotracker_ros.ros.images import to_image, to_nanoseconds


def to_bounding_box(box: FloatArray) -> BoundingBox2D:
    """An xyxy box (4,) in pixels as centre and size."""
    x1, y1, x2, y2 = (float(value) for value in box)
    message = BoundingBox2D(size_x=x2 - x1, size_y=y2 - y1)
    message.center.position.x, message.center.position.y = (x1 + x2) / 2, (y1 + y2) / 2
    return message


def from_bounding_box(message: BoundingBox2D) -> FloatArray:
    """The xyxy box, float32 (4,), of a message."""
    x, y = message.center.position.x, message.center.position.y
    half_width, half_height = message.size_x / 2, message.size_y / 2
    return np.array([x - half_width, y - half_height, x + half_width, y + half_height], dtype=np.float32)


def to_detections(tracks: Tracks, header: Header, class_id: str = "name") -> Detection2DArray:
    """The reported tracks (confirmed and visible) as detections whose `id` is the track id.

    Args:
        tracks: the tracker's answer to one image.
        header: of that image, taken over as it is by the array and by each detection.
        class_id: what a hypothesis calls its class by: "name" (the number where it has none) or "number".
    """
    message = Detection2DArray(header=header)
    for track in tracks.reported:
        hypothesis = ObjectHypothesisWithPose()
        name = track.class_name if class_id == "name" else ""
        hypothesis.hypothesis.class_id = name or str(track.class_id)
        hypothesis.hypothesis.score = float(track.score)
        message.detections.append(
            Detection2D(header=header, results=[hypothesis], bbox=to_bounding_box(track.box), id=str(track.id))
        )
    return message


def to_label_message(tracks: Tracks, header: Header) -> Image:
    """The reported tracks' masks as a mono16 image: pixel = track id, 0 = background."""
    return to_image(label_image(tracks), header, "mono16")


def to_track_array(tracks: Tracks, header: Header, bearings: npt.NDArray[np.float64] | None = None) -> TrackArray:
    """All tracks, also tentative and lost ones.

    Args:
        tracks: the tracker's answer to one image.
        header: of that image, taken over as it is.
        bearings: (N, 3), unit vectors in the camera's optical frame by track; zero or None: not known.
    """
    bearings = np.zeros((len(tracks), 3)) if bearings is None else bearings
    height, width = tracks.image_size
    message = TrackArray(header=header, frame_index=tracks.frame_index, detector_ran=tracks.detector_ran)
    for track, bearing in zip(tracks, bearings.tolist(), strict=True):
        fields = track_fields(track, height, width, tuple(bearing))
        message.tracks.append(TrackMessage(box=to_bounding_box(track.box), **fields))
    return message


def from_track_array(message: TrackArray, image_size: tuple[int, int]) -> Tracks:
    """The tracks of a message; the inverse of :func:`to_track_array`.

    Args:
        message: as published on `track_states`.
        image_size: (height, width) of the source image in pixels.
    """
    items = tuple(
        Track(
            id=int(track.id),
            state=TrackState(track.state),
            box=from_bounding_box(track.box),
            score=float(track.score),
            probability=float(track.probability),
            class_id=int(track.class_id),
            class_name=track.class_name,
            mask=decode_mask(track.mask_counts, track.mask_height, track.mask_width) if track.mask_counts else None,
            velocity=np.array([track.velocity_x, track.velocity_y], dtype=np.float32),
            age=int(track.age),
            frames_since_detection=int(track.frames_since_detection),
            frames_since_seen=int(track.frames_since_seen),
            friendly=track.friendly,
        )
        for track in message.tracks
    )
    return Tracks(
        to_nanoseconds(message.header.stamp), int(message.frame_index), image_size, items, bool(message.detector_ran)
    )
