"""Who is who while targets lie over each other and afterwards, and which of two masks on one target goes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest

from smotracker_ros.core.geometry import FloatArray, MaskPatch, as_boxes
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.masklets.propagator import Masklet
from smotracker_ros.tracking.camera_motion import STILL
from smotracker_ros.tracking.detector_pass import show_several
from smotracker_ros.tracking.occlusion import Occlusions
from smotracker_ros.tracking.population import predict_all
from smotracker_ros.tracking.target import Target

PIXEL = MaskPatch(0, 0, np.ones((1, 1), np.bool_))
CONFIRMED, TENTATIVE, REMOVED = TrackState.CONFIRMED, TrackState.TENTATIVE, TrackState.REMOVED
LOOKS = np.float32([1, 0])
Place = tuple[float, float]
RATES = pytest.mark.parametrize("rate", [8, 30, 60])


def _box(x: float, y: float = 50, width: float = 12, height: float = 10) -> FloatArray:
    return np.float32([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


class Scene:
    """Targets whose masks are put somewhere frame by frame."""

    def __init__(self, places: Sequence[Place], rate: float = 30, state: TrackState = CONFIRMED) -> None:
        self.step, self.frame = 1 / rate, 0
        self.occlusions = Occlusions()
        self.targets: dict[int, Target] = {}
        for place in places:
            self.add(place, state)

    @property
    def seconds(self) -> float:
        """Time that has passed."""
        return self.frame * self.step

    def add(self, place: Place, state: TrackState = CONFIRMED) -> None:
        """One more target."""
        target = Target.born(len(self.targets) + 1, _box(*place), LOOKS)
        target.state = state
        self.targets[target.id] = target

    def advance(self, places: dict[int, Place | None], gliding: Collection[int] = ()) -> None:
        """One frame with masks centred on the places; None: no mask."""
        self.frame += 1
        self.occlusions.predict(STILL, self.step)
        predict_all(self.targets.values(), STILL, self.step)
        for identity in gliding:
            self._see(identity, places[identity])
        masklets = {
            identity: Masklet(PIXEL, None if place is None else _box(*place), 0.8, 5.0, True)
            for identity, place in places.items()
            if identity not in gliding
        }
        boxes = {identity: masklet.box for identity, masklet in masklets.items() if masklet.box is not None}
        own = {identity: box for identity, box in boxes.items() if self.targets[identity].owns(box, 0.8)}
        self.occlusions.compare(self.targets, own, gliding)
        for identity in own:
            if identity not in self.occlusions.slipped:
                self._see(identity, places[identity])
        self.occlusions.update(self.targets, self.frame, self.step)

    def _see(self, identity: int, place: Place | None) -> None:
        assert place is not None
        self.targets[identity].see(PIXEL, _box(*place), 0.8, self.step)

    def fly(self, seconds: float, paths: dict[int, tuple[Place, Place]]) -> None:
        """Masks in straight lines from where to where."""
        count = round(seconds / self.step)
        for number in range(1, count + 1):
            part = number / count
            self.advance(
                {
                    identity: (a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]))
                    for identity, (a, b) in paths.items()
                }
            )

    def settle(self, places: Sequence[Place]) -> dict[int, Place]:
        """Where a detector pass that sees the places sends the targets that are not where their masks say."""
        boxes = as_boxes([_box(*place) for place in places])
        moved = self.occlusions.settle(self.targets, boxes, self.targets)
        centers = {identity: self.targets[identity].motion.center for identity in moved}
        return {identity: (float(center[0]), float(center[1])) for identity, center in centers.items()}

    @property
    def left(self) -> list[int]:
        """Ids of those that are not removed."""
        return [target.id for target in self.targets.values() if target.state is not REMOVED]


def _cross(rate: float = 30, turned: bool = False) -> Scene:
    """Two that fly through each other at 60 pixels per second within a second; their masks may turn round."""
    scene = Scene([(100, 50), (160, 50)], rate)
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50))})
    first, second = ((100, 50), (160, 50)) if turned else ((160, 50), (100, 50))
    scene.fly(0.5, {1: ((130, 50), first), 2: ((130, 50), second)})
    return scene


def test_targets_that_stay_apart_do_not_meet() -> None:
    scene = Scene([(100, 50), (160, 50)])
    scene.fly(0.7, {1: ((100, 50), (120, 50)), 2: ((160, 50), (180, 50))})
    assert not scene.occlusions.unsettled
    assert not scene.occlusions.asked


@RATES
def test_while_they_lie_over_each_other_it_is_open_who_is_who(rate: float) -> None:
    scene = Scene([(100, 50), (160, 50)], rate)
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50))})
    assert scene.occlusions.unsettled == {1, 2}
    assert not scene.occlusions.asked
    assert scene.settle([(130, 50)]) == {}
    assert scene.occlusions.unsettled == {1, 2}


@RATES
def test_masks_that_were_exchanged_are_put_right(rate: float) -> None:
    scene = _cross(rate, turned=True)
    assert scene.occlusions.asked
    assert scene.settle([(159, 50), (101, 50)]) == {1: (159, 50), 2: (101, 50)}
    assert not scene.occlusions.unsettled
    assert scene.targets[1].motion.velocity[0] > 40 and scene.targets[2].motion.velocity[0] < -40


@RATES
def test_masks_that_are_right_are_left_alone(rate: float) -> None:
    scene = _cross(rate)
    assert scene.settle([(159, 50), (101, 50)]) == {}
    assert not scene.occlusions.unsettled


def test_memories_rewind_to_the_meeting() -> None:
    scene = Scene([(100, 50), (160, 50)])
    met = 0
    for i in range(1, 31):
        shift = 2 * (i if i <= 15 else 30 - i)
        scene.advance({1: (100 + shift, 50), 2: (160 - shift, 50)})
        met = met or (scene.frame if scene.occlusions.unsettled else 0)
    detections = as_boxes([_box(159), _box(101)])
    assert scene.occlusions.settle(scene.targets, detections, scene.targets) == {1: met, 2: met}


def test_who_turns_back_keeps_its_name() -> None:
    """They meet, stop and turn back: their masks say so, the detector agrees, and no other place is near."""
    scene = Scene([(100, 50), (136, 50)])
    scene.fly(0.4, {1: ((100, 50), (113, 50)), 2: ((136, 50), (123, 50))})
    assert scene.occlusions.unsettled
    scene.fly(0.2, {1: ((113, 50), (113, 50)), 2: ((123, 50), (123, 50))})
    scene.fly(0.5, {1: ((113, 50), (106, 56)), 2: ((123, 50), (130, 44))})
    far = (150, 62)
    assert far not in scene.settle([(106, 56), (130, 44), far]).values()


def test_of_two_masks_on_one_target_the_wrong_one_is_moved() -> None:
    scene = Scene([(100, 50), (160, 50)])
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50))})
    scene.fly(0.5, {1: ((130, 50), (160, 50)), 2: ((130, 50), (160, 50))})
    assert scene.settle([(159, 50), (101, 50)]) == {2: (101, 50)}


@RATES
def test_one_that_is_hidden_behind_the_other_for_half_a_second_is_found_again(rate: float) -> None:
    scene = Scene([(85, 50), (106, 50)], rate)
    scene.fly(0.5, {1: ((85, 50), (115, 50)), 2: ((106, 50), (118, 50))})
    assert scene.occlusions.unsettled == {1, 2}
    while scene.seconds < 0.85:
        scene.advance({1: None, 2: (118 + 24 * (scene.seconds - 0.5), 50)})
        assert not scene.occlusions.asked, "it is still hidden"
    while not scene.occlusions.asked:
        scene.advance({1: None, 2: (118 + 24 * (scene.seconds - 0.5), 50)})
    assert scene.seconds < 1.5
    places = [(115 + speed * (scene.seconds - 0.5), 50.0) for speed in (60, 24)]
    assert scene.settle(places) == {1: pytest.approx(places[0])}
    assert not scene.occlusions.unsettled


@RATES
def test_of_three_that_meet_each_is_found_again(rate: float) -> None:
    """Two from the sides and one from below fly through one point; all masks then follow the first."""
    starts = {1: (100.0, 50.0), 2: (160.0, 50.0), 3: (130.0, 80.0)}
    ends = {1: (160.0, 50.0), 2: (100.0, 50.0), 3: (130.0, 20.0)}
    scene = Scene(list(starts.values()), rate)
    scene.fly(0.5, {key: (place, (130, 50)) for key, place in starts.items()})
    assert scene.occlusions.unsettled == {1, 2, 3}
    scene.fly(0.5, dict.fromkeys(starts, ((130, 50), ends[1])))
    assert scene.occlusions.asked
    assert scene.settle([ends[3], ends[1], ends[2]]) == {2: ends[2], 3: ends[3]}
    assert not scene.occlusions.unsettled


def test_clusters_join_and_who_has_parted_is_settled_while_the_others_are_not() -> None:
    scene = Scene([(100, 50), (200, 50), (160, 50)])
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((200, 50), (170, 50)), 3: ((160, 50), (140, 50))})
    assert scene.occlusions.unsettled == {1, 3}
    scene.fly(0.4, {1: ((130, 50), (154, 50)), 2: ((170, 50), (152, 50)), 3: ((140, 50), (124, 50))})
    assert scene.occlusions.unsettled == {1, 2, 3}
    assert scene.settle([(124, 50), (153, 50)]) == {}
    assert scene.occlusions.unsettled == {1, 2}
    scene.fly(0.4, {1: ((154, 50), (178, 50)), 2: ((152, 50), (134, 50)), 3: ((124, 50), (108, 50))})
    assert scene.settle([(178, 50), (108, 50), (134, 50)]) == {}
    assert not scene.occlusions.unsettled


def test_where_flights_cannot_tell_the_masks_are_trusted() -> None:
    """They meet, stop, and part to the sides, each a little nearer to where the other's flight ends."""
    scene = Scene([(85, 50), (128, 50)])
    scene.fly(0.5, {1: ((85, 50), (100, 50)), 2: ((128, 50), (113, 50))})
    scene.fly(0.5, {1: ((100, 50), (100, 50)), 2: ((113, 50), (113, 50))})
    assert scene.occlusions.unsettled == {1, 2}
    scene.fly(0.5, {1: ((100, 50), (105.5, 66)), 2: ((113, 50), (107.5, 34))})
    assert scene.settle([(105.5, 66), (107.5, 34)]) == {}
    assert not scene.occlusions.unsettled


def test_who_has_just_met_another_is_not_settled_with_who_has_parted() -> None:
    scene = Scene([(100, 50), (160, 50), (100, 86)])
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50)), 3: ((100, 86), (100, 71))})
    scene.fly(0.5, {1: ((130, 50), (160, 50)), 2: ((130, 50), (102, 50)), 3: ((100, 71), (100, 59))})
    assert scene.occlusions.unsettled == {1, 2, 3}
    assert scene.settle([(160, 50), (102, 50), (100, 59)]) == {}
    assert scene.occlusions.unsettled == {2, 3}


def test_who_has_met_but_not_passed_is_not_settled() -> None:
    """Masks touch where boxes of detections, which are smaller, do not: the crossing is still to come."""
    scene = Scene([(100, 50), (160, 50)])
    for target in scene.targets.values():
        target.margins = np.float32([2, 2, -2, -2])
    scene.fly(0.8, {1: ((100, 50), (123.5, 50)), 2: ((160, 50), (136.5, 50))})
    assert scene.occlusions.unsettled == {1, 2}
    assert not scene.occlusions.asked
    assert scene.settle([(123.5, 50), (136.5, 50)]) == {}
    assert scene.occlusions.unsettled == {1, 2}


def test_who_hovers_gets_its_mask_back_from_one_that_passes_by() -> None:
    """As long as they touch it stays open, as the mask may still go along with the other."""
    scene = Scene([(100, 50), (140, 61)])
    scene.fly(0.8, {1: ((100, 50), (100, 50)), 2: ((140, 61), (108, 61))})
    assert scene.occlusions.unsettled == {1, 2}
    scene.fly(0.7, {1: ((100, 50), (88, 52)), 2: ((108, 61), (80, 61))})
    assert scene.occlusions.asked, "straight flights have passed"
    assert scene.settle([(80, 61)]) == {}
    assert scene.occlusions.unsettled == {1, 2}
    scene.fly(0.25, {1: ((88, 52), (72, 61)), 2: ((80, 61), (72, 61))})
    assert scene.occlusions.asked
    assert scene.settle([(72, 61), (100, 50)]) == {1: (100, 50)}
    assert not scene.occlusions.unsettled


def test_two_masks_on_one_target_need_not_wait_if_the_detector_shows_both() -> None:
    scene = Scene([(100, 50), (160, 50)])
    scene.fly(0.4, {1: ((100, 50), (124, 50)), 2: ((160, 50), (136, 50))})
    scene.fly(0.1, {1: ((124, 50), (126, 50)), 2: ((126, 50), (126, 50))})
    assert not scene.occlusions.asked, "straight flights have not passed"
    assert scene.settle([(126, 50)]) == {}
    assert scene.settle([(126, 50), (142, 50)]) == {2: (142, 50)}
    assert not scene.occlusions.unsettled


def test_one_place_settles_nothing() -> None:
    scene = Scene([(100, 50), (160, 50)])
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50))})
    scene.fly(0.5, {1: ((130, 50), (160, 50)), 2: ((130, 50), (160, 50))})
    assert scene.settle([(159, 50)]) == {}
    assert scene.settle([]) == {}
    assert scene.settle([(159, 50), (163, 51)]) == {}, "two boxes of one place"
    assert scene.occlusions.unsettled == {1, 2}


def test_what_others_lie_on_is_no_place() -> None:
    scene = Scene([(100, 50), (160, 50), (104, 74)])
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50)), 3: ((104, 74), (104, 74))})
    scene.fly(0.5, {1: ((130, 50), (160, 50)), 2: ((130, 50), (160, 50)), 3: ((104, 74), (104, 74))})
    assert scene.settle([(159, 50), (104, 74)]) == {}


def test_a_detector_pass_is_asked_for_again_if_it_has_answered_nothing() -> None:
    scene = Scene([(100, 50), (160, 50)])
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50))})
    scene.fly(0.5, {1: ((130, 50), (160, 50)), 2: ((130, 50), (160, 50))})
    assert scene.occlusions.asked
    scene.settle([(160, 50)])
    assert not scene.occlusions.asked
    waited = 0.0
    while not scene.occlusions.asked and waited < 1:
        scene.advance({1: (160, 50), 2: (160, 50)})
        waited += scene.step
    assert 0.1 < waited < 0.3


@RATES
def test_a_cluster_that_never_parts_is_given_up(rate: float) -> None:
    scene = Scene([(100, 50), (160, 50)], rate)
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50))})
    scene.fly(1.0, {1: ((130, 50), (130, 50)), 2: ((130, 50), (130, 50))})
    assert scene.occlusions.unsettled == {1, 2}
    scene.fly(0.75, {1: ((130, 50), (130, 50)), 2: ((130, 50), (130, 50))})
    assert not scene.occlusions.unsettled
    assert not scene.occlusions.asked


def test_masks_that_slip_back_after_all_open_the_question_again() -> None:
    scene = _cross()
    scene.settle([(159, 50), (101, 50)])
    scene.advance({1: (162, 50), 2: (98, 50)})
    for _ in range(4):
        scene.advance({1: (164, 50), 2: None})
    scene.targets[2].restart(_box(170))
    scene.advance({1: (166, 50), 2: (168, 50)})
    assert scene.occlusions.unsettled == {1, 2}


def test_who_has_parted_may_meet_anew() -> None:
    scene = _cross()
    scene.settle([(159, 50), (101, 50)])
    scene.fly(0.4, {1: ((160, 50), (150, 50)), 2: ((100, 50), (110, 50))})
    assert not scene.occlusions.unsettled
    scene.fly(0.5, {1: ((150, 50), (130, 50)), 2: ((110, 50), (130, 50))})
    assert scene.occlusions.unsettled == {1, 2}
    scene.fly(0.5, {1: ((130, 50), (110, 50)), 2: ((130, 50), (150, 50))})
    assert scene.settle([(110, 50), (150, 50)]) == {}


def test_what_is_gone_is_forgotten() -> None:
    scene = Scene([(100, 50), (160, 50)])
    scene.fly(0.5, {1: ((100, 50), (130, 50)), 2: ((160, 50), (130, 50))})
    del scene.targets[2]
    scene.advance({1: (132, 50)})
    assert not scene.occlusions.unsettled
    scene.occlusions.reset()
    assert not scene.occlusions.slipped


# masks that are the same: what is not CONFIRMED has slipped


def test_confirmed_targets_may_lie_over_each_other() -> None:
    scene = Scene([(100, 50), (103, 50)])
    scene.fly(0.3, {1: ((100, 50), (102, 50)), 2: ((103, 50), (102, 50))})
    assert not scene.occlusions.slipped


@pytest.mark.parametrize("waiting", [1, 2])
def test_what_is_not_confirmed_slips_and_comes_back(waiting: int) -> None:
    scene = Scene([(100, 50), (120, 50)])
    scene.targets[waiting].state = TENTATIVE
    scene.fly(0.3, {1: ((100, 50), (100, 50)), 2: ((120, 50), (120, 50))})
    scene.targets[3 - waiting].misses = 1
    on_one: dict[int, Place | None] = {1: (110, 50), 2: (110, 50)}
    scene.advance(on_one)
    assert scene.occlusions.slipped == {waiting}
    assert scene.targets[waiting].mask_box is None and scene.targets[3 - waiting].mask_box is not None
    scene.advance({1: (100, 50), 2: (120, 50)})
    assert not scene.occlusions.slipped
    assert scene.targets[waiting].mask_box is not None


def test_of_what_waits_the_older_keeps_the_mask() -> None:
    scene = Scene([(97, 50), (100, 50), (103, 50)], state=TENTATIVE)
    scene.advance({1: (97, 50), 2: (100, 50), 3: (103, 50)})
    assert scene.occlusions.slipped == {2}, "3 overlaps enough with 2 only, which has lost its mask"


def test_of_what_waits_the_one_that_the_detector_finds_keeps_the_mask() -> None:
    scene = Scene([(100, 50), (100, 50)], state=TENTATIVE)
    scene.targets[1].missed()
    scene.advance({1: (100, 50), 2: (100, 50)})
    assert scene.occlusions.slipped == {1}


def test_a_gliding_mask_counts_too() -> None:
    scene = Scene([(100, 50)])
    scene.add((103, 50), TENTATIVE)
    scene.advance({1: (100, 50), 2: (100, 50)}, gliding={1})
    assert scene.occlusions.slipped == {2}


def test_a_mask_that_is_not_its_own_is_no_claim() -> None:
    scene = Scene([(100, 50)])
    scene.add((200, 50), TENTATIVE)
    scene.advance({1: (100, 50), 2: (100, 50)})
    assert not scene.occlusions.slipped, "2 was expected far away"


@RATES
def test_the_detector_is_asked_about_what_has_slipped_but_not_at_once_and_not_in_each_frame(rate: float) -> None:
    scene = Scene([(100, 50)], rate)
    scene.add((100, 50), TENTATIVE)
    asked = []
    while scene.seconds < 0.6:
        scene.advance({1: (100, 50), 2: (100, 50)})
        assert scene.occlusions.slipped == {2}
        if scene.occlusions.asked:
            asked.append(scene.seconds)
            scene.settle([(100, 50)])
    assert 0.09 < asked[0] < 0.14
    assert 2 <= len(asked) <= 3
    scene.advance({1: (100, 50), 2: (115, 50)})
    assert not scene.occlusions.slipped


# masks that stay the same: one of the two is too much


def _after_a_pass(
    states: dict[int, TrackState], detected: set[int], seconds: float = 2.5, apart: float = 0.0, rate: float = 30
) -> Scene:
    """Two whose masks have lain `apart` pixels from each other; then a detector pass has found some of them."""
    scene = Scene([(100, 50), (100 + apart, 50)], rate)
    for target in scene.targets.values():
        target.detected(target.box, 0.5, 1, LOOKS)
    scene.fly(seconds, {1: ((100, 50), (100, 50)), 2: ((100 + apart, 50), (100 + apart, 50))})
    for target in scene.targets.values():
        target.state = states[target.id]
        if target.id in detected:
            target.detected(target.box, 0.5, 1, LOOKS)
        else:
            target.missed()
    scene.occlusions.merge(scene.targets, scene.targets)
    return scene


@pytest.mark.parametrize(
    ("states", "detected", "stays"),
    [
        ({1: CONFIRMED, 2: CONFIRMED}, {1}, 1),
        ({1: CONFIRMED, 2: CONFIRMED}, {2}, 2),
        ({1: CONFIRMED, 2: CONFIRMED}, set(), 1),
        ({1: TENTATIVE, 2: CONFIRMED}, {1}, 2),
        ({1: TENTATIVE, 2: CONFIRMED}, {2}, 2),
        ({1: TENTATIVE, 2: CONFIRMED}, set(), 2),
        ({1: CONFIRMED, 2: TENTATIVE}, {1}, 1),
        ({1: CONFIRMED, 2: TENTATIVE}, {2}, 1),
        ({1: TENTATIVE, 2: TENTATIVE}, {1}, 1),
        ({1: TENTATIVE, 2: TENTATIVE}, {2}, 2),
    ],
)
def test_of_a_duplicate_the_one_with_the_better_claim_stays(
    states: dict[int, TrackState], detected: set[int], stays: int
) -> None:
    scene = _after_a_pass(states, detected)
    assert scene.left == [stays]
    assert scene.targets[stays].state is states[stays]
    assert (scene.targets[stays].misses == 0) is bool(detected), "whichever was detected, it was this object"


@RATES
def test_a_duplicate_goes_at_any_rate_and_what_is_young_or_apart_does_not(rate: float) -> None:
    both = {1: CONFIRMED, 2: CONFIRMED}
    assert _after_a_pass(both, {1}, rate=rate).left == [1]
    assert _after_a_pass(both, {1}, rate=rate, apart=9).left == [1, 2]
    assert _after_a_pass(both, {1}, rate=rate, seconds=0.3).left == [1, 2]


def test_what_an_external_box_vouches_for_stays() -> None:
    scene = Scene([(100, 50), (100, 50)])
    scene.fly(2.5, {1: ((100, 50), (100, 50)), 2: ((100, 50), (100, 50))})
    scene.targets[1].missed()
    scene.targets[2].vouched = True
    scene.targets[2].missed()
    scene.occlusions.merge(scene.targets, scene.targets)
    assert scene.left == [2]


def test_two_that_are_both_detected_are_two_objects() -> None:
    assert _after_a_pass({1: CONFIRMED, 2: CONFIRMED}, {1, 2}).left == [1, 2]


@RATES
def test_what_is_confirmed_is_not_removed_while_it_is_open_who_is_who(rate: float) -> None:
    assert _after_a_pass({1: CONFIRMED, 2: CONFIRMED}, {1}, seconds=1.0, rate=rate).left == [1, 2]


# boxes of detections


def test_one_box_round_two_targets() -> None:
    scene = Scene([(100, 50), (114, 50)])
    targets = list(scene.targets.values())
    detections = np.stack([np.float32([94, 44, 120, 56]), _box(100), _box(180)])
    scene.advance({1: None, 2: None})
    assert show_several(detections, targets).tolist() == [False, False, False], "neither is seen in this frame"
    scene.advance({1: (100, 50), 2: (114, 50)})
    assert show_several(detections, targets).tolist() == [True, False, False]
    targets[1].state = TENTATIVE
    assert not show_several(detections, targets).any()


def test_no_detections_and_no_targets() -> None:
    nothing = np.zeros((0, 4), np.float32)
    scene = Scene([(100, 50)])
    scene.advance({1: (100, 50)})
    targets = list(scene.targets.values())
    assert show_several(nothing, targets).shape == (0,)
    assert not show_several(_box(100)[None], []).any()
