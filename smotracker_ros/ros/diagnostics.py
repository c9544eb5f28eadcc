"""What the node knows of its own health, as /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from smotracker_ros.tracks import Tracks, TrackState


class Health:
    """Counts and rates of a tracker node; safe to use from several threads.

    Args:
        name: of the node, shown in the diagnostics.
        window: number of the last frames over which rates and latencies are taken.
    """

    def __init__(self, name: str, window: int = 60) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._finished: deque[float] = deque(maxlen=window)
        self._latencies: deque[float] = deque(maxlen=window)
        self._counts: Counter[str] = Counter()
        self._states: Counter[TrackState] = Counter()
        self._last_problem = ""
        self._problems_told = 0

    def received(self) -> None:
        """Count an image message that arrived."""
        with self._lock:
            self._counts["received"] += 1

    def processed(self, tracks: Tracks, seconds: float) -> None:
        """Count a frame that was tracked; `seconds` passed since its message arrived."""
        with self._lock:
            self._counts["processed"] += 1
            self._finished.append(time.monotonic())
            self._latencies.append(seconds)
            self._states = Counter(track.state for track in tracks)

    def dropped(self, reason: str, number: int = 1) -> None:
        """Count frames that were not tracked: `reason` is "overload", "lost", "bad image" or "out of order"."""
        with self._lock:
            self._counts[reason] += number

    def problem(self, text: str) -> None:
        """Keep the text of the latest problem for the diagnostics."""
        with self._lock:
            self._last_problem = text

    def count(self, what: str) -> int:
        """How often something was counted since the start."""
        with self._lock:
            return self._counts[what]

    def message(self, stamp: Time, queued: int, facts: Mapping[str, str]) -> DiagnosticArray:
        """The state as a message.

        Args:
            stamp: time of the message.
            queued: frames waiting.
            facts: further names and values, such as the models in use.
        """
        with self._lock:
            finished, latencies = list(self._finished), sorted(self._latencies)
            counts, states, problem = Counter(self._counts), Counter(self._states), self._last_problem
        # The rate fades when nothing is processed any more.
        span = time.monotonic() - finished[0] if len(finished) > 1 else 0.0
        values = {
            "frames received": counts["received"],
            "frames processed": counts["processed"],
            "frame rate [1/s]": f"{(len(finished) - 1) / span:.2f}" if span > 0 else "0.00",
            "latency median [s]": f"{latencies[len(latencies) // 2]:.3f}" if latencies else "",
            "latency maximum [s]": f"{latencies[-1]:.3f}" if latencies else "",
            "dropped, overload": counts["overload"],
            "dropped, lost on the way": counts["lost"],
            "dropped, bad image": counts["bad image"],
            "dropped, out of order": counts["out of order"],
            "frames waiting": queued,
            **{f"tracks {state.name.lower()}": states[state] for state in TrackState if state != TrackState.REMOVED},
            "last problem": problem,
            **facts,
        }
        drops = sum(counts[reason] for reason in ("lost", "bad image", "out of order"))
        level, summary = DiagnosticStatus.OK, "tracking"
        if not counts["received"]:
            level, summary = DiagnosticStatus.WARN, "no image has arrived"
        elif drops > self._problems_told:
            level, summary = DiagnosticStatus.WARN, f"{drops - self._problems_told} images could not be used"
        self._problems_told = drops
        status = DiagnosticStatus(level=level, name=f"{self._name}: tracker", message=summary, hardware_id="")
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = stamp
        return array
