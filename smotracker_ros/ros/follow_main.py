"""The process of the follow node."""

from __future__ import annotations

from smotracker_ros.ros.follow_node import FollowNode
from smotracker_ros.ros.process import run_node


def main() -> int:
    """Run the node until it is interrupted; returns the exit code."""
    return run_node("follow", FollowNode)
