"""Detectors: boxes, scores and classes from one frame."""

from smotracker_ros.detection.detections import Detections, Detector, DetectorError, PromptedDetector

__all__ = ["Detections", "Detector", "DetectorError", "PromptedDetector"]
