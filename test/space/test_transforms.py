"""The tree of transforms: chains, moving frames, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smotracker_ros.space.poses import OPTICAL_IN_BODY, Pose, PoseError, PoseSource
from smotracker_ros.space.transforms import TransformTree

SECOND = 1_000_000_000


def _tree() -> TransformTree:
    """map -> mast (turns by 10 degrees per second) -> camera -> optical; map -> radar."""
    tree = TransformTree()
    for step in range(5):
        turned = Rotation.from_euler("z", 10.0 * step, degrees=True)
        tree.put("map", "mast", step * SECOND, Pose(turned, np.array([100.0, 0, 0])))
    tree.put("mast", "/camera", 0, Pose(position=np.array([0.0, 0, 10])), is_static=True)
    tree.put("camera", "optical", 0, Pose(OPTICAL_IN_BODY), is_static=True)
    tree.put("map", "radar", 0, Pose(position=np.array([0.0, 50, 2])), is_static=True)
    return tree


def test_a_chain_is_followed_up_and_down_at_a_time() -> None:
    tree = _tree()
    found = tree.lookup("map", "optical", SECOND // 2)
    assert np.allclose(found.position, [100, 0, 10])
    angle = np.radians(5)
    assert np.allclose(found.directions_to_world([[0, 0, 1]]), [[np.cos(angle), np.sin(angle), 0]])
    between = tree.lookup("radar", "optical", 0)
    assert np.allclose(between.position, [100, -50, 8])
    source = tree.source("map", "/optical")
    assert isinstance(source, PoseSource) and np.allclose(source.at(0).position, found.position)
    assert np.allclose(tree.lookup("optical", "map", 0).points_to_world([[200, 0, 10]]), [[0, 0, 100]])


@pytest.mark.parametrize(
    ("world", "frame", "time", "text"),
    [
        ("map", "opticla", 0, "nobody sends 'opticla'; did you mean optical"),
        ("odom", "optical", 0, "nobody sends 'odom'; there are camera, island, map"),
        ("map", "optical", 6 * SECOND, r"the transform map -> mast is old: its newest is of 2\.0 s before"),
        ("map", "island", 0, "two trees"),
    ],
)
def test_what_is_missing_is_named(world: str, frame: str, time: int, text: str) -> None:
    tree = _tree()
    tree.put("sea", "island", 0, Pose(), is_static=True)
    with pytest.raises(PoseError, match=text):
        tree.lookup(world, frame, time)


def test_nothing_at_all_and_nonsense() -> None:
    tree = TransformTree()
    with pytest.raises(PoseError, match="nothing has come on /tf"):
        tree.lookup("map", "optical", 0)
    with pytest.raises(PoseError, match="makes no sense"):
        tree.put("map", "map", 0, Pose())
    tree.put("a", "b", 0, Pose(), is_static=True)
    tree.put("b", "a", 0, Pose(), is_static=True)
    with pytest.raises(PoseError, match="circle"):
        tree.lookup("map", "a", 0)


def test_a_frame_may_get_another_parent() -> None:
    tree = _tree()
    tree.put("radar", "camera", 0, Pose(position=np.array([0.0, 0, 1])), is_static=True)
    assert np.allclose(tree.lookup("map", "optical", 9 * SECOND).position, [0, 50, 3])
