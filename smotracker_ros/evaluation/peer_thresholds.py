"""Which thresholds of each peer a sweep tries.

They stand apart from the peers, so that another grid does not make finished runs of the peers' defaults void.
"""

from __future__ import annotations

from collections.abc import Mapping

_BOOST = {"det_thresh": (0.15, 0.3), "iou_threshold": (0.1, 0.3)}
# Down to 0.2, from which on this project's own tracker takes detections for targets
THRESHOLDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "bytetrack": {"track_thresh": (0.2, 0.25, 0.35, 0.45), "match_thresh": (0.8, 0.9, 0.95)},
    "ocsort": {"det_thresh": (0.15, 0.3), "iou_threshold": (0.1, 0.3)},
    "botsort": {"track_high_thresh": (0.2, 0.25, 0.5), "new_track_thresh": (0.2, 0.25, 0.4, 0.6)},
    "deepocsort": {"det_thresh": (0.15, 0.3), "iou_threshold": (0.1, 0.3)},
    "strongsort": {"min_conf": (0.1, 0.25), "max_iou_dist": (0.7, 0.9)},
    "hybridsort": {"track_thresh": (0.2, 0.25, 0.4, 0.5), "det_thresh": (0.15, 0.3)},
    "boosttrack": _BOOST,
    "boosttrack++": _BOOST,
    "imprassoc": {"track_high_thresh": (0.2, 0.25, 0.5), "new_track_thresh": (0.2, 0.25, 0.4, 0.6)},
    "occluboost": {"det_thresh": (0.15, 0.3), "new_track_thresh": (0.2, 0.25, 0.4, 0.6)},
    "sfsort": {"high_th": (0.2, 0.3, 0.45, 0.6), "new_track_th": (0.2, 0.3, 0.5, 0.7)},
    "roboflow-bytetrack": {"track_activation_threshold": (0.2, 0.25, 0.4), "high_conf_det_threshold": (0.2, 0.35)},
    "roboflow-ocsort": {"high_conf_det_threshold": (0.15, 0.3), "minimum_iou_threshold": (0.1, 0.3)},
    "roboflow-botsort": {"track_activation_threshold": (0.2, 0.25, 0.4), "high_conf_det_threshold": (0.2, 0.35)},
    "roboflow-cbiou": {"track_activation_threshold": (0.2, 0.25, 0.4), "high_conf_det_threshold": (0.2, 0.35)},
    "topictrack": {"high": (0.2, 0.25, 0.4), "motion_level": (0.1, 0.15, 0.3)},
}
"""Its two most sensitive arguments with the values to try, by peer."""
