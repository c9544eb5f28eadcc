"""The follow node as a real process: tracks in, commands out, whatever is missing, jumps, or is killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped, Vector3Stamped
from sensor_msgs.msg import JointState
from smotracker_ros.msg import Track, TrackArray
from smotracker_ros.srv import ChooseTarget
from tf2_msgs.msg import TFMessage

from smotracker_ros.ros.images import to_stamp
from smotracker_ros.space.poses import OPTICAL_IN_BODY

pytestmark = pytest.mark.ros


class Rig:
    """Tracks of a camera that stands still in the head's base, and what the node makes of them."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.tracks = client.node.create_publisher(TrackArray, "/track_states", 20)
        self.tf = client.node.create_publisher(TFMessage, "/tf", 20)
        self.commands: list[JointState] = client.listen(JointState, "/joint_command")
        self.directions: list[Vector3Stamped] = client.listen(Vector3Stamped, "/point_at")
        self.diagnostics: list[DiagnosticArray] = client.listen(DiagnosticArray, "/diagnostics")

    def send(self, angle: float, identity: int = 7, back: float = 0.0, pose: bool = True, seen: bool = True) -> None:
        """A track so many degrees to the left; `back`: seconds by which the stamp is older."""
        stamp = to_stamp(time.time_ns() - round(back * 1e9))
        if pose:
            transform = TransformStamped(child_frame_id="camera_optical")
            transform.header.stamp, transform.header.frame_id = stamp, "ptz_base"
            x, y, z, w = OPTICAL_IN_BODY.as_quat()
            rotation = transform.transform.rotation
            rotation.x, rotation.y, rotation.z, rotation.w = float(x), float(y), float(z), float(w)
            self.tf.publish(TFMessage(transforms=[transform]))
        track = Track(id=identity, state=Track.CONFIRMED, probability=0.9, class_name="drone")
        track.bearing_x, track.bearing_z = -float(np.sin(np.radians(angle))), float(np.cos(np.radians(angle)))
        track.frames_since_seen = 0 if seen else 5
        message = TrackArray(tracks=[track])
        message.header.stamp, message.header.frame_id = stamp, "camera_optical"
        self.tracks.publish(message)

    def run(self, seconds: float, angle: Callable[[float], float], **options: Any) -> None:
        """Twenty images per second."""
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            self.send(angle(passed), **options)
            self.client.spin_until(lambda: False, 0.05)

    def choose(self, identity: int) -> Any:
        return self.client.call(ChooseTarget, "/follow/choose", ChooseTarget.Request(id=identity))

    def status(self, text: str) -> Any:
        """The node's diagnostics once they say something."""
        self.diagnostics.clear()

        def found() -> Any:
            statuses = [status for message in self.diagnostics for status in message.status]
            return next((one for one in statuses if "follow" in one.name and text in one.message), None)

        assert self.client.spin_until(lambda: found() is not None, 10), (text, self.diagnostics[-3:])
        return found()


@pytest.fixture(scope="module")
def rig(client: Any) -> Rig:
    return Rig(client)


def _wait(rig: Rig, process: Any) -> None:
    ready = rig.client.spin_until(lambda: rig.tracks.get_subscription_count() > 0 or not process.running, 30)
    assert ready and process.running, process.output


@pytest.mark.slow
def test_the_life_of_a_follow_node(rig: Rig, start: Any) -> None:
    process = start("follow")
    _wait(rig, process)
    # without a transform nothing is followed, which is said once
    rig.run(1.0, lambda t: 10.0, pose=False)
    assert process.output.count("tracks cannot be followed: there is no transform from camera_optical to ptz_base") == 1
    rig.status("no transform")
    rig.run(1.0, lambda t: 10.0)
    assert "tracks can be followed again" in process.output
    assert not rig.commands, "nobody has been chosen"
    answer = rig.choose(9)
    assert not answer.success and answer.message == "there is no track 9; there are: 7"
    assert rig.choose(7).success
    rig.run(2.0, lambda t: 10.0)
    assert np.degrees(rig.commands[-1].position) == pytest.approx([10, 0], abs=0.3)
    assert list(rig.commands[-1].name) == ["pan", "tilt"]
    vector = rig.directions[-1].vector
    assert np.degrees(np.arctan2(vector.y, vector.x)) == pytest.approx(10, abs=0.2)
    # a target that moves is led: the command is where it will be
    began = time.time()
    rig.run(2.0, lambda t: 10 + 8 * t)
    last = rig.commands[-1]
    valid = last.header.stamp.sec + last.header.stamp.nanosec / 1e9 - began
    assert np.degrees(last.position[0]) == pytest.approx(10 + 8 * valid, abs=1.0)
    assert np.degrees(last.velocity[0]) == pytest.approx(8, abs=1.5)
    # out of sight it goes on for a while
    rig.run(0.8, lambda t: 26.0, seen=False)
    assert np.degrees(rig.commands[-1].position[0]) > 28
    rig.status("coasting")
    # stamps that jump back by minutes: begun anew, and at work again
    rig.run(0.5, lambda t: 0.0, back=300.0)
    assert "time jumped back" in process.output
    rig.run(0.5, lambda t: 0.0)
    assert rig.choose(7).success
    # killed, and started anew
    process.kill()
    rig.commands.clear()
    again = start("follow", "-p", "rule:=probable")
    for _ in range(30):  # until the new process is known
        rig.run(1.0, lambda t: -5.0)
        if len(rig.commands) > 60:
            break
    assert np.degrees(rig.commands[-1].position[0]) == pytest.approx(-5, abs=0.5)
    # hostile messages do no harm
    rig.tracks.publish(TrackArray())
    broken = TrackArray(tracks=[Track(id=1, state=99, bearing_x=float("nan"))])
    broken.header.frame_id = "camera_optical"
    rig.tracks.publish(broken)
    broken.header.stamp = to_stamp(time.time_ns())
    rig.tracks.publish(broken)
    rig.run(0.5, lambda t: -5.0)
    assert again.running and np.degrees(rig.commands[-1].position[0]) == pytest.approx(-5, abs=0.5)
    again.interrupt()
    assert again.wait(20) == 0


def test_limits_that_make_no_sense_are_refused(start: Any) -> None:
    process = start("follow", "-p", "pan_least:=20.0", "-p", "pan_greatest:=10.0")
    assert process.wait(30) == 1
    assert "pan_least must be below pan_greatest" in process.output
