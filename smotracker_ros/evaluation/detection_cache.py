"""One detector pass over a sequence, kept on disk, so that every tracker gets the very same detections."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smotracker_ros.core.code_version import code_checksum
from smotracker_ros.core.frames import Frame
from smotracker_ros.detection import Detections, Detector
from smotracker_ros.detection.motion_stack import DetectorView
from smotracker_ros.detection.regions import Regions
from smotracker_ros.evaluation.sequences import EvaluationSequence
from smotracker_ros.io.pending import pending_path
from smotracker_ros.tracking.camera_motion import CameraMotion

# Detections below this confidence are of no use to any tracker
LEAST_CONFIDENCE = 0.02

FRAMES_CODE = ("core/frames.py", "io/*.py", "evaluation/sequences.py")
"""The code that makes frames and numbers them."""

_logger = logging.getLogger(__name__)


def default_cache() -> Path:
    """The user's cache folder for this project (XDG_CACHE_HOME, or ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache") / "smotracker" / "detections"


def content_checksum(path: Path) -> str:
    """sha256 of a video file, or of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(item for item in path.iterdir() if item.is_file()):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class CachedDetections:
    """All detections of a sequence.

    Attributes:
        frames: int64 (K,), 0-based, rising.
        detections: of all frames, in the order of `frames`.
        seconds_per_frame: CPU seconds that the detector took for a frame.
    """

    frames: np.ndarray
    detections: Detections
    seconds_per_frame: float


class CachedDetector:
    """Serves the cached detections of a sequence as a :class:`~smotracker_ros.detection.Detector`.

    Args:
        cached: the detections.
        class_names: names of the classes by number.
        name: of the detector that made them.
        scale: of that detector (:class:`~smotracker_ros.detection.regions.RegionDetector`); None: it must see whole
            frames.

    Attributes:
        passes: frames for which it was asked; a part of a frame counts by its share.
    """

    def __init__(
        self,
        cached: CachedDetections,
        class_names: Mapping[int, str],
        name: str,
        scale: Callable[[int, int, int], float] | None = None,
    ) -> None:
        self._cached = cached
        self._class_names = class_names
        self._name = name
        self._scale = scale
        self.passes = 0.0

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of the classes by number."""
        return self._class_names

    @property
    def name(self) -> str:
        """Name of the model and checksum of its weights."""
        return self._name

    def scale(self, width: int, height: int, image_size: int = 0) -> float:
        """Pixels of the network per pixel of a frame of that size."""
        return 0.0 if self._scale is None else self._scale(width, height, image_size)

    def detect_in(
        self, frame: Frame, regions: Regions, least_confidence: float = 0.0, image_size: int = 0
    ) -> Detections:
        """What the regions show of the frame with that index."""
        found = self._found(frame, least_confidence)
        self.passes += regions.share
        return found.select(regions.show(found.boxes))

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        """Detections of the frame with that index; the image is not looked at."""
        self.passes += 1
        return self._found(frame, least_confidence)

    def _found(self, frame: Frame, least_confidence: float) -> Detections:
        start, stop = np.searchsorted(self._cached.frames, [frame.index, frame.index + 1])
        found = self._cached.detections.select(np.arange(start, stop))
        return found.select(found.scores >= least_confidence)


class LiveDetector:
    """A detector that is asked while the tracker runs; like the cached one it counts how often.

    Attributes:
        passes: frames for which it was asked.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.passes = 0.0

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of the classes by number."""
        return self._detector.class_names

    @property
    def name(self) -> str:
        """Name of the model and checksum of its weights."""
        return self._detector.name

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        """Detections of the frame."""
        self.passes += 1
        return self._detector.detect(frame, least_confidence, image_size)


def cached_detections(
    sequence: EvaluationSequence,
    detector: Detector,
    cache: Path,
    image_size: int = 0,
    progress: Callable[[int], None] = lambda frames: None,
    variant: str = "",
) -> CachedDetections:
    """Detections of all frames, from the cache or by a pass that fills it.

    Args:
        sequence: whose frames.
        detector: asked where the cache does not know the answer.
        cache: folder; files are keyed by the detector's name (with its checksum), the size, the video's content, and
            the code that detects.
        image_size: as for :meth:`Detector.detect`.
        progress: told the number of frames done.
        variant: what else the detections depend on, such as a prompt.

    Raises:
        SourceError: if the video cannot be read.
        SinkError: if the cache cannot be written.
    """
    video = content_checksum(sequence.video)
    code = code_checksum("detection/*.py", "tracking/camera_motion.py", *FRAMES_CODE)
    key = json.dumps([detector.name, image_size, video, sequence.length, variant, code])
    path = cache / f"{sequence.name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
    if path.is_file():
        try:
            with np.load(path) as stored:
                found = Detections(stored["boxes"], stored["scores"], stored["class_ids"])
                if stored["frames"].shape == found.scores.shape:
                    return CachedDetections(stored["frames"], found, float(stored["seconds_per_frame"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            _logger.warning("%s is broken and is made anew: %s", path, error)
    parts: list[Detections] = []
    indices: list[int] = []
    started = time.process_time()
    view, camera = DetectorView(detector), CameraMotion()
    before: int | None = None
    for frame in sequence.frames():
        seconds = 0.0 if before is None else max(frame.timestamp_ns - before, 0) / 1e9
        before = frame.timestamp_ns
        view.push(frame, camera.update(frame.image, seconds).matrix)
        parts.append(view.detect(LEAST_CONFIDENCE, image_size))
        indices.append(frame.index)
        progress(len(indices))
    cached = CachedDetections(
        np.repeat(np.array(indices, dtype=np.int64), [len(part) for part in parts]),
        Detections(
            np.concatenate([part.boxes for part in parts] or [np.zeros((0, 4), np.float32)]),
            np.concatenate([part.scores for part in parts] or [np.zeros(0, np.float32)]),
            np.concatenate([part.class_ids for part in parts] or [np.zeros(0, np.int64)]),
        ),
        (time.process_time() - started) / max(len(indices), 1),
    )
    with pending_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            frames=cached.frames,
            boxes=cached.detections.boxes,
            scores=cached.detections.scores,
            class_ids=cached.detections.class_ids,
            seconds_per_frame=cached.seconds_per_frame,
        )
    return cached
