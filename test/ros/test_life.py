"""Starts, ends and restarts of the node's process, at any time and under load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from lifecycle_msgs.msg import State, Transition

from smotracker_ros.core.frames import Frame
from smotracker_ros.ros.images import frame_to_image

pytestmark = pytest.mark.slow

RESUME_SECONDS = float(os.environ.get("SMOTRACKER_RESUME_SECONDS", "60"))
"""How long tracking may be away after kill -9; 3 on a machine that has nothing else to do."""


def _frame(index: int) -> Frame:
    """Infrared sky with two hot blobs that fly, stamped with the time of day."""
    y, x = np.mgrid[0:128, 0:160]
    image = 80 + np.random.default_rng(index).normal(0, 1.5, (128, 160))
    for cx, cy in ((30 + index % 90, 40), (130 - index % 90, 90)):
        image += 130 * np.exp(-(((x - cx) / 5.5) ** 4 + ((y - cy) / 3.5) ** 4))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Frame(np.repeat(pixels[..., None], 3, axis=2), time.time_ns(), index, "camera")


class Film:
    """A camera that never stops."""

    def __init__(self, node: Any, fps: float) -> None:
        self.node, self.fps, self.count = node, fps, 0

    def until(self, condition: Callable[[], bool], patience: float = 60.0) -> bool:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.node.publisher.publish(frame_to_image(_frame(self.count)))
            self.count += 1
            self.node.client.spin_until(lambda: False, 1 / self.fps)
        return True

    def ids(self) -> set[int]:
        return {track.id for message in self.node.states for track in message.tracks}


def _node_process(outer: int) -> psutil.Process:
    """The forked node; libraries also start short-lived programs while they are imported."""
    parent = psutil.Process(outer)
    (child,) = [item for item in parent.children() if item.cmdline() == parent.cmdline()]
    return child


def _ports(process: psutil.Process) -> set[int]:
    """The ports by which other participants of DDS reach a process alone."""
    ports = {item.laddr.port for item in process.net_connections("udp4") if item.laddr}
    return {port for port in ports if 7400 <= port < 32768 and (port - 7400) % 250 >= 10}


def test_kill_minus_nine(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    process = start("tracker", "-r", "__ns:=/killed", "-p", "run_id:=test", arguments=("--respawn", "true"))
    node = tracker_of(client, process, "/killed/smotracker")
    node.wait_until_active()
    film = Film(node, 10.0)
    used: list[set[int]] = []
    gaps, costs = [], []
    for _ in range(2):
        node.forget()
        assert film.until(lambda: len(film.ids()) >= 2 and len(node.detections) >= 10), process.output
        used.append(film.ids())
        killed = _node_process(process.pid)
        client.spin_until(lambda: False, 1.5)  # as long as it takes to take down its ports
        ports = _ports(killed)
        os.kill(killed.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        client.spin_until(lambda: False, 0.1)  # what was on its way
        node.forget()
        assert film.until(lambda: bool(node.detections), RESUME_SECONDS), process.output
        gaps.append(round(time.monotonic() - killed_at, 1))
        successor = _node_process(process.pid)
        assert ports and not ports & _ports(successor), "what is sent to the dead node's ports is lost"
        times = successor.cpu_times()
        costs.append(round(times.user + times.system, 1))
    assert film.until(lambda: len(film.ids()) >= 2), process.output
    used.append(film.ids())
    print(f"\nseconds without results after kill -9: {gaps}, of CPU time until the first: {costs}; ids: {used}")
    assert not used[0] & used[1] and not used[1] & used[2] and not used[0] & used[2]
    assert process.output.count("ended by SIGKILL; it is started again") == 2
    process.interrupt()
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


BODIES = """
import os, signal, sys
from smotracker_ros.ros.process import run_process
from smotracker_ros.ros.respawn import respawning

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def broken(stack):
    raise ZeroDivisionError("not the user's fault")

def wrong(stack):
    from smotracker_ros.core.settings import SettingsError
    raise SettingsError("not allowed")

bodies = {"killed": killed, "broken": lambda: run_process("x", broken), "wrong": lambda: run_process("x", wrong)}
sys.exit(respawning(bodies[sys.argv[1]], 2))
"""


@pytest.mark.parametrize(
    ("body", "again", "words"),
    [
        ("killed", 1, "ended by SIGKILL; it died 2 times within 10 minutes, and is not started again"),
        ("broken", 1, "ended by an error of its own; it died 2 times within 10 minutes"),
        ("wrong", 0, "not allowed"),
    ],
)
def test_what_is_started_again_and_how_often(body: str, again: int, words: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    command = [sys.executable, "-c", BODIES, body]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert words in result.stderr and result.stderr.count("it is started again") == again, result.stderr
    assert result.stderr.count("ZeroDivisionError: not the user's fault") == (2 if body == "broken" else 0)


def test_the_node_ends_with_the_process_that_would_start_it_again(start: Callable[..., Any], client: Any) -> None:
    process = start("tracker", "-r", "__ns:=/orphan", "-p", "autostart:=false", arguments=("--respawn", "true"))
    names = client.node.get_node_names_and_namespaces
    assert client.spin_until(lambda: ("smotracker", "/orphan") in names(), 120), process.output
    child = _node_process(process.pid)
    process.interrupt(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    child.wait(60)


def test_a_node_that_cannot_be_set_up_is_not_started_again(start: Callable[..., Any]) -> None:
    process = start("tracker", "-p", "max_live_tracks:=0", arguments=("--respawn", "true"))
    assert process.wait(90) == 1
    assert process.output.count("max_live_tracks") >= 1 and "started again" not in process.output


@pytest.mark.parametrize(
    ("seconds", "signals"),
    [
        (1.5, [signal.SIGINT]),
        (4.0, [signal.SIGTERM]),
        (5.0, [signal.SIGINT, signal.SIGINT]),
    ],
)
def test_interrupted_while_it_starts(start: Callable[..., Any], seconds: float, signals: list[int]) -> None:
    process = start("tracker", "-r", "__ns:=/early")
    time.sleep(seconds)
    for number in signals:
        process.interrupt(number)
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_interrupted_while_the_outer_process_loads_libraries(start: Callable[..., Any], number: int) -> None:
    """Between the node's own module and the fork, when ROS does not take notice of signals yet."""
    process = start("tracker", "-r", "__ns:=/loading", arguments=("--respawn", "true"))
    deadline = time.monotonic() + 120
    while not any("/scipy/optimize/" in item.path for item in psutil.Process(process.pid).memory_maps()):
        assert process.running and time.monotonic() < deadline, process.output
        time.sleep(0.01)
    process.interrupt(number)
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_running_node_ends_in_order(client: Any, start: Callable[..., Any], number: int) -> None:
    process = start(
        "tracker", "-r", f"__ns:=/ending_{number}", "-p", "autostart:=false", arguments=("--respawn", "true")
    )
    names = client.node.get_node_names_and_namespaces
    assert client.spin_until(lambda: ("smotracker", f"/ending_{number}") in names(), 120), process.output
    process.interrupt(number)
    process.interrupt(number)
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output and "started again" not in process.output


@pytest.mark.parametrize("kind", ["recorder", "player"])
def test_helpers_are_interrupted_while_they_load(start: Callable[..., Any], kind: str, tmp_path: Path) -> None:
    given = {"recorder": f"output:={tmp_path / 'recording'}", "player": f"source:={tmp_path}"}
    # a source that is not there would end the player by itself
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((64, 64), np.uint8))
    process = start(kind, "-p", given[kind], *(("-p", "loop:=true") if kind == "player" else ()))
    time.sleep(0.7)
    process.interrupt()
    # a fast machine may have loaded it by then: a recorder that has recorded nothing says so
    assert process.wait() == 0 or "no image with its tracks arrived" in process.output, process.output
    assert "Traceback" not in process.output


def test_the_order_of_a_lifecycle_manager(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any]
) -> None:
    """nav2's manager asks for the state right after each transition, and shuts down from unconfigured."""
    process = start("tracker", "-r", "__ns:=/managed", "-p", "autostart:=false")
    node = tracker_of(client, process, "/managed/smotracker")
    assert client.spin_until(lambda: ("smotracker", "/managed") in client.node.get_node_names_and_namespaces(), 120)
    bring_up = (("CONFIGURE", "INACTIVE"), ("ACTIVATE", "ACTIVE"))
    pause, reset = (("DEACTIVATE", "INACTIVE"),), (("CLEANUP", "UNCONFIGURED"),)
    for transition, state in (*bring_up, *pause, *bring_up[1:], *pause, *reset, *bring_up, *pause, *reset):
        assert node.change(getattr(Transition, f"TRANSITION_{transition}")), process.output
        assert node.state() == getattr(State, f"PRIMARY_STATE_{state}"), process.output
    assert node.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert node.state() == State.PRIMARY_STATE_FINALIZED
    process.interrupt()
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output


def test_transitions_and_the_end_under_load(
    client: Any, start: Callable[..., Any], tracker_of: Callable[..., Any]
) -> None:
    process = start("tracker", "-r", "__ns:=/busy")
    node = tracker_of(client, process, "/busy/smotracker")
    node.wait_until_active()
    film = Film(node, 100.0)  # more than can be tracked
    cycle = ("DEACTIVATE", "ACTIVATE", "DEACTIVATE", "CLEANUP", "CONFIGURE", "ACTIVATE")
    highest = 0
    for transition in cycle:
        film.until(lambda: len(node.states) > 3, 1.0)
        assert node.change(getattr(Transition, f"TRANSITION_{transition}")), process.output
        ids = film.ids()
        if transition == "CLEANUP":
            highest = max(ids | {highest})
        if transition in ("CONFIGURE", "CLEANUP"):
            client.spin_until(lambda: False, 0.3)
            node.forget()
    assert node.state() == State.PRIMARY_STATE_ACTIVE
    assert film.until(lambda: len(film.ids()) >= 2), process.output
    assert min(film.ids()) > highest > 0
    film.until(lambda: False, 0.5)
    process.interrupt(signal.SIGTERM)
    assert process.wait() == 0, process.output
    assert "Traceback" not in process.output
