"""The real `ros2 launch`: every documented command, and what must end with an error."""

from __future__ import annotations

import array
import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import psutil
import pytest
import yaml
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.topics import transport_topic
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.sources import open_source
from smotracker_ros.ros.demo import render_scene
from smotracker_ros.ros.images import frame_to_image

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 12
TRACK, REPLAY, MULTI = (("smotracker_ros", f"{name}.launch.py") for name in ("track", "replay", "multi"))

needs_launch = pytest.mark.skipif(
    shutil.which("ros2") is None or importlib.util.find_spec("ros2launch") is None,
    reason="`ros2 launch` comes with a ROS distribution only",
)


@contextlib.contextmanager
def _launched(*command: str, folder: Path | None = None, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The real `ros2 launch`, interrupted in the end; `environment` replaces variables, and empty ones remove them."""
    variables = {**os.environ, **environment}
    variables = {key: value for key, value in variables.items() if value and key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    process = subprocess.Popen(
        ["ros2", "launch", *command],
        env=variables, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("launch did not end")


def _run(*command: str, folder: Path | None = None) -> tuple[int, str]:
    """Exit code and output of a launch that ends by itself."""
    with _launched(*command, folder=folder) as process:
        output = process.communicate(timeout=240)[0]
    return process.returncode, output


def _parameters(client: Any, node: str, *names: str) -> list[Any]:
    answer = client.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=names), 60)
    return [parameter_value_to_python(value) for value in answer.values]


@needs_launch
@pytest.mark.slow
def test_arguments_that_are_not_given_leave_the_file_in_force(client: Any, tmp_path: Path) -> None:
    values = {
        "preset": "g-smotracker",
        "image_transport": "compressed",
        "autostart": False,
        "run_id": "flight7",
        "use_sim_time": True,
    }
    file = tmp_path / "my.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    with _launched(*TRACK, f"params_file:={file}", "image:=/mast/image_raw", "namespace:=filed"):
        assert _parameters(client, "/filed/smotracker", *values) == list(values.values())
        assert _parameters(client, "/filed/smotracker", "detector_confidence") == [0.35], "that of the preset"
    given = ("preset:=samurai", "image_transport:=raw", "run_id:=007", "use_sim_time:=false", "autostart:=true")
    arguments = (f"params_file:={file}", "image:=/mast/image_raw", "namespace:=said", "cues:=/radar/boxes", *given)
    with _launched(*TRACK, *arguments):
        assert _parameters(client, "/said/smotracker", *values) == ["samurai", "raw", True, "007", False]
        found = client.spin_until(lambda: client.node.count_subscribers("/mast/camera_info") > 0, 60)
        assert found, "the calibration is looked for beside the image"
        assert client.node.count_subscribers("/mast/image_raw") and client.node.count_subscribers("/radar/boxes")
    with _launched(*TRACK, "autostart:=false", "namespace:=bare"):
        preset, run = _parameters(client, "/bare/smotracker", "preset", "run_id")
        assert preset == "y-smotracker" and run.startswith("run")


@needs_launch
@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("rate:=2.0", "player:=own", "clock:=true", "namespace:=sky/north")])
def test_a_replay_is_recorded_and_ends(tmp_path: Path, more: tuple[str, ...]) -> None:
    video = render_scene(tmp_path / "scene", 20)
    with _launched(*REPLAY, f"source:={video}", f"output:={tmp_path / 'out'}", *more) as process:
        output = process.communicate(timeout=180)[0]
    assert process.returncode == 0 and "recorded 20 frames" in output, output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bag", "tracks.txt", "overlay.mp4"}


@needs_launch
@pytest.mark.slow
def test_a_replay_without_a_tracker_ends(tmp_path: Path) -> None:
    video = render_scene(tmp_path / "scene", 5)
    arguments = (f"source:={video}", f"output:={tmp_path / 'out'}", "preset:=nonsense")
    with _launched(*REPLAY, *arguments) as process:
        output = process.communicate(timeout=120)[0]
    assert process.returncode == 1, output
    assert "preset must be one of" in output and "its tracker ended (exit code 1)" in output, output
    assert "recorded" not in output


@needs_launch
@pytest.mark.slow
def test_several_cameras_are_launched(client: Any) -> None:
    with _launched(*MULTI, "cameras:=front,rear", "image:=camera/image_raw", "preset:=samurai"):
        for name in ("front", "rear"):
            assert _parameters(client, f"/{name}/smotracker", "preset") == ["samurai"]
            topics = (f"/{name}/camera/image_raw", f"/{name}/camera/camera_info", f"/{name}/cues")
            assert client.spin_until(lambda topics=topics: all(map(client.node.count_subscribers, topics)), 90)


def _documented_commands() -> list[str]:
    """Every `ros2 launch` line of the README and the manual."""
    pattern = re.compile(r"^ {4}((?:\w+=\S+ )*ros2 launch smotracker_ros .*?) *(?:#.*)?$", re.MULTILINE)
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return sorted({command for page in pages for command in pattern.findall(page.read_text(encoding="utf-8"))})


def test_every_launch_file_is_documented() -> None:
    names = {file.name for file in (ROOT / "launch").glob("*.launch.py")}
    assert {name for name in names if any(name in command for command in _documented_commands())} == names


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the documented commands name: a video, bags of one camera, parameters."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "flight.mp4").write_bytes(render_scene(folder / "scene", FRAMES).read_bytes())
    store = typestore()
    for name in ("flight", "left", "right"):
        with Writer(folder / name, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            image = writer.add_connection("/camera/image_raw", "sensor_msgs/msg/Image", typestore=store)
            for frame in open_source(folder / "flight.mp4"):
                stamped = Frame(frame.image, frame.timestamp_ns + 1_700_000_000 * 10**9, 0, "camera")
                writer.write(image, stamped.timestamp_ns, serialize_message(frame_to_image(stamped)))
        next((folder / name).glob("*.mcap")).rename(folder / f"{name}.mcap")
    (folder / "my.yaml").write_text("/**: {ros__parameters: {max_live_tracks: 6}}")
    return folder


@needs_launch
@pytest.mark.slow
@pytest.mark.parametrize("command", _documented_commands())
def test_documented_commands(client: Any, recordings: Path, command: str) -> None:
    words = shlex.split(command)
    begin = words.index("ros2")
    variables = dict(word.split("=", 1) for word in words[:begin])
    given = dict(word.split(":=", 1) for word in words[begin + 4 :])
    if words[begin + 3] == "replay.launch.py" or "bags" in given:
        code, output = _run(*words[begin + 2 :], folder=recordings)
        assert code == 0, output
        folders = [given.get("output", "recording")]
        if "bags" in given:
            folders = [f"{given['output']}/{camera}" for camera in given["cameras"].split(",")]
        assert output.count(f"recorded {FRAMES} frames") == len(folders), output
        for folder in folders:
            assert {path.name for path in (recordings / folder).iterdir()} >= {"bag", "tracks.txt", "overlay.mp4"}
        return
    namespaces = [f"/{camera}" for camera in given.get("cameras", "").split(",")] if "cameras" in given else [""]
    frame = next(iter(open_source(recordings / "flight.mp4")))
    transport = given.get("image_transport", "raw")
    with _launched(*words[begin + 2 :], folder=recordings, **variables) as process:
        for namespace in namespaces:
            topic = given["image"] if given["image"].startswith("/") else f"{namespace}/{given['image']}"
            kind = {"raw": Image, "compressed": CompressedImage}[transport]
            publisher = client.node.create_publisher(kind, transport_topic(topic, transport), 10)
            answers = client.listen(Detection2DArray, f"{namespace}/tracks")
            answers.clear()
            assert client.spin_until(lambda publisher=publisher: publisher.get_subscription_count() > 0, 120), topic
            for second in range(1, 100):
                message = frame_to_image(Frame(frame.image, second * 10**9, 0, "camera"))
                if transport == "compressed":
                    data = array.array("B", cv2.imencode(".png", frame.image)[1].tobytes())
                    message = CompressedImage(header=message.header, format="png", data=data)
                publisher.publish(message)
                if client.spin_until(lambda answers=answers: bool(answers), 0.5):
                    break
            client.node.destroy_publisher(publisher)
            assert answers, f"no answer in {namespace or '/'}"
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=90)[0]
    assert process.returncode == 0, output
    assert "Traceback" not in output and "exit code" not in output, output


@needs_launch
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (REPLAY, "give either bag:=BAG or source:=VIDEO"),
        ((*REPLAY, "source:=flight.mp4", "bag:=flight.mcap"), "give either bag:=BAG or source:=VIDEO"),
        ((*REPLAY, "source:=nothing.mp4"), "nothing.mp4 does not exist"),
        ((*REPLAY, "source:=flight.mp4", "rate:=fast"), "rate:=fast is no number"),
        ((*REPLAY, "source:=flight.mp4", "start_offset:=-1"), "start_offset:=-1 is no number of 0 or more"),
        ((*REPLAY, "source:=flight.mp4", "params_file:=nothing.yaml"), "nothing.yaml cannot be read"),
        ((*REPLAY, "bag:=flight.mcap", "player:=ros2"), "player:=ros2 needs"),
        ((*TRACK, "params_file:=nothing.yaml"), "nothing.yaml cannot be read: No such file"),
        ((*TRACK, "params_file:=broken.yaml"), "broken.yaml is no YAML in line 3"),
        ((*TRACK, "params_file:=flat.yaml"), "ros__parameters is expected below /max_live_tracks"),
        ((*TRACK, "imgae:=/camera/image_raw"), "no argument imgae; did you mean image?"),
        ((*TRACK, "respawn_limit:=many"), "respawn_limit:=many is no number"),
        ((*MULTI, "cameras:=left,left"), "names that differ"),
        ((*MULTI, "cameras:=left,right", "bags:=left.mcap"), "2 cameras need as many bags, not 1"),
        ((*MULTI, "cameras:=left,right", "bags:=left.mcap,nothing.mcap"), "nothing.mcap does not exist"),
        ((*MULTI, "cameras:=left", "bag:=left.mcap"), "no argument bag; did you mean bags?"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
)
def test_what_cannot_work_is_refused_before_anything_starts(
    recordings: Path, command: tuple[str, ...], words: str
) -> None:
    (recordings / "broken.yaml").write_text("/**:\n  ros__parameters: [1,\n")
    (recordings / "flat.yaml").write_text("max_live_tracks: 5\n")
    code, output = _run(*command, folder=recordings)
    assert code == 1 and words in output, output
    assert "process started" not in output and "Traceback" not in output, output


@needs_launch
@pytest.mark.slow
def test_a_wrong_parameter_ends_the_launch(recordings: Path) -> None:
    (recordings / "wrong.yaml").write_text("/**: {ros__parameters: {max_live_tracks: 0}}")
    code, output = _run(*TRACK, "params_file:=wrong.yaml", "namespace:=wrong", folder=recordings)
    assert code == 1, output
    assert output.count("process started with pid") == 1, "it is not started again"
    assert "max_live_tracks out of range" in output and "cannot run (exit code 1)" in output, output


@needs_launch
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("bag:=flight.mcap", "topic:=/nothing"), ("source:=my.yaml",)])
def test_a_player_that_fails_fails_the_replay(recordings: Path, arguments: tuple[str, ...]) -> None:
    code, output = _run(*REPLAY, *arguments, "output:=failed", "namespace:=failed", folder=recordings)
    assert code == 1 and "the replay has failed: its player ended (exit code 1)" in output, output


@needs_launch
@pytest.mark.slow
def test_a_node_is_not_started_again_for_ever(recordings: Path) -> None:
    with _launched(*TRACK, "respawn_limit:=2", "namespace:=dying", "autostart:=false") as process:
        launch = psutil.Process(process.pid)
        killed: set[int] = set()
        while process.poll() is None:
            for child in launch.children() if launch.is_running() else ():
                with contextlib.suppress(psutil.Error):
                    if child.pid not in killed and any("tracker_node" in word for word in child.cmdline()):
                        child.kill()
                        killed.add(child.pid)
            time.sleep(0.2)
        output = process.communicate(timeout=90)[0]
    assert process.returncode == 1 and len(killed) == 2, output
    assert "died 2 times within 10 minutes, and is not started again" in output, output


INCLUDING = """
from launch import LaunchDescription
from launch.actions import ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

def generate_launch_description():
    arguments = {"namespace": "%s", "autostart": "false"}.items()
    return LaunchDescription([
        IncludeLaunchDescription(PythonLaunchDescriptionSource("%s"), launch_arguments=arguments),
        ExecuteProcess(cmd=["env"], output="screen"),
    ])
"""


@needs_launch
@pytest.mark.slow
@pytest.mark.parametrize("own", ["nobody", "FASTDDS", "FASTRTPS"])
def test_the_fastdds_profile_is_the_node_s_alone(client: Any, tmp_path: Path, own: str) -> None:
    namespace, file = f"included_{own}", tmp_path / "including.launch.py"
    file.write_text(INCLUDING % (namespace, ROOT / "launch" / "track.launch.py"))
    mine = {f"{name}_DEFAULT_PROFILES_FILE": "/mine.xml" if name == own else "" for name in ("FASTDDS", "FASTRTPS")}
    with _launched(str(file), **mine) as process:
        names = client.node.get_node_names_and_namespaces
        assert client.spin_until(lambda: ("smotracker", f"/{namespace}") in names(), 120)
        (node,) = [
            item for item in psutil.Process(process.pid).children() if "tracker_node" in " ".join(item.cmdline())
        ]
        profiles = {key: value for key, value in node.environ().items() if "DEFAULT_PROFILES_FILE" in key}
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=90)[0]
    if own != "nobody":
        assert profiles == {f"{own}_DEFAULT_PROFILES_FILE": "/mine.xml"}
    else:
        ((variable, path),) = profiles.items()
        assert variable.startswith("FASTRTPS" if os.environ["ROS_DISTRO"] == "jazzy" else "FASTDDS")
        assert path.endswith("config/fastdds.xml")
        assert "DEFAULT_PROFILES_FILE" not in output, "later nodes of the including launch keep their environment"
