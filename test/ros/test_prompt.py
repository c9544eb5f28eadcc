"""The text prompt of a live node: changed while images come, effective at the next clip, logged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.msg import ParameterType

from smotracker_ros.core.frames import Frame
from smotracker_ros.io.sources import open_source

DATA = Path(os.environ.get("SMOTRACKER_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

pytestmark = pytest.mark.slow

PARAMETERS = {
    "preset": "g-smotracker", "prompt": "'drone . bird .'", "detector_confidence": 0.0, "birth_confidence": 0.0,
    "confirm_probability": 0.0, "max_live_tracks": 3, "clip_seconds": 0.13,
    "adaptive_clips": "false", "on_overload": "every_frame",
}  # fmt: skip


def _images() -> Iterator[np.ndarray]:
    """Frames of a real clip if the data are there, otherwise noise."""
    video = DATA / "val" / "IR_DRONE_143" / "video.mp4"
    if video.exists():
        yield from (frame.image for frame in open_source(video))
    generator = np.random.default_rng(0)
    while True:
        yield generator.integers(0, 255, (256, 320, 3), dtype=np.uint8)


def test_the_prompt_changes_while_images_come(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any], tiny_grounding_dino: Path
) -> None:
    arguments = [text for name, value in PARAMETERS.items() for text in ("-p", f"{name}:={value}")]
    process = start("tracker", "-r", "__ns:=/prompted", *arguments, "-p", f"detector_weights:={tiny_grounding_dino}")
    tracker = tracker_of(client, process, "/prompted/smotracker")
    tracker.wait_until_active()
    images = _images()

    def classes(sent: int) -> set[str]:
        """Classes of all tracks after so many more images."""
        tracker.forget()
        for _ in range(sent):
            tracker.send(Frame(next(images), 1))
        assert client.spin_until(lambda: len(tracker.states) == sent, 60), process.output
        return {track.class_name for track in tracker.states[-1].tracks}

    assert classes(2) and classes(1) <= {"drone", "bird"}
    answer = tracker.set("prompt", ParameterType.PARAMETER_STRING, string_value=" . ")
    assert not answer.successful and "prompt must name what to look for" in answer.reason
    assert tracker.set("prompt", ParameterType.PARAMETER_STRING, string_value="kite .").successful
    assert client.spin_until(lambda: "kite" in classes(4), 60), process.output
    assert "the prompt is now 'kite .'" in process.output
    assert tracker.describe("prompt")[0].description.startswith("What Grounding DINO looks for")
