"""Training of the embedded YOLOv10n on native-resolution crops of real clips.

Targets of 5-30 px make whole frames a waste: almost every pixel is empty sky. The crops keep the native scale and hold
a target in nine of ten cases; hard negatives come from the rest and from the surroundings. Training itself is
ultralytics' own trainer, so the result is an ordinary ultralytics checkpoint.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track as progress

from smotracker_ros.frames import UInt8Image
from smotracker_ros.geometry import FloatArray
from smotracker_ros.training.clips import CLASS_NAMES, Clip, read_clips


@dataclass(frozen=True)
class CropSettings:
    """How training crops are cut out of clips.

    Attributes:
        side: side of a crop in pixels; also the training image size.
        frame_step: every n-th frame is used, because neighbours are near-duplicates.
        empty_share: share of crops placed anywhere, with or without a target.
        visible_scales: range of scales at which visible-light frames are seen before cropping.
        infrared_scales: the same for infrared frames, which are smaller already.
        seed: seed of the random choices; another one gives other crops of the same clips.
    """

    side: int = 160
    frame_step: int = 12
    empty_share: float = 0.12
    visible_scales: tuple[float, float] = (0.5, 0.9)
    infrared_scales: tuple[float, float] = (1.0, 1.6)
    seed: int = 0


def cut_crop(
    image: UInt8Image, boxes: FloatArray, center: tuple[float, float], scale: float, side: int
) -> tuple[UInt8Image, FloatArray, np.ndarray]:
    """Cut a square crop, moved inside the image where possible.

    Args:
        image: uint8 RGB (height, width, 3).
        boxes: float32 (N, 4), xyxy pixels of the image.
        center: wanted centre (x, y) in pixels of the image.
        scale: crop pixels per image pixel.
        side: side of the crop in crop pixels.

    Returns:
        The crop, uint8 (side, side, 3); the boxes in it, float32 (M, 4), clipped; the indices (M,) of the boxes that
        keep at least 60 % of their area.
    """
    height, width = image.shape[:2]
    half = side / scale / 2
    x = width / 2 if width <= 2 * half else float(np.clip(center[0], half, width - half))
    y = height / 2 if height <= 2 * half else float(np.clip(center[1], half, height - half))
    matrix = np.array([[scale, 0, side / 2 - scale * x], [0, scale, side / 2 - scale * y]], dtype=np.float64)
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    source = image
    if scale < 0.8:  # warpAffine does not average when it shrinks: do that first
        source = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        matrix[:, :2] = np.eye(2)
    crop = cv2.warpAffine(
        source, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(114,) * 3
    )
    moved = (boxes - np.array([x, y, x, y], dtype=np.float32)) * scale + side / 2
    clipped = np.clip(moved, 0, side)
    area = np.prod(moved[:, 2:] - moved[:, :2], axis=1)
    kept = np.flatnonzero(np.prod(clipped[:, 2:] - clipped[:, :2], axis=1) >= 0.6 * np.maximum(area, 1e-6))
    return np.asarray(crop, dtype=np.uint8), clipped[kept].astype(np.float32), kept


def write_crops(clips: list[Clip], directory: Path, settings: CropSettings) -> int:
    """Write crops and labels of all clips in ultralytics' layout (`images/`, `labels/`); finished folders are kept.

    Returns:
        Number of crops.
    """
    done = directory / "crops.json"
    if done.exists():
        return int(json.loads(done.read_text())["crops"])
    (directory / "images").mkdir(parents=True, exist_ok=True)
    (directory / "labels").mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(settings.seed)
    count = 0
    for clip in progress(clips, description="cutting crops"):
        start = int(generator.integers(settings.frame_step))
        for index, image in clip.images(settings.frame_step, start):
            labels = clip.labels[index]
            scales = settings.visible_scales if clip.size[0] > 300 else settings.infrared_scales
            scale = float(generator.uniform(*scales))
            if len(labels.boxes) and generator.random() > settings.empty_share:
                box = labels.boxes[int(generator.integers(len(labels.boxes)))]
                reach = 0.42 * settings.side / scale
                center = (box[:2] + box[2:]) / 2 + generator.uniform(-reach, reach, 2)
            else:
                center = generator.uniform(0, 1, 2) * (clip.size[1], clip.size[0])
            crop, boxes, kept = cut_crop(image, labels.boxes, (center[0], center[1]), scale, settings.side)
            name = f"{clip.name}_{index:04d}"
            cv2.imwrite(str(directory / "images" / f"{name}.png"), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
            rows = [
                f"{class_id - 1} {(b[0] + b[2]) / 2:.6f} {(b[1] + b[3]) / 2:.6f} {b[2] - b[0]:.6f} {b[3] - b[1]:.6f}"
                for class_id, b in zip(labels.class_ids[kept], boxes / settings.side, strict=True)
            ]
            (directory / "labels" / f"{name}.txt").write_text("\n".join(rows))
            count += 1
    done.write_text(json.dumps({"crops": count, **asdict(settings)}))
    return count


@dataclass(frozen=True)
class DetectorTraining:
    """Schedule of the detector's training.

    Attributes:
        epochs: passes over the crops; the learning rate falls along a cosine to 2 % at the last.
        batch: crops per step.
        learning_rate: initial rate of AdamW.
        threads: CPU threads.
        start: checkpoint to start from (fine-tuning); None: random weights.
    """

    epochs: int = 8
    batch: int = 16
    learning_rate: float = 0.002
    threads: int = 2
    start: Path | None = None


def train_detector(
    data: Path,
    output: Path,
    crops: CropSettings | None = None,
    training: DetectorTraining | None = None,
) -> Path:
    """Train a YOLOv10n; an interrupted run goes on from its last epoch when called again.

    Args:
        data: folder of training sequences.
        output: folder for crops, ultralytics' own logs (`run/results.csv`) and checkpoints.
        crops: see :class:`CropSettings`.
        training: see :class:`DetectorTraining`.

    Returns:
        Path of the final checkpoint, in ultralytics' format, optimizer state stripped.
    """
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    import torch
    from ultralytics import YOLO
    from ultralytics import settings as ultralytics_settings

    crops, training = crops or CropSettings(), training or DetectorTraining()
    ultralytics_settings.update({"sync": False})
    output = output.resolve()
    count = write_crops(read_clips(data), output / "crops", crops)
    names = "\n".join(f"  {key - 1}: {name}" for key, name in CLASS_NAMES.items())
    description = output / "data.yaml"
    description.write_text(f"path: {output / 'crops'}\ntrain: images\nval: images\nnames:\n{names}\n")

    final = output / "run" / "weights" / "last.pt"
    state = torch.load(final, weights_only=False, map_location="cpu") if final.exists() else None
    if state is not None and state.get("optimizer") is None:
        return final
    model = YOLO(str(final) if state else str(training.start or "yolov10n.yaml"))
    # ultralytics pins CPU training to one thread fewer than there are cores
    model.add_callback("on_train_start", lambda trainer: torch.set_num_threads(training.threads))
    print(f"{count} crops, {training.epochs} epochs")
    model.train(
        resume=state is not None,
        data=str(description),
        imgsz=crops.side,
        epochs=training.epochs,
        batch=training.batch,
        optimizer="AdamW",
        lr0=training.learning_rate,
        lrf=0.02,
        cos_lr=True,
        warmup_epochs=0.3,
        mosaic=0.3,
        close_mosaic=2,
        scale=0.35,
        translate=0.1,
        fliplr=0.5,
        degrees=5.0,
        hsv_h=0.05,
        hsv_s=0.6,
        hsv_v=0.5,
        cache="ram",
        workers=1,
        val=False,
        plots=False,
        amp=False,
        deterministic=False,
        seed=0,
        device="cpu",
        project=str(output),
        name="run",
        exist_ok=True,
    )
    return final


def export_detector(checkpoint: Path, output: Path) -> None:
    """Reduce an ultralytics checkpoint to what inference needs, in half precision and ultralytics' own format.

    Optimizer, results and the training machine's paths go.

    Args:
        checkpoint: `.pt` file of the training.
        output: `.pt` file to write.
    """
    import torch

    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    model = (content.get("ema") or content["model"]).half()
    kept = {"task": "detect", "mode": "train", "imgsz": CropSettings().side}
    model.args = dict(kept)
    for name in ("pt_path", "yaml_file"):
        if hasattr(model, name):
            setattr(model, name, "")
    model.yaml = {**model.yaml, "yaml_file": "yolov10n.yaml"}
    for parameter in model.parameters():
        parameter.requires_grad = False
    torch.save({"model": model, "train_args": kept, "epoch": -1, "version": content.get("version")}, output)
