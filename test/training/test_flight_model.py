"""How targets fly, fitted on labelled films."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from smotracker_ros.commands.training import app
from smotracker_ros.core.frames import Frame
from smotracker_ros.masklets.memory import MOTION_AWARE
from smotracker_ros.presets import build_detector, build_network, load_settings
from smotracker_ros.tracking.camera_motion import STILL
from smotracker_ros.tracking.kinematics import FLIGHT
from smotracker_ros.tracking.tracker import SmoTracker
from smotracker_ros.training.clips import Clip, read_clips
from smotracker_ros.training.flight_model import BlinkingPropagator, Step, fit_flight, flight_loss, record
from smotracker_ros.training.moving_clips import still
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

SIDE = 16.0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered clip of several targets."""
    root = tmp_path_factory.mktemp("scenes")
    settings = SceneSettings(width=320, height=256, frames=90, targets=4, modality="infrared", camera="static")
    write_scene(root / "IR_SCENE_001", settings, seed=5)
    return root


@pytest.fixture(scope="module")
def clip(scenes: Path) -> Clip:
    return read_clips(scenes)[0]


def _flights(agility: float, count: int = 8, frames: int = 60) -> list[list[Step]]:
    """Flights that the model describes exactly."""
    generator, flights = np.random.default_rng(1), []
    for _ in range(count):
        place, velocity, steps = np.zeros(2), generator.normal(0, SIDE, 2), []
        for _ in range(frames):
            velocity = velocity + generator.normal(0, agility * SIDE * np.sqrt(1 / 30), 2)
            place = place + velocity / 30
            seen = place + generator.normal(0, 0.02 * SIDE, 2)
            steps.append(Step(STILL, 1 / 30, SIDE, np.float32(seen)))
        flights.append(steps)
    return flights


def test_restless_flights_are_likelier_under_a_restless_model() -> None:
    calm, restless = replace(FLIGHT, agility=0.3), replace(FLIGHT, agility=5.0)
    assert flight_loss(_flights(0.3), calm) < flight_loss(_flights(0.3), restless)
    assert flight_loss(_flights(5.0), restless) < flight_loss(_flights(5.0), calm)


def test_the_fit_is_no_worse_than_where_it_began() -> None:
    flights = _flights(3.0, count=3, frames=40)
    model, loss = fit_flight(flights, FLIGHT)
    assert loss < flight_loss(flights, FLIGHT) - 0.05
    assert loss == pytest.approx(flight_loss(flights, model), abs=0.01)
    assert model.agility > FLIGHT.agility


def test_without_flights_there_is_no_fit() -> None:
    with pytest.raises(ValueError, match="a fit needs flights"):
        fit_flight([], FLIGHT)


@pytest.mark.slow
def test_films_give_flights_that_are_out_of_sight_now_and_then(clip: Clip) -> None:
    settings = load_settings()
    propagator = BlinkingPropagator(build_network(settings), MOTION_AWARE, settings.masklet_mode, seed=1)
    tracker = SmoTracker(build_detector(settings), propagator, settings)
    shots = record(still(clip), clip.fps, tracker)
    assert tracker.observe_targets is None
    assert len(shots) == 1 + len(clip.cuts)
    flights = [flight for shot in shots for flight in shot.flights]
    unseen = [step.center is None for flight in flights for step in flight]
    assert flights and 0 < np.mean(unseen) < 0.7


@pytest.mark.slow
def test_what_blinks_is_seen_again(clip: Clip) -> None:
    settings = load_settings()
    propagator = BlinkingPropagator(build_network(settings), MOTION_AWARE, "windows", seed=2)
    seen = []
    for index, image in clip.images():
        frame = Frame(image, round(index / clip.fps * 1e9), index)
        masklets = propagator.step(frame)
        if index == 0:
            masklets = propagator.prompt(frame, {1: clip.labels[0].boxes[0]})
        seen.append(masklets[1].box is not None)
    changes = np.flatnonzero(np.diff(np.array(seen, dtype=int)))
    assert seen[0] and len(changes) >= 2


@pytest.mark.slow
def test_the_command_writes_what_it_has_fitted(scenes: Path, tmp_path: Path) -> None:
    output = tmp_path / "flight.json"
    options = ["flight", "--data", str(scenes), "--step", "1", "--scenes", "0", "--output", str(output)]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    figures = json.loads(output.read_text())
    assert set(asdict(FLIGHT)) < set(figures["flight"])
    assert figures["counts"]["flights"] > 0
