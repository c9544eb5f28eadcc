"""Recordings for the Rerun viewer: the picture and all that the tracker makes of it, on one timeline."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.core.tracks import Track, Tracks, TrackState, label, label_image
from smotracker_ros.io.overlay import LOST_COLOR, MASK_OPACITY, Trails, track_color
from smotracker_ros.io.sinks import Sink
from smotracker_ros.models.extras import needed_by

if TYPE_CHECKING:
    from smotracker_ros.tracking.tracker import SmoTracker

JPEG_QUALITY = 85
_EPOCH_NS = 10**17
"""Time stamps from here on, the year 1973, are dates; others count from the beginning of a recording."""


class RerunWriter(Sink):
    """A Rerun recording (.rrd), to be opened by `rerun FILE.rrd`.

    Timelines are `frame` (the frame's index) and `time` (its time stamp: a date, or seconds from the beginning).
    Entities:

    - `camera/image` as JPEG, `camera/masks` as PNG in the colours of ids, transparent elsewhere, `camera/tracks` and
      `camera/lost` as boxes with id, class and probability, `camera/trails`;
    - `camera/detections`: boxes with their `score`, where the detector looked; `detector/looked`: 1 there, else 0;
    - `probability/ID` of each track that is live or lost, CONFIRMED or not;
    - `camera_motion/shift` of the picture's centre from the frame before, x and y in pixels, `camera_motion/rotation`
      in degrees, `camera_motion/zoom`, and `camera_motion/measured`: 0 where the picture gave no hold.

    Raises:
        MissingExtraError: if rerun is not installed; when the block is entered.
        SinkError: if the disk is full; soon after, or when the block is left.
    """

    def __init__(self, path: str | Path, tracker: SmoTracker) -> None:
        """Prepare the writer.

        Args:
            path: final name, ending in .rrd.
            tracker: whose detections and camera motion are written; it must have tracked the frame that is.
        """
        super().__init__(path)
        self._tracker = tracker
        self._trails = Trails()
        self._plotted: set[int] = set()

    def _open(self, temporary: Path, stack: ExitStack) -> None:
        with needed_by("--rerun"):
            import rerun
            from rerun import blueprint
        self._rr: Any = rerun
        self._recording = rerun.RecordingStream("smotracker")
        self._recording.send_recording_name(self.path.stem)
        # when a frame was written says nothing of when it was
        self._recording.set_log_time_enabled(False)
        self._recording.set_log_tick_enabled(False)
        self._file = _File(temporary)
        stack.callback(self._close)
        with self._file.address() as address:
            self._recording.save(address, default_blueprint=_layout(blueprint))
        steps = rerun.components.InterpolationMode.StepAfter
        self._log("camera_motion/shift", rerun.SeriesLines(names=["x", "y"]), static=True)
        self._log("camera_motion/measured", rerun.SeriesLines(interpolation_mode=steps), static=True)
        self._log("detector/looked", rerun.SeriesLines(interpolation_mode=steps), static=True)

    def _close(self) -> None:
        """End the recording when all of it is written.

        Raises:
            OSError: if it could not be.
        """
        self._recording.disconnect()
        self._file.join()
        self._file.check()

    def _log(self, entity: str, *values: Any, static: bool = False) -> None:
        """Write values of an entity; wrong ones are raised, not left out with a warning."""
        self._recording.log(entity, *values, static=static, strict=True)

    def write(self, frame: Frame, tracks: Tracks) -> None:
        """Add one frame: the one that the tracker has just tracked."""
        rr, log = self._rr, self._log
        self._recording.set_time("frame", sequence=frame.index)
        if frame.timestamp_ns >= _EPOCH_NS:
            self._recording.set_time("time", timestamp=np.datetime64(frame.timestamp_ns, "ns"))
        else:
            self._recording.set_time("time", duration=np.timedelta64(frame.timestamp_ns, "ns"))
        jpeg = cv2.imencode(".jpg", frame.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        log("camera/image", rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))
        self._trails.update(tracks)
        log("camera/masks", rr.EncodedImage(contents=_mask_picture(tracks), media_type="image/png", draw_order=1.0))
        colors = [track_color(track.id) for track in tracks.reported]
        lost = [track for track in tracks if track.state is TrackState.LOST]
        log("camera/tracks", self._boxes(tracks.reported, colors))
        log("camera/lost", self._boxes(lost, [LOST_COLOR] * len(lost)))
        strips = [self._trails.points(track.id) for track in tracks.reported]
        log("camera/trails", rr.LineStrips2D(strips, colors=colors))
        for track in tracks:
            self._plot(track)
        self._write_detections()
        self._write_motion(frame)
        self._file.check()

    def _boxes(self, tracks: Sequence[Track], colors: Sequence[tuple[int, int, int]]) -> Any:
        """Boxes with id, class and probability."""
        labels = [" ".join(f"{track.id} {track.class_name} {track.probability:.2f}".split()) for track in tracks]
        boxes = as_boxes([track.box for track in tracks])
        return self._rr.Boxes2D(array=boxes, array_format=self._rr.Box2DFormat.XYXY, labels=labels, colors=colors)

    def _plot(self, track: Track) -> None:
        place = f"probability/{track.id}"
        if track.id not in self._plotted:
            self._plotted.add(track.id)
            look = self._rr.SeriesLines(names=str(track.id), colors=track_color(track.id))
            self._log(place, look, static=True)
        self._log(place, self._rr.Scalars(track.probability))

    def _write_detections(self) -> None:
        rr, found = self._rr, self._tracker.detections
        self._log("detector/looked", rr.Scalars(float(found is not None)))
        if found is None:
            self._log("camera/detections", rr.Clear(recursive=False))
            return
        names = self._tracker.class_names
        labels = [
            f"{names.get(int(number), '')} {score:.2f}".strip()
            for number, score in zip(found.class_ids, found.scores, strict=True)
        ]
        boxes = rr.Boxes2D(
            array=found.boxes,
            array_format=rr.Box2DFormat.XYXY,
            labels=labels,
            colors=[(255, 255, 255)] * len(found),
            show_labels=False,
        )
        self._log("camera/detections", boxes, rr.AnyValues(score=found.scores))

    def _write_motion(self, frame: Frame) -> None:
        shift = self._tracker.camera_shift
        if shift is None:
            return
        center = np.array([[frame.width / 2, frame.height / 2]])
        values = {
            "shift": (shift.move(center) - center)[0],
            "rotation": float(np.degrees(np.arctan2(shift.matrix[1, 0], shift.matrix[0, 0]))),
            "zoom": shift.zoom,
            "measured": float(shift.measured),
        }
        for name, value in values.items():
            self._log(f"camera_motion/{name}", self._rr.Scalars(value))


class _File(threading.Thread):
    """A file that Rerun writes through a pipe: where it writes a full disk itself, its calls never return."""

    def __init__(self, path: Path) -> None:
        super().__init__(name="rerun file", daemon=True)
        self._path = path
        self._error: OSError | None = None

    @contextlib.contextmanager
    def address(self) -> Iterator[str]:
        """Begin; gives the path to write to, which is good within the block, for one who keeps it open afterwards."""
        self._reading, writing = os.pipe()
        self.start()
        try:
            yield f"/dev/fd/{writing}"
        finally:
            os.close(writing)

    def run(self) -> None:
        """Copy until all who write have closed the pipe."""
        with os.fdopen(self._reading, "rb", buffering=0) as source:
            try:
                with self._path.open("wb") as file:
                    shutil.copyfileobj(source, file)
            except OSError as error:
                self._error = error
                while source.read(2**16):
                    pass

    def check(self) -> None:
        """Raise what has gone wrong."""
        if self._error is not None:
            raise self._error


def _layout(blueprint: Any) -> Any:
    """What the viewer shows at first: the picture, and plots beside it; the camera's motion in tabs."""
    motion = {"shift": "Camera shift (px)", "rotation": "Rotation (deg)", "zoom": "Zoom", "measured": "Measured"}
    plots = blueprint.Vertical(
        blueprint.TimeSeriesView(
            origin="probability", name="Probability of each target", axis_y=blueprint.ScalarAxis(range=(0.0, 1.0))
        ),
        blueprint.TimeSeriesView(origin="detector", name="Detector"),
        blueprint.Tabs(
            *(
                blueprint.TimeSeriesView(origin=f"camera_motion/{entity}", name=title)
                for entity, title in motion.items()
            ),
            name="Camera motion",
        ),
        row_shares=[3, 1, 2],
    )
    picture = blueprint.Spatial2DView(origin="camera", name="Camera")
    view = blueprint.Horizontal(picture, plots, column_shares=[2, 1])
    return blueprint.Blueprint(view, collapse_panels=True)


def _mask_picture(tracks: Tracks) -> bytes:
    """PNG of the masks; of more than 255 in one frame some share a colour.

    A segmentation image would take two bytes of the viewer's memory for each pixel of each frame.
    """
    colors = np.zeros((256, 4), np.uint8)
    index_of = np.zeros(2**16, np.uint8)
    for number, track in enumerate(tracks.reported):
        index = index_of[label(track)] = number % 255 + 1
        colors[index] = (*track_color(track.id), round(255 * MASK_OPACITY))
    picture = Image.fromarray(index_of[label_image(tracks)], "P")
    picture.putpalette(colors[:, :3].tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=colors[:, 3].tobytes(), compress_level=1)
    return file.getvalue()
