"""Detectors: boxes, scores and classes from one frame."""

from smotracker_ros.detection.detections import Detections, Detector

__all__ = ["Detections", "Detector"]
