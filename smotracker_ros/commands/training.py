"""Commands that train the embedded models and measure them: `smotracker train ...`, `smotracker evaluate-model ...`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from smotracker_ros.commands.options import Overrides
from smotracker_ros.masklets.windows import WINDOW_FACTOR

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train the embedded models.")
evaluation_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure detector or masklet weights.")

Data = Annotated[Path, typer.Option(help="Folder of labelled sequences (seqinfo.ini, gt/gt.txt, video).")]
Output = Annotated[Path, typer.Option(help="Folder for checkpoints and logs; an interrupted run in it goes on.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]


@app.command("detector")
def train_detector(
    data: Data,
    output: Output = Path("runs/detector"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the crops.")] = 5,
    side: Annotated[int, typer.Option(min=64, help="Side of the training crops in pixels, a multiple of 32.")] = 192,
    visible_scales: Annotated[tuple[float, float], typer.Option(help="Scales of visible-light frames.")] = (0.5, 1.3),
    infrared_scales: Annotated[tuple[float, float], typer.Option(help="Scales of infrared frames.")] = (0.9, 2.4),
    frame_step: Annotated[int, typer.Option(min=1, help="Every n-th frame gives a crop.")] = 8,
    rendered: Annotated[
        int, typer.Option(min=0, help="Crops of rendered backgrounds beside those of the clips.")
    ] = 2000,
    empty_share: Annotated[float, typer.Option(min=0, max=1, help="Share of crops placed anywhere.")] = 0.15,
    put_in_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of crops that get targets of other clips, or rendered ones.")
    ] = 0.45,
    single_frame: Annotated[
        bool, typer.Option("--single-frame", help="Train on one moment, grey, instead of motion stacks.")
    ] = False,
    hard_negatives: Annotated[
        Path | None, typer.Option(help="Checkpoint whose false boxes on the training clips become crops.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of crops.")] = 0,
    learning_rate: Annotated[float, typer.Option(help="Initial learning rate of AdamW.")] = 0.002,
    start: Annotated[Path | None, typer.Option(help="Checkpoint to start from instead of random weights.")] = None,
    threads: Threads = 2,
) -> None:
    """Train a YOLOv10n on crops of real clips and rendered backgrounds, three moments each (motion stacks)."""
    from smotracker_ros.training.detector import DetectorTraining, export_detector, train_detector
    from smotracker_ros.training.detector_crops import CropSettings

    training = DetectorTraining(
        epochs=epochs, learning_rate=learning_rate, threads=threads, start=start, hard_negatives=hard_negatives
    )
    crops = CropSettings(
        side=side,
        frame_step=frame_step,
        rendered=rendered,
        empty_share=empty_share,
        visible_scales=visible_scales,
        infrared_scales=infrared_scales,
        put_in_share=put_in_share,
        single_frame=single_frame,
        seed=seed,
    )
    result = output / "yolov10n.pt"
    export_detector(train_detector(data, output, crops, training), result, () if single_frame else crops.ages)
    typer.echo(result)


@app.command("masklets")
def train_masklets(
    data: Data,
    output: Output = Path("runs/masklets"),
    iterations: Annotated[int, typer.Option(min=1, help="Optimizer steps in all.")] = 4000,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate of AdamW.")] = 7e-4,
    scenes: Annotated[int, typer.Option(min=1, help="Rendered scenes beside the real clips.")] = 160,
    start: Annotated[Path | None, typer.Option(help="Weights to start from instead of random ones.")] = None,
    short_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the steps on short sequences; 0 to train trained weights on.")
    ] = 1 / 3,
    teacher: Annotated[
        float, typer.Option(min=0, max=1, help="Share of memories made from true masks at the first step.")
    ] = 0.5,
    batch: Annotated[int, typer.Option(min=1, help="Long sequences per step.")] = 4,
    frames: Annotated[int, typer.Option(min=2, help="Windows of a long sequence.")] = 8,
    crossing_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the sequences through which look-alikes fly.")
    ] = 0.4,
    absence_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the real sequences in which the target vanishes for a while.")
    ] = 0.3,
    empty_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the real sequences in which a prompt shows no target.")
    ] = 0.0,
    ema: Annotated[
        float, typer.Option(min=0, max=1, help="Decay of the averaged weights, which are the result.")
    ] = 0.998,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
    minutes: Annotated[float, typer.Option(help="Stop after this many minutes, to be resumed later.")] = math.inf,
    threads: Threads = 2,
) -> None:
    """Train the nano SAM2 on windows of real clips and rendered scenes."""
    from smotracker_ros.training.masklets import MaskletTraining, train_masklets

    training = MaskletTraining(
        iterations=iterations,
        learning_rate=learning_rate,
        scenes=scenes,
        short_share=short_share,
        teacher=teacher,
        long=(batch, frames),
        crossing_share=crossing_share,
        absence_share=absence_share,
        empty_share=empty_share,
        ema=ema,
        seed=seed,
        threads=threads,
    )
    typer.echo(train_masklets(data, output, training, start, minutes))


@app.command("existence")
def fit_existence(
    data: Data,
    output: Annotated[Path, typer.Option(help="YAML file for the weights.")] = Path("existence.yaml"),
    step: Annotated[int, typer.Option(min=1, help="Every n-th clip is used.")] = 6,
    scenes: Annotated[int, typer.Option(min=0, help="Rendered scenes beside the clips.")] = 20,
    override: Overrides = None,
    seed: Annotated[int, typer.Option(help="Seed of moving cameras and scenes.")] = 0,
    record: Annotated[Path | None, typer.Option(help="NumPy file (.npz) for the samples.")] = None,
    recorded: Annotated[
        list[Path] | None, typer.Option(help="Fit these recorded samples instead of tracking; may be repeated.")
    ] = None,
) -> None:
    """Fit the weights by which a masklet is taken for a target, to these models and clips like these."""
    import numpy as np

    from smotracker_ros.core.overrides import parse_overrides
    from smotracker_ros.presets import build_tracker, load_settings
    from smotracker_ros.training.clips import read_clips
    from smotracker_ros.training.existence import (
        PERMISSIVE,
        collect,
        cross_validated,
        fit,
        read_samples,
        select_terms,
        write_samples,
        write_weights,
    )

    tracker = build_tracker(load_settings(overrides={**PERMISSIVE, **parse_overrides(override)}))
    try:
        samples = read_samples(recorded) if recorded else collect(read_clips(data)[::step], scenes, tracker, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if record is not None:
        write_samples(record, samples)
    table = Table("term", "of", "weight", "log-loss without it")
    weights, facts = {}, {"models": dict(tracker.models), "films": len(np.unique(samples.groups))}
    for state, part in (("tentative", ~samples.confirmed), ("confirmed", samples.confirmed)):
        chosen = samples.select(part)
        try:
            names = select_terms(chosen)
            weights[state] = fit(chosen, names)
        except ValueError as error:
            raise typer.BadParameter(f"{state}: {error}; take more clips") from error
        base = cross_validated(chosen, names)
        for name, weight in weights[state].items():
            without = cross_validated(chosen, [term for term in names if term != name])
            table.add_row(name, state, f"{weight:.3f}", f"{without - base:+.4f}")
        facts[state] = {
            "samples": len(chosen.true),
            "targets": int(chosen.true.sum()),
            "log_loss": round(base, 4),
        }
    Console().print(table)
    write_weights(output, weights["tentative"], weights["confirmed"], tracker.models["masklets"].split(" ")[0], facts)
    typer.echo(output)


@app.command("affinity")
def fit_affinity_command(
    data: Data,
    output: Annotated[Path | None, typer.Option(help="JSON file for the weights.")] = None,
    sequences: Annotated[str, typer.Option(help="Names separated by commas; empty: all with several ids.")] = "",
) -> None:
    """Fit the log-odds by which masklets and detections are taken for the same object."""
    from smotracker_ros.presets import build_tracker, load_settings
    from smotracker_ros.training.affinity import collect_pairs, fit_affinity
    from smotracker_ros.training.clips import read_clips

    clips = read_clips(data)
    if sequences:
        names = set(sequences.split(","))
        unknown = names - {clip.name for clip in clips}
        if unknown:
            raise typer.BadParameter(f"{data} has no sequence {', '.join(sorted(unknown))}")
        clips = [clip for clip in clips if clip.name in names]
    else:
        clips = [clip for clip in clips if max((len(labels.ids) for labels in clip.labels), default=0) > 1]
    pairs = collect_pairs(clips, build_tracker(load_settings()))
    try:
        affinity, loss = fit_affinity(pairs)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; take clips that show several objects at once") from error
    counts = {"pairs": float(len(pairs.same)), "same": float(pairs.same.sum()), "lost": float(pairs.lost.sum())}
    figures = {"bias": affinity.bias, **affinity.weights, "lost": affinity.lost, "log_loss": loss}
    _show({"affinity": figures, "counts": counts}, output)


@app.command("flight")
def fit_flight_command(
    data: Data,
    output: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
    step: Annotated[int, typer.Option(min=1, help="Every n-th clip is used.")] = 20,
    scenes: Annotated[int, typer.Option(min=0, help="Rendered scenes beside the clips.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of moving cameras, scenes, and moments out of sight.")] = 0,
) -> None:
    """Fit how targets fly: how far off one may be from where it is expected, as time passes."""
    from dataclasses import asdict

    from rich.progress import track as progress

    from smotracker_ros.masklets.memory import POLICIES
    from smotracker_ros.presets import build_detector, build_network, load_settings
    from smotracker_ros.tracking.kinematics import FLIGHT
    from smotracker_ros.tracking.tracker import SmoTracker
    from smotracker_ros.training.clips import read_clips
    from smotracker_ros.training.existence import films
    from smotracker_ros.training.flight_model import BlinkingPropagator, Shot, fit_flight, record

    settings = load_settings()
    policy = POLICIES[settings.memory_policy]
    propagator = BlinkingPropagator(build_network(settings), policy, settings.masklet_mode, seed=seed)
    tracker = SmoTracker(build_detector(settings), propagator, settings)
    clips = read_clips(data)[::step]
    shots: list[Shot] = []
    total = 3 * len(clips) + scenes
    for _, images, fps, _ in progress(films(clips, scenes, seed), total=total, description="tracking"):
        shots += record(images, fps, tracker)
    flights = [flight for shot in shots for flight in shot.flights]
    try:
        model, loss = fit_flight(flights, FLIGHT)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; take more clips") from error
    counts = {"flights": float(len(flights)), "frames": float(sum(map(len, flights)))}
    _show({"flight": {**asdict(model), "log_loss": loss}, "counts": counts}, output)


@app.command("int8")
def quantise_command(
    data: Data,
    output: Annotated[Path, typer.Option(help="ONNX file to write.")] = Path("runs/detector-int8.onnx"),
    weights: Annotated[
        Path | None, typer.Option(help="ONNX file of a YOLO detector; without it the embedded one.")
    ] = None,
    step: Annotated[int, typer.Option(min=1, help="Every n-th clip calibrates.")] = 10,
    offset: Annotated[int, typer.Option(min=0, help="Number of the first of them.")] = 4,
) -> None:
    """Write a detector in int8, calibrated on clips: nearly half the time, scores and boxes a little different."""
    from rich.progress import track as progress

    from smotracker_ros.detection.yolo_onnx import EMBEDDED_ONNX
    from smotracker_ros.models.weight_files import checksum
    from smotracker_ros.training.clips import read_clips
    from smotracker_ros.training.int8 import calibration_inputs, quantise

    clips = read_clips(data)[offset::step]
    if not clips:
        raise typer.BadParameter(f"{data} has no clip number {offset}", param_hint="--offset")
    inputs = calibration_inputs(progress(clips, description="tracking"), weights)
    output.parent.mkdir(parents=True, exist_ok=True)
    quantise(weights or EMBEDDED_ONNX, output, inputs)
    Console().print(f"{output} size: {output.stat().st_size}, sha256: {checksum(output)}", soft_wrap=True)


@evaluation_app.command("detector")
def measure_detector(
    data: Data,
    weights: Annotated[
        Path | None, typer.Option(help="YOLO checkpoint, or its ONNX export; without it the embedded one.")
    ] = None,
    frame_step: Annotated[int, typer.Option(min=1, help="Every n-th frame is judged.")] = 10,
    image_size: Annotated[int, typer.Option(min=0, help="Longer side at which frames are seen; 0: automatic.")] = 0,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Average precision (class-agnostic, IoU 0.5) and recall at one false box per frame."""
    from smotracker_ros.detection.yolo_loading import load_yolo
    from smotracker_ros.training.clips import read_clips
    from smotracker_ros.training.quality import detector_quality

    _show({"detector": detector_quality(load_yolo(weights), read_clips(data), frame_step, image_size)}, output)


@evaluation_app.command("masklets")
def measure_masklets(
    data: Data,
    weights: Annotated[Path | None, typer.Option(help="SAM2 checkpoint; without it the embedded nano model.")] = None,
    image_size: Annotated[int, typer.Option(min=0, help="Side of the network's input; 0: automatic.")] = 0,
    window_factor: Annotated[float, typer.Option(help="Window side in target sizes.")] = WINDOW_FACTOR,
    csrt: Annotated[
        bool, typer.Option("--csrt", help="Run CSRT on the same starts; needs opencv-contrib-python-headless.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Box IoU 1, 5, 10 and 30 frames after a single prompt."""
    import cv2

    from smotracker_ros.masklets.checkpoints import load_network
    from smotracker_ros.training.clips import read_clips
    from smotracker_ros.training.quality import masklet_quality

    if csrt and not hasattr(cv2, "TrackerCSRT_create"):
        raise typer.BadParameter(
            "this OpenCV has no CSRT; install opencv-contrib-python-headless in place of opencv-python-headless"
        )
    _show(masklet_quality(load_network(weights, image_size), read_clips(data), window_factor, csrt), output)


def _show(figures: dict[str, dict[str, float]], output: Path | None) -> None:
    table = Table("")
    for name in figures:
        table.add_column(name, justify="right")
    for key in dict.fromkeys(key for column in figures.values() for key in column):
        table.add_row(key, *(f"{column[key]:.3f}" if key in column else "" for column in figures.values()))
    Console().print(table)
    if output is not None:
        output.write_text(json.dumps(figures, indent=1))
