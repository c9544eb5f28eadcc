"""What the node knows of its own health, as /diagnostics."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import psutil  # type: ignore[import-untyped]
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType, JumpHandle, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node

from smotracker_ros.core.tracks import Tracks, TrackState
from smotracker_ros.tracking.tracker import SmoTracker

DROPS = {
    "overload": "dropped, overload",
    "lost": "dropped, lost on the way",
    "bad image": "dropped, bad image",
    "out of order": "dropped, out of order",
    "failure": "dropped, tracking failed",
    "abandoned": "dropped, deactivated meanwhile",
}
"""Reasons for which images are not tracked, and their names in the diagnostics."""

LOOKS, WAITING = "SAM2 looks per frame", "SAM2 looks that waited per frame"
"""Names of how many masklets SAM2 has looked at, and for how many there was no time."""

_FAULTS = ("lost", "bad image", "out of order", "failure")
# Latencies beyond this come from time stamps of another clock
_LONGEST_LATENCY = 3600.0
# Seconds that clocks drift apart at most between two looks at them, if none of them is set
_CLOCK_STEP = 0.5
# From this share of the looks that are wanted on, those that had to wait are worth a word
_LEAST_WAITING = 0.1
# No more events than this are kept for the rates, however fast they come
_MOST_EVENTS = 5000


@dataclass(frozen=True)
class Limits:
    """What is still in order.

    Attributes:
        warn_latency: seconds from an image's time stamp to its results (99th percentile) from which on to warn.
        error_latency: the same for an error.
        warn_drops: share of images that are not tracked from which on to warn.
        error_drops: the same for an error.
        silence: seconds without an image after which the state is stale.
    """

    warn_latency: float
    error_latency: float
    warn_drops: float
    error_drops: float
    silence: float


class Health:
    """Counts and rates of a tracker node; safe to use from several threads.

    Args:
        name: of the node, shown in the diagnostics.
        window: seconds over which rates, shares and latencies are taken.

    Attributes:
        hardware: what computes, the diagnostics' `hardware_id`.
    """

    def __init__(self, name: str, window: float = 10.0) -> None:
        self._name, self._window = name, window
        self.hardware = socket.gethostname()
        self._clock_offset: float | None = None
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._arrivals: deque[float] = deque(maxlen=_MOST_EVENTS)
        self._finished: deque[tuple[float, float, float | None, bool]] = deque(maxlen=_MOST_EVENTS)
        self._looks: deque[tuple[float, int, int]] = deque(maxlen=_MOST_EVENTS)
        self._drops: deque[tuple[float, int]] = deque(maxlen=_MOST_EVENTS)
        self._counts: Counter[str] = Counter()
        self._states: Counter[TrackState] = Counter()
        self._last_problem = ""
        self._faults_told = 0
        self._process = psutil.Process()

    def received(self) -> None:
        """Count an image message that arrived."""
        with self._lock:
            self._counts["received"] += 1
            self._arrivals.append(time.monotonic())

    def processed(self, tracks: Tracks, seconds: float, latency: float | None = None) -> None:
        """Count a frame that was tracked.

        Args:
            tracks: the answer.
            seconds: since its message arrived.
            latency: since its time stamp; None: the image had none.
        """
        usable = latency is not None and -1.0 < latency < _LONGEST_LATENCY
        with self._lock:
            self._counts["processed"] += 1
            entry = time.monotonic(), seconds, latency if usable else None, tracks.detector_ran
            self._finished.append(entry)
            self._states = Counter(track.state for track in tracks)

    def looked(self, looks: int, waited: int) -> None:
        """Count at how many targets SAM2 has looked on a frame, and how many had to wait."""
        with self._lock:
            self._looks.append((time.monotonic(), looks, waited))

    def dropped(self, reason: str, number: int = 1) -> None:
        """Count frames that were not tracked; `reason` is a key of :data:`DROPS`."""
        with self._lock:
            self._counts[reason] += number
            self._drops.append((time.monotonic(), number))

    def problem(self, text: str) -> None:
        """Keep the text of the latest problem for the diagnostics."""
        with self._lock:
            self._last_problem = text

    def forget_latencies(self) -> None:
        """Leave out the latencies so far: the clock has jumped, and they are differences of two clocks."""
        with self._lock:
            kept = [(then, seconds, None, detector_ran) for then, seconds, _, detector_ran in self._finished]
            self._finished = deque(kept, maxlen=_MOST_EVENTS)

    def follow_clock(self, now: float) -> None:
        """Forget the latencies if the time of day was set since the last call.

        Args:
            now: the clock by which latencies are taken, in seconds; not for simulated time, which runs at any speed.
        """
        offset = now - time.monotonic()
        if self._clock_offset is not None and abs(offset - self._clock_offset) > _CLOCK_STEP:
            self.forget_latencies()
        self._clock_offset = offset

    def message(
        self,
        stamp: Time,
        limits: Limits,
        queued: int,
        facts: Mapping[str, object],
        active: bool = True,
        broken: str = "",
    ) -> DiagnosticArray:
        """The state as a message.

        Args:
            stamp: time of the message.
            limits: from when on to warn.
            queued: frames waiting.
            facts: further names and values, such as the models in use.
            active: whether images are to be tracked.
            broken: why the node has given up; "": it has not.
        """
        with self._lock:
            now = time.monotonic()
            arrivals = [then for then in self._arrivals if now - then <= self._window]
            finished = [entry for entry in self._finished if now - entry[0] <= self._window]
            looks = [entry[1:] for entry in self._looks if now - entry[0] <= self._window]
            dropped = sum(number for then, number in self._drops if now - then <= self._window)
            silent = now - self._arrivals[-1] if self._arrivals else None
            counts, states, problem = Counter(self._counts), Counter(self._states), self._last_problem
            faults = sum(counts[reason] for reason in _FAULTS)
            new_faults, self._faults_told = faults - self._faults_told, faults
        span = max(min(self._window, now - self._started), 1e-3)
        latencies = [latency for _, _, latency, _ in finished if latency is not None]
        share = dropped / max(dropped + len(finished), 1)
        passes = sum(detector_ran for *_, detector_ran in finished)
        looked, waited = np.mean(looks, axis=0).tolist() if looks else (0.0, 0.0)
        values = {
            "frames received": counts["received"],
            "frames processed": counts["processed"],
            "input rate [1/s]": f"{len(arrivals) / span:.2f}",
            "output rate [1/s]": f"{len(finished) / span:.2f}",
            "latency p50 [s]": _percentile(latencies, 50),
            "latency p99 [s]": _percentile(latencies, 99),
            "processing p50 [s]": _percentile([seconds for _, seconds, _, _ in finished], 50),
            "processing p99 [s]": _percentile([seconds for _, seconds, _, _ in finished], 99),
            "dropped share": f"{share:.3f}",
            **{name: counts[reason] for reason, name in DROPS.items()},
            "frames waiting": queued,
            **{f"tracks {state.name.lower()}": states[state] for state in TrackState if state != TrackState.REMOVED},
            "detector share": f"{passes / len(finished):.3f}" if finished else "",
            LOOKS: f"{looked:.1f}",
            WAITING: f"{waited:.1f}",
            "memory of the process [MiB]": f"{self._process.memory_info().rss / 2**20:.1f}",
            "last problem": problem,
            **facts,
        }
        findings = [(DiagnosticStatus.OK, "tracking" if active else "not active")]
        if active:
            slowest = float(np.percentile(latencies, 99)) if latencies else 0.0
            findings += _findings(limits, slowest, share, new_faults, bool(finished), bool(arrivals))
            if waited >= _LEAST_WAITING * (looked + waited) > 0:
                text = f"too many targets for the time: SAM2 looks at {looked:.0f} of {looked + waited:.0f} a frame"
                findings.append((DiagnosticStatus.WARN, f"{text}, calm ones wait first"))
            findings += _silence(silent, limits.silence, problem)
        if broken:
            findings.append((DiagnosticStatus.ERROR, broken))
        level = max(level for level, _ in findings)
        status = DiagnosticStatus(level=level, name=f"{self._name}: tracker", hardware_id=self.hardware)
        status.message = "; ".join(text for grade, text in findings if grade == level)
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = stamp
        return array


def tracker_facts(tracker: SmoTracker, refused: int) -> dict[str, object]:
    """Facts of a tracker for the diagnostics, with the number of cues that it was not even given."""
    used = tracker.cues.counts["used"]
    return {
        "next id": tracker.next_id,
        "cues used": used,
        "cues refused": tracker.cues.counts.total() - used + refused,
        "device": tracker.device,
        **tracker.models,
    }


def watch_clock(node: Node, health: Health) -> JumpHandle:
    """Forget a node's latencies when its clock jumps; the handle keeps the watch alive."""
    threshold = JumpThreshold(min_forward=Duration(seconds=1.0), min_backward=Duration(nanoseconds=-1))

    def follow() -> None:
        if not node.get_parameter("use_sim_time").value:
            health.follow_clock(node.get_clock().now().nanoseconds / 1e9)

    # No jump of the time of day is reported to anybody
    node.create_timer(1.0, follow, clock=Clock(clock_type=ClockType.STEADY_TIME))
    return node.get_clock().create_jump_callback(threshold, post_callback=lambda jump: health.forget_latencies())


def _percentile(values: list[float], percent: float) -> str:
    return f"{float(np.percentile(values, percent)):.3f}" if values else ""


def _findings(
    limits: Limits, latency: float, share: float, faults: int, tracked: bool, arrived: bool
) -> list[tuple[bytes, str]]:
    """What is wrong with images that do come, as (level, text)."""
    found = []
    if latency >= limits.warn_latency:
        level = DiagnosticStatus.ERROR if latency >= limits.error_latency else DiagnosticStatus.WARN
        found.append((level, f"results come {latency:.2f} s after the image was taken"))
    if share >= limits.warn_drops:
        level = DiagnosticStatus.ERROR if share >= limits.error_drops else DiagnosticStatus.WARN
        found.append((level, f"{share:.0%} of the images are not tracked"))
    if faults:
        level = DiagnosticStatus.ERROR if arrived and not tracked else DiagnosticStatus.WARN
        found.append((level, f"{faults} images could not be used"))
    return found


def _silence(silent: float | None, limit: float, problem: str) -> list[tuple[bytes, str]]:
    """What to say when nothing comes, as (level, text)."""
    if silent is None:
        return [(DiagnosticStatus.STALE, f"no image has arrived{': ' * bool(problem)}{problem}")]
    if silent >= limit:
        return [(DiagnosticStatus.STALE, f"no image for {silent:.0f} s")]
    return []
