"""Draws docs/images/one_frame.png, the way of one frame: `python tools/figure_one_frame.py`.

A rendered scene, the embedded models, no network. Four panels: the frame, the detections, each target's window, the
answer.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from smotracker_ros import Detections, Frame, build_tracker, draw_overlay, load_settings
from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.tracks import Tracks
from smotracker_ros.detection.yolo import YoloDetector
from smotracker_ros.io.overlay import track_color
from smotracker_ros.masklets.windows import WINDOW_FACTOR, cut, window_around
from smotracker_ros.training.scenes import SceneSettings, render_scene

PAGE = Path(__file__).resolve().parents[1] / "docs" / "images" / "one_frame.png"
SCENE = SceneSettings(width=384, height=288, frames=40, fps=30.0, targets=4, camera="pan", modality="infrared")
SEED = 1
WIDTH, HEIGHT, TITLE, GAP = 768, 576, 34, 12
WINDOWS = 4


def _panel(title: str, image: UInt8Image) -> UInt8Image:
    page = np.full((HEIGHT + TITLE, WIDTH, 3), 255, np.uint8)
    page[TITLE:] = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    cv2.putText(page, title, (2, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 1, cv2.LINE_AA)
    return page


def _detections(frame: Frame, boxes: np.ndarray, scores: np.ndarray) -> UInt8Image:
    image = np.asarray(cv2.resize(frame.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR), np.uint8)
    for box, score in zip(boxes * 2, scores, strict=True):
        x1, y1, x2, y2 = (int(value) for value in box)
        cv2.rectangle(image, (x1 - 4, y1 - 4), (x2 + 4, y2 + 4), (255, 220, 60), 1)
        cv2.putText(image, f"{score:.2f}", (x1 - 4, y1 - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 220, 60), 1)
    return image


def _windows(frame: Frame, tracks: Tracks) -> UInt8Image:
    """What SAM2 sees of each target, enlarged, with the outline of its mask."""
    views = []
    for track in tracks.reported:
        assert track.mask is not None
        side = WINDOW_FACTOR * float(max(track.box[2:] - track.box[:2]))
        window = window_around((track.box[:2] + track.box[2:]) / 2, side)
        view = cut(frame.image, window, HEIGHT // 2)
        full = track.mask.full(frame.height, frame.width).astype(np.uint8) * 255
        mask = cut(np.dstack([full] * 3), window, HEIGHT // 2)[:, :, 0] > 127
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(view, outlines, -1, track_color(track.id), 1)
        views.append(cv2.copyMakeBorder(view, 0, 0, 48, 48, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    views += [np.full_like(views[0], 255)] * (WINDOWS - len(views))
    rows = [np.hstack(views[:2]), np.hstack(views[2:WINDOWS])]
    return np.vstack(rows)


class _Remembering(YoloDetector):
    """The detector, which keeps what it has found in the last whole frame."""

    found = Detections.empty()

    def detect(self, frame: Frame, least_confidence: float = 0.0, image_size: int = 0) -> Detections:
        found = super().detect(frame, least_confidence, image_size)
        if frame.width == SCENE.width:
            self.found = found
        return found


def main() -> None:
    """Render, track, and draw the frame with most targets among those that the detector has seen as a whole."""
    detector = _Remembering(None)
    tracker = build_tracker(load_settings(), detector)
    chosen: tuple[Frame, Tracks, Detections] | None = None
    for index, rendered in enumerate(render_scene(SCENE, SEED)):
        frame = Frame(rendered.image, round(index / SCENE.fps * 1e9), index)
        detector.found = Detections.empty()
        tracks = tracker.update(frame)
        if len(detector.found) and (chosen is None or len(tracks.reported) >= len(chosen[1].reported)):
            chosen = frame, tracks, detector.found
    if chosen is None:
        raise SystemExit("the detector has found nothing")
    frame, tracks, found = chosen
    panels = [
        _panel("1  the frame", frame.image),
        _panel("2  what the detector finds in it", _detections(frame, found.boxes, found.scores)),
        _panel("3  the windows in which SAM2 sees each target", _windows(frame, tracks)),
        _panel("4  the answer: masks, boxes, ids", draw_overlay(frame, tracks)),
    ]
    space = np.full((HEIGHT + TITLE, GAP, 3), 255, np.uint8)
    rows = [np.hstack([panels[0], space, panels[1]]), np.hstack([panels[2], space, panels[3]])]
    picture = np.vstack([rows[0], np.full((GAP, rows[0].shape[1], 3), 255, np.uint8), rows[1]])
    cv2.imwrite(str(PAGE), cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)[:, :, ::-1])


if __name__ == "__main__":
    main()
