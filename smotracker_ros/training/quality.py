"""How good the models are on labelled clips that they were not trained on: the figures of the model cards."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.progress import track as progress
from scipy.special import logit

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import (
    FloatArray,
    as_boxes,
    box_areas,
    box_centers,
    box_sizes,
    pairwise_iou,
)
from smotracker_ros.detection import Detector
from smotracker_ros.detection.motion_stack import DetectorView
from smotracker_ros.masklets.memory import MOTION_AWARE
from smotracker_ros.masklets.network import MaskletNetwork
from smotracker_ros.masklets.propagator import Propagator
from smotracker_ros.masklets.windows import WINDOW_FACTOR
from smotracker_ros.tracking.camera_motion import CameraMotion
from smotracker_ros.tracking.target import size_gain
from smotracker_ros.training.clips import Clip, owners
from smotracker_ros.training.curves import calibration_error, fit_curve

LEAST_SCORE = 0.1
"""Lower scores are not calibrated: the tracker does not look at them."""
HORIZONS = (0, 1, 5, 10, 30)
_STARTS = (20, 140)


def detector_quality(
    detector: Detector, clips: Sequence[Clip], frame_step: int = 10, image_size: int = 0
) -> dict[str, float]:
    """Average precision and recall, all classes taken as one.

    Args:
        detector: the detector.
        clips: labelled clips.
        frame_step: every n-th frame is judged.
        image_size: longer side at which the network sees a frame; 0: the detector's choice.

    Returns:
        `map50` (average precision at IoU 0.5), `map50_infrared`, `map50_visible` (nan without clips of that modality),
        `recall_0.1`, `recall_0.5`, `recall_1`, `recall_3`: share of labels found at the confidence that gives so many
        false boxes per frame, where found is what has a box whose centre lies within half the label's longer side of
        the label's centre: how loose labels are makes no difference; `recall_iou_1`: the same with an IoU of 0.5, at
        one false box; `area`: median of the found boxes' areas over their labels',
        `calibration_error` of the scores from :data:`LEAST_SCORE` on, taken as probabilities, and `curve_offset`,
        `curve_slope`, `curve_error` of the curve that makes probabilities of lying on a label of them:
        expit(offset + slope * logit(score)); nan where all boxes do, or none does.
    """
    rows: dict[str, Any] = {"infrared": ([], [], []), "visible": ([], [], [])}
    loose, strict = _Ranking(), _Ranking()
    areas: list[float] = []
    scores, on_target = [np.zeros(0, np.float32)], [np.zeros(0, np.bool_)]
    number = 0
    for clip in progress(clips, description="detector"):
        images, truths, results = rows["infrared" if clip.is_infrared else "visible"]
        view, camera = DetectorView(detector), CameraMotion()
        for index, image in clip.images():
            view.push(Frame(image, round(index / clip.fps * 1e9), index), camera.update(image, 1 / clip.fps).matrix)
            if index % frame_step:
                continue
            number += 1
            found = view.detect(0.001, image_size)
            boxes = clip.labels[index].boxes
            images.append({"id": number, "height": clip.size[0], "width": clip.size[1]})
            truths += [{**_coco_row(box, number), "id": 0, "iscrowd": 0} for box in boxes]
            results += [
                {**_coco_row(box, number), "score": score}
                for box, score in zip(found.boxes, found.scores.tolist(), strict=True)
            ]
            pairs = loose.add(found.scores, _nearness(found.boxes, boxes))
            strict.add(found.scores, pairwise_iou(found.boxes, boxes))
            areas += [float(box_areas(found.boxes[a])[0] / max(box_areas(boxes[b])[0], 1)) for a, b in pairs]
            scores.append(found.scores)
            on_target.append(owners(found.boxes, boxes) >= 0)
    both = tuple(rows["infrared"][i] + rows["visible"][i] for i in range(3))
    for identity, truth in enumerate(both[1], start=1):
        truth["id"] = identity
    return {
        "frames": float(number),
        "labels": float(loose.labels),
        "map50": _average_precision(*both),
        "map50_infrared": _average_precision(*rows["infrared"]),
        "map50_visible": _average_precision(*rows["visible"]),
        **{f"recall_{share:g}": loose.recall(share * number) for share in (0.1, 0.5, 1.0, 3.0)},
        "recall_iou_1": strict.recall(number),
        "area": float(np.median(areas)) if areas else float("nan"),
        **_calibration(np.concatenate(scores), np.concatenate(on_target)),
    }


def _nearness(boxes: FloatArray, labels: FloatArray) -> npt.NDArray[np.float64]:
    """1 less the distance of the centres in longer sides of the labels, (N, M): half or more lies on the label."""
    distances = np.linalg.norm(box_centers(boxes)[:, None] - box_centers(labels)[None], axis=2)
    return np.asarray(1 - distances / np.maximum(box_sizes(labels).max(axis=1, initial=0.0), 4.0), dtype=np.float64)


def _coco_row(box: FloatArray, image: int) -> dict[str, Any]:
    x1, y1, x2, y2 = box.tolist()
    size = [x2 - x1, y2 - y1]
    return {"image_id": image, "category_id": 1, "bbox": [x1, y1, *size], "area": size[0] * size[1]}


class _Ranking:
    """Detections of many frames by confidence, each right or false; a label is found once."""

    def __init__(self) -> None:
        self.labels = 0
        self._ranked: list[tuple[float, bool]] = []

    def add(self, scores: FloatArray, likeness: npt.NDArray[np.floating[Any]]) -> list[tuple[int, int]]:
        """Add a frame; returns the pairs (detection, label) that lie on each other by their likeness (N, M)."""
        self.labels += likeness.shape[1]
        free = np.array(likeness, dtype=np.float64)
        pairs = []
        for row in np.argsort(-scores, kind="stable").tolist():
            best = int(free[row].argmax()) if free.shape[1] else -1
            hit = best >= 0 and float(free[row, best]) >= 0.5
            if hit:
                free[:, best] = 0.0
                pairs.append((row, best))
            self._ranked.append((float(scores[row]), hit))
        return pairs

    def recall(self, false_boxes: float) -> float:
        """Share of the labels found at the confidence that gives so many false boxes in all."""
        ranked = sorted(self._ranked, key=lambda item: -item[0])
        hits = np.array([hit for _, hit in ranked], dtype=np.bool_)
        allowed = hits[np.cumsum(~hits) <= false_boxes] if len(hits) else hits
        return float(allowed.sum()) / max(self.labels, 1)


def _calibration(scores: FloatArray, on_target: npt.NDArray[np.bool_]) -> dict[str, float]:
    """How far scores are from probabilities, and the curve that makes them such."""
    used = scores >= LEAST_SCORE
    scores, on_target = scores[used], on_target[used]
    if on_target.all() or not on_target.any():
        return dict.fromkeys(("calibration_error", "curve_offset", "curve_slope", "curve_error"), float("nan"))
    curve = fit_curve(-logit(np.clip(scores, 1e-6, 1 - 1e-6)), on_target)
    return {
        "calibration_error": calibration_error(scores, on_target),
        "curve_offset": curve.offset,
        "curve_slope": curve.slope,
        "curve_error": curve.error,
    }


def _average_precision(images: list[Any], truths: list[Any], results: list[Any]) -> float:
    if not images:
        return float("nan")
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports on the console
        truth = COCO()
        truth.dataset = {"images": images, "annotations": truths, "categories": [{"id": 1}], "info": {}}
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][0, :, 0, 0, -1]
    return float(precision[precision > -1].mean())


@dataclass(frozen=True)
class _Start:
    first: int
    boxes: FloatArray


def _starts(clip: Clip) -> list[_Start]:
    """Objects that are labelled without a gap from a start frame to the last horizon, within one shot."""
    found = []
    for first in _STARTS:
        last = first + max(HORIZONS)
        if last >= clip.length or clip.shot_of(first) != clip.shot_of(last):
            continue
        spans = [
            dict(zip(clip.labels[t].ids.tolist(), clip.labels[t].boxes, strict=True)) for t in range(first, last + 1)
        ]
        for identity in sorted(set.intersection(*(set(span) for span in spans))):
            found.append(_Start(first, np.stack([span[identity] for span in spans])))
    return found


def _csrt(images: Sequence[UInt8Image], box: FloatArray) -> list[FloatArray | None]:
    """Boxes of OpenCV's CSRT tracker started on the first image, one per image up to the last horizon."""
    tracker: Any = vars(cv2)["TrackerCSRT_create"]()  # missing in OpenCV's type stubs
    width, height = np.maximum(np.round(box[2:] - box[:2]), 2).astype(int).tolist()
    tracker.init(images[0], (round(float(box[0])), round(float(box[1])), width, height))
    boxes: list[FloatArray | None] = [box]
    for image in images[1 : max(HORIZONS) + 1]:
        good, (x, y, w, h) = tracker.update(image)
        boxes.append(np.array([x, y, x + w, y + h], dtype=np.float32) if good else None)
    return boxes


def masklet_quality(
    network: MaskletNetwork, clips: Sequence[Clip], window_factor: float = WINDOW_FACTOR, csrt: bool = False
) -> dict[str, dict[str, float]]:
    """Box IoU some frames after a single prompt with the labelled box, against labels and beside OpenCV's CSRT.

    Boxes of "nano" are in the prompt's convention: the mask's box plus what the prompt's box added to it at the start;
    those of "nano tracked" follow the mask's size slowly, as the tracker's do.

    Args:
        network: the SAM2 model.
        clips: labelled clips; objects labelled for 31 frames from frame 20 or 140 on are used.
        window_factor: side of the windows as a multiple of the target's longer side.
        csrt: whether to run CSRT on the same starts.

    Returns:
        Per method, mean IoU by horizon in frames (`iou_0` ... `iou_30`), `visible_30` (share still seen), `starts`;
        a hidden target counts as IoU 0.
    """
    figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def note(method: str, horizon: int, truth: FloatArray, box: FloatArray | None, name: str) -> None:
        iou = 0.0 if box is None else float(pairwise_iou(as_boxes(box), as_boxes(truth))[0, 0])
        for key in (method, f"{method} drones") if "DRONE" in name else (method,):
            figures[key][f"iou_{horizon}"].append(iou)
            if horizon == max(HORIZONS):
                figures[key]["visible_30"].append(float(box is not None))

    for clip in progress(clips, description="masklets"):
        starts = _starts(clip)
        if not starts:
            continue
        images = [image for _, image in islice(clip.images(), max(_STARTS) + max(HORIZONS) + 1)]
        for start in starts:
            propagator = Propagator(network, MOTION_AWARE, "windows", window_factor)
            margin = np.zeros(4, dtype=np.float32)
            size = box_sizes(start.boxes[0])[0]
            reference = _csrt(images[start.first :], start.boxes[0]) if csrt else []
            for horizon in range(max(HORIZONS) + 1):
                image, truth = images[start.first + horizon], start.boxes[horizon]
                frame = Frame(image, horizon, horizon)
                masklet = propagator.step(frame).get(1) if horizon else propagator.prompt(frame, {1: truth})[1]
                assert masklet is not None
                if horizon == 0 and masklet.box is not None:
                    margin = truth - masklet.box
                loose = None if masklet.box is None else masklet.box + margin
                tracked = None
                if loose is not None:
                    gain = size_gain(1 / clip.fps)
                    size = ((1 - gain) * size + gain * box_sizes(loose)[0]).astype(np.float32)
                    center = box_centers(loose)[0]
                    tracked = np.concatenate([center - size / 2, center + size / 2]).astype(np.float32)
                if horizon in HORIZONS:
                    note("mask box", horizon, truth, masklet.box, clip.name)
                    note("nano", horizon, truth, loose, clip.name)
                    note("nano tracked", horizon, truth, tracked, clip.name)
                    if horizon:
                        note("stays", horizon, truth, start.boxes[0], clip.name)
                        if csrt:
                            note("csrt", horizon, truth, reference[horizon], clip.name)
    return {
        method: {**{key: float(np.mean(values)) for key, values in by.items()}, "starts": float(len(by["iou_30"]))}
        for method, by in figures.items()
    }
