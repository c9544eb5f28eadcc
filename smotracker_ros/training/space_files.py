"""Rendered scenes of several cameras as files: images, calibrations, extrinsics, and the truth in space."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from rosbags.rosbag2 import Writer

from smotracker_ros.io.bag_copy import new_bag
from smotracker_ros.io.calibration import Calibration
from smotracker_ros.io.message_types import typestore
from smotracker_ros.io.pending import pending_path
from smotracker_ros.io.sinks import VideoWriter
from smotracker_ros.space.extrinsics import Extrinsics, write_extrinsics
from smotracker_ros.training.scene_files import sequence_description, truth_rows
from smotracker_ros.training.space_rig import Rig, RigCamera, SpaceSettings, make_rig
from smotracker_ros.training.space_scenes import render_camera
from smotracker_ros.training.targets import CLASS_NAMES

START_NS = 1_000_000_000_000
"""Stamp of a scene's beginning: 1000 s."""

EXTRINSICS, TRUTH = "extrinsics.yaml", "truth.csv"
_JPEG_QUALITY = 97
_TRUTH_STEP = 0.05


def write_space_scene(
    directory: str | Path, settings: SpaceSettings, seed: int, on_frame: Callable[[], None] | None = None
) -> None:
    """Render a scene for all its cameras.

    For each camera a folder with `video.mp4`, `gt/gt.txt` and `seqinfo.ini` as of a scene of one camera,
    `camera_info.yaml` as camera_calibration writes it, and `bag`: images (`image/compressed`) and `camera_info` in the
    camera's namespace, with the camera's stamps. Beside the folders `extrinsics.yaml` as the cameras are said to stand,
    `true_extrinsics.yaml` as they do, and `truth.csv`: places and velocities by true time.

    Args:
        directory: appears only when everything is written; it must not exist, or be empty.
        settings: what to render.
        seed: which scene of that kind.
        on_frame: called after each image.

    Raises:
        SinkError: if the directory cannot be written.
    """
    rig = make_rig(settings, seed)
    with pending_path(directory) as temporary:
        temporary.mkdir()
        for number, camera in enumerate(rig.cameras):
            _write_camera(temporary / camera.name, rig, number, settings, seed, on_frame)
        names = {camera.name: f"{camera.name}_optical" for camera in rig.cameras}
        stated = {camera.name: camera.stated_pose for camera in rig.cameras}
        write_extrinsics(temporary / EXTRINSICS, Extrinsics(stated, frame_ids=names))
        true = {camera.name: camera.pose for camera in rig.cameras}
        write_extrinsics(temporary / f"true_{EXTRINSICS}", Extrinsics(true, frame_ids=names))
        (temporary / TRUTH).write_text(_truth(rig, settings.seconds), encoding="ascii")


def _write_camera(
    folder: Path, rig: Rig, number: int, settings: SpaceSettings, seed: int, on_frame: Callable[[], None] | None
) -> None:
    camera = rig.cameras[number]
    (folder / "gt").mkdir(parents=True)
    (folder / "camera_info.yaml").write_text(calibration_text(camera.name, camera.calibration), encoding="utf-8")
    with ExitStack() as stack:
        video = VideoWriter(folder / "video.mp4", settings.fps, quality=16)
        stack.callback(video.close)
        truth = stack.enter_context((folder / "gt" / "gt.txt").open("w", encoding="ascii", newline="\n"))
        bag = _BagWriter(stack.enter_context(new_bag(folder / "bag", "mcap")), camera)
        for index, frame in enumerate(render_camera(rig, number, seed)):
            video.write(frame.image)
            truth.write(truth_rows(index + 1, frame))
            bag.write(frame.image, index)
            if on_frame is not None:
                on_frame()
    size = settings.width, settings.height
    text = sequence_description(camera.name, settings.fps, settings.frames, size, seed)
    (folder / "seqinfo.ini").write_text(text, encoding="utf-8")


class _BagWriter:
    """Writes a camera's images and calibration with its stamps; they are recorded when they are taken."""

    def __init__(self, writer: Writer, camera: RigCamera) -> None:
        self._writer, self._camera, self._store = writer, camera, typestore()
        self._topics = {
            name: writer.add_connection(f"/{camera.name}/{name}", kind, typestore=self._store)
            for name, kind in (
                ("image/compressed", "sensor_msgs/msg/CompressedImage"),
                ("camera_info", "sensor_msgs/msg/CameraInfo"),
            )
        }

    def write(self, image: np.ndarray, index: int) -> None:
        """Write an image, uint8 (height, width, 3) RGB, and the calibration."""
        types = self._store.types
        stamp_ns, taken_ns = (
            START_NS + round(float(seconds[index]) * 1e9) for seconds in (self._camera.stamps, self._camera.times)
        )
        header = types["std_msgs/msg/Header"](
            stamp=types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9),
            frame_id=f"{self._camera.name}_optical",
        )
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].ravel()
        compressed = types["sensor_msgs/msg/CompressedImage"](header=header, format="jpeg", data=data)
        messages = {"camera_info": camera_info(self._camera.calibration, header), "image/compressed": compressed}
        for name, message in messages.items():
            topic = self._topics[name]
            self._writer.write(topic, taken_ns, bytes(self._store.serialize_cdr(message, topic.msgtype)))


def camera_info(calibration: Calibration, header: Any) -> Any:
    """A calibration as rosbags' `sensor_msgs/CameraInfo`; of the full sensor, without binning."""
    types = typestore().types
    height, width = calibration.size
    roi = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return types["sensor_msgs/msg/CameraInfo"](
        header=header,
        height=height,
        width=width,
        distortion_model=calibration.model,
        d=np.asarray(calibration.distortion, dtype=np.float64),
        k=calibration.matrix.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([calibration.matrix, np.zeros((3, 1))]).ravel(),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def calibration_text(name: str, calibration: Calibration) -> str:
    """A calibration as camera_calibration writes it and camera_info_manager reads it."""
    height, width = calibration.size

    def matrix(values: np.ndarray) -> dict[str, Any]:
        return {"rows": values.shape[0], "cols": values.shape[1], "data": [float(value) for value in values.ravel()]}

    content = {
        "image_width": width,
        "image_height": height,
        "camera_name": name,
        "camera_matrix": matrix(calibration.matrix),
        "distortion_model": calibration.model,
        "distortion_coefficients": matrix(np.atleast_2d(calibration.distortion)),
        "rectification_matrix": matrix(np.eye(3)),
        "projection_matrix": matrix(np.hstack([calibration.matrix, np.zeros((3, 1))])),
    }
    return str(yaml.safe_dump(content, sort_keys=False))


def _truth(rig: Rig, seconds: float) -> str:
    """Rows of truth.csv: stamp [s], id, class, place [m], velocity [m/s]."""
    rows = ["stamp,id,class,x,y,z,vx,vy,vz"]
    for time in np.arange(0.0, seconds, _TRUTH_STEP):
        for number, flight in enumerate(rig.flights, start=1):
            numbers = (*flight.places([time])[0], *flight.velocities([time])[0])
            values = ",".join(f"{value:.4f}" for value in numbers)
            rows.append(f"{START_NS / 1e9 + time:.3f},{number},{CLASS_NAMES[flight.class_id]},{values}")
    return "\n".join(rows) + "\n"
