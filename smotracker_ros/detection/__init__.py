"""Detectors: boxes, scores and classes from one frame."""

from smotracker_ros.detection.detections import Detections, Detector, DetectorError, MotionDetector, PromptedDetector

__all__ = ["Detections", "Detector", "DetectorError", "MotionDetector", "PromptedDetector"]
