"""What the fusion node knows of its cameras and itself, as /diagnostics."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

_WINDOW_SECONDS = 10.0
_MOST_EVENTS = 2000
_LONGEST_LATENCY = 3600.0


@dataclass(eq=False)
class CameraHealth:
    """Counts of one camera.

    Attributes:
        name: of the camera.
        received: its messages so far.
        unusable: messages that could not be used.
        problem: why the last one could not; "": it could.
        last: when the last one came, by the monotonic clock; None: none has.
    """

    name: str
    received: int = 0
    unusable: int = 0
    problem: str = ""
    last: float | None = None
    _arrivals: deque[tuple[float, float | None]] = field(default_factory=lambda: deque(maxlen=_MOST_EVENTS))

    def arrived(self, latency: float) -> None:
        """Count a message; `latency`: seconds since its stamp."""
        self.received += 1
        self.last = time.monotonic()
        self._arrivals.append((self.last, latency if -1.0 < latency < _LONGEST_LATENCY else None))

    def used(self) -> None:
        """It could be used."""
        self.problem = ""

    def refused(self, text: str) -> None:
        """It could not, for this reason."""
        self.unusable += 1
        self.problem = text

    def silent_for(self, since: float) -> float:
        """Seconds without a message; `since`: when waiting began, by the monotonic clock."""
        return time.monotonic() - (since if self.last is None else max(since, self.last))

    def status(self, node: str, since: float, silence: float, warn_latency: float, late: int) -> DiagnosticStatus:
        """This camera's part of the diagnostics.

        Args:
            node: name of the node.
            since: when waiting began, by the monotonic clock.
            silence: seconds without a message from which on to warn.
            warn_latency: seconds from stamp to arrival from which on to warn.
            late: views that came too late to be fused.
        """
        now = time.monotonic()
        recent = [(then, latency) for then, latency in self._arrivals if now - then <= _WINDOW_SECONDS]
        latencies = [latency for _, latency in recent if latency is not None]
        slowest = float(np.percentile(latencies, 99)) if latencies else 0.0
        span = max(min(_WINDOW_SECONDS, now - since), 1e-3)
        findings = []
        if self.silent_for(since) >= silence:
            findings.append(f"no tracks for {self.silent_for(since):.0f} s" if self.received else "no tracks yet")
        if self.problem:
            findings.append(self.problem)
        if slowest >= warn_latency:
            findings.append(f"tracks come {slowest:.2f} s after the image was taken")
        level = DiagnosticStatus.WARN if findings else DiagnosticStatus.OK
        status = DiagnosticStatus(level=level, name=f"{node}: {self.name}", hardware_id=socket.gethostname())
        status.message = "; ".join(findings) or "fused"
        values = {
            "messages received": self.received,
            "rate [1/s]": f"{len(recent) / span:.2f}",
            "delay p99 [s]": f"{slowest:.3f}" if latencies else "",
            "not usable": self.unusable,
            "too late": late,
            "last problem": self.problem,
        }
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return status


def own_status(node: str, level: bytes, message: str, facts: Mapping[str, object]) -> DiagnosticStatus:
    """The fusion's own part of the diagnostics."""
    status = DiagnosticStatus(level=level, name=f"{node}: fusion", message=message, hardware_id=socket.gethostname())
    status.values = [KeyValue(key=key, value=str(value)) for key, value in facts.items()]
    return status
