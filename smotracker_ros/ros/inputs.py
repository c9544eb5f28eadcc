"""What the node subscribes to: subscriptions that fit their publishers, and what is made of side information."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from vision_msgs.msg import Detection2D, Detection2DArray

from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.core.notices import Notices
from smotracker_ros.io.calibration import Calibration, CalibrationError, read_camera_info, rectification_doubt
from smotracker_ros.ros.images import to_nanoseconds
from smotracker_ros.ros.qos import (
    Offer,
    explain_mismatch,
    explain_silence,
    image_topics,
    publisher_offers,
    sent_topic,
    subscription_profile,
    wants_latched,
    wants_reliable,
)
from smotracker_ros.tracking.external_boxes import MOST_CUES, Cue


class Input:
    """A subscription whose quality of service follows what the publishers offer.

    Args:
        node: that subscribes.
        kind: message class.
        topic: name, not yet resolved.
        take: gets every message.
        depth: messages kept between two turns of the executor.
        reliability: "auto", "reliable" or "best_effort"; see :func:`wants_reliable`.
        prefer_reliable: what "auto" means while there is no publisher.
        latched: whether a message that was sent before we came is of use.
        lost: gets the number of messages that got lost on the way.
        raw: `take` gets the serialised form.
        transport: how images are sent, which decides on their topic (:func:`sent_topic`).
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        topic: str,
        take: Callable[[Any], None],
        depth: int,
        reliability: str = "auto",
        prefer_reliable: bool = True,
        latched: bool = False,
        lost: Callable[[int], None] = lambda number: None,
        raw: bool = False,
        transport: str = "raw",
    ) -> None:
        self._node, self._kind, self._take, self._depth = node, kind, take, depth
        self._name, self._transport = topic, transport
        self.topic = sent_topic(node, topic, transport)
        self.message_type = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
        self._reliability, self._prefer_reliable, self._latched, self._lost = (
            reliability,
            prefer_reliable,
            latched,
            lost,
        )
        self._raw = raw
        self._subscription: Any = None
        self._quality = self._fitting([])
        self.follow()

    @property
    def reliable(self) -> bool:
        """Whether reliable delivery is asked for now."""
        return self._quality[0]

    def follow(self) -> list[Offer]:
        """Subscribe anew if the publishers' offers have changed; returns the offers."""
        topic = sent_topic(self._node, self._name, self._transport)
        offers = publisher_offers(self._node, topic)
        quality = self._fitting(offers) if offers else self._quality
        if self._subscription is None or quality != self._quality or topic != self.topic:
            self.close()
            self._quality, self.topic = quality, topic
            self._subscription = self._node.create_subscription(
                self._kind,
                self.topic,
                self._take,
                subscription_profile(quality[0], self._depth, quality[1]),
                event_callbacks=SubscriptionEventCallbacks(
                    message_lost=lambda event: self._lost(event.total_count_change),
                    # The node explains an incompatible publisher in words; this replaces rclpy's own warning.
                    incompatible_qos=lambda event: None,
                ),
                raw=self._raw,
            )
        return offers

    def mismatch(self) -> str | None:
        """Why no publisher can reach us, None if there is none or one can; follows the offers before."""
        offers = self.follow()
        return explain_mismatch(self.topic, self.message_type, self.reliable, offers)

    def close(self) -> None:
        """Unsubscribe; may be called twice."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _fitting(self, offers: list[Offer]) -> tuple[bool, bool]:
        """Whether to ask for reliable delivery, and for the last message before we came."""
        fitting = [offer for offer in offers if offer.message_type == self.message_type]
        reliable = wants_reliable(self._reliability, self._prefer_reliable, fitting)
        return reliable, self._latched and wants_latched(fitting)


def explain_inputs(node: Node, inputs: Sequence[Input], silent: bool) -> list[str]:
    """What keeps messages from arriving, in words; empty if nothing does. The subscriptions follow the offers.

    Args:
        node: that subscribes.
        inputs: the images' first; none while the node is not active.
        silent: no image has come for too long.
    """
    if not inputs:
        return []
    image, *others = inputs
    found = [text for item in others if (text := item.mismatch()) is not None]
    if image.mismatch() is not None or silent:
        offers, topics = publisher_offers(node, image.topic), image_topics(node, image.topic)
        found.append(explain_silence(image.topic, image.message_type, image.reliable, offers, topics))
    return found


class CueInbox:
    """Cues that came since the last frame; safe to use from several threads.

    Attributes:
        refused: number of cues for which there was no room.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cues: list[Cue] = []
        self.refused = 0

    def put(self, message: Detection2DArray, class_names: Mapping[int, str]) -> None:
        """Take a message; cues beyond :data:`MOST_CUES` are refused."""
        with self._lock:
            room = MOST_CUES - len(self._cues)
            self.refused += max(len(message.detections) - room, 0)
            self._cues += [to_cue(detection, message, class_names) for detection in message.detections[:room]]

    def take_all(self) -> list[Cue]:
        """The cues that came since the last call."""
        with self._lock:
            cues, self._cues = self._cues, []
        return cues


class CalibrationInbox:
    """The camera's calibration, by its last message that can be used.

    Attributes:
        current: None before there is one.
        refused: number of messages that cannot be used.

    Args:
        warn: gets the reason why a message cannot be used; each kind of reason once, however many messages it has.
        image_topic: resolved name of the camera's images.
    """

    def __init__(self, warn: Callable[[str], None], image_topic: str) -> None:
        self.current: Calibration | None = None
        self.refused = 0
        self._notices = Notices(warn)
        self._image_topic = image_topic
        self._message: CameraInfo | None = None

    def put(self, message: CameraInfo, rectified: bool) -> None:
        """Take a message; one that cannot be used leaves the last calibration in place."""
        self._message = message
        try:
            self.current = read_camera_info(message, rectified)
        except CalibrationError as error:
            self.refused += 1
            self._notices.warn(f"camera_info cannot be used, there are no bearings: {error}")
            return
        if (doubt := rectification_doubt(message, self._image_topic, rectified)) is not None:
            self._notices.warn(doubt)

    def read_again(self, rectified: bool) -> None:
        """Read the last message with another `rectified`: a camera may send it only once."""
        if self._message is not None:
            self.current = None
            self.put(self._message, rectified)

    def clear(self) -> None:
        """Forget the calibration."""
        self.current = self._message = None


def to_cue(detection: Detection2D, array: Detection2DArray, class_names: Mapping[int, str]) -> Cue:
    """A cue from a message; whether it makes sense is judged by the tracker.

    Args:
        detection: its box is in pixels of the image; a rotated one is replaced by the upright box round it.
        array: gives the time stamp if the detection has none of its own; none at all means the present image.
        class_names: names of the detector's classes by number.
    """
    class_id, score = 0, 1.0
    if detection.results:
        hypothesis = detection.results[0].hypothesis
        score = float(hypothesis.score)
        numbers = {name: number for number, name in class_names.items()} | {str(n): n for n in class_names}
        class_id = numbers.get(hypothesis.class_id, 0)
    stamp = to_nanoseconds(detection.header.stamp) or to_nanoseconds(array.header.stamp)
    return Cue(_upright_box(detection), stamp, score, class_id)


def _upright_box(detection: Detection2D) -> FloatArray:
    """The upright box, float32 (4,) xyxy, round a message's box; not finite numbers stay so."""
    center, theta = detection.bbox.center, detection.bbox.center.theta
    width, height = detection.bbox.size_x, detection.bbox.size_y
    with np.errstate(all="ignore"):
        cosine, sine = abs(np.cos(theta)), abs(np.sin(theta))
        half = np.array([width * cosine + height * sine, width * sine + height * cosine]) / 2
        half = np.where(min(width, height) < 0, np.nan, half)
        middle = np.array([center.position.x, center.position.y])
        return np.concatenate([middle - half, middle + half]).astype(np.float32)
