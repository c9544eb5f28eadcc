"""Training of the embedded YOLOv10n on motion stacks (:mod:`smotracker_ros.training.detector_crops`).

Training itself is ultralytics' own trainer, so the result is an ordinary ultralytics checkpoint.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from smotracker_ros.core.frames import Frame, UInt8Image
from smotracker_ros.core.geometry import FloatArray
from smotracker_ros.training.clips import CLASS_NAMES, read_clips
from smotracker_ros.training.detector_crops import CropSettings, Finder, write_crops

# Every n-th crop is a validation image, too
_VALIDATION_STEP = 50
# Confidence from which a false box of an earlier detector is worth a crop
_FALSE_CONFIDENCE = 0.12


@dataclass(frozen=True)
class DetectorTraining:
    """Schedule of the detector's training.

    Attributes:
        epochs: passes over the crops; the learning rate falls along a cosine to 2 % at the last.
        batch: crops per step.
        learning_rate: initial rate of AdamW.
        threads: CPU threads.
        start: checkpoint to start from (fine-tuning); None: random weights.
        hard_negatives: checkpoint whose false boxes on the training clips become crops; None: none.
    """

    epochs: int = 5
    batch: int = 16
    learning_rate: float = 0.002
    threads: int = 2
    start: Path | None = None
    hard_negatives: Path | None = None


def _finder(weights: Path) -> Finder:
    from smotracker_ros.detection.yolo import YoloDetector

    detector = YoloDetector(weights)

    def find(image: UInt8Image) -> FloatArray:
        # a crop is seen as large as it is, as in training; a whole frame as in use
        longer = max(image.shape[:2])
        return detector.detect(Frame(image, 0, 0), _FALSE_CONFIDENCE, longer if longer < 320 else 0).boxes

    return find


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

    crops, training = crops or CropSettings(), training or DetectorTraining()
    output = output.resolve()
    finder = None if training.hard_negatives is None else _finder(training.hard_negatives)
    count = write_crops(read_clips(data), output / "crops", crops, finder)
    names = "\n".join(f"  {key - 1}: {name}" for key, name in CLASS_NAMES.items())
    description = output / "data.yaml"
    # ultralytics looks at its validation images after every epoch; what counts is measured on whole clips afterwards
    some = sorted((output / "crops" / "images").glob("*.png"))[::_VALIDATION_STEP]
    (output / "validation.txt").write_text("".join(f"{path}\n" for path in some))
    description.write_text(
        f"path: {output / 'crops'}\ntrain: images\nval: {output / 'validation.txt'}\nnames:\n{names}\n"
    )

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
        # the channels are moments, not colours: only their common brightness may change
        hsv_h=0.0,
        hsv_s=0.0,
        hsv_v=0.25,
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


def export_detector(checkpoint: Path, output: Path, ages: tuple[float, ...] = CropSettings().ages) -> None:
    """Reduce an ultralytics checkpoint to what inference needs, in half precision and ultralytics' own format.

    Optimizer, results and the training machine's paths go. The entry `smotracker` says what the detector expects.

    Args:
        checkpoint: `.pt` file of the training.
        output: `.pt` file to write.
        ages: seconds before the newest of the older pictures that the detector was trained on; none: it was trained on
            single grey frames.
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
    facts = {"motion_seconds": list(ages), "grey": not ages}
    version = content.get("version")
    torch.save({"model": model, "train_args": kept, "epoch": -1, "version": version, "smotracker": facts}, output)
