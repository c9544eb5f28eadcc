"""Where related topics lie; needs nothing, since launch files use it, too."""

from __future__ import annotations

_COMPRESSED = "/compressed"


def camera_info_topic(image_topic: str) -> str:
    """Where a camera's driver publishes its calibration: beside the image, as image_transport has it."""
    parts = image_topic.removesuffix(_COMPRESSED).split("/")
    return "/".join([*parts[:-1], "camera_info"])


def transport_topic(image_topic: str, transport: str) -> str:
    """Where images are sent by a transport: raw ones on the topic itself, others below it, as image_transport has it.

    Args:
        image_topic: base topic, or the very topic of compressed images.
        transport: "raw" (or empty), "compressed".
    """
    if transport != "compressed" or image_topic.endswith(_COMPRESSED):
        return image_topic
    return image_topic + _COMPRESSED
