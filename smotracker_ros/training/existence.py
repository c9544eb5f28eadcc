"""Fitting of the existence model: what tells targets from all else that is detected and followed.

The tracker runs on labelled clips, as they are and under a moving camera, and on rendered scenes. Each target that it
follows is noted at certain ages, with its terms and whether it lies on a label. Logistic regression makes the weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from rich.progress import track as progress
from scipy.optimize import minimize
from scipy.special import expit

from smotracker_ros.core.frames import Frame
from smotracker_ros.core.geometry import as_boxes
from smotracker_ros.core.tracks import TrackState
from smotracker_ros.tracking.existence import TERMS, ExistenceModel
from smotracker_ros.tracking.target import Target
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.clips import Clip, owners
from smotracker_ros.training.detector_crops import collect_cut_outs
from smotracker_ros.training.flights import fly
from smotracker_ros.training.moving_clips import LabelledImage, moving, still
from smotracker_ros.training.scenes import SceneSettings, render_scene
from smotracker_ros.training.sprites import CutOut

# Ages in seconds at which targets are noted: often while they are young, since decisions are made then
_AGES = np.concatenate([0.035 * 1.3 ** np.arange(15), np.arange(2.0, 20.0, 0.5)])
PERMISSIVE: dict[str, float] = {"confirm_probability": 0.5}
"""Settings with which much is seen of what is no target."""
# While samples are collected, CONFIRMED targets are LOST below this share of it: the improbable must be seen, too
_LOST_SHARE = 0.02
# Weight of the squared weights: terms that seldom differ are not to be believed too much
_RIDGE = 1e-4
# A term stays if samples that the fit has not seen are likelier by so many nats with it
_LEAST_GAIN = 2e-4


@dataclass(frozen=True)
class Samples:
    """Noted targets.

    Attributes:
        terms: float64 (N, len(TERMS)).
        true: bool (N,), whether the target lay on a label.
        confirmed: bool (N,), whether it was CONFIRMED.
        groups: int64 (N,), number of the clip, in whichever film, or of the scene.
    """

    terms: npt.NDArray[np.float64]
    true: npt.NDArray[np.bool_]
    confirmed: npt.NDArray[np.bool_]
    groups: npt.NDArray[np.int64]

    def select(self, rows: npt.NDArray[np.bool_]) -> Samples:
        """Some of them, by a bool (N,)."""
        return Samples(self.terms[rows], self.true[rows], self.confirmed[rows], self.groups[rows])


def scene_images(seed: int) -> Iterator[LabelledImage]:
    """A rendered scene with one to six targets and a camera that mostly moves."""
    generator = np.random.default_rng(seed)
    infrared = bool(generator.random() < 0.5)
    settings = SceneSettings(
        width=320 if infrared else 640,
        height=256 if infrared else 512,
        frames=150,
        targets=int(generator.integers(1, 7)),
        camera="random",
        modality="infrared" if infrared else "visible",
    )
    for frame in render_scene(settings, seed):
        yield LabelledImage(frame.image, frame.boxes, frame.ids, False)


def flight_images(seed: int, sprites: Sequence[CutOut]) -> Iterator[LabelledImage]:
    """Rendered flights, half of them over textured ground, under a camera that mostly moves."""
    generator = np.random.default_rng(seed)
    width, height = ((320, 256), (480, 384), (640, 512))[int(generator.integers(3))]
    for frame in fly(width, height, 120, sprites, generator):
        boxes = as_boxes([frame.boxes[number] for number in frame.boxes])
        image = np.repeat(frame.grey[..., None], 3, axis=2)
        yield LabelledImage(image, boxes, np.array(list(frame.boxes), dtype=np.int64), False)


def films(clips: Sequence[Clip], scenes: int, seed: int) -> Iterator[tuple[int, Iterable[LabelledImage], float, bool]]:
    """What is to be tracked: group, frames, their rate, and whether all targets in them are labelled."""
    generator = np.random.default_rng(seed)
    for group, clip in enumerate(clips):
        # not every bird of a flock is labelled
        complete = "BIRD" not in clip.name
        yield group, still(clip), clip.fps, complete
        yield group, moving(clip, generator), clip.fps, complete
        yield group, moving(clip, generator, follows=True), clip.fps, complete
    book = collect_cut_outs(list(clips), seed) if clips and scenes else {}
    sprites = [sprite for sprites in book.values() for sprite in sprites]
    for number in range(scenes):
        images = scene_images(seed + number) if number % 3 == 0 else flight_images(seed + number, sprites)
        yield len(clips) + number, images, 30.0, True


def collect(clips: Sequence[Clip], scenes: int, tracker: SmoTracker, seed: int = 0) -> Samples:
    """Track everything and note targets.

    Args:
        clips: labelled.
        scenes: number of rendered scenes.
        tracker: any; it is reset before each shot. It ought to confirm and remove little, so that much is seen.
        seed: of the moving cameras and the scenes.
    """
    tracker.lost_share, usual = _LOST_SHARE, tracker.lost_share
    terms: list[npt.NDArray[np.float64]] = []
    true: list[bool] = []
    confirmed: list[bool] = []
    groups: list[int] = []
    total = 3 * len(clips) + scenes
    for group, images, fps, complete in progress(films(clips, scenes, seed), total=total, description="tracking"):
        notes: dict[int, int] = {}
        for index, item in enumerate(images):
            if index == 0 or item.is_cut:
                tracker.reset()

            def note(
                targets: Collection[Target],
                item: LabelledImage = item,
                notes: dict[int, int] = notes,
                group: int = group,
                complete: bool = complete,
            ) -> None:
                live = [target for target in targets if target.is_live]
                owner = owners(as_boxes([target.box for target in live]), item.boxes).tolist()
                for target, label in zip(live, owner, strict=True):
                    due = int(np.searchsorted(_AGES, target.seconds_alive))
                    if due <= notes.get(target.id, 0) and target.age:
                        continue
                    notes[target.id] = due
                    # of two masklets on one object nobody can say here which is the target, and which the copy
                    if owner.count(label) == 1 if label >= 0 else complete:
                        terms.append(target.evidence)
                        true.append(label >= 0)
                        confirmed.append(target.state is TrackState.CONFIRMED)
                        groups.append(group)

            tracker.observe_targets = note
            tracker.update(Frame(item.image, round(index / fps * 1e9), index))
    tracker.observe_targets, tracker.lost_share = None, usual
    return Samples(np.array(terms).reshape(-1, len(TERMS)), np.array(true), np.array(confirmed), np.array(groups))


def write_samples(path: Path, samples: Samples) -> None:
    """Write the file that :func:`read_samples` reads."""
    np.savez_compressed(path, names=np.array(TERMS), **vars(samples))


def read_samples(paths: Sequence[Path]) -> Samples:
    """Samples that earlier runs have recorded, as one; groups of different files stay apart.

    Raises:
        ValueError: if a file was recorded with other terms.
    """
    parts = []
    for path in paths:
        with np.load(path) as content:
            if "names" not in content or tuple(content["names"]) != TERMS:
                raise ValueError(f"{path} was recorded with other terms; record anew with --record")
            parts.append({name: content[name] for name in ("terms", "true", "confirmed", "groups")})
    offsets = np.cumsum([0, *(int(part["groups"].max(initial=-1)) + 1 for part in parts)])
    return Samples(
        np.concatenate([part["terms"] for part in parts]).astype(np.float64),
        np.concatenate([part["true"] for part in parts]),
        np.concatenate([part["confirmed"] for part in parts]),
        np.concatenate([part["groups"] + offset for part, offset in zip(parts, offsets, strict=False)]),
    )


def fit(samples: Samples, names: Collection[str] = TERMS) -> dict[str, float]:
    """The weights of greatest likelihood, by name.

    Args:
        samples: targets and others.
        names: terms that take part.

    Raises:
        ValueError: if all samples are targets, or none is.
    """
    if samples.true.all() or not samples.true.any():
        raise ValueError(
            f"of {len(samples.true)} samples {int(samples.true.sum())} are targets: a fit needs targets and others"
        )
    columns = [TERMS.index(name) for name in TERMS if name in names]
    values, truth = samples.terms[:, columns], samples.true.astype(np.float64)

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        odds = values @ weights
        error = expit(odds) - truth
        value = float(np.mean(np.logaddexp(0, odds) - truth * odds)) + _RIDGE * float(weights @ weights)
        return value, values.T @ error / len(truth) + 2 * _RIDGE * weights

    result = minimize(loss, np.zeros(len(columns)), jac=True, method="L-BFGS-B")
    return {TERMS[column]: float(weight) for column, weight in zip(columns, result.x, strict=True)}


def log_loss(samples: Samples, weights: dict[str, float]) -> float:
    """Mean negative log-likelihood of samples, in nats."""
    odds = samples.terms @ ExistenceModel(weights).tentative
    return float(np.mean(np.logaddexp(0, odds) - samples.true * odds))


def cross_validated(samples: Samples, names: Collection[str] = TERMS, folds: int = 5) -> float:
    """Log-loss of samples of clips that the fit has not seen."""
    losses = []
    for fold in range(folds):
        held_out = samples.groups % folds == fold
        parts = [samples.select(rows) for rows in (~held_out, held_out)]
        if len(parts[1].true):
            losses.append(log_loss(parts[1], fit(parts[0], names)) * len(parts[1].true))
    return float(np.sum(losses) / len(samples.true))


def select_terms(samples: Samples) -> list[str]:
    """Names of the terms that pay their way: the others are left out one by one, those first that tell least."""
    names, loss = list(TERMS), cross_validated(samples)
    while len(names) > 2:
        without = {name: cross_validated(samples, [term for term in names if term != name]) for name in names[1:]}
        name = min(without, key=lambda key: without[key])
        if without[name] > loss + _LEAST_GAIN:
            break
        names.remove(name)
        loss = min(loss, without[name])
    return names


def write_weights(
    path: Path, tentative: dict[str, float], confirmed: dict[str, float], masklets: str, facts: dict[str, object]
) -> None:
    """Write the file that :meth:`smotracker_ros.tracking.existence.ExistenceModel.load` reads."""
    weights = {
        state: {key: round(value, 3) for key, value in part.items()}
        for state, part in (("tentative", tentative), ("confirmed", confirmed))
    }
    path.write_text(yaml.safe_dump({"masklets": masklets, "weights": weights, **facts}, sort_keys=False), "utf-8")
