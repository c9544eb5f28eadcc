"""Where related topics lie; needs nothing, since launch files use it, too."""

from __future__ import annotations


def camera_info_topic(image_topic: str) -> str:
    """Where a camera's driver publishes its calibration: beside the image, as image_transport has it."""
    parts = image_topic.removesuffix("/compressed").split("/")
    return "/".join([*parts[:-1], "camera_info"])
