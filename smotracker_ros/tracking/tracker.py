"""SMOTracker: identities belong to masklets; detections start, confirm and correct them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import FloatArray, as_boxes, box_centers, box_sizes
from smotracker_ros.core.global_state import denormals_flushed
from smotracker_ros.core.settings import TrackerSettings
from smotracker_ros.core.tracks import Tracks, TrackState
from smotracker_ros.detection import Detections, Detector, PromptedDetector
from smotracker_ros.detection.regions import Regions
from smotracker_ros.masklets.mask_choice import MotionAwareChoice
from smotracker_ros.masklets.memory import POLICIES
from smotracker_ros.masklets.propagator import Guess, Masklet, Propagator
from smotracker_ros.tracking.background import Background
from smotracker_ros.tracking.box_offset import box_margins
from smotracker_ros.tracking.camera_motion import CameraShift
from smotracker_ros.tracking.detector_pass import DetectorPass, Observer
from smotracker_ros.tracking.detector_schedule import DetectorSchedule
from smotracker_ros.tracking.displacement import BackgroundTemplate
from smotracker_ros.tracking.existence import FITTED, ExistenceModel
from smotracker_ros.tracking.external_boxes import Cue, CueBook
from smotracker_ros.tracking.gates import GateBook, Hint
from smotracker_ros.tracking.looks import LookQueue
from smotracker_ros.tracking.occlusion import Occlusions
from smotracker_ros.tracking.population import Population, predict_all
from smotracker_ros.tracking.target import LOST_SHARE, Target, boxes_of
from smotracker_ros.tracking.template import Gliding

# Longest time step of motion in seconds; after a longer gap velocities mean nothing
_LONGEST_STEP = 1.0


class SmoTracker:
    """Tracks small objects through a stream of frames, online and deterministically.

    Args:
        detector: finds objects at clip boundaries.
        propagator: carries masklets through every frame.
        settings: see :class:`TrackerSettings`.
        existence: how probable targets are; None: by the weights that the settings name.

    Attributes:
        observe: is told of each association; None: nobody is.
        observe_targets: is told all targets at the end of each frame; None: nobody is.
        camera_shift: the camera's motion from the frame before the last to the last; None: there was no frame.
        last_timestamp_ns: of the last frame whose motion its targets took part in; None: there is none.
        detections: what the detector found on the last frame, besides what the user ignores; None: it did not look.
        looks: who is looked at by SAM2 where there is not time for all.
        lost_share: below this share of `confirm_probability` CONFIRMED targets are LOST; no setting, but
            less while samples are collected.
    """

    def __init__(
        self,
        detector: Detector,
        propagator: Propagator,
        settings: TrackerSettings,
        existence: ExistenceModel | None = None,
    ) -> None:
        self._detector = detector
        self._propagator = propagator
        self._settings = settings
        self._background = Background(settings.ignore_mask)
        self._existence = existence or self._load_existence()
        self._occlusions = Occlusions()
        self._gliding = Gliding()
        self._mask_choice = MotionAwareChoice()
        self._targets = Population()
        self._pass = DetectorPass(detector, propagator, self._background, self._targets, self._occlusions)
        self.cues = CueBook()
        self._open_cues: list[Cue] = []
        self.gates = GateBook()
        self.looks = LookQueue()
        self._hints: list[Hint] = []
        self.observe: Observer | None = None
        self.observe_targets: Callable[[Collection[Target]], None] | None = None
        self.camera_shift: CameraShift | None = None
        self.detections: Detections | None = None
        self.lost_share = LOST_SHARE
        self.last_timestamp_ns: int | None = None
        self._schedule = DetectorSchedule()
        self.frames = 0

    def _load_existence(self) -> ExistenceModel:
        named = self._settings.existence_weights
        path = Path(named).expanduser() if named else FITTED
        return ExistenceModel.load(path, self._propagator.network.name)

    @property
    def settings(self) -> TrackerSettings:
        """Current settings; assign to change those marked dynamic between two frames."""
        return self._settings

    @settings.setter
    def settings(self, settings: TrackerSettings) -> None:
        self._background.ignore(settings.ignore_mask)
        self._settings = settings
        self._propagator.mode = settings.masklet_mode
        self._propagator.policy = POLICIES[settings.memory_policy]
        if isinstance(self._detector, PromptedDetector):
            self._detector.set_prompt(settings.prompt)

    @property
    def models(self) -> dict[str, str]:
        """Names and checksums of the models used."""
        network = self._propagator.network
        runtime = "" if network.runtime == "torch" else f" {network.runtime}"
        return {"detector": self._detector.name, "masklets": f"{network.name} sha256:{network.checksum}{runtime}"}

    @property
    def detector_passes(self) -> int:
        """Frames on which the detector has run."""
        return self._schedule.passes

    @property
    def detector_frames(self) -> float:
        """What the detector has seen so far, in whole frames: a look at a part of a frame counts by its share."""
        return self._schedule.frames_seen

    @property
    def device(self) -> str:
        """Where SAM2 runs: cpu, cuda:0."""
        return self._propagator.network.device

    @property
    def class_names(self) -> Mapping[int, str]:
        """Names of the classes by number."""
        return self._detector.class_names

    @property
    def memory_bytes(self) -> int:
        """Memory held by all memory banks, in bytes."""
        return self._propagator.memory_bytes

    @property
    def next_id(self) -> int:
        """Id of the next new object; raise it to go on after the ids of an earlier run."""
        return self._targets.next_id

    @next_id.setter
    def next_id(self, identity: int) -> None:
        if identity < self._targets.next_id:
            raise ValueError(f"ids below {self._targets.next_id} may be in use; the next one cannot be {identity}")
        self._targets.next_id = identity

    def reset(self) -> None:
        """Forget all tracks. Ids go on: an id is never used for two objects."""
        self._targets.clear()
        self._propagator.reset()
        self._background.reset()
        self._pass.reset()
        self._gliding.reset()
        self.looks.reset()
        self._occlusions.reset()
        self._mask_choice.reset()
        self.cues.reset()
        self.gates.reset()
        self.last_timestamp_ns = None
        self._schedule.reset()

    def update(
        self,
        frame: Frame,
        cues: Sequence[Cue] = (),
        hints: Sequence[Hint] = (),
        known_shift: CameraShift | None = None,
    ) -> Tracks:
        """Track one frame and return all its live and lost tracks; no later frame is needed.

        What goes wrong inside, such as a forward pass that runs out of memory, is raised, and the next frame works: the
        targets have not been seen on this one, those that it began are dropped, its detector pass and cues come later.

        Args:
            frame: the next frame of the stream. A timestamp that goes back counts as a time step of zero.
            cues: boxes from elsewhere that have come since the last frame
                (:mod:`smotracker_ros.tracking.external_boxes`).
            hints: where to look closer, which have come since the last frame (:mod:`smotracker_ros.tracking.gates`).
            known_shift: the camera's motion since `last_timestamp_ns` by its poses, where the picture shows none.
        """
        before, self._open_cues, self._hints = self._targets.next_id, list(cues), list(hints)
        try:
            with denormals_flushed():
                return self._track(frame, known_shift)
        except BaseException:
            self._give_up(frame, before)
            raise

    def _give_up(self, frame: Frame, first_new: int) -> None:
        """Be ready for the next frame after this one has failed, however far it had come.

        Args:
            frame: the one that has failed.
            first_new: ids from this one on were given on it.
        """
        self._propagator.recover()
        kept = set(self._propagator.ids)
        for target in self._targets.values():
            if target.id >= first_new or target.id not in kept:
                target.state = TrackState.REMOVED
        self._bury()
        self.cues.postpone(self._open_cues, frame)
        self.gates.postpone(self._hints)

    def _track(self, frame: Frame, known_shift: CameraShift | None) -> Tracks:
        last_ns = frame.timestamp_ns if self.last_timestamp_ns is None else self.last_timestamp_ns
        passed = max(frame.timestamp_ns - last_ns, 0) / 1e9
        if passed > max(self._settings.lost_seconds, _LONGEST_STEP):
            self.reset()  # whatever is there now, nobody knows it to be what was there then
        seconds = min(passed, _LONGEST_STEP)
        self.camera_shift = shift = self._background.advance(frame, passed, known_shift)
        self.detections = None
        self._pass.advance(frame, shift)
        # from here on the targets are on this frame, even if it fails
        self.last_timestamp_ns = frame.timestamp_ns
        self._schedule.advance(seconds, self._settings)
        self.frames += 1
        self._occlusions.predict(shift, seconds)
        self.looks.advance(self._targets, passed)
        self._pass.most_births = self.looks.most
        predict_all(self._targets.values(), shift, seconds, passed)
        for target in self._targets.values():
            target.wait_inside(frame.width, frame.height)
        try:
            self._propagate(frame, seconds)
        finally:
            self.cues.remember(frame, shift, self._targets)
        self._occlusions.update(self._targets, self._propagator.time, seconds)
        self._follow_cues(frame)
        self.cues.protect(self._targets, passed)
        self.gates.advance(frame, self._targets, self._hints, passed)
        self._hints = []
        self.gates.spare(self._targets)
        regions = self._regions(frame)
        if regions is not None:
            try:
                self._confront(frame, regions)
            except BaseException:
                self._schedule.take_back(regions.share)
                raise
        self._look_closer(frame)
        self._targets.retire(frame, self._settings, self._existence, self._pass.clutter, self.lost_share)
        if self.observe_targets is not None:
            self.observe_targets(self._targets.values())
        self._bury()
        self._background.exclude(boxes_of(self._targets.live))
        names = self._detector.class_names
        items = tuple(self._targets[key].report(names, self._settings) for key in sorted(self._targets))
        return Tracks(
            frame.timestamp_ns,
            frame.index,
            (frame.height, frame.width),
            items,
            regions is not None,
            self._background.ignored,
        )

    def _propagate(self, frame: Frame, seconds: float) -> None:
        interval = self._settings.masklet_seconds
        every = not interval or self._schedule.ends(self._settings)
        gliding = self._gliding.carry(
            self._targets,
            frame.image,
            seconds,
            (lambda _: True) if every else self._schedule.looks,
            self._settings,
            self._occlusions.unsettled,
            self.looks,
        )
        live = [target for target in self._targets.live if target.id not in gliding and not target.waits]
        chooses = self._settings.mask_choice == "motion_aware"
        masklets = self._propagator.step(
            frame,
            [target.id for target in live],
            {target.id: Guess(target.motion.center, target.longer_side) for target in live},
            self._agreement,
            frozen=self._occlusions.unsettled,
            choose=self._mask_choice.choose if chooses else None,
        )
        boxes = {identity: masklet.box for identity, masklet in masklets.items() if masklet.box is not None}
        if self._first_frame_only:
            self._occlusions.reset()
        else:
            boxes = {
                key: box for key, box in boxes.items() if self._targets[key].owns(box, masklets[key].predicted_iou)
            }
            self._occlusions.compare(self._targets, boxes, gliding)
        slipped = self._occlusions.slipped
        for target in live:
            if target.id in slipped:
                self._propagator.rewind(target.id, self._propagator.time)
                continue
            self._look(target, masklets[target.id], seconds, target.id in boxes)
            if interval or self.looks.most:
                self._gliding.remember(target, frame.image)

    @property
    def _first_frame_only(self) -> bool:
        """Whether masklets are left to themselves once they are started."""
        return self._settings.prompts == "first_frame"

    def _agreement(self, identity: int, box: FloatArray) -> float:
        """Agreement of a mask's tight box with the expected motion in [0, 1]."""
        chosen = self._mask_choice.agreement(identity, box)
        return chosen if self._first_frame_only else min(chosen, self._targets[identity].agrees(box))

    def _look(self, target: Target, masklet: Masklet, seconds: float, is_own: bool = True) -> None:
        target.quality = masklet.predicted_iou
        if masklet.box is None:
            return
        target.lie(bool(self._background.burnt_in(masklet.box)[0]), seconds)
        if is_own:
            target.see(masklet.mask, masklet.box, masklet.predicted_iou, seconds)

    def _follow_cues(self, frame: Frame) -> None:
        """Let cues confirm, wake or start targets."""
        due = self.cues.due(frame, self._targets, self._open_cues)
        self._open_cues = [item.cue for item in due]
        unknown = [item.box for item in due if item.target_id is None]
        room = max(self._targets.room(self._settings), 0)
        appearance = iter(self._propagator.describe(frame, as_boxes(unknown[:room])))
        prompts: dict[int, FloatArray] = {}
        for item in due:
            if item.target_id is not None:
                target = self._targets[item.target_id]
            elif self._targets.room(self._settings) <= 0:
                self.cues.counts["no room"] += 1
                self._open_cues.remove(item.cue)
                continue
            else:
                target = self.cues.begin(self._targets.next_id, item, next(appearance))
                self._targets.add(target)
            if target.mask is not None:
                self.cues.take(target)
                self._open_cues.remove(item.cue)
            else:
                target.restart(item.box)
                prompts[target.id] = item.box
        for identity, masklet in (self._propagator.prompt(frame, prompts) if prompts else {}).items():
            self._look(self._targets[identity], masklet, 0.0)
            self.cues.answer(self._targets[identity])
        self._open_cues = []

    def _regions(self, frame: Frame) -> Regions | None:
        """What the detector looks at on this frame; None: nothing."""
        first_only = self._first_frame_only
        slipped = self._occlusions.slipped
        live = [t for t in self._targets.values() if first_only or (t.is_live and t.id not in slipped)]
        regions = Regions.whole(frame.width, frame.height)
        if not self._schedule.starts(live, self._settings):
            asked = [target for target in self._targets.values() if target.id in self._occlusions.asked]
            doubtful = self._schedule.doubtful(live, self._settings, asked)
            if not doubtful:
                return None
            regions = self._pass.regions(doubtful, self._settings)
        return regions if self._schedule.spend(regions.share) else None

    def _look_closer(self, frame: Frame) -> None:
        """Let the detector look closer where hints say that something is."""
        gates = self.gates.wanted(self._targets)
        if not gates or self._first_frame_only:
            return
        look = self._pass.closer(frame, [gate.places() for gate in gates], self._settings)
        if look is None:
            return
        regions, settings, price = look
        if self._schedule.spend_aside(price):
            self.gates.looked()
            found = self._pass.detect(regions, settings)
            self.detections = found if self.detections is None else Detections.joined([self.detections, found])
            self._prompt(frame, self._pass.run(frame, regions, found, settings, self.observe, self.gates.hold))

    def _confront(self, frame: Frame, regions: Regions) -> None:
        """Run the detector, and put masklets where it says."""
        self.detections = self._pass.detect(regions, self._settings)
        self._prompt(frame, self._pass.run(frame, regions, self.detections, self._settings, self.observe))
        self._occlusions.merge(self._targets, [target.id for target in self._pass.seen(regions)])

    def _prompt(self, frame: Frame, prompts: Mapping[int, FloatArray]) -> None:
        """Put masklets where a detector pass says."""
        for identity, masklet in (self._propagator.prompt(frame, prompts) if prompts else {}).items():
            target = self._targets[identity]
            self._look(target, masklet, 0.0)
            if target.mask_box is not None:
                target.margins = box_margins(prompts[identity], target.mask_box)
                if target.age == 0 and target.displacement.farthest == 0:
                    target.first_place = BackgroundTemplate.take(frame.image, target.mask_box)
                target.motion.center = box_centers(prompts[identity])[0]
                target.size = box_sizes(prompts[identity])[0]
            elif target.hits <= 1:
                target.state = TrackState.REMOVED  # SAM2 sees nothing in the box: no masklet to follow

    def _bury(self) -> None:
        """Forget targets that are REMOVED."""
        self._propagator.drop(self._targets.bury())
        self._mask_choice.keep(self._targets)
