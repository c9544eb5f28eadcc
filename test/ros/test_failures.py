"""Failing forward passes in a real node: one costs its image, one that lasts takes the node to its error state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition, TransitionEvent
from std_srvs.srv import Trigger

from smotracker_ros.core.frames import Frame
from smotracker_ros.training.scenes import SceneSettings, render_scene

pytestmark = pytest.mark.slow

# The tracker's node, in whose image encoder every call fails while a file is there
SCRIPT = """
import sys
from pathlib import Path

import torch
from sam2.modeling.backbones.image_encoder import ImageEncoder

from smotracker_ros.ros.tracker_main import main


def hook(module, given):
    if isinstance(module, ImageEncoder) and Path({flag!r}).exists():
        raise torch.OutOfMemoryError("injected\\nfor a test")


torch.nn.modules.module.register_module_forward_pre_hook(hook)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    settings = SceneSettings(256, 192, 30, 30.0, 3, "static", "infrared", sizes=(8.0, 16.0), contrasts=(80.0, 150.0))
    return [Frame(scene.image, 1_700_000_000_000_000_000, 0, "camera") for scene in render_scene(settings, 1)]


@pytest.fixture(scope="module")
def flag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flag") / "failing"


@pytest.fixture(scope="module")
def script(flag: Path) -> str:
    path = flag.parent / "failing_node.py"
    path.write_text(SCRIPT.format(flag=str(flag)))
    return str(path)


def _tracked(tracker: Any, frames: list[Frame]) -> None:
    """Send images one by one; each must be answered."""
    for frame in frames:
        tracker.forget()
        sent = tracker.send(frame)
        assert tracker.client.spin_until(lambda: bool(tracker.detections), 60), tracker.process.output
        assert tracker.detections[-1].header == sent.header


def test_one_failure_costs_one_image(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any], script: str, flag: Path, frames: list[Frame]
) -> None:
    process = start(
        script,
        "-r",
        "__ns:=/once",
        "-p",
        "runtime:=torch",
        "-p",
        "on_overload:=every_frame",
        "-p",
        "reliability:=reliable",
    )
    tracker = tracker_of(client, process, "/once/smotracker")
    tracker.wait_until_active()
    flag.touch()
    tracker.send(frames[0])
    name = "dropped, tracking failed"
    assert client.spin_until(lambda: "injected" in process.output, 60), process.output
    flag.unlink()
    _tracked(tracker, frames[:4])
    assert tracker.state() == State.PRIMARY_STATE_ACTIVE
    health = tracker.health()
    assert health[name] == "1" and health["frames processed"] == "4"
    assert "OutOfMemoryError: injected" in health["last problem"] and "Traceback" not in health["last problem"]
    assert "Traceback (most recent call last)" in process.output, "the log has the trace"


def test_a_failure_that_lasts_leads_through_the_error_state(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any], script: str, flag: Path, frames: list[Frame]
) -> None:
    process = start(
        script, "-r", "__ns:=/lasting", "-p", "runtime:=torch", "-p", "autostart:=false", "-p", "failure_seconds:=0.5"
    )
    tracker = tracker_of(client, process, "/lasting/smotracker")
    events = client.listen(TransitionEvent, "/lasting/smotracker/transition_event")
    assert tracker.change(Transition.TRANSITION_CONFIGURE) and tracker.change(Transition.TRANSITION_ACTIVATE)
    tracker.wait_until_active()
    flag.touch()
    try:

        def gone() -> bool:
            tracker.send(frames[0])
            return any(event.goal_state.id == State.PRIMARY_STATE_UNCONFIGURED for event in events)

        assert client.spin_until(gone, 60), process.output
    finally:
        flag.unlink()
    assert State.TRANSITION_STATE_ERRORPROCESSING in [event.goal_state.id for event in events]
    assert tracker.state() == State.PRIMARY_STATE_UNCONFIGURED
    tracker.health()  # the diagnostics go on
    own = [message.status[0] for message in tracker.diagnostics if message.status[0].name.startswith("/lasting/")]
    status = own[-1]
    assert status.level == DiagnosticStatus.ERROR, status
    assert "failed on every image" in status.message and "OutOfMemoryError: injected" in status.message
    # and what is configured anew works
    assert tracker.change(Transition.TRANSITION_CONFIGURE) and tracker.change(Transition.TRANSITION_ACTIVATE)
    tracker.wait_until_active()
    _tracked(tracker, frames[:3])


def test_a_node_that_manages_itself_ends_with_an_exit_code_of_its_own(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any], script: str, flag: Path, frames: list[Frame]
) -> None:
    process = start(script, "-r", "__ns:=/ending", "-p", "runtime:=torch", "-p", "failure_seconds:=0.5")
    tracker = tracker_of(client, process, "/ending/smotracker")
    tracker.wait_until_active()
    flag.touch()
    try:
        client.spin_until(lambda: not (tracker.send(frames[0]) and process.running), 60)
    finally:
        flag.unlink()
    assert process.wait(30) == 70, process.output
    assert "failed on every image" in process.output


def test_nobody_waits_for_an_image_that_takes_long(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any]
) -> None:
    """Hundreds of slices take the detector much longer than services and transitions wait."""
    slices = ("slice_size:=48", "on_overload:=every_frame", "reliability:=reliable")
    process = start("tracker", "-r", "__ns:=/slow", *(text for item in slices for text in ("-p", item)))
    tracker = tracker_of(client, process, "/slow/smotracker")
    tracker.wait_until_active()
    image = np.random.default_rng(1).integers(0, 255, (640, 800, 3), dtype=np.uint8)
    tracker.send(Frame(image, 1_700_000_000_000_000_000, 0, "camera"))
    assert client.spin_until(lambda: tracker.health()["frames received"] == "1", 30)
    client.spin_until(lambda: False, 2.0)
    answer = client.call(Trigger, "/slow/smotracker/reset")
    assert answer.success and "as soon as" in answer.message, process.output
    assert tracker.change(Transition.TRANSITION_DEACTIVATE)
    assert tracker.state() == State.PRIMARY_STATE_INACTIVE
    assert client.spin_until(lambda: "still being tracked" in process.output, 10), process.output
    assert not tracker.change(Transition.TRANSITION_ACTIVATE), "two images at once are never tracked"
    process.interrupt()
    assert process.wait(60) == 0, process.output
    assert not tracker.detections, "the image was still in work, and nobody has waited for it"
