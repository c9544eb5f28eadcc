"""Gates: a hint finds what the detector misses, a wrong one harms nothing, and friendly targets get their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pytest

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import box_centers
from smotracker_ros.presets import build_tracker, load_settings
from smotracker_ros.tracking.gates import MOST_HINTS, Gate, GateBook, HintError
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.scenes import SceneFrame, SceneSettings, render_scene

FPS = 20
NEAR = 8.0


@dataclass
class PixelHint:
    """A hint that is stated in pixels; on each frame it is where it was."""

    timestamp_ns: int
    center: tuple[float, float]
    deviation: float = 15.0
    source: str = "radar/1"
    friendly: str = ""
    asked: list[int] = field(default_factory=list)

    def gate(self, timestamp_ns: int) -> Gate | None:
        self.asked.append(timestamp_ns)
        return Gate(np.array(self.center), self.deviation**2 * np.eye(2))


class LostHint(PixelHint):
    def gate(self, timestamp_ns: int) -> Gate | None:
        raise HintError("the mast is old")


@pytest.fixture(scope="module")
def tracker() -> SmoTracker:
    return build_tracker(load_settings())


@pytest.fixture(scope="module")
def faint() -> list[SceneFrame]:
    """A drone of four pixels that the detector misses in whole frames."""
    settings = SceneSettings(
        width=1280, height=720, frames=80, fps=FPS, targets=1, camera="static", modality="visible", sizes=(4.0, 4.0),
        class_weights=(1, 0, 0, 0), contrasts=(25.0, 25.0), noise=2.0, compression=0.0,
    )  # fmt: skip
    return list(islice(render_scene(settings, 102), 44))


def _run(tracker: SmoTracker, frames: list[SceneFrame], offset: tuple[float, float] | None) -> tuple[int, int]:
    """Frames with a CONFIRMED track on the drone, and CONFIRMED tracks that are not.

    Hints come five times per second, 200 ms late, so many pixels beside the drone; None: none come.
    """
    tracker.reset()
    on, others = 0, set()
    for index, item in enumerate(frames):
        hints = []
        if offset is not None and index >= 4 and index % 4 == 0 and len(frames[index - 4].boxes):
            then = box_centers(frames[index - 4].boxes)[0]
            hints = [PixelHint((index - 4) * 10**9 // FPS, (float(then[0]) + offset[0], float(then[1]) + offset[1]))]
        tracks = tracker.update(Frame(item.image, index * 10**9 // FPS, index), hints=hints)
        center = box_centers(item.boxes)[0] if len(item.boxes) else np.array([np.inf, np.inf])
        places = {track.id: box_centers(track.box)[0] for track in tracks.reported}
        near = {key for key, place in places.items() if np.linalg.norm(place - center) < NEAR}
        on += bool(near)
        others |= set(places) - near
    return on, len(others)


@pytest.mark.slow
def test_a_hint_finds_what_the_detector_misses_and_a_wrong_one_harms_nothing(
    tracker: SmoTracker, faint: list[SceneFrame]
) -> None:
    assert _run(tracker, faint, None) == (0, 0)
    on, others = _run(tracker, faint, (6.0, -5.0))
    assert on > 15 and others == 0
    assert tracker.gates.counts["used"] > 5
    assert _run(tracker, faint, (150.0, 120.0)) == (0, 0)


def _blobs(index: int, *places: tuple[float, float]) -> Frame:
    """Infrared sky with hot blobs."""
    y, x = np.mgrid[0:200, 0:320]
    image = 80 + 12 * np.sin(x / 17.0) * np.cos(y / 23.0) + np.random.default_rng(index).normal(0, 1.5, (200, 320))
    for cx, cy in places:
        image += 130 * np.exp(-(((x - cx) / 5.5) ** 4 + ((y - cy) / 3.5) ** 4))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Frame(np.repeat(pixels[..., None], 3, axis=2), index * 10**9 // FPS, index, "camera")


@pytest.mark.slow
def test_a_friendly_target_gets_its_name_alone_and_loses_it_when_they_part(tracker: SmoTracker) -> None:
    """Two targets cross the picture; hints of ALPHA follow the upper one, and later stay behind."""
    tracker.reset()
    names: list[dict[str, str]] = []
    for index in range(70):
        upper, lower = (40 + 3.0 * index, 60.0), (40 + 3.0 * index, 140.0)
        place = upper if index < 40 else (160.0, 60.0)
        hints = [PixelHint(index * 10**9 // FPS, place, 8.0, friendly="ALPHA")] if index % 4 == 0 else []
        tracks = tracker.update(_blobs(index, upper, lower), hints=hints)
        names.append({"upper" if track.box[1] < 100 else "lower": track.friendly for track in tracks.reported})
    assert names[38] == {"upper": "ALPHA", "lower": ""}
    assert names[69] == {"upper": "", "lower": ""}
    # a hint that could mean either names nobody
    tracker.reset()
    for index in range(40):
        pair = (40 + 3.0 * index, 90.0), (40 + 3.0 * index, 120.0)
        hint = PixelHint(index * 10**9 // FPS, (40 + 3.0 * index, 105.0), 15.0, friendly="ALPHA")
        tracks = tracker.update(_blobs(index, *pair), hints=[hint] if index % 4 == 0 else [])
    assert len(tracks.reported) == 2 and {track.friendly for track in tracks} == {""}


def test_hints_meet_the_frame_of_their_time_or_are_refused() -> None:
    book, blank = GateBook(), np.zeros((200, 320, 3), np.uint8)
    frames = [Frame(blank, 10**10 + index * 50_000_000, index) for index in range(60)]
    for frame in frames[:-1]:
        book.advance(frame, {}, [], 0.05)
    now = frames[-1].timestamp_ns
    late, early = PixelHint(now - 10**9, (100, 100)), PixelHint(now + 40_000_000, (100, 100), source="b")
    given = [
        late, early, PixelHint(now - 4 * 10**9, (100, 100)), PixelHint(now + 4 * 10**9, (100, 100)),
        PixelHint(now, (5000, 100)), PixelHint(now, (100, 100), deviation=300.0), LostHint(now, (0, 0)),
        PixelHint(now, (100, 100), deviation=float("nan")),
    ]  # fmt: skip
    book.advance(frames[-1], {}, given, 0.05)
    assert late.asked[0] == now - 10**9 and late.asked[-1] == now, "compared with its frame, looked for on this one"
    assert not early.asked and len(book.gates) == 1
    assert book.trouble == "the mast is old"
    assert +book.counts == {"used": 1, "too late": 1, "too early": 1, "outside": 2, "too wide": 1, "unknown": 1}
    book.advance(Frame(blank, now + 50_000_000, 60), {}, [], 0.05)
    assert early.asked and len(book.gates) == 2
    many = [PixelHint(now + 50_000_000, (100, 100), source="") for _ in range(3 * MOST_HINTS)]
    book.advance(Frame(blank, now + 100_000_000, 61), {}, many, 0.05)
    assert len(book.gates) <= MOST_HINTS and book.counts["too many"] >= 2 * MOST_HINTS
    for index in range(62, 100):
        book.advance(Frame(blank, 10**10 + index * 50_000_000, index), {}, [], 0.05)
    assert not book.gates, "a hint is open for a second"
