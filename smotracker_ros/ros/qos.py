"""Quality of service: meeting the publisher's, and saying why nothing arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from smotracker_ros.core.topics import transport_topic

IMAGE_TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}

# What a tracker publishes beside its states: images, but no camera's
_STATES, _STATES_TYPE = "/track_states", "smotracker_ros/msg/TrackArray"
_RESULTS = ("masks", "masks/compressed", "overlay")


@dataclass(frozen=True)
class Offer:
    """What one publisher of a topic offers."""

    node: str
    message_type: str
    reliable: bool
    latched: bool = False

    @property
    def quality(self) -> str:
        """The offered quality of service in words."""
        return f"{'reliable' if self.reliable else 'best effort'}, {'transient local' if self.latched else 'volatile'}"


def publisher_offers(node: Node, topic: str) -> list[Offer]:
    """The publishers of a topic; `topic` is fully resolved."""
    return [
        Offer(
            node=f"{info.node_namespace.rstrip('/')}/{info.node_name}",
            message_type=info.topic_type,
            reliable=info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
            latched=info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        )
        for info in node.get_publishers_info_by_topic(topic)
    ]


def sent_topic(node: Node, topic: str, transport: str) -> str:
    """The resolved topic on which images come.

    As image_transport has it, compressed ones come on TOPIC/compressed; they are also found on TOPIC itself if they are
    published there alone.

    Args:
        node: that subscribes.
        topic: name of the image topic, not yet resolved.
        transport: key of :data:`IMAGE_TYPES`.
    """
    base = node.resolve_topic_name(topic)
    below = node.resolve_topic_name(transport_topic(base, transport))
    if below == base or publisher_offers(node, below):
        return below
    here = any(offer.message_type == IMAGE_TYPES[transport] for offer in publisher_offers(node, base))
    return base if here else below


def wants_reliable(reliability: str, prefer_reliable: bool, offers: Sequence[Offer]) -> bool:
    """Whether to subscribe with reliable delivery.

    Best effort is compatible with every publisher; a reliable subscription gets nothing from a best-effort publisher.

    Args:
        reliability: "best_effort", "reliable", or "auto": as all present publishers offer.
        prefer_reliable: what "auto" means while there is no publisher.
        offers: the publishers that are there now.
    """
    if reliability != "auto":
        return reliability == "reliable"
    return all(offer.reliable for offer in offers) if offers else prefer_reliable


def wants_latched(offers: Sequence[Offer]) -> bool:
    """Whether to ask for the message that was sent before we came: if all present publishers keep it."""
    return bool(offers) and all(offer.latched for offer in offers)


def subscription_profile(reliable: bool, depth: int, latched: bool = False) -> QoSProfile:
    """Profile of a subscription, with `depth` messages kept between two turns of the executor."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=max(depth, 1),
    )


def result_profile(depth: int = 10) -> QoSProfile:
    """Profile of the published results: reliable, so that both kinds of subscribers match."""
    return QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=depth)


def latched_profile() -> QoSProfile:
    """Profile of what is published once: whoever subscribes later gets it, too."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
    )


def explain_mismatch(topic: str, message_type: str, reliable: bool, offers: Sequence[Offer]) -> str | None:
    """Why none of a topic's publishers can reach a subscription, and what to do; None if there is none or one can.

    Args:
        topic: resolved name of the topic that is subscribed.
        message_type: type that is subscribed.
        reliable: whether reliable delivery was asked for.
        offers: publishers of the topic.
    """
    ours = f"{topic} is subscribed as {message_type}, {'reliable' if reliable else 'best effort'}"
    theirs = f"its publisher {offers[0].node} sends {offers[0].message_type}, {offers[0].quality}" if offers else ""
    fitting = [offer for offer in offers if offer.message_type == message_type]
    if offers and not fitting:
        transport = next((name for name, value in IMAGE_TYPES.items() if value == offers[0].message_type), None)
        if message_type not in IMAGE_TYPES.values():
            remedy = "publish that type, or remap the topic"
        else:
            remedy = f"set image_transport:={transport}" if transport else "it carries no images; choose another topic"
        return f"{ours}, but {theirs}: the types differ; {remedy}"
    if fitting and reliable and not any(offer.reliable for offer in fitting):
        return (
            f"{ours}, but {theirs}: best effort cannot serve a reliable subscription; "
            "set reliability:=auto or best_effort"
        )
    return None


def explain_silence(
    topic: str, message_type: str, reliable: bool, offers: Sequence[Offer], image_topics: Sequence[str]
) -> str:
    """Why no image arrives, and what to do.

    Args:
        topic: resolved name of the topic that is subscribed.
        message_type: type that is subscribed.
        reliable: whether reliable delivery was asked for.
        offers: publishers of the topic.
        image_topics: other topics with images, as "name (type)".
    """
    mismatch = explain_mismatch(topic, message_type, reliable, offers)
    if mismatch is not None:
        return f"no image arrives: {mismatch}"
    waiting = f"no image arrives on {topic} ({message_type}, {'reliable' if reliable else 'best effort'})"
    if not offers:
        others = f"; there are images on {', '.join(image_topics)}" if image_topics else ""
        if any(text.startswith(f"{transport_topic(topic, 'compressed')} ") for text in image_topics):
            return f"{waiting}: nobody publishes it{others}. Set image_transport:=compressed"
        if any(text.startswith(f"{topic.removesuffix('/compressed')} ") for text in image_topics):
            return f"{waiting}: nobody publishes it{others}. Set image_transport:=raw"
        return f"{waiting}: nobody publishes it{others}. Remap with -r image:=TOPIC or image:=TOPIC of the launch file"
    return (
        f"{waiting}, although {', '.join(offer.node for offer in offers)} publishes it with a matching quality of "
        "service: it is paused, or large images get lost on the way (set FASTDDS_DEFAULT_PROFILES_FILE, or "
        "FASTRTPS_DEFAULT_PROFILES_FILE up to Jazzy, to the package's config/fastdds.xml for both processes)"
    )


def image_topics(node: Node, besides: str) -> list[str]:
    """Topics on which another node may send a camera's images, except `besides`, as "name (type)"; five at most.

    Results of trackers - this one, others, recorded ones - are no camera's.
    """
    topics = dict(node.get_topic_names_and_types())
    prefixes = [name.removesuffix(_STATES) for name, types in topics.items() if types[0] == _STATES_TYPE]
    results = {f"{prefix}/{result}" for prefix in prefixes for result in _RESULTS}
    trackers = {offer.node for name, types in topics.items() if types[0] == _STATES_TYPE
                for offer in publisher_offers(node, name)}  # fmt: skip
    trackers = {name for name in trackers if _has_lifecycle(topics, name)} | {node.get_fully_qualified_name()}
    found = []
    for name, types in topics.items():
        if name == besides or name in results or types[0] not in IMAGE_TYPES.values():
            continue
        if any(offer.node not in trackers for offer in publisher_offers(node, name)):
            found.append(f"{name} ({types[0]})")
    return found[:5]


def _has_lifecycle(topics: Mapping[str, Sequence[str]], node: str) -> bool:
    """Whether a node of that name has a life cycle, which tells a tracker from what plays a tracker's recording."""
    return f"{node}/transition_event" in topics
