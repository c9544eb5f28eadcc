"""Settings that are no more, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable

from smotracker_ros.core.names import did_you_mean

_CALIBRATED = "scores are calibrated with reported_score: probability, whose existence_weights can be fitted"
_WEIGHED = "it has become evidence that existence.yaml weighs; turn confirm_probability"

RETIRED = {
    "clip_length": "clips are counted in seconds: clip_seconds (12 frames at 30 per second are 0.4)",
    "masklet_interval": "it is counted in seconds: masklet_seconds (3 frames at 30 per second are 0.1, 1 is 0)",
    "confirmations": _WEIGHED,
    "least_travel": f"{_WEIGHED} (0 confirms at once)",
    "least_quality": _WEIGHED,
    "sure_confidence": _WEIGHED,
    "hover_confidence": _WEIGHED,
    "hover_quality": _WEIGHED,
    "hover_size": _WEIGHED,
    "clutter_seconds": "what is not CONFIRMED within three seconds is dropped; turn confirm_probability",
    "tentative_misses": _WEIGHED,
    "grounding_dino_weights": "detector_weights names them, with detector: grounding_dino",
    "trust_detector_weights": "trusted_weights: anywhere says so, trusted_weights: FOLDER trusts that folder alone",
    "window_factor": "windows are four times as wide as the target; masklet_mode: whole_frame shows SAM2 everything",
    "compile": "runtime: torch_compile does it",
    "max_lost_tracks": "as many LOST masklets are kept as max_live_tracks",
    "score_offset": _CALIBRATED,
    "score_slope": _CALIBRATED,
    "lost_probability": "a CONFIRMED masklet is LOST below half of confirm_probability",
    "text_threshold": "a word speaks for its phrase from 0.25 on, as published; turn detector_confidence",
    "slice_overlap": "slices overlap by a fifth; a greater slice_size makes that more pixels",
    "confirmed_misses": f"{_WEIGHED}, below half of which a CONFIRMED masklet is LOST",
}
"""What to do instead, by the old name."""


def about_unknown(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """What to tell of a setting that does not exist, to be put behind "there is no ...".

    Args:
        name: what was asked for.
        known: names that exist.
        otherwise: said where nothing is similar.
    """
    if name in RETIRED:
        return f" any more: {RETIRED[name]}"
    return did_you_mean(name, known) or otherwise
