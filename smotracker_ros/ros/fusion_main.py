"""The process of the fusion's node."""

from __future__ import annotations

from smotracker_ros.ros.fusion_node import FusionNode
from smotracker_ros.ros.process import run_node


def main() -> int:
    """Run the node until it is interrupted; returns the exit code."""
    return run_node("fusion", FusionNode)
