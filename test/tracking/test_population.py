"""How many targets there may be."""

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.camera_motion import STILL
from smotracker_ros.tracking.clutter import ClutterMap
from smotracker_ros.tracking.existence import ExistenceModel
from smotracker_ros.tracking.population import Population, predict_all
from smotracker_ros.tracking.target import Target


@pytest.mark.parametrize("limit", [1, 3, 5, 64])
def test_as_many_lost_targets_are_kept_as_may_live_and_the_longest_lost_go_first(limit: int) -> None:
    population = Population()
    for identity in range(1, 7):
        box = np.float32([40 * identity, 100, 40 * identity + 12, 110])
        population.add(Target.born(identity, box, np.float32([1, 0])))
    # 1 and 2 live, 6 is lost the longest
    for identity in (3, 4, 5, 6):
        population[identity].state = TrackState.LOST
        predict_all([population[identity]], STILL, 0.1 * identity)
    frame = Frame(np.zeros((240, 320, 3), np.uint8), 0)
    population.retire(frame, TrackerSettings(max_live_tracks=limit), ExistenceModel.load(), ClutterMap())
    population.bury()
    lost = [target.id for target in population.values() if target.state is TrackState.LOST]
    assert lost == [3, 4, 5, 6][:limit]
    assert population.room(TrackerSettings(max_live_tracks=limit)) == limit - len(population.live)
