"""Forward passes that fail: the error is raised, and the next frame works, wherever the pass was.

Failures are injected into the real networks with torch's own hooks. With SMOTRACKER_EVERY_CALL=1 every single call of
200 frames fails once (some minutes); without it, one in so many.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sam2.modeling.backbones.image_encoder import ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention
from sam2.modeling.memory_encoder import MemoryEncoder
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from torch.nn.modules.module import register_module_forward_pre_hook
from ultralytics.nn.tasks import DetectionModel

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import box_centers
from smotracker_ros.core.tracks import Tracks, TrackState
from smotracker_ros.offline.snapshot import Run
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.external_boxes import Cue
from smotracker_ros.training.scenes import SceneFrame, SceneSettings, render_scene

PARTS = (ImageEncoder, MemoryAttention, PromptEncoder, MaskDecoder, MemoryEncoder, DetectionModel)
STEP_NS = 33_333_333
EVERY_CALL = os.environ.get("SMOTRACKER_EVERY_CALL") == "1"
FRAMES, STRIDE = (200, 1) if EVERY_CALL else (60, 23)


@pytest.fixture(scope="module")
def scene() -> list[SceneFrame]:
    settings = SceneSettings(
        256, 192, 200, 30.0, 3, "static", "infrared", sizes=(8.0, 16.0), contrasts=(80.0, 150.0), compression=0.0
    )
    return list(itertools.islice(render_scene(settings, 1), FRAMES))


@pytest.fixture(scope="module")
def frames(scene: list[SceneFrame]) -> list[Frame]:
    return [Frame(item.image, index * STEP_NS, index, "camera") for index, item in enumerate(scene)]


def on_targets(places: dict[int, np.ndarray], truth: SceneFrame) -> dict[int, np.ndarray]:
    """Those of the places that lie on a target: what was taken for one has no place that it must keep."""
    targets = box_centers(truth.boxes)
    return {key: place for key, place in places.items() if (np.linalg.norm(targets - place, axis=1) < 4).any()}


@contextmanager
def watched(on_call: Callable[[type], None]) -> Iterator[None]:
    """Tell of each call of a part of the networks, before it happens."""

    def hook(module: torch.nn.Module, given: Any) -> None:
        kind = next((part for part in PARTS if isinstance(module, part)), None)
        if kind is not None:
            on_call(kind)

    handle = register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def failing(number: int = 0, kind: type | None = None) -> Iterator[None]:
    """Let the call of that number, counted from 0, run out of memory; with a kind, of that part alone."""
    calls = 0

    def on_call(part: type) -> None:
        nonlocal calls
        if kind in (None, part):
            calls += 1
            if calls == number + 1:
                raise torch.OutOfMemoryError("injected")

    with watched(on_call):
        yield


def seen(tracks: Tracks) -> dict[int, np.ndarray]:
    """Centres of what is reported, by id."""
    return {track.id: box_centers(track.box)[0] for track in tracks.reported}


@pytest.mark.slow
def test_the_next_frame_works_whichever_call_has_failed(frames: list[Frame], scene: list[SceneFrame]) -> None:
    run = Run(build_tracker(load_settings(overrides={"runtime": "torch"})))
    snapshots: list[bytes] = []
    calls: list[tuple[int, int, type]] = []
    answers: list[Tracks] = []
    for frame in frames:
        snapshots.append(run.snapshot())
        parts: list[type] = []
        with watched(parts.append):
            answers.append(run.tracker.update(frame))
        calls += [(frame.index, number, part) for number, part in enumerate(parts)]
    assert {part for *_, part in calls} == set(PARTS), "every part is called"
    assert max(map(len, map(seen, answers))) >= 2, "a scene without tracks proves nothing"
    # what fails where targets begin is worst: nothing is known of them yet
    known = [{track.id for track in tracks} for tracks in answers]
    begin = {index for index in range(FRAMES) if known[index] - (known[index - 1] if index else set())}
    chosen = [call for number, call in enumerate(calls) if number % STRIDE == 0 or call[0] in sorted(begin)[:2]]
    chosen = [call for call in chosen if call[0] + 2 < FRAMES]
    near = compared = 0
    for index, number, part in chosen:
        run.restore(snapshots[index])
        with failing(number), pytest.raises(torch.OutOfMemoryError, match="injected"):
            run.tracker.update(frames[index])
        assert run.tracker.last_timestamp_ns == frames[index].timestamp_ns, "the targets have moved with that frame"
        before = seen(answers[index - 1]) if index else {}
        for frame in frames[index + 1 : index + 3]:
            after = run.tracker.update(frame)
            where = f"frame {frame.index} after {part.__name__} has failed on {index}"
            assert set(before) <= {track.id for track in after}, where
            found = seen(after)
            for identity, center in on_targets(seen(answers[frame.index]), scene[frame.index]).items():
                if identity in found:
                    compared += 1
                    near += bool(np.linalg.norm(found[identity] - center) < 4)
    assert near >= 0.98 * compared > len(chosen)
    if EVERY_CALL:
        print(f"{len(chosen)} calls failed, one at a time; {near} of {compared} places within 4 pixels")


@pytest.mark.slow
def test_a_stream_with_many_failures_is_tracked_all_the_same(frames: list[Frame], scene: list[SceneFrame]) -> None:
    settings = load_settings(overrides={"runtime": "torch", "clip_seconds": 0.13})
    calm, troubled = build_tracker(settings), build_tracker(settings)
    failures: list[type] = []
    common = everything = 0
    for frame in frames:
        expected = on_targets(seen(calm.update(frame)), scene[frame.index])
        with failing(0, PARTS[len(failures) % len(PARTS)]) if frame.index % 3 else nullcontext():
            try:
                found = seen(troubled.update(frame))
            except torch.OutOfMemoryError:
                failures.append(PARTS[len(failures) % len(PARTS)])
                continue
        everything += len(expected)
        common += sum(min((np.linalg.norm(c - e) for c in found.values()), default=99) < 4 for e in expected.values())
    assert len(failures) >= FRAMES // 5 and set(failures) == set(PARTS)
    assert common >= 0.8 * everything > 0


def test_a_detector_pass_that_fails_is_made_up_for_on_the_next_frame(frames: list[Frame]) -> None:
    tracker = build_tracker(load_settings(overrides={"runtime": "torch", "adaptive_clips": False}))
    with failing(0, DetectionModel), pytest.raises(torch.OutOfMemoryError):
        tracker.update(frames[0])
    assert tracker.detector_passes == 0
    assert tracker.update(frames[1]).detector_ran
    assert tracker.detector_passes == 1
    assert not tracker.update(frames[2]).detector_ran


def test_what_a_failed_frame_began_is_dropped_and_found_again_under_a_new_id(frames: list[Frame]) -> None:
    tracker = build_tracker(load_settings(overrides={"runtime": "torch"}))
    with failing(0, MemoryEncoder), pytest.raises(torch.OutOfMemoryError):
        tracker.update(frames[0])
    assert tracker.memory_bytes == 0
    given = tracker.next_id
    found = tracker.update(frames[1])
    assert found.items and min(track.id for track in found) >= given


@pytest.mark.parametrize("kind", [ImageEncoder, PromptEncoder, MemoryEncoder])
def test_a_cue_waits_for_a_frame_that_works(frames: list[Frame], kind: type) -> None:
    tracker = build_tracker(load_settings(overrides={"runtime": "torch", "detector_confidence": 1.0}))
    tracker.cues.history_seconds = 1.0
    tracker.update(frames[0])
    cue = Cue(np.float32([100, 60, 112, 72]))
    with failing(0, kind), pytest.raises(torch.OutOfMemoryError):
        tracker.update(frames[1], [cue])
    assert tracker.cues.counts.total() == 0
    tracker.update(frames[2])
    assert tracker.cues.counts.total() == 1, "answered once, or refused with a reason"
    assert tracker.cues.counts["too late"] == 0


@pytest.mark.parametrize("function", ["calcOpticalFlowPyrLK", "goodFeaturesToTrack", "matchTemplate", "warpAffine"])
def test_failures_of_opencv_are_survived_too(
    frames: list[Frame], function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = build_tracker(load_settings(overrides={"runtime": "torch"}))
    for frame in frames[:20]:
        before = tracker.update(frame)

    def fail(*given: Any, **named: Any) -> None:
        raise cv2.error("Insufficient memory")

    failures = 0
    for frame in frames[20:40]:
        with monkeypatch.context() as patch:
            if frame.index % 2 == 0:
                patch.setattr(cv2, function, fail)
            try:
                after = tracker.update(frame)
            except cv2.error:
                failures += 1
    assert failures or function == "goodFeaturesToTrack", "corners are sought only where a key frame is old"
    assert set(seen(before)) <= {track.id for track in after}


def test_a_failure_that_lasts_is_raised_every_time_and_then_forgotten(frames: list[Frame]) -> None:
    tracker = build_tracker(load_settings(overrides={"runtime": "torch", "masklet_seconds": 0.0}))
    for frame in frames[:20]:
        before = tracker.update(frame)
    for frame in frames[20:32]:
        with failing(0), pytest.raises(torch.OutOfMemoryError):
            tracker.update(frame)
    for frame in frames[32:40]:
        after = tracker.update(frame)
    assert set(seen(before)) & set(seen(after)), "identities survive"
    assert all(track.state is not TrackState.REMOVED for track in after)


def test_a_reset_after_a_failure_starts_anew(frames: list[Frame]) -> None:
    tracker = build_tracker(load_settings(overrides={"runtime": "torch"}))
    with failing(0, MemoryEncoder), pytest.raises(torch.OutOfMemoryError):
        tracker.update(frames[0])
    tracker.reset()
    assert tracker.update(frames[1]).detector_ran
