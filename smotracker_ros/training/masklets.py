"""Training of the embedded nano SAM2.

Sequences of windows are run as the propagator runs them: the first is prompted with a loose box, the others are
conditioned on memories that come more and more from the network's own masks, because memories of perfect masks teach
nothing about drift. The parts of the network are those of :class:`smotracker_ros.masklets.model.Sam2Steps`.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader

from smotracker_ros.core.global_state import denormals_flushed, threads
from smotracker_ros.masklets.checkpoints import NANO_CONFIG, instantiate_config, read_checkpoint
from smotracker_ros.masklets.model import DecodedTensors, ImageFeatures, MemoryTensors, Sam2Steps
from smotracker_ros.training.masklet_samples import SequenceStream
from smotracker_ros.training.track_crops import write_track_crops


@dataclass(frozen=True)
class MaskletTraining:
    """Schedule of one training run.

    Attributes:
        iterations: optimizer steps in all; the learning rate falls along a cosine to 2 % at the last.
        learning_rate: highest rate of AdamW.
        warmup: steps in which the rate rises.
        short: (batch, frames) of the first steps: many objects, short memory.
        long: (batch, frames) of the rest: full memory.
        short_share: share of the steps that are short; 0 where trained weights are trained on.
        teacher: share of memories made from true masks at the first step; it falls to none on the way.
        crossing_share: share of the sequences through which look-alikes fly.
        absence_share: share of the real sequences in which the target is removed for a while.
        empty_share: share of the real sequences that show no target at all.
        scenes: rendered scenes to prepare.
        threads: CPU threads of the network; one more process prepares sequences.
        save_every: steps between checkpoints.
        ema: decay of the averaged weights, which are the result.
        seed: random seed.
    """

    iterations: int = 4000
    learning_rate: float = 7e-4
    warmup: int = 60
    short: tuple[int, int] = (8, 4)
    long: tuple[int, int] = (4, 8)
    short_share: float = 1 / 3
    teacher: float = 0.5
    crossing_share: float = 0.4
    absence_share: float = 0.3
    empty_share: float = 0.0
    scenes: int = 160
    threads: int = 2
    save_every: int = 50
    ema: float = 0.998
    seed: int = 0


@dataclass
class _Bank:
    """MemoryTensors of a batch during one training sequence, oldest first."""

    prompted: list[tuple[int, Tensor, Tensor]]
    recent: list[tuple[int, Tensor, Tensor]]

    def memories(self, now: int, network: Sam2Steps) -> MemoryTensors:
        model = network.model
        recent = self.recent[-(model.num_maskmem - 1) :]
        pointed = self.prompted + self.recent[-(model.max_obj_ptrs_in_encoder - 1) :]
        batch = self.prompted[0][1].shape[0]
        ages = torch.tensor([[float(now - t)] for t, _, _ in pointed]).expand(-1, batch)
        slots = torch.arange(len(recent), 0, -1).view(-1, 1).expand(-1, batch)
        return MemoryTensors(
            prompted=tuple(memory for _, memory, _ in self.prompted),
            recent=tuple(memory for _, memory, _ in recent),
            recent_slots=slots,
            pointers=torch.stack([pointer for _, _, pointer in pointed]),
            pointer_ages=ages,
        )


def mask_losses(decoded: DecodedTensors, truth: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of one frame of a batch, and the masks' true IoU.

    Focal and Dice loss on visible targets, absolute error of the predicted IoU, binary cross-entropy of visibility.

    Args:
        decoded: output of the network.
        truth: float32 (B, S, S), 1 on the target.
        weights: float32 (B,), trust in each truth mask.

    Returns:
        The loss, a scalar, and IoU (B,) of the thresholded masks.
    """
    visible = truth.flatten(1).any(1).float()
    logits = decoded.high[:, 0]
    probability = logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    agreement = probability * truth + (1 - probability) * (1 - truth)
    balance = 0.6 * truth + 0.4 * (1 - truth)
    focal = (balance * (1 - agreement) ** 2 * entropy).flatten(1).mean(1)
    overlap = (probability * truth).flatten(1).sum(1)
    dice = 1 - (2 * overlap + 1) / (probability.flatten(1).sum(1) + truth.flatten(1).sum(1) + 1)
    with torch.no_grad():
        mask = logits > 0
        union = (mask | (truth > 0)).flatten(1).sum(1)
        iou = (mask & (truth > 0)).flatten(1).sum(1) / union.clamp(min=1)
    trusted = visible * weights
    segmentation = ((20 * focal + 2 * dice) * trusted).sum() / trusted.sum().clamp(min=1)
    # what is not there has no mask that could be right
    rated = trusted + (1 - visible)
    ranking = ((decoded.predicted_iou - iou).abs() * rated).sum() / rated.sum().clamp(min=1)
    presence = functional.binary_cross_entropy_with_logits(decoded.object_score, visible)
    return segmentation + ranking + presence, iou


def _label_boxes(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes as detectors give them: every edge off by some percent of the box's size."""
    size = torch.cat([boxes[:, 2:] - boxes[:, :2]] * 2, dim=1)
    return boxes + torch.randn(boxes.shape, generator=generator) * 0.07 * size


def run_sequence(
    network: Sam2Steps, batch: dict[str, Tensor], teacher: float, generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Forward pass of a batch of sequences.

    Args:
        network: in training mode, with `pred_obj_scores` off so that masks of doubtful objects keep their gradient.
        batch: images uint8 (B, T, S, S, 3), masks bool (B, T, S, S), boxes float32 (B, T, 4), weights (B, T).
        teacher: probability that a frame's memory is made from the true mask instead of the network's.
        generator: source of randomness.

    Returns:
        Mean loss per frame, and figures for the log.
    """
    size, (count, length) = network.image_size, batch["masks"].shape[:2]
    images = batch["images"].view(count * length, size, size, 3).numpy()
    everything = network.encode(network.normalise(images))
    truth = batch["masks"].float()
    bank = _Bank([], [])
    total = truth.new_zeros(())
    ious: list[Tensor] = []
    hits, seen = 0.0, 0.0
    corrected = int(torch.randint(1, length, (), generator=generator)) if length > 2 else 0
    if float(torch.rand((), generator=generator)) > 0.25:
        corrected = 0
    for t in range(length):
        features = ImageFeatures(
            tuple(level.view(level.shape[0], count, length, -1)[:, :, t] for level in everything.levels),
            everything.positions,
            everything.sizes,
        )
        visible = truth[:, t].flatten(1).any(1).float()
        prompted = t == 0 or (t == corrected and bool(visible.all()))
        boxes = _label_boxes(batch["boxes"][:, t], generator) if prompted else None
        memories = bank.memories(t, network) if t else None
        decoded = network.decode(network.condition(features, memories), features, boxes, first=t == 0)
        loss, iou = mask_losses(decoded, truth[:, t], batch["weights"][:, t])
        total = total + loss * (1.0 if t else 1.5)
        ious.append((iou * visible).sum() / visible.sum().clamp(min=1))
        if t:
            hits += float(((decoded.object_score > 0).float() == visible).sum())
            seen += count
        if t == length - 1:
            break
        taught = torch.rand(count, generator=generator) < teacher
        believed = torch.where(taught, visible, (decoded.object_score > 0).float())
        mask = torch.where(taught.view(-1, 1, 1, 1), truth[:, t : t + 1] * 20 - 10, decoded.high)
        mask = torch.where(believed.view(-1, 1, 1, 1) > 0, mask, torch.full_like(mask, -1024.0))
        # the stock model mixes in the "no object" pointer only while `pred_obj_scores` is on
        no_object = network.model.no_obj_ptr
        pointer = believed[:, None] * decoded.pointer + (1 - believed[:, None]) * no_object
        entry = (t, network.memorise(features, mask, believed * 2 - 1, prompted), pointer)
        (bank.prompted if prompted else bank.recent).append(entry)
    figures = {
        "iou_first": float(ious[0]),
        "iou_last": float(ious[-1]),
        "presence": hits / max(seen, 1),
    }
    return total / length, figures


def _export(model: torch.nn.Module, state: dict[str, Tensor], path: Path, facts: dict[str, object]) -> None:
    """Write `{"model": half-precision state_dict}` as official checkpoints are laid out, with our facts beside it."""
    halves = {
        key: (value.half() if value.is_floating_point() else value)
        for key, value in {**model.state_dict(), **state}.items()
    }
    temporary = path.with_suffix(".tmp")
    torch.save({"model": halves, "smotracker": {"dense_box_prompt": True, **facts}}, temporary)
    temporary.replace(path)


def train_masklets(
    data: Path,
    output: Path,
    training: MaskletTraining | None = None,
    start: Path | None = None,
    minutes: float = math.inf,
) -> Path:
    """Train the nano SAM2; an interrupted run goes on from its last checkpoint when called again.

    Args:
        data: folder of training sequences.
        output: folder for prepared tracks, `log.jsonl`, `checkpoint.pt` (resumable) and `sam2_nano.pt` (the result).
        training: see :class:`MaskletTraining`.
        start: weights to start from; None: random.
        minutes: stop after this wall time, to be resumed by another call.

    Returns:
        Path of the result: averaged weights in half precision, in the official layout.
    """
    training = training or MaskletTraining()
    output.mkdir(parents=True, exist_ok=True)
    write_track_crops(data, output / "tracks", training.scenes)
    with threads(training.threads), denormals_flushed():
        result = _optimize(output, training, start, minutes)
    (output / "training.json").write_text(json.dumps(asdict(training), indent=1))
    return result


def _optimize(output: Path, training: MaskletTraining, start: Path | None, minutes: float) -> Path:
    """The steps of :func:`train_masklets`, once its tracks are cut; returns the path of the averaged weights."""
    torch.manual_seed(training.seed)
    model = instantiate_config(NANO_CONFIG)
    if start is not None:
        model.load_state_dict({k: v.float() for k, v in read_checkpoint(start)["model"].items()})
    model.train()
    model.pred_obj_scores = False
    network = Sam2Steps(model, "sam2-nano", "training", dense_box_prompt=True)
    parameters = dict(model.named_parameters())
    average = {key: value.detach().clone() for key, value in parameters.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    resumable, result = output / "checkpoint.pt", output / "sam2_nano.pt"
    step, spent = 0, 0.0
    if resumable.exists():
        saved = torch.load(resumable, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average, step, spent = saved["average"], saved["step"], saved["seconds"]
    material = (output / "tracks" / "real", output / "tracks" / "rendered")
    shares = {name: getattr(training, name) for name in ("crossing_share", "absence_share", "empty_share")}
    generator = torch.Generator().manual_seed(training.seed + step)
    began = time.monotonic()
    figures: list[dict[str, float]] = []
    loader_shape: tuple[int, int] | None = None
    with Progress() as bar, (output / "log.jsonl").open("a") as log:
        task = bar.add_task("training masklets", total=training.iterations, completed=step)
        ended = step >= training.iterations
        while not ended:
            progress = step / training.iterations
            shape = training.short if progress < training.short_share else training.long
            if shape != loader_shape:
                stream = SequenceStream(material, network.image_size, *shape, training.seed + step + 1, shares)
                # a forked worker would inherit locks that the network's threads hold at that moment
                loader = DataLoader(
                    stream, batch_size=None, num_workers=1, prefetch_factor=6, multiprocessing_context="spawn"
                )
                batches = iter(loader)
                loader_shape = shape
            rate = min(1.0, (step + 1) / training.warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * rate
            loss, figure = run_sequence(network, next(batches), max(0.0, training.teacher - 0.8 * progress), generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            ended = step >= training.iterations or time.monotonic() - began > minutes * 60
            decay = min(training.ema, (step + 1) / (step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.values()), [parameters[k] for k in average], 1 - decay)
            figures.append({"loss": loss.item(), **figure})
            bar.update(task, completed=step, description=f"loss {loss.item():.2f} iou {figure['iou_last']:.2f}")
            if step % training.save_every == 0 or ended:
                seconds = spent + time.monotonic() - began
                means = {key: round(float(np.mean([f[key] for f in figures])), 4) for key in figures[0]}
                figures.clear()
                log.write(json.dumps({"step": step, "seconds": round(seconds), "frames": shape[1], **means}) + "\n")
                log.flush()
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
                torch.save({**state, "step": step, "seconds": seconds}, resumable.with_suffix(".tmp"))
                resumable.with_suffix(".tmp").replace(resumable)
                _export(model, average, result, {"step": step, "seconds": int(seconds)})
    return result
