"""Quality of service: meeting the publisher's, and saying why no image arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

IMAGE_TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}


@dataclass(frozen=True)
class Offer:
    """What one publisher of a topic offers."""

    node: str
    message_type: str
    reliable: bool


def image_offers(node: Node, topic: str) -> list[Offer]:
    """The publishers of a topic; `topic` is fully resolved."""
    return [
        Offer(
            node=f"{info.node_namespace.rstrip('/')}/{info.node_name}",
            message_type=info.topic_type,
            reliable=info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        )
        for info in node.get_publishers_info_by_topic(topic)
    ]


def wants_reliable(reliability: str, prefer_reliable: bool, offers: Sequence[Offer]) -> bool:
    """Whether to subscribe to images with reliable delivery.

    Best effort is compatible with every publisher; a reliable subscription gets nothing from a best-effort publisher.

    Args:
        reliability: "best_effort", "reliable", or "auto": as all present publishers offer.
        prefer_reliable: what "auto" means while there is no publisher.
        offers: the publishers that are there now.
    """
    if reliability != "auto":
        return reliability == "reliable"
    return all(offer.reliable for offer in offers) if offers else prefer_reliable


def subscription_profile(reliable: bool, depth: int) -> QoSProfile:
    """Profile for subscribing to images: volatile, with `depth` messages kept between two turns of the executor."""
    return QoSProfile(
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
        history=HistoryPolicy.KEEP_LAST,
        depth=max(depth, 1),
    )


def result_profile(depth: int = 10) -> QoSProfile:
    """Profile of the published results: reliable, so that both kinds of subscribers match."""
    return QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=depth)


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
    quality = "reliable" if reliable else "best effort"
    waiting = f"no image on {topic} ({message_type}, {quality}, volatile) yet"
    if not offers:
        others = f"; there are images on {', '.join(image_topics)}" if image_topics else ""
        return f"{waiting}: nobody publishes it{others}. Remap with -r image:=TOPIC or image:=TOPIC of the launch file"
    foreign = sorted({offer.message_type for offer in offers} - {message_type})
    if foreign and all(offer.message_type != message_type for offer in offers):
        transport = next((name for name, value in IMAGE_TYPES.items() if value == foreign[0]), None)
        remedy = f"set image_transport:={transport}" if transport else "it carries no images; choose another topic"
        return f"{waiting}: its publisher {offers[0].node} sends {foreign[0]}; {remedy}"
    if reliable and not any(offer.reliable for offer in offers):
        return (
            f"{waiting}: its publisher {offers[0].node} offers best effort only, which cannot serve a reliable "
            "subscription; set reliability:=auto or best_effort"
        )
    return (
        f"{waiting}, although {', '.join(offer.node for offer in offers)} publishes it with a matching quality of "
        "service: it is paused, or large images get lost on the way (set FASTDDS_DEFAULT_PROFILES_FILE to the "
        "package's config/fastdds.xml for both processes)"
    )


def image_topics(node: Node, besides: str) -> list[str]:
    """Topics with images from other nodes, except `besides`, as "name (type)"; five at most."""
    own = node.get_fully_qualified_name()
    found = []
    for name, types in node.get_topic_names_and_types():
        foreign = name != besides and types[0] in IMAGE_TYPES.values()
        if foreign and any(offer.node != own for offer in image_offers(node, name)):
            found.append(f"{name} ({types[0]})")
    return found[:5]
