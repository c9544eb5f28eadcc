"""Real node processes and a client that talks to them, in a ROS domain of their own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = []
try:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState
    from rcl_interfaces.msg import Parameter, ParameterDescriptor, ParameterValue
    from rcl_interfaces.srv import DescribeParameters, SetParameters
    from sensor_msgs.msg import Image
    from smotracker_ros.msg import TrackArray
    from vision_msgs.msg import Detection2DArray

    from smotracker_ros.core.frames import Frame
    from smotracker_ros.ros.images import frame_to_image
except ImportError as error:  # without ROS, or with ROS but before the messages are built
    collect_ignore_glob = ["test_*.py"]
    print(f"test/ros is left out: {error} (`make setup` builds what is missing)", file=sys.stderr)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
EXECUTABLES = {
    "tracker": "tracker_node",
    "fusion": "fusion_node",
    "follow": "follow_node",
    "player": "bag_player",
    "recorder": "recorder",
}


@pytest.fixture(scope="session", autouse=True)
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A ROS domain that no other test run uses, and logs in a temporary folder."""
    with ExitStack() as stack:
        try:
            from domain_coordinator import domain_id

            domain = stack.enter_context(domain_id())
        except ImportError:
            domain = random.randint(1, 100)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.setenv("ROS_LOG_DIR", str(tmp_path_factory.mktemp("ros_logs")))
        rclpy.init()
        yield
        rclpy.try_shutdown()


class NodeProcess:
    """A node in a process of its own, with its output at hand.

    Args:
        kind: of the package's nodes, or the path of a script.
    """

    def __init__(self, kind: str, *ros_arguments: str, arguments: tuple[str, ...] = ()) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
        environment["RCUTILS_LOGGING_BUFFERED_STREAM"] = "0"
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPTS / EXECUTABLES.get(kind, kind)), *arguments, "--ros-args", *ros_arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def interrupt(self, number: int = signal.SIGINT) -> None:
        if self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """As by `kill -9`: the process cannot do anything about it."""
        self._process.kill()
        self._process.wait()

    def wait(self, patience: float = 60.0) -> int:
        """Exit code; a process that does not end in time is killed and fails the test."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            pytest.fail(f"the process did not end within {patience} s; it said:\n{self.output}")
        self._reader.join(5)
        return self._process.returncode


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., NodeProcess]]:
    """Starts node processes that end with the module."""
    processes: list[NodeProcess] = []

    def run(kind: str, *ros_arguments: str, arguments: tuple[str, ...] = ()) -> NodeProcess:
        processes.append(NodeProcess(kind, *ros_arguments, arguments=arguments))
        return processes[-1]

    yield run
    for process in processes:
        process.interrupt()
    for process in processes:
        process.wait()


class Client:
    """A node of the test's own process."""

    def __init__(self, name: str) -> None:
        self.node = rclpy.create_node(name)
        self.received: dict[str, list[Any]] = {}

    def listen(self, kind: Any, topic: str) -> list[Any]:
        """List that fills with the messages of a topic."""
        messages = self.received.setdefault(topic, [])
        self.node.create_subscription(kind, topic, messages.append, 500)
        return messages

    def spin_until(self, condition: Callable[[], bool], patience: float = 30.0) -> bool:
        """Handle messages until the condition holds; False if patience ends first."""
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.02)
        return True

    def call(self, kind: Any, name: str, request: Any = None, patience: float = 30.0) -> Any:
        """Answer of a service."""
        client = self.node.create_client(kind, name)
        try:
            assert client.wait_for_service(timeout_sec=patience), f"nobody offers {name}"
            future = client.call_async(request if request is not None else kind.Request())
            assert self.spin_until(future.done, patience), f"{name} did not answer"
            return future.result()
        finally:
            self.node.destroy_client(client)


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client node per test module."""
    instance = Client("client_of_" + Path(request.path).stem)
    yield instance
    instance.node.destroy_node()


class Tracker:
    """A node under test and all its topics and services."""

    def __init__(self, client: Client, process: NodeProcess, name: str, image: Any = None) -> None:
        self.client, self.process, self.name = client, process, name
        namespace = name.rpartition("/")[0]
        self.publisher = client.node.create_publisher(image or Image, f"{namespace}/image", 50)
        self.detections = client.listen(Detection2DArray, f"{namespace}/tracks")
        self.masks = client.listen(Image, f"{namespace}/masks")
        self.states = client.listen(TrackArray, f"{namespace}/track_states")
        self.diagnostics = client.listen(DiagnosticArray, "/diagnostics")
        self.clock = 0

    def wait_until_active(self) -> None:
        ready = self.client.spin_until(
            lambda: (
                not self.process.running
                or (
                    self.publisher.get_subscription_count()
                    and self.client.node.count_publishers(f"{self.name[:-10]}masks")
                )
            ),
            90,
        )
        assert ready and self.process.running, self.process.output
        self.client.spin_until(lambda: False, 0.5)

    def send(self, frame: Frame) -> Image:
        """Publish a frame with a later time stamp than all before."""
        self.clock += 1
        message = frame_to_image(Frame(frame.image, frame.timestamp_ns + self.clock * 10**12, 0, frame.frame_id))
        self.publisher.publish(message)
        return message

    def forget(self) -> None:
        for messages in (self.detections, self.masks, self.states, self.diagnostics):
            messages.clear()

    def health(self) -> dict[str, str]:
        """Values of the next diagnostics."""
        self.diagnostics.clear()
        assert self.client.spin_until(lambda: self._own_status() is not None, 20), self.process.output
        return {value.key: value.value for value in self._own_status().values}

    def _own_status(self) -> Any:
        statuses = [message.status[0] for message in self.diagnostics]
        return next((status for status in statuses if status.name == f"{self.name}: tracker"), None)

    def state(self) -> int:
        return int(self.client.call(GetState, f"{self.name}/get_state").current_state.id)

    def change(self, transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self.client.call(ChangeState, f"{self.name}/change_state", request, 60).success)

    def set(self, name: str, kind: int, **value: Any) -> Any:
        parameter = Parameter(name=name, value=ParameterValue(type=kind, **value))
        request = SetParameters.Request(parameters=[parameter])
        return self.client.call(SetParameters, f"{self.name}/set_parameters", request).results[0]

    def describe(self, *names: str) -> list[ParameterDescriptor]:
        request = DescribeParameters.Request(names=list(names))
        return list(self.client.call(DescribeParameters, f"{self.name}/describe_parameters", request).descriptors)


@pytest.fixture(scope="session")
def tracker_of() -> Callable[..., Tracker]:
    """Makes a :class:`Tracker` of a client, a process and the node's full name."""
    return Tracker
