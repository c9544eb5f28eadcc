"""A recorded bag through the tracker, without ROS: a copy of the bag with the results in it.

The results are those of the node with `on_overload: every_frame`. A run that was interrupted or killed goes on where it
was: a journal beside the output holds the results so far and the tracker's state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection

from smotracker_ros.core.code_version import TRACKING_CODE, code_checksum
from smotracker_ros.core.frames import FrameError
from smotracker_ros.core.notices import Notices
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.io.bag_calibration import BagCalibration
from smotracker_ros.io.bag_copy import copy_messages, new_bag, storage_of
from smotracker_ros.io.bag_files import find_files
from smotracker_ros.io.bag_reader import open_bag
from smotracker_ros.io.bags import BagSource
from smotracker_ros.io.base import SourceError
from smotracker_ros.io.pending import SinkError
from smotracker_ros.io.result_messages import RESULT_TYPES, ResultMessages
from smotracker_ros.io.sinks import Sink
from smotracker_ros.io.stream import OutOfOrderError
from smotracker_ros.models.sessions import thread_count
from smotracker_ros.offline.bag_hints import BagHints, CueSettings
from smotracker_ros.offline.journal import Journal
from smotracker_ros.offline.snapshot import Run, SnapshotError
from smotracker_ros.presets import build_tracker
from smotracker_ros.tracking.tracker import SmoTracker

RESULTS_CODE = (*TRACKING_CODE, "offline/*.py", "io/*.py", "space/*.py")
"""The code that a bag's results depend on, for :func:`code_checksum`."""

COMMIT_SECONDS = 5.0
"""So much work is lost at most when the process is killed."""

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """What to do with a bag.

    Attributes:
        source: folder of the bag, or one of its files.
        output: folder of the new bag.
        settings: of the tracker.
        topic: image topic; None: the only one.
        namespace: of the result topics.
        masks: whether the label images are written, too.
        rectified: the images have been rectified: bearings use the projection matrix of `camera_info`.
        rerun: file of a Rerun recording; None: none is written.
        storage: "mcap", "sqlite3", or "" for the source's.
        cues: where 3D cues are, and what they do not say.
    """

    source: Path
    output: Path
    settings: TrackerSettings
    topic: str | None = None
    namespace: str = "/"
    masks: bool = True
    storage: str = ""
    rectified: bool = False
    rerun: Path | None = None
    cues: CueSettings = dataclasses.field(default_factory=CueSettings)

    @property
    def journal(self) -> Path:
        """File that an interrupted run goes on from."""
        return self.output.parent / f".{self.output.name}.resume.sqlite"

    @property
    def topics(self) -> dict[str, str]:
        """Full names of the result topics, by their short ones."""
        prefix = "/" + self.namespace.strip("/")
        return {name: f"{prefix.rstrip('/')}/{name}" for name in RESULT_TYPES if self.masks or name != "masks"}


@dataclasses.dataclass
class Summary:
    """What was done: images tracked or not usable, ids reported, seconds spent on tracking, 3D cues."""

    images: int = 0
    broken: int = 0
    out_of_order: int = 0
    ids: list[int] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    resumed_at: int = 0
    cues_used: int = 0
    cues_refused: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, tracks: Tracks) -> None:
        """Count one image."""
        self.images += 1
        known = set(self.ids)
        self.ids += [track.id for track in tracks.reported if track.id not in known]


def process_bag(job: Job, on_image: Callable[[int, int | None], None] = lambda done, total: None) -> Summary:
    """Track a bag's images and write the new bag.

    Args:
        job: what to do.
        on_image: called with the number of image messages that are done, and of all.

    Raises:
        SourceError: if the bag cannot be read.
        SinkError: if the output exists already or cannot be written.
        ModelError: if SAM2 weights cannot be used.
        DetectorError: if detector weights cannot be used.
        TrackingError: if a frame cannot be tracked; the same job goes on from there.
    """
    if job.output.exists():
        raise SinkError(f"{job.output} exists already; remove it, or choose another --output")
    source = BagSource(job.source, job.topic)
    with open_bag(job.source) as reader:
        taken = sorted({connection.topic for connection in reader.connections} & set(job.topics.values()))
    if taken:
        raise SinkError(f"{job.source} already has {', '.join(taken)}; choose another --namespace for the results")
    cue_topics = job.cues.topics(job.source, job.namespace)
    tracker = build_tracker(job.settings)
    with (
        Journal(job.journal, _description(job, source, tracker, cue_topics)) as journal,
        closing(BagHints(job.source, cue_topics, job.cues)) as hints,
    ):
        summary = _track(job, source, tracker, journal, hints, on_image)
        _write(job, source, journal)
        journal.remove()
    return summary


def _description(job: Job, source: BagSource, tracker: SmoTracker, cue_topics: Mapping[str, str]) -> dict[str, Any]:
    """Everything that the results depend on."""
    with open_bag(job.source) as reader:
        extent = [reader.start_time, reader.end_time, reader.message_count]
    return {
        "files": [[file.name, file.stat().st_size] for file in find_files(job.source).files],
        "extent": extent,
        "topic": source.topic,
        "topics": list(job.topics),
        "rectified": job.rectified,
        "cues": {"topics": dict(cue_topics), **job.cues.described()} if cue_topics else {},
        "settings": dataclasses.asdict(job.settings),
        "models": dict(tracker.models),
        "code": code_checksum(*RESULTS_CODE),
        "versions": {name: _version(name) for name in ("torch", "onnxruntime", "numpy")},
        "threads": thread_count(),
    }


def _version(package: str) -> str:
    """Of an installed package; "" if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _track(
    job: Job,
    source: BagSource,
    tracker: SmoTracker,
    journal: Journal,
    hints: BagHints,
    on_image: Callable[[int, int | None], None],
) -> Summary:
    """Track the images that are not done yet, and keep their results in the journal."""
    run, messages = Run(tracker, poses=hints.poses), ResultMessages()
    if journal.snapshot is not None:
        try:
            run.restore(journal.snapshot)
        except SnapshotError as error:
            _logger.warning("%s; the bag is tracked from its beginning", error)
            journal.restart()
    if job.rerun is not None and journal.next_number:
        _logger.warning("%s is to show the whole bag; it is tracked from its beginning", job.rerun)
        journal.restart()
        run = Run(tracker, poses=hints.poses)
        tracker.reset()
    summary = Summary(**journal.facts)
    summary.resumed_at = journal.next_number
    if journal.finished:
        return summary
    topics = tuple(job.topics)
    notices = Notices(_logger.warning)
    committed = started = time.monotonic()
    spent, number = summary.seconds, journal.next_number - 1
    with (
        closing(BagCalibration(job.source, source.topic, job.rectified)) as calibration,
        contextlib.ExitStack() as stack,
    ):
        writers = [stack.enter_context(writer) for writer in _further_writers(job, tracker)]
        for image in source.images(journal.next_number):
            number, place = image.number, f"{job.source}, recorded at {image.received_ns} ns: "
            restarts = run.restarts
            try:
                frame = run.decode(image)
                known = calibration.at(image.received_ns)
                tracks = run.update(frame, hints.take(run, frame, image.received_ns, known))
                for writer in writers:
                    writer.write(frame, tracks)
                bearings = calibration.bearings(tracks, image.received_ns)
                frame_id = image.message.header.frame_id
                journal.add(
                    number, image.received_ns, messages.encode(tracks, image.stamp_ns, frame_id, topics, bearings)
                )
                summary.add(tracks)
                if run.restarts != restarts:
                    notices.warn("time jumped back or the image size changed: all tracks are forgotten", place)
            except FrameError as error:
                notices.warn(f"the image is left out: {error}", place)
                summary.out_of_order += isinstance(error, OutOfOrderError)
                summary.broken += not isinstance(error, OutOfOrderError)
            on_image(number + 1, source.length)
            if time.monotonic() - committed > COMMIT_SECONDS:
                summary.seconds = spent + time.monotonic() - started
                journal.commit(number + 1, dataclasses.asdict(summary), run.snapshot())
                committed = time.monotonic()
    summary.seconds = spent + time.monotonic() - started
    summary.cues_used, summary.cues_refused = hints.outcome(run)
    journal.commit(number + 1, dataclasses.asdict(summary), None)
    return summary


def _further_writers(job: Job, tracker: SmoTracker) -> Iterator[Sink]:
    """What is written besides the bag while it is tracked."""
    if job.rerun is not None:
        from smotracker_ros.io.rerun_files import RerunWriter

        yield RerunWriter(job.rerun, tracker)


def _write(job: Job, source: BagSource, journal: Journal) -> None:
    """Copy the bag with the results from the journal between its messages."""
    results = journal.results()
    waiting = next(results, None)
    number = -1

    def additions(connection: Connection, received_ns: int) -> Mapping[str, bytes]:
        nonlocal number, waiting
        if not source.carries_image(connection):
            return {}
        number += 1
        if waiting is None or waiting[0] != number:
            return {}
        if waiting[1] != received_ns:
            raise SourceError(f"{job.source} has changed while it was tracked; run the command again")
        found, waiting = waiting[2], next(results, None)
        return {job.topics[name]: data for name, data in found.items()}

    kinds = {full: RESULT_TYPES[name] for name, full in job.topics.items()}
    with open_bag(job.source) as reader, new_bag(job.output, job.storage or storage_of(job.source)) as writer:
        copy_messages(reader, writer, kinds, additions)
