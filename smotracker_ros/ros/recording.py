"""The files of one recording - bag/, tracks.txt, overlay.mp4 - each completed however the recording ends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

import av

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.io.pending import put_aside
from smotracker_ros.io.rates import frame_rate
from smotracker_ros.io.sinks import MotWriter, OverlayWriter, Sink, SinkError
from smotracker_ros.ros.bag_recorder import BagRecorder

FILES = ("bag", "tracks.txt", "overlay.mp4")
HELD_FRAMES = 9
"""So many frames are held before the video begins, where they tell its rate: 25 MB at 1280x720."""

_LOGGER = logging.getLogger(__name__)


class Recording(AbstractContextManager["Recording"]):
    """Writes messages to the bag, and frames with their tracks to the text and the video.

    An earlier recording in the folder is moved aside, to `earlier/1`, `earlier/2` and so on. Text and video begin with
    the first frame, so that none of them is there without one.

    Attributes:
        bag: the bag, None if there is to be none.
        frames: those added so far.
        failed: names of the files that cannot be written.

    Args:
        folder: made if it is missing.
        with_bag: write the bag.
        overlay: write the video.
        fps: the video's frames per second; 0: by the time stamps of the first frames, see :data:`HELD_FRAMES`.

    Raises:
        SinkError: if the folder cannot be made.
    """

    def __init__(self, folder: Path, with_bag: bool, overlay: bool, fps: float) -> None:
        self._folder, self._overlay, self._fps = folder, overlay, fps
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (aside := put_aside(folder, FILES)) is not None:
                _LOGGER.warning("%s held a recording; it is in %s now", folder, aside)
        except OSError as error:
            raise SinkError(f"{folder} cannot be written: {error.strerror or error}; choose another output") from error
        self.bag = BagRecorder(folder / "bag") if with_bag else None
        self._stack = ExitStack()
        self._text: MotWriter | None = None
        self._video: OverlayWriter | None = None
        self._held: list[tuple[Frame, Tracks]] = []
        self.frames = 0
        self.failed: set[str] = set()

    def __enter__(self) -> Recording:
        if self.bag is not None:
            self._stack.enter_context(self.bag)
        return self

    @property
    def messages(self) -> int:
        """Messages in the bag."""
        return self.bag.messages if self.bag is not None else 0

    def add(self, frame: Frame, tracks: Tracks) -> None:
        """Write one frame's tracks to the text and the video; one that cannot be written ends, and the rest goes on."""
        self.frames += 1
        if self._text is None:
            self._text = MotWriter(self._folder / "tracks.txt")
            self._text.keeps_broken = True
            self._begin(self._text)
        if "tracks.txt" not in self.failed:
            with self._failures("tracks.txt"):
                self._text.write(frame, tracks)
        if self._overlay and "overlay.mp4" not in self.failed:
            self._held.append((frame, tracks))
            if self._video is not None or self._fps or len(self._held) >= HELD_FRAMES:
                self._draw()

    def _draw(self) -> None:
        """Write the frames that are held to the video."""
        if self._video is None:
            first = self._held[0][0]
            self._video = OverlayWriter(self._folder / "overlay.mp4", self._rate(), (first.height, first.width))
            self._begin(self._video)
        with self._failures("overlay.mp4"):
            for frame, tracks in self._held:
                self._video.write(frame, tracks)
        self._held.clear()

    def _rate(self) -> float:
        """Frames per second of the video."""
        return self._fps or frame_rate([frame.timestamp_ns for frame, _ in self._held]) or 30.0

    def _begin(self, sink: Sink) -> None:
        """Open an output that is completed even if the recording ends with an error."""
        with self._failures(sink.path.name):
            sink.__enter__()
            self._stack.callback(self._complete, sink)

    def _complete(self, sink: Sink) -> None:
        with self._failures(sink.path.name):
            sink.__exit__(None, None, None)

    @contextlib.contextmanager
    def _failures(self, name: str) -> Iterator[None]:
        """Note and tell that an output cannot be written."""
        try:
            yield
        except (OSError, SinkError, av.FFmpegError) as error:
            self.failed.add(name)
            _LOGGER.error("%s cannot be written; the rest is recorded. %s", self._folder / name, error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if self._held:
                self._draw()
