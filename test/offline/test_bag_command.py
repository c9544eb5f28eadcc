"""Bags tracked without ROS: copies with results, the same bytes each time, also after a kill."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rerun.chunk import RrdReader
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer

from smotracker_ros.commands.offline import recover_app
from smotracker_ros.core.frames import Frame
from smotracker_ros.io.bag_calibration import BagCalibration
from smotracker_ros.io.bags import open_bag
from smotracker_ros.io.calibration import Calibration, track_bearings
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.pending import SinkError
from smotracker_ros.io.result_messages import RESULT_TYPES, ResultMessages
from smotracker_ros.io.sources import SourceError, open_source
from smotracker_ros.offline import processing
from smotracker_ros.offline.processing import Job, process_bag
from smotracker_ros.offline.snapshot import Run, SnapshotError
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 24
BROKEN = 7
START = 1_700_000_000_000_000_000
PROFILE = Qos(
    QosHistory.KEEP_LAST, 7, QosReliability.BEST_EFFORT, QosDurability.VOLATILE, QosTime(1, 2), QosTime(3, 4),
    QosLiveliness.AUTOMATIC, QosTime(5, 6), False,
)  # fmt: skip

# Focal lengths that the camera states with images of these numbers; 0: it is not calibrated
FOCAL = {0: 0.0, 2: 400.0, 15: 500.0}

pytestmark = pytest.mark.slow
Maker = Callable[[str], Path]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    path = tmp_path_factory.mktemp("scene") / "scene"
    write_scene(path, SceneSettings(320, 256, FRAMES, 30.0, 5, "static", "infrared"), seed=4)
    return list(open_source(path))


def _camera_info(types: Any, focal: float) -> Any:
    header = types["std_msgs/msg/Header"](stamp=types["builtin_interfaces/msg/Time"](sec=0, nanosec=0), frame_id="mast")
    roi = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    matrix = [focal, 0, 159.5, 0, focal, 127.5, 0, 0, 1.0]
    projection = [2 * focal, 0, 159.5, 0, 0, 2 * focal, 127.5, 0, 0, 0, 1.0, 0]
    return types["sensor_msgs/msg/CameraInfo"](
        header=header, height=256, width=320, distortion_model="plumb_bob", d=np.zeros(5), k=np.array(matrix),
        r=np.eye(3).ravel(), p=np.array(projection), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


@pytest.fixture(scope="module")
def make_bag(frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Camera (one image broken, one sent twice) and a topic of text, by storage."""

    def make(storage: str) -> Path:
        store = typestore()
        types = store.types
        path = tmp_path_factory.mktemp(storage) / "source"
        with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
            writer.set_custom_data("mast", "north")
            camera = writer.add_connection(
                "/camera/image_raw", "sensor_msgs/msg/Image", typestore=store, offered_qos_profiles=[PROFILE]
            )
            text = writer.add_connection("/notes", "std_msgs/msg/String", typestore=store)
            info = writer.add_connection("/camera/camera_info", "sensor_msgs/msg/CameraInfo", typestore=store)
            for frame in [*frames[:14], frames[13], *frames[14:]]:
                stamp = START + frame.timestamp_ns
                time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
                message = types["sensor_msgs/msg/Image"](
                    header=types["std_msgs/msg/Header"](stamp=time, frame_id="mast"), height=256, width=320,
                    encoding="rgb8", is_bigendian=0, step=960, data=frame.image.reshape(-1),
                )  # fmt: skip
                data = bytes(store.serialize_cdr(message, message.__msgtype__))
                writer.write(camera, stamp + 3_000_000, data[: 5000 if frame.index == BROKEN else None])
                if frame.index in FOCAL:  # the first one of no use
                    calibration = _camera_info(types, FOCAL[frame.index])
                    data = bytes(store.serialize_cdr(calibration, calibration.__msgtype__))
                    writer.write(info, stamp + 3_000_000, data)
                note = types["std_msgs/msg/String"](data=f"frame {frame.index}")
                writer.write(text, stamp + 3_000_000, bytes(store.serialize_cdr(note, note.__msgtype__)))
        return path

    return make


@pytest.fixture(scope="module")
def bag(make_bag: Maker) -> Path:
    return make_bag("mcap")


def _job(bag: Path, output: Path, **options: Any) -> Job:
    return Job(bag, output, load_settings("y-smotracker", {"clip_seconds": 0.2}), **options)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _messages(bag: Path) -> dict[str, list[tuple[int, bytes]]]:
    found: dict[str, list[tuple[int, bytes]]] = {}
    with open_bag(bag) as reader:
        for connection, time, data in reader.messages():
            found.setdefault(connection.topic, []).append((time, bytes(data)))
    return found


@pytest.fixture(scope="module")
def result(bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("first") / "tracked"
    summary = process_bag(_job(bag, output))
    assert (summary.images, summary.broken, summary.out_of_order) == (FRAMES - 1, 1, 1)
    assert len(summary.ids) >= 2
    assert [item.name for item in output.parent.iterdir()] == ["tracked"], "the journal is gone"
    return output


def test_the_copy_holds_the_bag_untouched(bag: Path, result: Path) -> None:
    original, copy = _messages(bag), _messages(result)
    assert {topic: copy[topic] for topic in original} == original
    with open_bag(bag) as before, open_bag(result) as after:
        copied = {item.topic: item for item in after.connections}
        for item in before.connections:
            other = copied[item.topic]
            assert (other.msgtype, other.digest, other.msgdef) == (item.msgtype, item.digest, item.msgdef)
            assert other.ext == item.ext, "quality of service"
        assert after.custom == {"mast": "north"}


def test_the_results_are_the_trackers(bag: Path, result: Path, frames: list[Frame]) -> None:
    copy = _messages(result)
    tracker = build_tracker(load_settings("y-smotracker", {"clip_seconds": 0.2}))
    expected: dict[str, list[tuple[int, bytes]]] = {f"/{topic}": [] for topic in RESULT_TYPES}
    good = [frame for frame in frames if frame.index != BROKEN]
    for index, frame in enumerate(good):
        stamp = START + frame.timestamp_ns
        tracks = tracker.update(Frame(frame.image, stamp, index, "mast"))
        focal = 500.0 if frame.index >= 15 else 400.0
        matrix = np.array([[focal, 0, 159.5], [0, focal, 127.5], [0, 0, 1]])
        bearings = track_bearings(tracks, Calibration((256, 320), matrix))
        assert not len(tracks) or np.allclose(np.linalg.norm(bearings, axis=1), 1)
        for topic, data in ResultMessages().encode(tracks, stamp, "mast", bearings=bearings).items():
            expected[f"/{topic}"].append((stamp + 3_000_000, data))
    assert {topic: copy[topic] for topic in expected} == expected


def test_rectified_images(bag: Path, tmp_path: Path) -> None:
    assert BagCalibration(bag, "/camera/image_raw/compressed").topic == "/camera/camera_info"
    focal = [BagCalibration(bag, "/camera/image_raw", rectified).at(START).matrix[0, 0] for rectified in (False, True)]  # type: ignore[union-attr]
    assert focal == [400.0, 800.0]
    assert BagCalibration(bag, "/rear/image_raw").at(START) is None


def test_twice_gives_the_same_bytes(bag: Path, result: Path, tmp_path: Path) -> None:
    process_bag(_job(bag, tmp_path / "tracked"))
    assert _bytes(tmp_path / "tracked") == _bytes(result)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(bag: Path, result: Path, tmp_path: Path) -> None:
    """Killed in mid-stream, later while the copy is written; each time nothing is seen of it in the result."""
    job = _job(bag, tmp_path / "tracked")
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom smotracker_ros.offline import processing\n"
        "from smotracker_ros.presets import load_settings\n"
        "processing.COMMIT_SECONDS = 0.0\n"
        "def kill(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "seen = []\n"
        "def on_image(done, total):\n"
        "    seen.append(done)\n"
        f"    assert seen[0] == {{'tracking': 1, 'writing': {FRAMES // 2}}}[os.environ['KILL']]\n"
        f"    if done == {FRAMES // 2} and os.environ['KILL'] == 'tracking': kill()\n"
        "if os.environ['KILL'] == 'writing':\n"
        "    write = processing.copy_messages\n"
        "    def copy(reader, writer, topics, additions):\n"
        "        calls = iter(range(30))\n"
        "        def counted(*given):\n"
        "            if next(calls, None) is None: kill()\n"
        "            return additions(*given)\n"
        "        write(reader, writer, topics, counted)\n"
        "    processing.copy_messages = copy\n"
        "settings = load_settings('y-smotracker', {'clip_seconds': 0.2})\n"
        f"job = processing.Job(Path({str(bag)!r}), Path({str(job.output)!r}), settings)\n"
        "processing.process_bag(job, on_image)\n"
    )
    search_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for moment in ("tracking", "writing"):
        environment = dict(os.environ, PYTHONPATH=search_path, KILL=moment)
        killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        assert not job.output.exists()
        assert job.journal.exists()
    summary = process_bag(job)
    assert summary.resumed_at == FRAMES + 1, "tracking was done when the second kill came"
    assert _bytes(job.output) == _bytes(result)


def test_an_unfinished_run_with_other_settings_is_not_gone_on_with(bag: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        assert total == FRAMES + 1
        if done == 3:
            raise KeyboardInterrupt

    job = _job(bag, tmp_path / "tracked", masks=False)
    with pytest.raises(KeyboardInterrupt):
        process_bag(job, stop)
    job.journal.write_bytes(b"broken" * 1000)
    with pytest.raises(KeyboardInterrupt):
        process_bag(job, stop)
    other = Job(bag, job.output, load_settings("y-smotracker", {"clip_seconds": 1.0}), namespace="mast", masks=False)
    assert process_bag(other).resumed_at == 0
    recorded = {"/camera/image_raw", "/camera/camera_info", "/notes"}
    assert set(_messages(job.output)) == {*recorded, "/mast/tracks", "/mast/track_states"}


def test_an_unfinished_run_of_other_code_is_not_gone_on_with(
    bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(bag, tmp_path / "tracked", masks=False)
    monkeypatch.setattr(processing, "COMMIT_SECONDS", 0.0)

    def run_until(last: int) -> list[int]:
        seen = []

        def on_image(done: int, total: int | None) -> None:
            seen.append(done)
            if done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            process_bag(job, on_image)
        return seen

    assert run_until(3) == [1, 2, 3]
    assert run_until(5) == [3, 4, 5], "it goes on"
    monkeypatch.setattr(processing, "code_checksum", lambda *patterns: "of a later version")
    assert run_until(2) == [1, 2]


def test_a_rerun_recording_shows_the_whole_bag_also_of_a_run_that_goes_on(
    bag: Path, result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processing, "COMMIT_SECONDS", 0.0)
    job = _job(bag, tmp_path / "tracked", rerun=tmp_path / "tracked.rrd")

    def stop(done: int, total: int | None) -> None:
        if done == FRAMES // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process_bag(job, stop)
    assert [path.name for path in tmp_path.iterdir()] == [job.journal.name], "no half of a recording"
    summary = process_bag(job)
    assert (summary.resumed_at, summary.images) == (0, FRAMES - 1)
    assert "tracked.rrd is to show the whole bag; it is tracked from its beginning" in caplog.text
    assert _bytes(job.output) == _bytes(result)
    rows = [row for chunk in RrdReader(job.rerun).stream() if chunk.entity_path == "/camera/image"
            for row in chunk.to_record_batch().to_pylist()]  # fmt: skip
    assert [row["frame"] for row in rows] == [n for n in range(FRAMES + 1) if n not in (BROKEN, 14)]
    assert rows[0]["time"].timestamp() == START / 1e9


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    search_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", "from smotracker_ros.cli import main; main()", *map(str, arguments)]
    environment = dict(os.environ, PYTHONPATH=search_path, COLUMNS="200")
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_the_command_on_a_single_file_of_sqlite(make_bag: Maker, result: Path, tmp_path: Path) -> None:
    file = make_bag("sqlite3") / "source.db3"
    done = _run("bag", file, "--output", tmp_path / "tracked", "--set", "clip_seconds=0.2")
    assert done.returncode == 0, done.stderr
    assert f"{FRAMES - 1} images" in done.stdout
    assert "1 broken images and 1 out of order left out" in done.stdout
    assert [path.name for path in sorted((tmp_path / "tracked").iterdir())] == ["metadata.yaml", "tracked.db3"]
    assert _messages(tmp_path / "tracked") == _messages(result)
    with pytest.raises(SinkError, match="exists already"):
        process_bag(_job(file, tmp_path / "tracked"))


def test_a_late_image_is_refused_before_it_is_decoded(frames: list[Frame], tmp_path: Path) -> None:
    """Of a 16-bit camera: a hot image that was overtaken must not change how the next ones are shown."""
    store, types = typestore(), typestore().types
    results = []
    for name, late in (("with", True), ("without", False)):
        with Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            camera = writer.add_connection("/thermal", "sensor_msgs/msg/Image", typestore=store)
            for frame in frames[:10]:
                for stamp, heat in ((0, 0), (-10_000_000, 60))[: 2 if late and frame.index == 5 else 1]:
                    stamp += START + frame.timestamp_ns
                    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
                    pixels = 3000 + heat + 4 * frame.image[:, :, 0].astype("<u2")
                    message = types["sensor_msgs/msg/Image"](
                        header=types["std_msgs/msg/Header"](stamp=time, frame_id="mast"), height=256, width=320,
                        encoding="mono16", is_bigendian=0, step=640, data=pixels.view(np.uint8).reshape(-1),
                    )  # fmt: skip
                    writer.write(
                        camera,
                        START + frame.timestamp_ns + (heat > 0),
                        store.serialize_cdr(message, message.__msgtype__),
                    )
        summary = process_bag(_job(tmp_path / name, tmp_path / f"{name}_tracked"))
        assert (summary.images, summary.out_of_order) == (10, int(late))
        results.append(
            {topic: found for topic, found in _messages(tmp_path / f"{name}_tracked").items() if topic != "/thermal"}
        )
    assert results[0] == results[1]


def test_another_image_size_and_time_that_goes_back_begin_anew(
    frames: list[Frame], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the node has it; it is said once, however often it happens."""
    store, types = typestore(), typestore().types
    steps = [
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 1),
        (-200, 1),
        (-199, 1),
    ]  # stamps in frames, and reduction of the image
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        camera = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=store)
        for number, (step, reduction) in enumerate(steps):
            stamp = START + step * 33_333_333
            time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
            pixels = np.ascontiguousarray(frames[number].image[::reduction, ::reduction])
            message = types["sensor_msgs/msg/Image"](
                header=types["std_msgs/msg/Header"](stamp=time, frame_id="mast"), height=pixels.shape[0],
                width=pixels.shape[1], encoding="rgb8", is_bigendian=0, step=3 * pixels.shape[1], data=pixels.ravel(),
            )  # fmt: skip
            writer.write(camera, START + number * 33_333_333, store.serialize_cdr(message, message.__msgtype__))
    summary = process_bag(_job(tmp_path / "bag", tmp_path / "tracked"))
    assert (summary.images, summary.broken, summary.out_of_order) == (7, 0, 0)
    states = [
        store.deserialize_cdr(data, "smotracker_ros/msg/TrackArray").frame_index  # type: ignore[attr-defined]
        for _, data in _messages(tmp_path / "tracked")["/track_states"]
    ]
    assert states == [0, 1, 0, 1, 0, 0, 1]
    assert caplog.text.count("time jumped back or the image size changed: all tracks are forgotten") == 1


def test_wrong_use_is_said_clearly(bag: Path, result: Path, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="already has /masks, /track_states, /tracks; choose another --namespace"):
        process_bag(_job(result, tmp_path / "again", topic="/camera/image_raw"))
    with pytest.raises(SourceError, match="no image topic /other"):
        process_bag(_job(bag, tmp_path / "again", topic="/other"))
    assert list(tmp_path.iterdir()) == []


def test_recover_makes_a_complete_bag(bag: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bag, broken)
    (broken / "metadata.yaml").unlink()
    file = broken / "source.mcap"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 3 // 4])
    recover_app([str(broken), "--output", str(tmp_path / "mended")], standalone_mode=False)
    mended, original = _messages(tmp_path / "mended"), _messages(bag)
    assert len(mended["/notes"]) > FRAMES // 2
    for topic, messages in mended.items():
        assert messages == original[topic][: len(messages)]
    assert (tmp_path / "mended" / "metadata.yaml").is_file()
    assert file.stat().st_size == len(whole) * 3 // 4, "the broken file is left as it is"


def test_bags_of_humble_have_no_definitions(make_bag: Maker, tmp_path: Path) -> None:
    """Types that nobody knows are copied all the same."""
    bag = make_bag("sqlite3")
    with closing(sqlite3.connect(bag / "source.db3")) as connection:
        connection.executescript(
            "DROP TABLE schema; DROP TABLE message_definitions; ALTER TABLE topics DROP COLUMN type_description_hash;"
            "UPDATE topics SET type = 'px4_msgs/msg/VehicleAttitude' WHERE name = '/notes'"
        )
    recover_app([str(bag / "source.db3"), "--output", str(tmp_path / "copy")], standalone_mode=False)
    assert _messages(tmp_path / "copy") == _messages(bag / "source.db3")
    assert len(list(open_source(tmp_path / "copy"))) == FRAMES - 1, "one is broken, one was sent twice"


@pytest.mark.parametrize(
    "name", ["os.system", "smotracker_ros.cli.main", "builtins.eval", "smotracker_ros.tracking.tracker.np"]
)
def test_a_snapshot_cannot_name_what_is_no_state(name: str) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return print, ("run",)

    run = Run(build_tracker(load_settings()))
    run.update(Frame(np.zeros((64, 64, 3), np.uint8), 1))
    good = run.snapshot()
    run.restore(good)
    module, _, function = name.rpartition(".")
    hostile = pickle.dumps({"order": Hostile()}, protocol=2).replace(
        b"c__builtin__\nprint\n", f"c{module}\n{function}\n".encode()
    )
    for data in (hostile, good[: len(good) // 2], b""):
        with pytest.raises(SnapshotError):
            run.restore(data)
