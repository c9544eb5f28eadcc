"""Training crops for the detector: places of real clips and of rendered backgrounds, with targets put in.

Targets of 5-30 px make whole frames a waste: almost every pixel is empty sky. Most crops hold a target, the clip's own
or one put in; the rest are places where nothing is, above all those that an earlier detector has taken for a target.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track as progress

from smotracker_ros.core.frames import UInt8Image
from smotracker_ros.core.geometry import FloatArray, as_boxes, pairwise_overlap
from smotracker_ros.detection.motion_stack import lay_over
from smotracker_ros.tracking.camera_motion import CameraMotion
from smotracker_ros.training.backgrounds import make_background
from smotracker_ros.training.clips import Clip
from smotracker_ros.training.grounds import draw_ground
from smotracker_ros.training.motion_crops import Crop, Flight, Matrix, Moments, Shares, make_crop
from smotracker_ros.training.sprites import CutOut, Silhouette, cut_out
from smotracker_ros.training.targets import random_look
from smotracker_ros.training.tight_labels import TightLabels, tighten

# Boxes that an earlier detector finds in a motion stack, float32 (N, 4), xyxy pixels, by falling confidence
Finder = Callable[[UInt8Image], FloatArray]
# A picture of what is there at a time in seconds, grey uint8 (height, width)
Scenery = Callable[[float], UInt8Image]

# Every so many used frames are searched for false boxes, of which so many become crops
_MINING_STEP = 2
_MOST_FALSE_BOXES = 2
# Cut-outs kept of one clip, so that long clips do not outweigh short ones
_CUT_OUTS = 12
# Crops of one rendered background
_VIEWS = 6
# Share of the rendered backgrounds that are nothing but ground
_GROUND_SHARE = 0.4
# So many empty views of rendered backgrounds are searched for false boxes, per crop of such a background
_SEARCHED = 2


@dataclass(frozen=True)
class CropSettings:
    """How training crops are made.

    Attributes:
        side: side of a crop in pixels; also the training image size.
        frame_step: every n-th frame of a clip is used, because neighbours are near-duplicates.
        rendered: crops of rendered backgrounds.
        empty_share: share of the clips' crops placed anywhere, with or without a target.
        visible_scales: crop pixels per pixel of visible-light frames, drawn log-uniformly.
        infrared_scales: the same for infrared frames, which are smaller already.
        put_in_share: share of crops that get one to three further targets.
        ages: mean ages in seconds of the two older pictures of a stack.
        age_spread: share by which ages differ from crop to crop, so that any frame rate will do.
        single_frame: the newest picture takes the place of the older ones, for a detector that sees one moment.
        shares: what else crops have.
        seed: seed of the random choices; another one gives other crops of the same clips.
    """

    side: int = 192
    frame_step: int = 8
    rendered: int = 2000
    empty_share: float = 0.15
    visible_scales: tuple[float, float] = (0.5, 1.3)
    infrared_scales: tuple[float, float] = (0.9, 2.4)
    put_in_share: float = 0.45
    ages: tuple[float, float] = (0.1, 0.2)
    age_spread: float = 0.5
    single_frame: bool = False
    shares: Shares = field(default_factory=Shares)
    seed: int = 0


def draw_flight(sprites: list[CutOut], picture_side: int, infrared: bool, generator: np.random.Generator) -> Flight:
    """A target of random kind, size, place and motion: half of them cut-outs, where there are some."""
    center = tuple(generator.uniform(0.04, 0.96, 2) * picture_side)
    if sprites and generator.random() < 0.5:
        original = sprites[int(generator.integers(len(sprites)))]
        size = float(np.clip(original.longer_side * np.exp(generator.normal(0, 0.4)), 3.5, 0.8 * picture_side))
        gain = float(generator.uniform(0.4, 1.3))
        sprite: CutOut | Silhouette = CutOut(
            original.alpha, original.contrast, original.class_id, bool(generator.random() < 0.5), gain
        )
    else:
        largest = 0.8 * picture_side if generator.random() < 0.25 else 45.0
        size = float(np.exp(generator.uniform(np.log(3.5), np.log(largest))))
        contrast = float(np.exp(generator.uniform(np.log(9), np.log(150))))
        dark = generator.random() < (0.25 if infrared else 0.75)
        sprite = Silhouette(
            look=random_look(int(generator.choice([1, 2, 3, 4], p=[0.5, 0.25, 0.15, 0.1])), generator),
            contrast=-contrast if dark else contrast,
            angle=float(generator.normal(0, 0.25)),
            flip=bool(generator.random() < 0.5),
            blur=float(generator.uniform(0.3, 1.1)),
        )
    # hovering, slow or fast, in target sizes per second
    speed = 0.0 if generator.random() < 0.15 else float(np.exp(generator.uniform(np.log(0.3), np.log(12)))) * size
    direction = generator.uniform(0, 2 * np.pi)
    velocity = (speed * np.cos(direction), speed * np.sin(direction))
    return Flight(sprite, (center[0], center[1]), velocity, size)


class _Writer:
    """Makes crops and writes them with their labels in ultralytics' layout."""

    def __init__(self, directory: Path, settings: CropSettings, sprites: dict[bool, list[CutOut]]) -> None:
        self._directory, self._settings, self._sprites = directory, settings, sprites
        self.generator = np.random.default_rng(settings.seed)
        self.count = 0
        for name in ("images", "labels"):
            (directory / name).mkdir(parents=True, exist_ok=True)

    def ages(self) -> tuple[float, float, float]:
        """Ages of the three pictures of the next crop, seconds."""
        factor = 1 + self._settings.age_spread * self.generator.uniform(-1, 1)
        first, second = self._settings.ages
        return 0.0, first * factor, second * factor

    def write(self, moments: Moments, name: str, put_in: bool = True, finder: Finder | None = None) -> bool:
        """Make one crop and write it, with a finder only if that finds something in it; returns whether it did."""
        settings, generator = self._settings, self.generator
        flights = []
        if put_in and generator.random() < settings.put_in_share:
            sprites = self._sprites[moments.infrared]
            for _ in range(int(generator.integers(1, 4))):
                flights.append(draw_flight(sprites, settings.side, moments.infrared, generator))
        crop = make_crop(moments, flights, settings.side, settings.shares, generator)
        if settings.single_frame:
            crop = replace(crop, image=_newest_alone(crop.image))
        wanted = finder is None or len(finder(crop.image)) > 0
        if wanted:
            self._save(crop, name)
        return wanted

    def _save(self, crop: Crop, name: str) -> None:
        # OpenCV writes BGR, so that the newest picture is the red channel
        cv2.imwrite(str(self._directory / "images" / f"{name}.png"), np.ascontiguousarray(crop.image[..., ::-1]))
        rows = [
            f"{class_id - 1} {(b[0] + b[2]) / 2:.6f} {(b[1] + b[3]) / 2:.6f} {b[2] - b[0]:.6f} {b[3] - b[1]:.6f}"
            for class_id, b in zip(crop.class_ids.tolist(), crop.boxes / self._settings.side, strict=True)
        ]
        (self._directory / "labels" / f"{name}.txt").write_text("\n".join(rows))
        self.count += 1


@dataclass(frozen=True)
class _Film:
    """A decoded clip: grey pictures, the camera's pose in each, and tight labels of the used frames."""

    clip: Clip
    pictures: list[UInt8Image]
    poses: list[Matrix]
    labels: dict[int, TightLabels]

    @staticmethod
    def of(clip: Clip, step: int, generator: np.random.Generator) -> _Film:
        # luminance, or any other mixture of the colours
        weights = np.array([0.299, 0.587, 0.114]) if clip.is_infrared else generator.dirichlet([2.0, 4.0, 1.0])
        pictures: list[UInt8Image] = []
        poses: list[Matrix] = []
        camera = CameraMotion()
        for _, image in clip.images():
            pictures.append(np.asarray(cv2.transform(image, weights[None].astype(np.float32)), dtype=np.uint8))
            step_matrix = np.vstack([camera.update(image, 1 / clip.fps).matrix, [0, 0, 1]])
            poses.append(step_matrix @ poses[-1] if poses else np.eye(3))
        used = range(int(generator.integers(step)), len(pictures), step)
        return _Film(clip, pictures, poses, tighten(clip, {index: pictures[index] for index in used}))

    def moments(self, index: int, ages: tuple[float, ...], matrix: Matrix) -> Moments:
        """The clip at a frame and before it; `matrix` maps pixels of that frame to those of the crop."""
        first = max((cut for cut in (0, *self.clip.cuts) if cut <= index), default=0)
        frames = [max(index - round(age * self.clip.fps), first) for age in ages]
        labels = self.labels[index]
        corners = labels.boxes.reshape(-1, 2, 2) @ matrix[:2, :2].T + matrix[:2, 2]
        return Moments(
            pictures=[self.pictures[frame] for frame in frames],
            matrices=[matrix @ self.poses[index] @ np.linalg.inv(self.poses[frame]) for frame in frames],
            ages=[(index - frame) / self.clip.fps for frame in frames],
            boxes=as_boxes(corners.reshape(-1, 4)),
            class_ids=labels.class_ids,
            infrared=self.clip.is_infrared,
        )

    def stack(self, index: int, ages: tuple[float, ...]) -> UInt8Image:
        """The whole frame as a detector sees it, uint8 (height, width, 3)."""
        moments = self.moments(index, ages, np.eye(3))
        newest = moments.pictures[0]
        older = zip(moments.pictures[1:], moments.matrices[1:], strict=True)
        return np.stack([newest, *(lay_over(old, matrix[:2], newest) for old, matrix in older)], axis=2)


def _crop_matrix(center: np.ndarray, scale: float, size: tuple[int, int], side: int) -> Matrix:
    """Pixels of a frame -> pixels of a crop round a centre (x, y), moved inside the frame where possible, (3, 3)."""
    half = side / scale / 2
    lengths = np.array([size[1], size[0]], dtype=np.float64)
    inside = np.where(lengths <= 2 * half, lengths / 2, np.clip(center, half, np.maximum(lengths - half, half)))
    matrix = np.diag([scale, scale, 1.0])
    # pixel (0, 0) covers [0, 1) x [0, 1), while OpenCV's maps are between pixel centres
    matrix[:2, 2] = side / 2 - scale * inside + (scale - 1) / 2
    return matrix


def _log_uniform(limits: tuple[float, float], generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(np.log(limits[0]), np.log(limits[1]))))


def collect_cut_outs(clips: list[Clip], seed: int) -> dict[bool, list[CutOut]]:
    """Real targets, infrared ones under True: some of every clip."""
    generator = np.random.default_rng(seed)
    book: dict[bool, list[CutOut]] = {True: [], False: []}
    for clip in progress(clips, description="cutting out targets"):
        pictures = {
            index: np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
            for index, image in clip.images(max(clip.length // _CUT_OUTS, 1), int(generator.integers(5)))
        }
        for index, labels in tighten(clip, pictures).items():
            for mask, class_id in zip(labels.masks, labels.class_ids.tolist(), strict=True):
                found = None if mask is None else cut_out(pictures[index], mask, class_id)
                if found is not None:
                    book[clip.is_infrared].append(found)
    return book


def _newest_alone(stack: UInt8Image) -> UInt8Image:
    """The newest picture of a stack three times, uint8 (height, width, 3)."""
    return np.repeat(stack[..., :1], 3, axis=2)


def _seeing_one_moment(finder: Finder) -> Finder:
    return lambda stack: finder(_newest_alone(stack))


def write_crops(clips: list[Clip], directory: Path, settings: CropSettings, finder: Finder | None = None) -> int:
    """Write crops and labels in ultralytics' layout (`images/`, `labels/`); a finished folder is kept.

    Args:
        clips: labelled clips.
        directory: where they go.
        settings: see :class:`CropSettings`.
        finder: an earlier detector, whose false boxes become further crops (hard negatives). Clips of birds are left
            out there: not every bird of a flock is labelled.

    Returns:
        Number of crops.
    """
    done = directory / "crops.json"
    if done.exists():
        return int(json.loads(done.read_text())["crops"])
    if finder is not None and settings.single_frame:
        finder = _seeing_one_moment(finder)
    sprites = collect_cut_outs(clips, settings.seed)
    writer = _Writer(directory, settings, sprites)
    false_boxes = sum(
        _write_clip(writer, clip, settings, finder) for clip in progress(clips, description="cutting crops")
    )
    rendered = progress(range(settings.rendered), description="rendering crops")
    for number, moments in zip(rendered, _rendered(settings, writer), strict=False):
        writer.write(moments, f"rendered_{number:05d}")
    searched = range(_SEARCHED * settings.rendered if finder else 0)
    for number, moments in zip(
        progress(searched, description="searching false boxes"), _rendered(settings, writer), strict=False
    ):
        false_boxes += writer.write(moments, f"rendered_false_{number:05d}", put_in=False, finder=finder)
    cut_outs = sum(len(items) for items in sprites.values())
    facts = {"crops": writer.count, "false_boxes": false_boxes, "cut_outs": cut_outs, **asdict(settings)}
    done.write_text(json.dumps(facts))
    return writer.count


def _write_clip(writer: _Writer, clip: Clip, settings: CropSettings, finder: Finder | None) -> int:
    """Write the crops of one clip; returns how many of them are false boxes of the finder."""
    generator, false_boxes = writer.generator, 0
    film = _Film.of(clip, settings.frame_step, generator)
    scales = settings.infrared_scales if clip.is_infrared else settings.visible_scales
    for number, (index, labels) in enumerate(film.labels.items()):
        scale = _log_uniform(scales, generator)
        if len(labels.boxes) and generator.random() > settings.empty_share:
            box = labels.boxes[int(generator.integers(len(labels.boxes)))]
            center = (box[:2] + box[2:]) / 2 + generator.uniform(-0.42, 0.42, 2) * settings.side / scale
        else:
            center = generator.uniform(0, 1, 2) * (clip.size[1], clip.size[0])
        places = [(center, scale, f"{clip.name}_{index:04d}", True)]
        if finder is not None and number % _MINING_STEP == 0 and "BIRD" not in clip.name:
            found = finder(film.stack(index, (0.0, *settings.ages)))
            near = pairwise_overlap(found, clip.labels[index].boxes).max(axis=1, initial=0.0)
            for rank, box in enumerate(found[near < 0.1][:_MOST_FALSE_BOXES]):
                center = (box[:2] + box[2:]) / 2 + generator.uniform(-20, 20, 2)
                places.append((center, scale, f"{clip.name}_{index:04d}_false{rank}", False))
                false_boxes += 1
        for center, scale, name, put_in in places:
            matrix = _crop_matrix(center, scale, clip.size, settings.side)
            unknown = labels.unknown @ np.diag(np.tile(np.diag(matrix)[:2], 2)) + np.tile(matrix[:2, 2], 2)
            view = as_boxes([0, 0, settings.side, settings.side])
            if len(unknown) and pairwise_overlap(unknown, view).max() > 0:
                continue  # nobody could say whether a box there is right
            writer.write(film.moments(index, writer.ages(), matrix), name, put_in)
    return false_boxes


def _still_ground(width: int, height: int, infrared: bool, generator: np.random.Generator) -> Scenery:
    picture = draw_ground(width, height, generator)
    return lambda seconds: picture


def _drifting_clouds(width: int, height: int, infrared: bool, generator: np.random.Generator) -> Scenery:
    background = make_background((width, height), height, 60, infrared, generator)

    def see(seconds: float) -> UInt8Image:
        image = background.view(np.eye(3)[:2], round(seconds * 30), width, height)[0]
        return np.asarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)

    return see


def _rendered(settings: CropSettings, writer: _Writer) -> Iterator[Moments]:
    """Views of rendered backgrounds: sky, clouds, trees, buildings, masts; or nothing but ground."""
    generator = writer.generator
    while True:
        infrared = bool(generator.random() < 0.5)
        height = int(generator.integers(256, 720))
        width = round(height * 1.25)
        ground = generator.random() < _GROUND_SHARE
        look = _still_ground if ground else _drifting_clouds
        seen = look(width, height, infrared, generator)
        for _ in range(_VIEWS):
            ages = writer.ages()
            pictures = [seen(max(ages) - age) for age in ages]
            scale = _log_uniform((0.5, 1.6), generator)
            center = generator.uniform(0, 1, 2) * (width, height)
            matrix = _crop_matrix(center, scale, (height, width), settings.side)
            boxes = as_boxes([])
            yield Moments(pictures, [matrix] * 3, ages, boxes, np.zeros(0, np.int64), infrared)
