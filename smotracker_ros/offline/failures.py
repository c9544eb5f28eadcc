"""Frames of recordings whose tracking fails: recordings wait, so they are tried again; results never have a gap."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.tracking.gates import Hint
from smotracker_ros.tracking.tracker import SmoTracker

_logger = logging.getLogger(__name__)


class TrackingError(RuntimeError):
    """A frame of a recording that cannot be tracked; the message says which, why, and what to do."""


def track_frame(tracker: SmoTracker, frame: Frame, hints: Sequence[Hint] = ()) -> Tracks:
    """Track the next frame of a recording; what fails, such as a pass that is short of memory, is tried once more.

    Args:
        tracker: of the recording.
        frame: the next one.
        hints: that have come since the last one.

    Raises:
        TrackingError: if it fails again.
    """
    try:
        return tracker.update(frame, hints=hints)
    except Exception as error:
        _logger.warning("frame %d failed (%s) and is tracked again", frame.index, _reason(error), exc_info=True)
    try:
        return tracker.update(frame)  # hints that were not taken wait in the tracker
    except Exception as error:
        raise TrackingError(
            f"frame {frame.index} at {frame.timestamp_ns / 1e9:.3f} s cannot be tracked ({_reason(error)}), and "
            "results with a gap are not written; free memory and run the command again, or set a smaller "
            "max_live_tracks, masklet_image_size or detector_image_size"
        ) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
